"""Takes back what a run changed, whichever kind of run it was; itself a run, so that it can be taken back too."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from skillrun.errors import BUSY, WAIT, Problem
from skillrun.rollback.as_run import SHOWN, UNDO_OF, Consent, Undone, as_run
from skillrun.rollback.live import undo_live
from skillrun.rollback.packages import packages_way, undo_by_packages

if TYPE_CHECKING:
    from skillrun.overlay.transaction.commit import Edited
    from skillrun.overlay.transaction.privileged import Work
    from skillrun.record.journal import RunFolder


def undo(word: str, edited: str | None, ask: Consent) -> tuple[RunFolder, str, Undone]:
    """Take back the run that `word` names: its folder, the id of the run that did it, what came of it. Raises Problem.

    `last` is the last run that changed something.
    `edited`: leave | replace, for what was changed after the run; None asks where there is such a thing.
    """
    from skillrun.overlay.transaction.workspace import CommitError
    from skillrun.record.journal import JournalError, find_run
    from skillrun.record.lock import Busy, lock
    from skillrun.rollback.recorded import UndoError

    try:
        folder = _last() if word == "last" else find_run(word)
        with lock(folder.id):
            return folder, *_undo(folder, edited, ask)
    except JournalError as error:
        raise Problem(str(error), "`skillrun runs` lists what there is") from error
    except Busy as error:
        raise Problem(str(error), WAIT, code=BUSY) from error
    except (CommitError, UndoError) as error:
        raise Problem(str(error), error.hint, code=3) from error
    except (OSError, ValueError) as error:
        raise Problem(f"the records of {word} cannot be read: {error}", "nothing was undone", code=1) from error


def _last() -> RunFolder:
    from skillrun.rollback.standing import standing

    found = next(standing(), None)
    if found is None:
        raise Problem("no run changed anything here that could be taken back", "`skillrun runs` lists what there is")
    return found


def _undo(folder: RunFolder, edited: str | None, ask: Consent) -> tuple[str, Undone]:
    """Find out what kind of run it was and take it back; the id of the new run and what came of it."""
    from skillrun.overlay.transaction.commit import phase_of
    from skillrun.overlay.transaction.privileged import Work
    from skillrun.overlay.transaction.wal import Phase
    from skillrun.rollback.recorded import root_for

    source = folder.changes / UNDO_OF
    if source.exists():
        return _bring_back(folder, Path(json.loads(source.read_bytes())["changes"]), ask)
    work = Work(folder.changes, root_for(folder.changes))
    was = phase_of(folder.changes)
    phase = work.recover()
    if phase is Phase.COMMITTED:
        return _undo_commit(folder, work, edited, ask)
    if phase is Phase.UNDONE:
        raise Problem(*_why_undone(folder, just_now=was is not Phase.UNDONE))
    return undo_live(folder, edited, ask)


def _why_undone(folder: RunFolder, just_now: bool) -> tuple[str, str]:
    """What became of a run that has nothing left to take back, and what to do."""
    from skillrun.record.journal import all_runs

    for run in all_runs():
        with suppress(OSError, ValueError):
            if json.loads((run.changes / UNDO_OF).read_bytes())["run"] == folder.id:
                return f"{folder.id} is undone already, by {run.id}", f"`skillrun undo {run.id}` brings it back"
    when = "just now" if just_now else "by skillrun itself, afterwards"
    told = f"the commit of {folder.id} was cut off and taken back {when}: there is nothing to undo"
    return told, "run the installation again if you still want it"


def _undo_commit(folder: RunFolder, work: Work, edited: str | None, ask: Consent) -> tuple[str, Undone]:
    from skillrun.overlay.transaction.commit import Edited
    from skillrun.rollback.recorded import NEVER
    from skillrun.text.escape import shown

    edits = work.edits()
    packages = packages_way(folder, [clash.path for clash in edits], edited)
    if packages:
        return undo_by_packages(folder, work, packages, edits, edited, ask)
    lines = [f"{folder.id}: puts the machine back as it was before this run", *(f"  {line}" for line in _what(work))]
    ask.show([*lines, *(f"  changed since: {shown(clash.path)} {clash.reason}" for clash in edits[:SHOWN])])
    choice = edited or (ask.about_edits([clash.path for clash in edits]) if edits else "refuse")
    ask.confirm("Undo this run?")
    return as_run(folder, "undone", lambda: _committed(work, Edited(choice), list(NEVER)))


def _what(work: Work) -> list[str]:
    from skillrun.text.escape import shown

    paths = work.ways_back()
    lines = [f"{word} {shown(path)}" for word, path in paths[:SHOWN]]
    return [*lines, f"and {len(paths) - SHOWN} more paths"] if len(paths) > SHOWN else lines


def _committed(work: Work, choice: Edited, cannot: list[str]) -> Undone:
    done = work.undo(choice)
    services = [item.to_json() for item in done.services]
    return Undone(done.operations, list(done.left), dict(done.kept), services, cannot=[*done.warnings, *cannot])


def _bring_back(folder: RunFolder, changes: Path, ask: Consent) -> tuple[str, Undone]:
    from skillrun.overlay.transaction.privileged import Work
    from skillrun.overlay.transaction.wal import Phase
    from skillrun.rollback.recorded import UndoError, root_for

    work = Work(changes, root_for(changes))
    if work.recover() is not Phase.UNDONE:
        raise UndoError("there is no committed view behind this run to bring back", "install the skill again")
    ask.confirm("Bring the undone changes back?")

    def redo() -> Undone:
        done = work.redo()
        return Undone(done.operations, list(done.left), services=[item.to_json() for item in done.services])

    return as_run(folder, "committed", redo, undo_of=changes)
