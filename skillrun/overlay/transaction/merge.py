"""Undoing where somebody went on working: what they wrote is never lost, the rest is put back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from skillrun.overlay.diff.operations import Folder, Kind, Op
from skillrun.overlay.kernel.inode import Inode, inode_at
from skillrun.overlay.transaction.exchange import Side, backup_name, copy_bytes
from skillrun.overlay.transaction.snapshot import Edit, Snapshot
from skillrun.overlay.transaction.wal import Plan


@dataclass(frozen=True, slots=True)
class Agreed:
    """A plan that fits the edits: it describes the same committed state, cut so that undo can go around them."""

    plan: Plan
    left: tuple[str, ...] = ()
    """Real paths that stay as they are."""
    kept: tuple[tuple[str, str], ...] = ()
    """Real path -> where its later version will be once it is undone."""


def go_around(plan: Plan, sides: Sequence[Side], expected: Snapshot, edits: Iterable[Edit]) -> Agreed:
    """Leave edited paths as they are and undo everything else; new directories are cut open around them.

    Makes the directories the cut needs in the store; touches nothing on the real side.
    """
    by_op: dict[int, list[Edit]] = {}
    for edit in edits:
        by_op.setdefault(edit.op, []).append(edit)
    ops: list[Op] = []
    folders, left = list(plan.folders), []
    for number, op in enumerate(plan.ops):
        found, base = by_op.get(number, []), sides[op.layer].base
        there = [edit for edit in found if not edit.gone]
        if not found or (op.old is None and not there):
            ops.append(op)
            continue
        if not _is_new_directory(op) or any(edit.path == op.path and edit.reason != "was changed" for edit in there):
            ops.append(op)
            left.append(f"{base}/{op.path}")
            continue
        parts, opened = _cut(op, expected, {edit.path for edit in there})
        ops += parts
        folders += [Folder(op.layer, path, expected[op.layer, path].ino, 0, 0) for path in opened]
        left += [f"{base}/{edit.path}" for edit in there]
        for path in opened:
            os.makedirs(f"{sides[op.layer].store.path}/{path}", mode=0o700, exist_ok=True)
    return Agreed(Plan(plan.stores, tuple(ops), tuple(folders), plan.leave), tuple(left))


def _is_new_directory(op: Op) -> bool:
    return op.kind is Kind.SWAP and op.old is None and op.new is not None and op.new.is_directory


def _cut(op: Op, expected: Snapshot, edited: set[str]) -> tuple[list[Op], list[str]]:
    """The largest untouched pieces of a new directory as operations of their own, and the directories that stay."""
    opened = {op.path}
    for path in edited:
        parent = path if path in edited and _is_known_directory(op, expected, path) else path.rpartition("/")[0]
        while len(parent) > len(op.path):
            opened.add(parent)
            parent = parent.rpartition("/")[0]
    pieces = []
    for (layer, path), inode in expected.items():
        inside = layer == op.layer and path.startswith(op.path + "/")
        if inside and path not in opened and path not in edited and path.rpartition("/")[0] in opened:
            pieces.append(Op(layer, path, Kind.SWAP, None, inode, path))
    return pieces, sorted(path for path in opened if (op.layer, path) in expected)


def _is_known_directory(op: Op, expected: Snapshot, path: str) -> bool:
    inode = expected.get((op.layer, path))
    return inode is not None and inode.is_directory


def replace_all(plan: Plan, sides: Sequence[Side], edits: Iterable[Edit]) -> Agreed:
    """Undo edited paths too; their later versions go to the store and are kept there.

    Copies into the store what would otherwise be overwritten; touches nothing on the real side.
    """
    ops = list(plan.ops)
    kept: list[tuple[str, str]] = []
    for edit in edits:
        op, side = ops[edit.op], sides[ops[edit.op].layer]
        now = inode_at(side.real, op.path)
        if op.kind is Kind.REWRITE:
            kept.append((f"{side.base}/{op.path}", _copy_out(op, side, edit.op)))
        elif op.kind is not Kind.ATTRIBUTES:
            if edit.path == op.path:
                ops[edit.op] = _adopt(op, now)
            if not edit.gone:
                kept.append((f"{side.base}/{edit.path}", f"{side.store.path}/{op.slot}{edit.path[len(op.path) :]}"))
    return Agreed(replace(plan, ops=tuple(ops)), kept=tuple(kept))


def _adopt(op: Op, now: Inode | None) -> Op:
    """Take what is there now for what the commit put there."""
    kind = Kind.SWAP if op.kind is Kind.LINK else op.kind
    return op._replace(new=now, kind=kind)


def _copy_out(op: Op, side: Side, number: int) -> str:
    name = backup_name(number).replace("former", "edited")
    directory, real_name = side.real.place(op.path)
    source = os.open(real_name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    goal = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=side.store.fd)
    copy_bytes(source, goal)
    return f"{side.store.path}/{name}"
