"""Commit, undo and redo by exchanging names, all or nothing; recovery after a crash at any instant.

The order is the promise: plan on disk, new content on disk, "committing" on disk, names exchanged,
names on disk, "committed" on disk. Afterwards the uppers hold what was there before, and undo is
the same exchange once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from skillrun.overlay.diff.changes import Changes
from skillrun.overlay.diff.deferred import read_deferred, write_deferred
from skillrun.overlay.diff.entries import Clash, is_passing
from skillrun.overlay.diff.operations import Folder, Kind, Op
from skillrun.overlay.kernel.dirfd import ASTRAY
from skillrun.overlay.kernel.inode import inode_at
from skillrun.overlay.kernel.walk import walk_tree
from skillrun.overlay.mount.layers import Layers
from skillrun.overlay.mount.service_request import ServiceRequest
from skillrun.overlay.transaction import deferred_services as services
from skillrun.overlay.transaction import snapshot
from skillrun.overlay.transaction.deferred_services import Carried
from skillrun.overlay.transaction.exchange import Lost, Side, apply, make_ready, take_out
from skillrun.overlay.transaction.merge import Agreed, go_around, replace_all
from skillrun.overlay.transaction.selection import Choice, select
from skillrun.overlay.transaction.staging import can_rename, stage, store_place, with_hashes
from skillrun.overlay.transaction.still_running import still_running
from skillrun.overlay.transaction.wal import Phase, Plan, Progress
from skillrun.overlay.transaction.workspace import Clock, CommitError, opened, set_times, store_of, sync, working


class Conflict(CommitError):
    """The machine changed meanwhile; nothing was touched. `clashes` says where and how."""

    def __init__(self, clashes: Sequence[Clash], hint: str = "") -> None:
        first = f"{clashes[0].path} {clashes[0].reason}"
        more = f" (and {len(clashes) - 1} more)" if len(clashes) > 1 else ""
        super().__init__(first + more, hint or "run the installation again, so that it sees the machine as it is now")
        self.clashes = tuple(clashes)


class Unfinished(CommitError):
    """The exchange was cut and could not be taken back yet (disk gone, read-only). `recover` finishes it."""


class Edited(StrEnum):
    """What undo does with paths that were changed after the commit."""

    REFUSE = "refuse"
    LEAVE = "leave"
    REPLACE = "replace"


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
    warnings: tuple[str, ...] = ()
    services: tuple[Carried, ...] = ()
    """Deferred actions as they came out, or, after undo, their reversals."""


def commit(
    layers: Layers,
    changes: Changes,
    folder: Path,
    only: Sequence[str] = (),
    except_: Sequence[str] = (),
    run: services.Runner = services.run_here,
) -> Done:
    """Make the real machine what the view showed, or the part of it that `only` and `except_` (path patterns) leave.

    `folder` is the run's `changes/`. What `changes.deferred` asks of services follows the commit, but for units whose
    files are not part of it. Raises Conflict and CommitError (nothing changed), Unfinished (call `recover`), OSError.
    """
    stores = tuple(store_of(layer.target, layer.upper) for layer in layers.items)
    bases = [layer.target.rstrip("/") for layer in layers.items]
    chosen = select(changes.ops, changes.entries, bases, Choice(only, except_))
    mine = set(chosen.numbers)
    _refuse(c for c in changes.clashes if c.op < 0 or (c.op in mine and not changes.ops[c.op].light))
    passed = {clash.op for clash in changes.clashes if clash.op in mine}
    with working(stores, changes.folders, (entry.path for entry in changes.entries)) as sides:
        progress = Progress.load(folder)
        if progress.phase is not Phase.NONE:
            raise CommitError(f"this run is {progress.phase.value} already", "undo it or run the installation again")
        clock = Clock()
        numbers = [number for number in chosen.numbers if number not in passed]
        everything = Plan(stores, tuple(changes.ops[n] for n in numbers), _folders_now(changes.folders, sides), chosen.leave)
        plan, edited = _without_edited(everything, sides, snapshot.of_entries(changes.ops, changes.entries, bases))
        late = {numbers[place] for place in edited}
        clock.lap("check")
        plan = with_hashes(_staged(plan, layers, folder.parent.name))
        plan.save(folder)
        left = (*chosen.left, *_real_paths(changes, bases, passed | late))
        kept_back = services.of_what_stays_out(changes.deferred, left)
        write_deferred(folder, [request for request in changes.deferred if request not in kept_back])
        progress.at(Phase.PREPARED).save(folder)
        clock.lap("stage")
        with opened(plan.stores, plan.folders) as sides:
            done = _forward(plan, sides, folder, progress, clock)
    warnings = (*chosen.warnings, *(f"`{request}` is not done: files of it are left out" for request in kept_back))
    return replace(done, left=left, warnings=warnings, services=_carry_out(folder, run))


def _without_edited(plan: Plan, sides: Sequence[Side], seen: snapshot.Snapshot) -> tuple[Plan, set[int]]:
    """The plan without what somebody wrote over since it was seen, and the places of that in it.

    Raises Conflict where it is more than a log or a cache.
    """
    found = snapshot.edits(plan, sides, seen, strict=True, forward=True)
    _refuse(snapshot.as_clashes((edit for edit in found if not plan.ops[edit.op].light), plan, sides))
    edited = {edit.op for edit in found}
    return replace(plan, ops=tuple(op for place, op in enumerate(plan.ops) if place not in edited)), edited


def _real_paths(changes: Changes, bases: Sequence[str], numbers: Iterable[int]) -> list[str]:
    """Where on the machine the operations of these numbers lie, in their order."""
    return [f"{bases[op.layer]}/{op.path}" for op in (changes.ops[number] for number in sorted(numbers))]


def redo(folder: Path, run: services.Runner = services.run_here) -> Done:
    """Commit again what was undone. Raises like `commit`."""
    plan = Plan.load(folder)
    with working(plan.stores, plan.folders, _paths(plan)) as sides:
        progress = Progress.load(folder)
        if progress.phase is not Phase.UNDONE:
            raise CommitError(f"this run is {progress.phase.value}, there is nothing to bring back")
        clock = Clock()
        skip = _left(plan, sides, progress)
        found = snapshot.edits(plan, sides, snapshot.load(folder), strict=False, forward=True)
        _refuse(snapshot.as_clashes((edit for edit in found if edit.op not in skip), plan, sides))
        clock.lap("check")
        done = _forward(plan, sides, folder, progress, clock)
    return replace(done, services=_carry_out(folder, run))


def edits_since(folder: Path) -> tuple[Clash, ...]:
    """What was changed on the machine after the commit, where undo would put something back. Raises CommitError, OSError."""
    plan = Plan.load(folder)
    with opened(plan.stores, plan.folders) as sides:
        found = snapshot.edits(plan, sides, snapshot.load(folder), strict=False, forward=False)
        return tuple(snapshot.as_clashes(_that_count(found, plan, sides), plan, sides))


def undo(folder: Path, edited: Edited = Edited.REFUSE, run: services.Runner = services.run_here) -> Done:
    """Put back what was there before the commit; deferred service actions are reversed first.

    `edited` says what becomes of paths somebody changed since: REFUSE raises Conflict and touches
    nothing, LEAVE keeps them as they are, REPLACE puts the former ones back and keeps the later ones
    in the run's store (`Done.kept`). Logs and caches that changed are always left.
    """
    plan = Plan.load(folder)
    with working(plan.stores, plan.folders, _paths(plan)) as sides:
        progress = Progress.load(folder)
        if progress.phase is not Phase.COMMITTED:
            raise CommitError(f"this run is {progress.phase.value}, there is nothing to take back")
        clock = Clock()
        agreed = _agree(plan, sides, snapshot.load(folder), edited)
        if agreed.plan != plan:
            sync(plan)
            agreed.plan.save(folder)
        clock.lap("check")
        carried = tuple(services.Carried.from_json(item) for item in progress.services)
        reversals = services.take_back(carried, run)
        progress = replace(progress, left=agreed.left, kept=dict(agreed.kept), phase=Phase.UNDOING)
        progress.save(folder)
        clock.lap("services")
        _take_back(agreed.plan, sides, folder, progress)
        clock.lap("swap")
        services.settle(carried, run)
    count = len(agreed.plan.ops) - len(agreed.left)
    warnings = still_running(agreed.plan)
    return Done(Phase.UNDONE, count, agreed.left, dict(agreed.kept), clock.times, warnings, reversals)


def recover(folder: Path, run: services.Runner = services.run_here) -> Phase:
    """After a crash: take an interrupted commit back, finish an interrupted undo or the service actions of a commit.

    Idempotent; returns the phase now. Not to be called while the run is alive. Raises Unfinished when
    the disk refuses, OSError and ValueError when the records cannot be read.
    """
    progress = Progress.load(folder)
    if progress.phase is Phase.COMMITTED and progress.pending:
        _carry_out(folder, run)
    if progress.phase not in (Phase.PREPARED, Phase.COMMITTING, Phase.UNDOING):
        return progress.phase
    plan = Plan.load(folder)
    with working(plan.stores, plan.folders, ()) as sides:
        progress = Progress.load(folder)
        if progress.phase in (Phase.PREPARED, Phase.COMMITTING, Phase.UNDOING):
            _take_back(plan, sides, folder, progress)
    return Phase.UNDONE


def phase_of(folder: Path) -> Phase:
    """How far the transaction in a run's `changes/` came."""
    return Progress.load(folder).phase


