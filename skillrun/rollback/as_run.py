"""An undo as a run of its own: what it asks, its journal, what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from skillrun.events import Changed, Event, Outcome, RunEnded, RunStarted

if TYPE_CHECKING:
    from skillrun.record.journal import RunFolder

UNDO_OF = "undo-of.json"
UNDONE_BY = "undone-by"
"""In the folder of a run that was undone: the id of the run that did it, as long as that stands."""
SHOWN = 30
"""How many paths are listed before the rest is counted."""


class Consent(Protocol):
    """Who says whether a run is undone, and is shown before what that means."""

    def show(self, lines: Iterable[str]) -> None:
        """What would be done, one line each, safe to print."""
        ...

    def confirm(self, question: str) -> None:
        """Raises Problem (exit code 4) when nobody says yes."""
        ...

    def about_edits(self, paths: Sequence[str]) -> str:
        """`leave` or `replace` for what was changed after the run. Raises Problem (exit code 4) when nobody can say."""
        ...


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
    packages: int = 0
    """That a package manager removed."""

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
    target: str = "this machine",
) -> tuple[str, Undone]:
    """Do the work as a run of its own, with a journal, so that it shows in the history and can be undone."""
    from skillrun import __version__
    from skillrun.record.journal import Journal, new_run

    skill = of.summary()["skill"] or of.id
    run = new_run(f"undo-{skill}")
    journal = Journal(run)
    begun = time.monotonic()
    journal(RunStarted(run.id, "undo", skill, of.id, "", "none", target, skillrun=__version__))
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
    if exit_code == 0:
        for turned in run.path.parent.glob(f"*/{UNDONE_BY}"):
            if turned.read_text() == of.id:
                turned.unlink()  # what was undone by the run that is undone now stands again
        (of.path / UNDONE_BY).write_text(run.id)
    return run.id, outcome


def copy_beside(path: Path, folder: Path) -> str:
    """Keep a copy of a file in a folder; where it is. Raises OSError."""
    import shutil

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(shutil.copy2(path, folder / f"{len(list(folder.iterdir()))}-{path.name}"))
