"""An undo as a run of its own: what it asks, its journal, what came of it."""

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
from skillrun.events import SCHEMA, Changed, Event, Outcome, RunEnded, RunStarted

if TYPE_CHECKING:
    from skillrun.record.journal import RunFolder

UNDO_OF = "undo-of.json"
SHOWN = 30
"""How many paths are listed before the rest is counted."""


@dataclass(slots=True)
class Ask:
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
class Undone:
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


def as_run(
    of: RunFolder,
    state: str,
    work: Callable[[], Undone],
    undo_of: Path | None = None,
    live: Callable[[Callable[[Event], None], Path], Undone] | None = None,
) -> tuple[str, Undone]:
    """Do the work as a run of its own, with a journal, so that it shows in the history and can be undone."""
    from skillrun import __version__
    from skillrun.record.journal import Journal, new_run

    skill = of.summary()["skill"] or of.id
    run = new_run(f"undo-{skill}")
    journal = Journal(run)
    begun = time.monotonic()
    journal(RunStarted(run.id, "undo", skill, of.id, "", "none", "this machine", skillrun=__version__))
    outcome, exit_code, summary = Undone(), 1, "undo failed; the machine is as it was"
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


def tell(folder: RunFolder, name: str, outcome: Undone, as_json: bool) -> None:
    """Say what came of it, as text or as one JSON object."""
    from skillrun.text.escape import shown

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


def say(text: str) -> None:
    """For a person only, so on standard error."""
    click.echo(text, err=True)


def copy_beside(path: Path, folder: Path) -> str:
    """Keep a copy of a file in a folder; where it is. Raises OSError."""
    import shutil

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(shutil.copy2(path, folder / f"{len(list(folder.iterdir()))}-{path.name}"))
