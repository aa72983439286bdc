"""Commit, undo and redo by exchanging names, all or nothing; recovery after a crash at any instant.

The order is the promise: plan on disk, new content on disk, "committing" on disk, names exchanged,
names on disk, "committed" on disk. Afterwards the uppers hold what was there before, and undo is
the same exchange once more.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from skillrun.view import snapshot
from skillrun.view.changes import Changes
from skillrun.view.dirfd import sync_file_system
from skillrun.view.inode import inode_at
from skillrun.view.layers import Layers
from skillrun.view.ledger import Folder, Kind, Op, Phase, Plan, Progress, Store
from skillrun.view.scan import Clash, walk_tree
from skillrun.view.snapshot import Snapshot
from skillrun.view.swap import Lost, Side, apply, make_ready, set_folder_time

LOCK_WAIT_S = 30.0


class CommitError(Exception):
    """A commit, undo or redo that did not happen; the machine is as it was. `hint`: what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Conflict(CommitError):
    """The machine changed meanwhile; nothing was touched. `clashes` says where and how."""

    def __init__(self, clashes: Sequence[Clash]) -> None:
        first = f"{clashes[0].path} {clashes[0].reason}"
        more = f" (and {len(clashes) - 1} more)" if len(clashes) > 1 else ""
        super().__init__(first + more, "run the installation again, so that it sees the machine as it is now")
        self.clashes = tuple(clashes)


class Unfinished(CommitError):
    """The exchange was cut and could not be taken back yet (disk gone, read-only). `recover` finishes it."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a transition did. Seconds by phase in `times`."""

    phase: Phase
    operations: int = 0
    left: tuple[str, ...] = ()
    """Real paths left as they are."""
    kept: dict[str, str] = field(default_factory=dict)
    """Real path -> where its later version was put."""
    times: dict[str, float] = field(default_factory=dict)


def commit(layers: Layers, changes: Changes, folder: Path) -> Done:
    """Make the real machine what the view showed. `folder` is the run's `changes/`.

    Raises Conflict and CommitError (nothing changed), Unfinished (call `recover`), OSError.
    """
    stores = tuple(_store_of(layer.target, layer.upper) for layer in layers.items)
    with locked([store.target for store in stores]), opened(stores, changes.folders) as sides:
        progress = Progress.load(folder)
        if progress.phase is not Phase.NONE:
            raise CommitError(f"this run is {progress.phase.value} already", "undo it or run the installation again")
        clock = _Clock()
        if changes.clashes:
            raise Conflict(changes.clashes)
        plan = Plan(stores, changes.ops, _folders_now(changes.folders, sides))
        expected = snapshot.of_entries(changes.ops, changes.entries, [side.base for side in sides])
        _refuse_edits(plan, sides, expected, strict=True, forward=True)
        clock.lap("check")
        plan.save(folder)
        progress.at(Phase.PREPARED).save(folder)
        return _forward(plan, sides, folder, progress, clock)


def redo(folder: Path) -> Done:
    """Commit again what was undone. Raises like `commit`."""
    plan, progress = Plan.load(folder), Progress.load(folder)
    with locked([store.target for store in plan.stores]), opened(plan.stores, plan.folders) as sides:
        if progress.phase is not Phase.UNDONE:
            raise CommitError(f"this run is {progress.phase.value}, there is nothing to bring back")
        clock = _Clock()
        _refuse_edits(plan, sides, snapshot.load(folder, plan), strict=False, forward=True, skip=_left(plan, sides, progress))
        clock.lap("check")
        return _forward(plan, sides, folder, progress, clock)


def undo(folder: Path) -> Done:
    """Put back what was there before the commit. Raises Conflict when something was edited since."""
    plan, progress = Plan.load(folder), Progress.load(folder)
    with locked([store.target for store in plan.stores]), opened(plan.stores, plan.folders) as sides:
        if progress.phase is not Phase.COMMITTED:
            raise CommitError(f"this run is {progress.phase.value}, there is nothing to take back")
        clock = _Clock()
        _refuse_edits(plan, sides, snapshot.load(folder, plan), strict=False, forward=False)
        clock.lap("check")
        return _backward(plan, sides, folder, progress, clock)


def recover(folder: Path) -> Phase:
    """After a crash: take an interrupted commit back, finish an interrupted undo. Idempotent; returns the phase now.

    Raises Unfinished when the disk refuses, OSError and ValueError when the records cannot be read.
    """
    progress = Progress.load(folder)
    if progress.phase not in (Phase.PREPARED, Phase.COMMITTING, Phase.UNDOING):
        return progress.phase
    plan = Plan.load(folder)
    with locked([store.target for store in plan.stores]), opened(plan.stores, plan.folders) as sides:
        progress = Progress.load(folder)
        if progress.phase in (Phase.PREPARED, Phase.COMMITTING, Phase.UNDOING):
            _take_back(plan, sides, folder, progress)
    return Phase.UNDONE


def phase_of(folder: Path) -> Phase:
    """How far the transaction in a run's `changes/` came."""
    return Progress.load(folder).phase


# --- the two directions ---------------------------------------------------------------------------


