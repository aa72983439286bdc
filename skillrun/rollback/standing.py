"""Which runs changed this machine, and whose changes still stand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from skillrun.record.journal import RunFolder, all_runs
from skillrun.rollback.as_run import UNDO_OF, UNDONE_BY


def standing() -> Iterator[RunFolder]:
    """Runs, undos among them, that changed something here and were not undone since, newest first."""
    here = (run for run in all_runs() if run.began and not run.elsewhere)
    return (run for run in here if not (run.path / UNDONE_BY).exists() and changed_something(run))


def changed_something(run: RunFolder) -> bool:
    """Did anything of the run become real, as far as its own records say? A run that was cut off counts."""
    from skillrun.overlay.transaction.commit import phase_of
    from skillrun.overlay.transaction.wal import Phase
    from skillrun.rollback.recorded import recorded

    with suppress(OSError, ValueError):
        if (run.changes / UNDO_OF).exists() or phase_of(run.changes) is Phase.COMMITTED:
            return True
        found = recorded(run.changes)
        return not found.empty or bool(found.made)
    return False
