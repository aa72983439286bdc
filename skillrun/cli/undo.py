"""`undo`: take back what a run changed; itself a run, so that it can be taken back too."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skillrun.cli.group import Problem
from skillrun.cli.page import Page
from skillrun.events import SCHEMA, Changed, Event, Finished, Outcome, Result, RunEnded, RunStarted, Started, State, ToolCall

if TYPE_CHECKING:
    from skillrun.journal import RunFolder
    from skillrun.undo import Recorded
    from skillrun.view.deputy import Work
    from skillrun.view.transaction import Edited

UNDO_OF = "undo-of.json"
_SHOWN = 30


@dataclass(slots=True)
class _Ask:
    """How questions are answered: a mode, or a person at a terminal."""

    approve: str | None
    no_input: bool
    as_json: bool

    def confirm(self, question: str) -> None:
        """Raises Problem (exit code 4) when nobody says yes."""
        if self.approve == "all":
            return
        if self.no_input or not sys.stdin.isatty() or self.approve not in (None, "ask"):
            raise Problem("undoing needs a person's word", "run it at a terminal, or add --approve all", code=4)
        if not click.confirm(question, default=False, err=True):
            raise Problem("nothing was undone", code=4)

    def about_edits(self, paths: Sequence[str]) -> str:
        """`leave` or `replace`. Raises Problem (exit code 4) when nobody can say."""
        if self.no_input or not sys.stdin.isatty():
            raise Problem(
                f"{len(paths)} paths were changed after the run, first {paths[0]}",
                "add --edited leave to keep them as they are, or --edited replace to put the former ones back"
                " (the later ones are kept beside the run)",
                code=4,
            )
        choice: str = click.prompt(
            "Leave them as they are, or put the former ones back and keep the later ones beside the run?",
            type=click.Choice(["leave", "replace", "stop"]),
            default="stop",
            err=True,
        )
        if choice == "stop":
            raise Problem("nothing was undone", code=4)
        return choice


@dataclass(slots=True)
class _Outcome:
    """What undoing came to."""

    paths: int = 0
    left: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    services: list[dict[str, Any]] = field(default_factory=list)
    commands: list[dict[str, Any]] = field(default_factory=list)
    cannot: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Paths that could not be put back, with the reason."""

    @property
    def ok(self) -> bool:
        """Did everything that was tried succeed?"""
        return not self.failed and all(item["exit_code"] == 0 for item in (*self.commands, *self.services))