def _forward(plan: Plan, sides: list[Side], folder: Path, progress: Progress, clock: _Clock) -> Done:
    skip = _left(plan, sides, progress)
    try:
        for number, op in enumerate(plan.ops):
            make_ready(op, sides[op.layer], number)
        clock.lap("ready")
        _sync(plan)
        progress.at(Phase.COMMITTING).save(folder)
        clock.lap("sync")
        trees = {n: _tree(op, sides, real=True) for n, op in enumerate(plan.ops) if _moves_a_tree(op)}
        for number, op in enumerate(plan.ops):
            if number not in skip:
                apply(op, sides[op.layer], True, number)
                if number in trees and trees[number] != _tree(op, sides, real=False):
                    raise Lost(f"{sides[op.layer].base}/{op.path}", "was changed while the commit was under way")
        clock.lap("swap")
    except (Lost, OSError) as error:
        _take_back(plan, sides, folder, progress)
        raise CommitError(f"nothing was changed: {error}", "mend that and commit again") from error
    _set_times(plan, sides, forward=True)
    _sync(plan)
    snapshot.save(snapshot.take(plan, sides), folder)
    done = replace(progress.at(Phase.COMMITTED), left=(), kept={})
    done.save(folder)
    clock.lap("settle")
    return Done(Phase.COMMITTED, len(plan.ops) - len(skip), progress.left, times=clock.times)


def _backward(plan: Plan, sides: list[Side], folder: Path, progress: Progress, clock: _Clock) -> Done:
    progress.at(Phase.UNDOING).save(folder)
    _take_back(plan, sides, folder, progress)
    clock.lap("swap")
    return Done(Phase.UNDONE, len(plan.ops) - len(progress.left), progress.left, progress.kept, clock.times)


def _take_back(plan: Plan, sides: list[Side], folder: Path, progress: Progress) -> None:
    """Bring the real side to what was there before, from wherever it is. Raises Unfinished."""
    skip = _left(plan, sides, progress)
    foreign: list[str] = []
    try:
        for number in reversed(range(len(plan.ops))):
            if number not in skip:
                try:
                    apply(plan.ops[number], sides[plan.ops[number].layer], False, number)
                except Lost as lost:
                    foreign.append(lost.path)
        _set_times(plan, sides, forward=False)
        _sync(plan)
        snapshot.save(snapshot.take(plan, sides), folder)
        replace(progress, phase=Phase.UNDONE, left=tuple(dict.fromkeys((*progress.left, *foreign)))).save(folder)
    except OSError as error:
        raise Unfinished(
            f"the machine is between two states and cannot be brought back yet: {error}",
            "make the disk writable and run any skillrun command: it finishes this first",
        ) from error


def _refuse_edits(
    plan: Plan, sides: list[Side], expected: Snapshot, strict: bool, forward: bool, skip: frozenset[int] = frozenset()
) -> None:
    found = [edit for edit in snapshot.edits(plan, sides, expected, strict, forward) if edit.op not in skip]
    if found:
        raise Conflict(snapshot.as_clashes(found, plan, sides))


# --- parts ------------------------------------------------------------------------------------------


class _Clock:
    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.times[name], self._last = now - self._last, now


def _store_of(target: str, upper: str) -> Store:
    status = os.stat(target, follow_symlinks=False)
    return Store(target, status.st_dev, status.st_ino, upper)


def _folders_now(folders: Sequence[Folder], sides: list[Side]) -> tuple[Folder, ...]:
    """Folders with the time they have right now; `after` 0 when somebody else changed one: then its time is not ours."""
    found = []
    for item in folders:
        here = inode_at(sides[item.layer].real, item.path)
        if here is None or here.ino != item.ino:
            path = f"{sides[item.layer].base}/{item.path}"
            raise Conflict([Clash(path, "is another directory now")])
        found.append(item if here.mtime == item.before else replace(item, before=here.mtime, after=0))
    return tuple(found)


def _left(plan: Plan, sides: list[Side], progress: Progress) -> frozenset[int]:
    left = set(progress.left)
    return frozenset(n for n, op in enumerate(plan.ops) if f"{sides[op.layer].base}/{op.path}" in left)


def _moves_a_tree(op: Op) -> bool:
    return op.kind is Kind.SWAP and op.old is not None and op.old.is_directory


def _tree(op: Op, sides: list[Side], real: bool) -> list[tuple[str, int, int]]:
    """Names, inodes and status times inside a directory that leaves: must be the same after it left."""
    side = sides[op.layer]
    tree, top = (side.real, op.path) if real else (side.store, op.slot)
    here = inode_at(tree, top)
    if here is None or not here.is_directory:
        return []
    return [(path[len(top) :], inode.ino, inode.ctime) for path, inode, _ in walk_tree(tree, top)]


def _set_times(plan: Plan, sides: list[Side], forward: bool) -> None:
    for item in reversed(plan.folders):
        if item.after:
            set_folder_time(sides[item.layer], item.path, item.ino, None, item.after if forward else item.before)


def _sync(plan: Plan) -> None:
    """Once per file system, both sides."""
    seen: set[int] = set()
    for store in plan.stores:
        for path in (store.target, store.store):
            device = os.stat(path).st_dev
            if device not in seen:
                seen.add(device)
                sync_file_system(path)


@contextmanager
def opened(stores: Sequence[Store], folders: Sequence[Folder] = ()) -> Iterator[list[Side]]:
    """Every layer's two sides. Raises CommitError when a tree is gone or another one."""
    sides: list[Side] = []
    try:
        try:
            for number, store in enumerate(stores):
                sides.append(Side(store, {item.path: item.ino for item in folders if item.layer == number}))
        except (Lost, FileNotFoundError, NotADirectoryError) as error:
            raise CommitError(str(error), "the kept files of this run are gone; nothing was changed") from error
        yield sides
    finally:
        for side in sides:
            side.close()


@contextmanager
def locked(targets: Sequence[str], wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """One commit at a time per tree: an flock on the tree itself, which dies with its holder. Raises CommitError."""
    held: list[int] = []
    end = time.monotonic() + wait_s
    try:
        for target in sorted(set(targets)):
            held.append(os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            while True:
                try:
                    fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise CommitError(f"another commit on {target} is under way", "wait for it, then try again") from None
                    time.sleep(0.02)
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
