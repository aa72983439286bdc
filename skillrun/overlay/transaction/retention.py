"""What a view leaves on disk, and getting rid of it: discarding, and giving up the way back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from skillrun.overlay.diff.deferred import FILE as DEFERRED
from skillrun.overlay.kernel.remove import remove_tree, unnoticed
from skillrun.overlay.mount.layers import FILE as LAYERS
from skillrun.overlay.mount.layers import Layers
from skillrun.overlay.transaction.wal import AFTER, PLAN, STATE, Phase, Plan, Progress
from skillrun.overlay.transaction.workspace import CommitError


def places(folder: Path) -> list[Path]:
    """The directories that belong to a run's view, inside and outside its `changes/` folder."""
    found: list[Path] = []
    with suppress(OSError, ValueError):
        for layer in Layers.load(folder).items:
            found += [Path(layer.upper), Path(layer.work)] if layer.work else [Path(layer.upper)]
    with suppress(OSError, ValueError):
        found += [Path(store.store) for store in Plan.load(folder).stores]
    return list(dict.fromkeys(found))


def kept_bytes(folder: Path) -> int:
    """What the way back of a run costs on disk."""
    return sum(status.st_blocks * 512 for place in places(folder) for status in _statuses(place))


def _statuses(top: Path) -> Iterator[os.stat_result]:
    pending = [os.fspath(top)]
    while pending:
        path = pending.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    yield entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except OSError:
            continue


def drop(folder: Path) -> int:
    """Remove everything a view left on disk, and the records in `folder`: bytes freed.

    Discards a view that was not committed; for one that was, gives up its undo. Raises CommitError
    while a transaction is unfinished: `recover` comes first.
    """
    phase = Progress.load(folder).phase
    if phase in (Phase.PREPARED, Phase.COMMITTING, Phase.UNDOING):
        raise CommitError(f"this run is still {phase.value}", "any skillrun command finishes it first; then try again")
    freed = kept_bytes(folder)
    for place in places(folder):
        remove_tree(place)
        remove_empty(place.parent, folder)
    forget(folder)
    return freed


def remove_empty(path: Path, stop: Path) -> None:
    """Remove a directory and those above it, as long as they are empty, skillrun's own, and below `stop` or outside it."""
    while path != stop and any(part == "skillrun" or part.startswith(".skillrun") for part in path.parts):
        try:
            with unnoticed(path.parent):
                path.rmdir()
        except OSError:
            return
        path = path.parent


def forget(folder: Path) -> None:
    """Remove the records of a view whose directories are gone."""
    for name in (PLAN, AFTER, STATE, LAYERS, DEFERRED):
        (folder / name).unlink(missing_ok=True)