@click.command(
    "undo",
    cls=Page,
    examples=(
        "skillrun undo last",
        "skillrun undo last --edited leave --approve all",
    ),
)
@click.argument("run")
@click.option("--edited", type=click.Choice(["leave", "replace"]), help="What to do with files changed after the run.")
@click.option(
    "--approve",
    type=click.Choice(["ask", "safe", "declared", "all"]),
    envvar="SKILLRUN_APPROVE",
    show_envvar=True,
    help="all: do not ask.",
)
@click.option("--no-input", is_flag=True, envvar="SKILLRUN_NO_INPUT", show_envvar=True, help="Never ask: exit 4 instead.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def undo_command(run: str, edited: str | None, approve: str | None, no_input: bool, as_json: bool) -> int:
    """Take back what RUN changed. Undoing an undo brings the changes back."""
    from skillrun.journal import Busy, JournalError, find_run, lock
    from skillrun.undo import UndoError
    from skillrun.view.workplace import CommitError

    ask = _Ask(approve, no_input, as_json)
    try:
        folder = find_run(run)
        with lock(folder.id):
            name, outcome = _undo(folder, edited, ask)
    except JournalError as error:
        raise Problem(str(error), "`skillrun runs` lists what there is") from error
    except Busy as error:
        raise Problem(str(error), "wait for it, or end that process", code=1) from error
    except (CommitError, UndoError) as error:
        raise Problem(str(error), error.hint, code=3) from error
    except (OSError, ValueError) as error:
        raise Problem(f"the records of {run} cannot be read: {error}", "nothing was undone", code=1) from error
    _tell(folder, name, outcome, as_json)
    return 0 if outcome.ok else 3


def _undo(folder: RunFolder, edited: str | None, ask: _Ask) -> tuple[str, _Outcome]:
    """Find out what kind of run it was and take it back; the id of the new run and what came of it."""
    from skillrun.undo import is_journalled, sudo_for
    from skillrun.view.deputy import Work
    from skillrun.view.ledger import Phase

    source = folder.changes / UNDO_OF
    if source.exists():
        return _bring_back(folder, Path(json.loads(source.read_bytes())["changes"]), ask)
    work = Work(folder.changes, sudo_for(folder.changes))
    phase = work.recover()
    if phase is Phase.COMMITTED:
        return _undo_commit(folder, work, edited, ask)
    if phase is Phase.UNDONE:
        raise Problem(
            f"{folder.id} is undone already", "`skillrun runs` lists the run that undid it: undo that to bring it back"
        )
    if is_journalled(folder.changes):
        return _undo_journalled(folder, edited, ask)
    return _undo_live(folder, edited, ask)


def _undo_commit(folder: RunFolder, work: Work, edited: str | None, ask: _Ask) -> tuple[str, _Outcome]:
    from skillrun.undo import NEVER
    from skillrun.view.transaction import Edited
    from skillrun.visible import shown

    edits = work.edits()
    if not ask.as_json:
        _say(f"{folder.id}: puts the machine back as it was before this run")
        for line in _what(work):
            _say(f"  {line}")
        for clash in edits[:_SHOWN]:
            _say(f"  changed since: {shown(clash.path)} {clash.reason}")
    choice = edited or (ask.about_edits([clash.path for clash in edits]) if edits else "refuse")
    ask.confirm("Undo this run?")
    return _as_run(folder, "undone", lambda: _committed(work, Edited(choice), list(NEVER)))


def _what(work: Work) -> list[str]:
    from skillrun.undo import committed_paths
    from skillrun.visible import shown

    if work.sudo:
        return ["(the list is readable for root only)"]
    paths = committed_paths(work.folder)
    lines = [f"{word} {shown(path)}" for word, path in paths[:_SHOWN]]
    return [*lines, f"and {len(paths) - _SHOWN} more paths"] if len(paths) > _SHOWN else lines


def _committed(work: Work, choice: Edited, cannot: list[str]) -> _Outcome:
    done = work.undo(choice)
    services = [item.to_json() for item in done.services]
    return _Outcome(done.operations, list(done.left), dict(done.kept), services, cannot=[*done.warnings, *cannot])


def _bring_back(folder: RunFolder, changes: Path, ask: _Ask) -> tuple[str, _Outcome]:
    from skillrun.undo import UndoError, sudo_for
    from skillrun.view.deputy import Work
    from skillrun.view.ledger import Phase

    work = Work(changes, sudo_for(changes))
    if work.recover() is not Phase.UNDONE:
        raise UndoError("there is no committed view behind this run to bring back", "install the skill again")
    ask.confirm("Bring the undone changes back?")

    def redo() -> _Outcome:
        done = work.redo()
        return _Outcome(done.operations, list(done.left), services=[item.to_json() for item in done.services])

    return _as_run(folder, "committed", redo, undo_of=changes)


def _undo_journalled(folder: RunFolder, edited: str | None, ask: _Ask) -> tuple[str, _Outcome]:
    """Put back what was saved before each change; what is there now is saved by the same means."""
    from skillrun.undo import NEVER, TURNED
    from skillrun.view.preimages import changed_paths, later_edits
    from skillrun.visible import shown

    turned = folder.changes / TURNED
    if turned.exists():
        by = turned.read_text()
        raise Problem(f"{folder.id} was turned back already, by {by}", f"`skillrun undo {by}` turns it round again")
    paths = changed_paths(folder.changes)
    cut = not (folder.changes / "preimages.json").exists()
    edits = [] if cut else list(later_edits(folder.changes))
    if not ask.as_json:
        _say(f"{folder.id}: puts every file back as it was before this run")
        for word, path in paths[:_SHOWN]:
            _say(f"  {word} {shown(path)}")
        if len(paths) > _SHOWN:
            _say(f"  and {len(paths) - _SHOWN} more paths")
        for path in edits[:_SHOWN]:
            _say(f"  changed since: {shown(path)}")
        if cut:
            _say("  the run was cut off: what was changed later cannot be told from what it changed itself; all of it is kept")
    choice = edited or (ask.about_edits(edits) if edits else "replace")
    ask.confirm("Undo this run?")

    def carry(write: Callable[[Event], None], name: Path) -> _Outcome:
        outcome = _put_back(folder.changes, name / "changes", edits, choice)
        outcome.cannot += [*NEVER, "programs and services that the run started keep running"]
        turned.write_text(name.name)
        return outcome

    return _as_run(folder, "undone", lambda: _Outcome(), live=carry)


def _put_back(changes: Path, into: Path, edits: Sequence[str], choice: str) -> _Outcome:
    from skillrun.view.preimages import Preimages, changed_paths, put_back

    outcome = _Outcome(left=list(edits) if choice == "leave" else [])
    if choice == "replace":
        files = [path for path in edits if Path(path).is_file()]
        outcome.kept = {path: _copy(Path(path), into / "later") for path in files}
    present = Preimages(into)
    outcome.failed += put_back(changes, outcome.left, present)
    present.finish(0, 0, [])
    outcome.paths = len(changed_paths(changes)) - len(outcome.left)
    return outcome


def _undo_live(folder: RunFolder, edited: str | None, ask: _Ask) -> tuple[str, _Outcome]:
    from skillrun.undo import UndoError, edited_settings, recorded
    from skillrun.visible import shown

    found = recorded(folder.changes)
    if found.empty and _was_discarded(folder):
        raise UndoError(f"{folder.id} changed nothing on this machine: nothing to undo", "its changes were discarded")
    if found.empty:
        raise UndoError(f"{folder.id} recorded nothing that can be taken back: {found.cannot[0]}", "see `skillrun report`")
    edits = [item.path for item in found.files if item.edited] + edited_settings(found.commands)
    if not ask.as_json:
        _say(f"{folder.id} ran directly on this machine; what it recorded is taken back:")
        for line in (*found.commands, *(f"put back {item.path}" for item in found.files)):
            _say(f"  {shown(line)}")
        for path in edits:
            _say(f"  changed since: {shown(path)}")
        for text in found.cannot:
            _say(f"  stays: {shown(text)}")
    choice = edited or (ask.about_edits(edits) if edits else "replace")
    ask.confirm("Undo this run?")
    return _as_run(folder, "undone", lambda: _Outcome(), live=lambda journal, name: _carry_live(found, choice, journal, name))


def _was_discarded(folder: RunFolder) -> bool:
    """Did everything happen in a view, or nowhere, and nothing of it become real?"""
    from skillrun.journal import read_events

    return any(isinstance(event, RunStarted) and event.mode != "live" for event in read_events(folder.journal))


def _carry_live(found: Recorded, choice: str, write: Callable[[Event], None], name: Path) -> _Outcome:
    """Run the removals and put files back, each command journalled before it starts."""
    from skillrun.inventory import Here, keep_before, note_after
    from skillrun.undo import edited_settings, put_back
    from skillrun.view.services import run_here

    outcome = _Outcome(cannot=list(found.cannot))
    keep_in = name / "changes" / "later"
    settings = edited_settings(found.commands)
    if settings and choice == "leave":
        found = type(found)(tuple(text.replace("dpkg --purge", "dpkg --remove") for text in found.commands), found.files)
        outcome.left += settings
    for path in settings if choice == "replace" else ():
        outcome.kept[path] = _copy(Path(path), keep_in)
    for number, text in enumerate(found.commands):
        call = ToolCall(f"undo-{number}", "shell", {"command": text, "why": "take back what the run installed"})
        write(Started(call, "/"))
        begun = time.monotonic()
        code, output = run_here(["bash", "-c", text], "/")
        write(Finished(call, Result(State.EXITED, code, output, len(output), duration_s=time.monotonic() - begun)))
        outcome.commands.append({"command": text, "exit_code": code, "output": output})
    for item in found.files:
        if item.edited and choice == "leave":
            outcome.left.append(item.path)
            continue
        keep_before(Here(), item.path, name / "changes")
        kept = put_back(item, keep_in)
        if item.former is not None:
            note_after(item.path, item.former, name / "changes")
        outcome.paths += 1
        if kept and item.edited:
            outcome.kept[item.path] = kept
    return outcome


def _copy(path: Path, folder: Path) -> str:
    import shutil

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(shutil.copy2(path, folder / f"{len(list(folder.iterdir()))}-{path.name}"))


def _as_run(
    of: RunFolder,
    state: str,
    work: Callable[[], _Outcome],
    undo_of: Path | None = None,
    live: Callable[[Callable[[Event], None], Path], _Outcome] | None = None,
) -> tuple[str, _Outcome]:
    """Do the work as a run of its own, with a journal, so that it shows in the history and can be undone."""
    from skillrun import __version__
    from skillrun.journal import Journal, new_run

    skill = of.summary()["skill"] or of.id
    run = new_run(f"undo-{skill}")
    journal = Journal(run)
    begun = time.monotonic()
    journal(RunStarted(run.id, "undo", skill, of.id, "", "none", "this machine", skillrun=__version__))
    outcome, exit_code, summary = _Outcome(), 1, "undo failed; the machine is as it was"
    try:
        outcome = live(journal, run.path) if live else work()
        exit_code = 0 if outcome.ok else 3
        summary = f"{of.id}: {state}" + ("" if outcome.ok else ", but not every command succeeded")
        if live is None and state == "undone":
            (run.changes / UNDO_OF).write_text(json.dumps({"run": of.id, "changes": str(of.changes)}))
        counts = {"changed": outcome.paths}
        journal(Changed({"counts": counts, "kept_out": [{"path": p, "reason": "left"} for p in outcome.left]}, state))
    finally:
        word = Outcome.REMOVED if exit_code == 0 else Outcome.ERROR
        commands, duration = len(outcome.commands), time.monotonic() - begun
        journal(RunEnded(word, exit_code, summary, commands=commands, duration_s=duration, run_id=run.id))
        journal.close()
    if undo_of is not None:
        (of.changes / UNDO_OF).unlink(missing_ok=True)
    return run.id, outcome


def _tell(folder: RunFolder, name: str, outcome: _Outcome, as_json: bool) -> None:
    from skillrun.visible import shown

    if as_json:
        data = {
            "run": folder.id,
            "as_run": name,
            "paths": outcome.paths,
            "left": outcome.left,
            "kept": outcome.kept,
            "services": outcome.services,
            "commands": outcome.commands,
            "cannot": outcome.cannot,
            "failed": outcome.failed,
        }
        print(json.dumps({"schema": SCHEMA, "undo": data}))
        return
    print(f"undone: {outcome.paths} paths, {len(outcome.commands)} commands (as run {name})")
    for item in (*outcome.services, *outcome.commands):
        if item["exit_code"] != 0:
            print(f"  failed ({item['exit_code']}): {shown(item.get('command') or ' '.join(item['argv']))}")
    for text in outcome.failed:
        print(f"  could not be put back: {shown(text)}")
    for path in outcome.left:
        print(f"  left as it is: {shown(path)}")
    for path, place in outcome.kept.items():
        print(f"  the later {shown(path)} is kept: {shown(place)}")
    for text in outcome.cannot:
        print(f"  stays: {shown(text)}")


def _say(text: str) -> None:
    click.echo(text, err=True)
