"""Taking back a run that happened directly on the machine: by its package managers, and from what was kept of files."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skillrun.events import Decided, Decision, Event, Finished, Result, RunStarted, Started, State, ToolCall, Verdict
from skillrun.ports import Place
from skillrun.record.own_places import own_places
from skillrun.rollback.as_run import Consent, Undone, as_run, copy_beside

if TYPE_CHECKING:
    from skillrun.record.journal import RunFolder
    from skillrun.rollback.recorded import Recorded

REFUSED = 126
"""The exit code of a command that was not carried out, as a shell has it for one that may not be."""

PACKAGES_S = 1800.0
"""A package manager may fetch what it puts back."""


def run_commands(commands: Sequence[str], outcome: Undone, write: Callable[[Event], None]) -> None:
    """Run shell text in order, each journalled before it starts; the first that fails is the last."""
    from skillrun.overlay.transaction.deferred_services import run_here

    for number, text in enumerate(commands):
        call = ToolCall(f"undo-{number}", "shell", {"command": text, "why": "take back what the run installed"})
        if (decision := _judged(call)).verdict is Verdict.DENY:
            write(Decided(call, decision))
            outcome.commands.append({"command": text, "exit_code": REFUSED, "output": f"not carried out: {decision.reason}"})
            break
        write(Started(call, "/"))
        begun = time.monotonic()
        code, output = run_here(["bash", "-c", text], "/", timeout_s=PACKAGES_S)
        write(Finished(call, Result(State.EXITED, code, output, len(output), duration_s=time.monotonic() - begun)))
        outcome.commands.append({"command": text, "exit_code": code, "output": output})
        if code:
            break


def _judged(call: ToolCall) -> Decision:
    """The floor and the person's own rules hold for an undo too, whatever its record says. Raises Problem."""
    from skillrun.errors import Problem
    from skillrun.policy.rulebook import open_judge
    from skillrun.policy.rules import BadRule

    try:
        return open_judge()(call, Place(home=os.path.expanduser("~"), protected=own_places()))
    except BadRule as error:
        raise Problem(str(error), "mend the rule, or take it out with `skillrun rules --revoke NAME`") from None


def inventory_now() -> dict[str, Any]:
    """What is installed at this moment."""
    from skillrun.rollback.inventory import record_inventory
    from skillrun.targets.local import LocalTarget

    with tempfile.TemporaryDirectory() as outputs:
        target = LocalTarget(Path(outputs))
        try:
            return record_inventory(target)
        finally:
            target.close()


def record(folder: Path, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Keep what packages there were, so that the undo can be undone; files have records of their own. Returns `after`."""
    from skillrun.rollback.inventory import AFTER, BEFORE, save

    for name, found in ((BEFORE, before), (AFTER, after)):
        save(folder, name, {**found, "files": {}})
    return after


def packages_gone(before: dict[str, Any], after: dict[str, Any]) -> int:
    """How many packages there are no longer."""
    return sum(len(names.keys() - after["packages"].get(manager, {}).keys()) for manager, names in before["packages"].items())


def undo_live(folder: RunFolder, edited: str | None, ask: Consent) -> tuple[str, Undone]:
    """Ask, then take back what was recorded; the id of the new run and what came of it. Raises UndoError, Problem."""
    from skillrun.rollback.recorded import NEVER, UndoError, edited_settings, recorded, still_there
    from skillrun.text.escape import shown

    found = recorded(folder.changes)
    if found.empty and _was_discarded(folder):
        raise UndoError(f"{folder.id} changed nothing on this machine: nothing to undo", "its changes were discarded")
    if found.empty and found.made:
        made = "; ".join(still_there(found.made)) or "that is gone already"
        raise UndoError(f"skillrun cannot undo {folder.id} by itself; it created {shown(made)}", "see `skillrun report`")
    if found.empty:
        raise UndoError(f"{folder.id} recorded nothing that can be taken back: {found.cannot[0]}", "see `skillrun report`")
    edits = [item.path for item in found.files if item.edited] + edited_settings(found.commands)
    lines = [f"{folder.id} ran directly on this machine; what it recorded is taken back:"]
    lines += [f"  {shown(line)}" for line in (*found.commands, *(f"put back {item.path}" for item in found.files))]
    lines += [f"  changed since: {shown(path)}" for path in edits]
    lines += [f"  stays unless the above takes it along: {shown(path)}" for path in found.made]
    ask.show([*lines, *(f"  stays: {shown(text)}" for text in found.cannot if text not in NEVER)])
    choice = edited or (ask.about_edits(edits) if edits else "replace")
    ask.confirm("Undo this run?")
    return as_run(folder, "undone", lambda: Undone(), live=lambda journal, name: _carry_live(found, choice, journal, name))


def _was_discarded(folder: RunFolder) -> bool:
    """Did everything happen in a view, or nowhere, and nothing of it become real?"""
    from skillrun.record.journal import read_events

    return any(isinstance(event, RunStarted) and event.mode != "live" for event in read_events(folder.journal))


def _carry_live(found: Recorded, choice: str, write: Callable[[Event], None], name: Path) -> Undone:
    """Run the removals and put files back, each command journalled before it starts."""
    from skillrun.rollback.inventory import Here, keep_before, note_after
    from skillrun.rollback.recorded import edited_settings, put_back, still_there

    outcome = Undone(cannot=list(found.cannot))
    keep_in = name / "changes" / "later"
    settings = edited_settings(found.commands)
    if settings and choice == "leave":
        found = replace(found, commands=tuple(text.replace("dpkg --purge", "dpkg --remove") for text in found.commands))
        outcome.left += settings
    for path in settings if choice == "replace" else ():
        outcome.kept[path] = copy_beside(Path(path), keep_in)
    before = inventory_now()
    run_commands(found.commands, outcome, write)
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
    outcome.packages = packages_gone(before, record(name / "changes", before, inventory_now()))
    outcome.cannot = [*still_there(found.made), *outcome.cannot]
    return outcome
