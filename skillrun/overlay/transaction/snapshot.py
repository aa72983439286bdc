"""What a transaction left on the real side, path by path: how a later edit is told from our own doing."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fcntl import F_RDLCK, F_SETLEASE, F_UNLCK, fcntl
from pathlib import Path

from skillrun.overlay.diff.entries import Clash, Entry
from skillrun.overlay.diff.operations import Kind, Op
from skillrun.overlay.kernel.dirfd import ASTRAY
from skillrun.overlay.kernel.inode import Inode, inode_at
from skillrun.overlay.kernel.walk import walk_tree
from skillrun.overlay.mount.layers import write_durably
from skillrun.overlay.transaction.exchange import Side, attributes_of
from skillrun.overlay.transaction.wal import AFTER, Plan

Snapshot = Mapping[tuple[int, str], Inode]
"""(layer, path relative to its target) -> what is there. No entry at or below an operation's path: it must be free."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A path that is not as a transaction left it. `path` is relative to the target of operation `op`."""

    op: int
    path: str
    reason: str
    gone: bool = False
    """It was removed."""


def of_entries(ops: Sequence[Op], entries: Iterable[Entry], bases: Sequence[str]) -> dict[tuple[int, str], Inode]:
    """The real side as a scan has seen it."""
    found = {(op.layer, op.path): op.old for op in ops if op.old is not None and not _is_made_later(op)}
    for entry in entries:
        if entry.old is not None and entry.change == "removed" and entry.op >= 0:
            layer = ops[entry.op].layer
            found[layer, entry.path[len(bases[layer]) + 1 :]] = entry.old
    return found


def _is_made_later(op: Op) -> bool:
    """Written through a name that the commit itself makes: before it, the operation on its former name stands for it."""
    return bool(op.source) and op.kind in (Kind.REWRITE, Kind.ATTRIBUTES)


def take(plan: Plan, sides: Sequence[Side]) -> dict[tuple[int, str], Inode]:
    """The real side as it is now."""
    found: dict[tuple[int, str], Inode] = {}
    for op in plan.ops:
        found.update(((op.layer, path), inode) for path, inode in _actual(op, sides[op.layer]).items())
    return found


def _actual(op: Op, side: Side) -> dict[str, Inode]:
    try:
        here = inode_at(side.real, op.path)
    except OSError as error:
        if error.errno not in ASTRAY:
            raise
        here = None
    if here is None:
        return {}
    whole = op.kind is Kind.SWAP or (op.kind is Kind.FOLDER and op.new is not None and op.new.is_object(here))
    if not here.is_directory or not whole:
        return {op.path: here}
    return {op.path: here, **{path: inode for path, inode, _ in walk_tree(side.real, op.path)}}


def save(snapshot: Snapshot, folder: Path) -> None:
    """Write `after.jsonl`, durable before it returns. Raises OSError."""
    lines = [json.dumps([layer, path, *inode]) for (layer, path), inode in snapshot.items()]
    write_durably(folder / AFTER, ("\n".join(lines) + "\n").encode())


def load(folder: Path) -> dict[tuple[int, str], Inode]:
    """Read `after.jsonl`. Raises OSError, ValueError."""
    found: dict[tuple[int, str], Inode] = {}
    with (folder / AFTER).open("rb") as file:
        for line in file:
            if line.strip():
                layer, path, *inode = json.loads(line)
                found[layer, path] = Inode(*inode)
    return found


def edits(plan: Plan, sides: Sequence[Side], expected: Snapshot, strict: bool, forward: bool) -> list[Edit]:
    """Where the real side is not as expected, before anything is touched.

    `strict` also counts a changed status time (ctime) of anything but a directory.
    """
    found: list[Edit] = []
    wanted_by_op = _by_op(plan, expected)
    for number, op in enumerate(plan.ops):
        side, wanted = sides[op.layer], wanted_by_op[number]
        if forward and _is_made_later(op):
            continue
        if op.kind is Kind.ATTRIBUTES:
            found += _attribute_edits(number, op, side, wanted.get(op.path), forward)
            continue
        actual = _actual(op, side)
        for path in sorted(wanted.keys() | actual.keys()):
            reason = _difference(wanted.get(path), actual.get(path), strict)
            if reason:
                found.append(Edit(number, path, reason, gone=path not in actual))
        here = actual.get(op.path)
        if here is not None and stat.S_ISREG(here.mode) and is_being_written(side, op.path):
            found.append(Edit(number, op.path, "is open for writing in a running program"))
    return found


def _by_op(plan: Plan, expected: Snapshot) -> list[dict[str, Inode]]:
    tops: dict[tuple[int, str], list[int]] = {}
    for number, op in enumerate(plan.ops):  # a name whose inode is written may also go: two operations
        tops.setdefault((op.layer, op.path), []).append(number)
    found: list[dict[str, Inode]] = [{} for _ in plan.ops]
    for (layer, path), inode in expected.items():
        top = path
        while (layer, top) not in tops and top:
            top = top.rpartition("/")[0]
        for number in tops.get((layer, top), ()):
            found[number][path] = inode
    return found


def _attribute_edits(number: int, op: Op, side: Side, wanted: Inode | None, forward: bool) -> list[Edit]:
    expected = op.before if forward else op.after
    here, now = inode_at(side.real, op.path), attributes_of(side, op.path)
    assert expected is not None
    if here is None or now is None:
        return [Edit(number, op.path, "was removed", gone=True)]
    if wanted is None or not wanted.is_object(here) or (not here.is_directory and wanted.size != here.size):
        return [Edit(number, op.path, "was replaced or written")]
    if not expected.same_but_time(now) or (not here.is_directory and expected.mtime != now.mtime):
        return [Edit(number, op.path, "was given other attributes, or written")]
    return []


def _difference(wanted: Inode | None, actual: Inode | None, strict: bool) -> str:
    if wanted is None:
        return "" if actual is None else "appeared"
    if actual is None:
        return "was removed"
    if not wanted.is_object(actual):
        return "was replaced"
    if not wanted.is_untouched(actual):
        return "was changed"
    if strict and not wanted.is_directory and wanted.ctime != actual.ctime:
        return "was touched"
    return ""


def is_being_written(side: Side, path: str) -> bool:
    """Does a process hold the file open for writing? A read lease is refused then; False where leases cannot tell."""
    directory, name = side.real.place(path)
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return False
    try:
        fcntl(descriptor, F_SETLEASE, F_RDLCK)
        fcntl(descriptor, F_SETLEASE, F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def as_clashes(found: Iterable[Edit], plan: Plan, sides: Sequence[Side]) -> list[Clash]:
    """Edits under the names the real machine knows them by."""
    return [Clash(f"{sides[plan.ops[edit.op].layer].base}/{edit.path}", edit.reason, edit.op) for edit in found]
