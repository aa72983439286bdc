"""What a transaction left on the real side, path by path: how a later edit is told from our own doing."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fcntl import F_RDLCK, F_SETLEASE, F_UNLCK, fcntl
from pathlib import Path

from skillrun.view.inode import Inode, inode_at
from skillrun.view.layers import write_durably
from skillrun.view.ledger import AFTER, Kind, Op, Plan
from skillrun.view.scan import Clash, Entry, walk_tree
from skillrun.view.swap import Side, attributes_of

Snapshot = Mapping[int, Mapping[str, Inode]]
"""Number of the operation -> path relative to the target -> what is there. No entry: the path must be free."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A path that is not as a transaction left it. `path` is relative to the target of operation `op`."""

    op: int
    path: str
    reason: str


def of_entries(ops: Iterable[Op], entries: Iterable[Entry], bases: list[str]) -> dict[int, dict[str, Inode]]:
    """The real side as a scan has seen it."""
    known = list(ops)
    found: dict[int, dict[str, Inode]] = {number: {} for number in range(len(known))}
    for number, op in enumerate(known):
        if op.old is not None:
            found[number][op.path] = op.old
    for entry in entries:
        if entry.old is not None and entry.change == "removed" and entry.op >= 0:
            found[entry.op][entry.path[len(bases[known[entry.op].layer]) + 1 :]] = entry.old
    return found


def take(plan: Plan, sides: list[Side]) -> dict[int, dict[str, Inode]]:
    """The real side as it is now."""
    found: dict[int, dict[str, Inode]] = {}
    for number, op in enumerate(plan.ops):
        side = sides[op.layer]
        here = inode_at(side.real, op.path)
        found[number] = {} if here is None else {op.path: here}
        if here is not None and here.is_directory and op.kind is Kind.SWAP:
            found[number].update((path, inode) for path, inode, _ in walk_tree(side.real, op.path))
    return found


def save(snapshot: Snapshot, folder: Path) -> None:
    """Write `after.jsonl`, durable before it returns. Raises OSError."""
    lines = [json.dumps([number, path, *inode]) for number, paths in snapshot.items() for path, inode in paths.items()]
    write_durably(folder / AFTER, ("\n".join(lines) + "\n").encode())


def load(folder: Path, plan: Plan) -> dict[int, dict[str, Inode]]:
    """Read `after.jsonl`. Raises OSError, ValueError."""
    found: dict[int, dict[str, Inode]] = {number: {} for number in range(len(plan.ops))}
    with (folder / AFTER).open("rb") as file:
        for line in file:
            if line.strip():
                number, path, *inode = json.loads(line)
                found[number][path] = Inode(*inode)
    return found


def edits(plan: Plan, sides: list[Side], expected: Snapshot, strict: bool, forward: bool) -> list[Edit]:
    """Where the real side is not as expected, before anything is touched.

    `strict` also counts a changed status time (ctime) of anything but a directory.
    """
    found: list[Edit] = []
    for number, op in enumerate(plan.ops):
        side, wanted = sides[op.layer], expected[number]
        here = inode_at(side.real, op.path)
        if op.kind is Kind.ATTRIBUTES:
            found += _attribute_edits(number, op, side, wanted.get(op.path), here, forward)
            continue
        actual = {} if here is None else {op.path: here}
        if here is not None and here.is_directory and op.path in wanted and wanted[op.path].is_directory:
            actual.update((path, inode) for path, inode, _ in walk_tree(side.real, op.path))
        for path in sorted(wanted.keys() | actual.keys()):
            reason = _difference(wanted.get(path), actual.get(path), strict)
            if reason:
                found.append(Edit(number, path, reason))
        if here is not None and stat.S_ISREG(here.mode) and is_being_written(side, op.path):
            found.append(Edit(number, op.path, "is open for writing in a running program"))
    return found


def _attribute_edits(number: int, op: Op, side: Side, wanted: Inode | None, here: Inode | None, forward: bool) -> list[Edit]:
    expected = op.before if forward else op.after
    now = attributes_of(side, op.path)
    assert expected is not None
    if here is None or now is None:
        return [Edit(number, op.path, "was removed")]
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


def as_clashes(found: Iterable[Edit], plan: Plan, sides: list[Side]) -> list[Clash]:
    """Edits under the names the real machine knows them by."""
    return [Clash(f"{sides[plan.ops[edit.op].layer].base}/{edit.path}", edit.reason, plan.ops[edit.op].light) for edit in found]