# --- the two directions ---------------------------------------------------------------------------


def _forward(plan: Plan, sides: list[Side], folder: Path, progress: Progress, clock: Clock) -> Done:
    skip = _left(plan, sides, progress)
    try:
        take_out(plan, sides)
        for number, op in enumerate(plan.ops):
            make_ready(op, sides[op.layer], number)
        clock.lap("ready")
        sync(plan)
        progress.at(Phase.COMMITTING).save(folder)
        clock.lap("sync")
        _look_anew(sides)
        trees = {n: _tree(op, sides, real=True) for n, op in enumerate(plan.ops) if _moves_a_tree(op)}
        for number, op in enumerate(plan.ops):
            if number not in skip:
                apply(op, sides[op.layer], True, number)
                if number in trees and trees[number] != _tree(op, sides, real=False):
                    raise Lost(f"{sides[op.layer].base}/{op.path}", "was changed while the commit was under way")
        clock.lap("swap")
        _look_anew(sides)
        _arrived(plan, sides, skip)
    except (Lost, OSError) as error:
        _look_anew(sides)
        _take_back(plan, sides, folder, progress)
        raise CommitError(f"nothing was changed: {error}", "put that right and commit again") from error
    set_times(plan, sides, forward=True)
    sync(plan)
    snapshot.save(snapshot.take(plan, sides), folder)
    replace(progress, phase=Phase.COMMITTED, left=(), kept={}, pending=True).save(folder)
    clock.lap("settle")
    return Done(Phase.COMMITTED, len(plan.ops) - len(skip), progress.left, times=clock.times)


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
        set_times(plan, sides, forward=False)
        sync(plan)
        snapshot.save(snapshot.take(plan, sides), folder)
        replace(progress, phase=Phase.UNDONE, left=tuple(dict.fromkeys((*progress.left, *foreign)))).save(folder)
    except OSError as error:
        raise Unfinished(
            f"the machine is between two states and cannot be brought back yet: {error}",
            "make the disk writable and run any skillrun command: it finishes this first",
        ) from error


def _agree(plan: Plan, sides: Sequence[Side], expected: snapshot.Snapshot, edited: Edited) -> Agreed:
    """The plan as it can be taken back, given what was edited since and what is to become of it."""
    found = snapshot.edits(plan, sides, expected, strict=False, forward=False)
    hard = _that_count(found, plan, sides)
    if edited is Edited.REFUSE:
        _refuse(snapshot.as_clashes(hard, plan, sides), "say whether edited files are to be left or replaced")
    replaced = replace_all(plan, sides, hard if edited is Edited.REPLACE else ())
    around = found if edited is Edited.LEAVE else [edit for edit in found if edit not in hard]
    return replace(go_around(replaced.plan, sides, expected, around), kept=replaced.kept)


def _refuse(clashes: Iterable[Clash], hint: str = "") -> None:
    found = list(clashes)
    if found:
        raise Conflict(found, hint)


def _that_count(found: Sequence[snapshot.Edit], plan: Plan, sides: Sequence[Side]) -> list[snapshot.Edit]:
    """Without logs and caches, and without what is gone already and is to be gone anyway."""
    return [
        edit
        for edit in found
        if not (plan.ops[edit.op].light or is_passing(sides[plan.ops[edit.op].layer].base, edit.path))
        and not (edit.gone and plan.ops[edit.op].old is None)
    ]


def _paths(plan: Plan) -> Iterator[str]:
    return (f"{plan.stores[op.layer].target.rstrip('/')}/{op.path}" for op in plan.ops)


def _carry_out(folder: Path, run: services.Runner) -> tuple[services.Carried, ...]:
    """The deferred actions, once; their record is what undo reverses."""
    progress = Progress.load(folder)
    requests = [item for item in read_deferred(folder) if isinstance(item, ServiceRequest)]
    carried = services.carry_out(requests, run)
    replace(progress, pending=False, services=tuple(item.to_json() for item in carried)).save(folder)
    return carried


# --- parts ------------------------------------------------------------------------------------------


def _staged(plan: Plan, layers: Layers, run: str) -> Plan:
    """The plan with copies in place of uppers that cannot be exchanged by renaming; `run` names them."""
    stores, ops = list(plan.stores), list(plan.ops)
    for number, layer in enumerate(layers.items):
        if any(op.layer == number for op in ops) and not can_rename(layer):
            try:
                stores[number], ops = stage(layer, number, run, ops)
            except OSError as error:
                place = store_place(layer.target)
                raise CommitError(f"nothing was changed: no copy could be made below {place}: {error}") from error
    return replace(plan, stores=tuple(stores), ops=tuple(ops))


def _folders_now(folders: Sequence[Folder], sides: list[Side]) -> tuple[Folder, ...]:
    """Folders with the time they have right now; `after` 0 when somebody else changed one: then its time is not ours."""
    found = []
    for item in folders:
        here = inode_at(sides[item.layer].real, item.path)
        if here is None or here.ino != item.ino:
            path = f"{sides[item.layer].base}/{item.path}"
            raise Conflict([Clash(path, "is another directory than when it was read")])
        found.append(item if here.mtime == item.before else replace(item, before=here.mtime, after=0))
    return tuple(found)


def _left(plan: Plan, sides: list[Side], progress: Progress) -> frozenset[int]:
    left = set(progress.left)
    return frozenset(n for n, op in enumerate(plan.ops) if f"{sides[op.layer].base}/{op.path}" in left)


def _look_anew(sides: Sequence[Side]) -> None:
    for side in sides:
        side.real.forget()


def _arrived(plan: Plan, sides: Sequence[Side], skip: frozenset[int]) -> None:
    """Everything is where the plan says, found from the top. Raises Lost: a directory was moved away under our hands."""
    for number, op in enumerate(plan.ops):
        if number not in skip and op.kind in (Kind.SWAP, Kind.LINK):
            side = sides[op.layer]
            try:
                here = inode_at(side.real, op.path)
            except OSError as error:
                if op.new is not None or error.errno not in ASTRAY:
                    raise
                continue  # a directory above it gave way to a link
            if (op.new is None) != (here is None) or (op.new is not None and not op.new.is_object(here)):
                raise Lost(f"{side.base}/{op.path}", "is not where it was put: a directory was moved meanwhile")


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
