"""What a scan has found: changed paths as a person sees them, and the operations that would carry them out."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from skillrun.overlay.diff.compare import Xattrs, attributes_of
from skillrun.overlay.diff.operations import Folder, Kind, Op
from skillrun.overlay.kernel.dirfd import ASTRAY, Tree
from skillrun.overlay.kernel.inode import Inode, is_shared, overlay_xattr, read_xattrs
from skillrun.overlay.kernel.walk import walk_tree


class Entry(NamedTuple):
    """One changed path, as listed. `aspects`: content, type, mode, owner, xattr, acl, capability, time, link."""

    path: str
    """Absolute, as the real machine names it."""
    change: str
    """added | changed | removed"""
    old: Inode | None
    new: Inode | None
    aspects: tuple[str, ...] = ()
    op: int = -1
    """Index of the operation that carries it; -1 for none."""
    capability: bool = False
    """File capabilities are set on the new one."""
    shared: bool = False
    """An access list that is new lets others than owner and group write it."""

    @property
    def inode(self) -> Inode:
        """The new inode, or the old one of a removed path."""
        found = self.new or self.old
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class Clash:
    """A real path that does not look as the view saw it, and why."""

    path: str
    reason: str
    op: int = -1
    """The operation it stands in the way of; -1: all of them."""


@dataclass(slots=True)
class Scan:
    """The result for one layer."""

    ops: list[Op] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    clashes: list[Clash] = field(default_factory=list)
    unchanged: int = 0
    """Entries of the upper that differ in nothing."""
    touched: int = 0
    """Paths where only the modification time differs."""


class Findings:
    """Writes down one layer's changes, path by path. Paths are relative to the layer's target."""

    def __init__(self, number: int, target: str, upper: Tree, real: Tree, since_ns: int, first: int) -> None:
        """`number`: the layer's. `since_ns`: what the machine changed later clashes. `first`: number of the first operation."""
        self.number, self.base = number, target.rstrip("/")
        self.upper, self.real = upper, real
        self.since, self.first = since_ns, first
        self.scan = Scan()

    @property
    def next(self) -> int:
        """The number of the operation that is added next."""
        return self.first + len(self.scan.ops)

    def is_opaque(self, path: str) -> bool:
        """Does this directory of the upper hide what the machine has below that name?"""
        return overlay_xattr(self.upper.proc_path(path), "opaque") == b"y"

    def attributes(self, path: str, new: Inode, old: Inode, xattrs: tuple[Xattrs, Xattrs], aspects: tuple[str, ...]) -> None:
        """An inode that stays and gets other attributes. `xattrs`: of the new and of the old."""
        after, before = attributes_of(new, xattrs[0]), attributes_of(old, xattrs[1])
        light = aspects == ("time",)
        if light:
            self.scan.touched += 1
        self.clash(path, old)
        op = Op(self.number, path, Kind.ATTRIBUTES, old, new, path, before, after, light=light or is_passing(self.base, path))
        self.entry(path, "changed", old, new, aspects, capability="security.capability" in xattrs[0])
        self.scan.ops.append(op)

    def swap(
        self,
        path: str,
        old: Inode | None,
        new: Inode | None,
        aspects: tuple[str, ...] = (),
        capability: bool | None = None,
    ) -> None:
        """A name that appears, disappears, or holds something else; a directory with all that is below it.

        `capability`: does the new file have any; None when it was not looked at yet.
        """
        if old is not None and not aspects and new is not None:
            aspects = ("type",) if stat.S_IFMT(old.mode) != stat.S_IFMT(new.mode) else ("content",)
        change = "added" if old is None else "removed" if new is None else "changed"
        self.entry(path, change, old, new, aspects, capability)
        if new is not None and new.is_directory:
            self._below(path, new=True)
        if old is not None:
            if old.ctime >= self.since:
                self.clash(path, old)
            if old.is_directory:
                self._below(path, new=False)
        light = is_passing(self.base, path)
        self.scan.ops.append(Op(self.number, path, Kind.SWAP, old, new, path, light=light))

    def _below(self, top: str, new: bool) -> None:
        """List what is inside a directory that comes or goes as a whole."""
        tree = self.upper if new else self.real
        try:
            for path, inode, hidden in walk_tree(tree, top):
                if hidden:
                    continue
                if new:
                    self.entry(path, "added", None, inode)
                else:
                    self.entry(path, "removed", inode, None)
                    self.clash(path, inode)
        except OSError as error:
            self.in_the_way(top, error)

    def in_the_way(self, path: str, error: OSError) -> None:
        """A real directory that cannot be entered as the view did: a mount or a link took its place. No operation can pass."""
        if error.errno not in ASTRAY:
            raise error
        self.scan.clashes.append(
            Clash(f"{self.base}/{path}", "has a mount or a link on or below it that the view did not know")
        )

    def entry(
        self,
        path: str,
        change: str,
        old: Inode | None,
        new: Inode | None,
        aspects: tuple[str, ...] = (),
        capability: bool | None = None,
    ) -> None:
        """List a path beside the next operation. `capability`: as for `swap`."""
        if capability is None:
            program = new is not None and new.mode & 0o111 and stat.S_ISREG(new.mode)
            capability = bool(program) and "security.capability" in read_xattrs(self.upper.proc_path(path))
        listed = new is not None and new.mode & stat.S_IWGRP and not stat.S_ISLNK(new.mode)
        shared = bool(listed and (old is None or "acl" in aspects)) and is_shared(read_xattrs(self.upper.proc_path(path)))
        self.scan.entries.append(Entry(f"{self.base}/{path}", change, old, new, aspects, self.next, capability, shared))

    def clash(self, path: str, old: Inode) -> None:
        """Note it where the machine changed what the next operation takes away."""
        if old.ctime >= self.since and (not old.is_directory or self._is_leaving(path)):
            reason = "was changed on the machine after the view was opened"
            self.scan.clashes.append(Clash(f"{self.base}/{path}", reason, self.next))

    def _is_leaving(self, path: str) -> bool:
        """Is this real directory going away? Then a new entry in it counts; in one that stays it does not."""
        status = self.upper.status(path)
        return status is None or not stat.S_ISDIR(status.st_mode) or self.is_opaque(path)

    def order(self) -> None:
        """Put the operations into the order they can be carried out in (and, reversed, taken back in)."""
        ops = self.scan.ops
        if all(op.kind is Kind.SWAP for op in ops):
            return
        order = sorted(range(len(ops)), key=lambda number: _rank(ops[number]))
        if order == list(range(len(ops))):
            return
        now_at = {self.first + before: self.first + now for now, before in enumerate(order)}
        self.scan.ops = [ops[number] for number in order]
        self.scan.entries = [entry._replace(op=now_at.get(entry.op, -1)) for entry in self.scan.entries]
        self.scan.clashes = [replace(clash, op=now_at.get(clash.op, -1)) for clash in self.scan.clashes]


_PASSING = re.compile(
    r"/(var/(log|cache|tmp|run|lib/apt/lists|lib/systemd/(timers|random-seed)|lib/man-db|backups)|tmp|run"
    r"|(root|home/[^/]+)/(\.cache|\.npm/(_cacache|_logs|_update-notifier-last-checked)|\.[a-z_]*history|\.local/share/recently-used.xbel))(/|$)"
)


def is_passing(base: str, path: str) -> bool:
    """Logs, caches, histories: where the machine's own later version always wins."""
    return _PASSING.match(f"{base}/{path}") is not None


def _rank(op: Op) -> int:
    """Names of an inode are made before one of them may go, and it is written after that, so that what goes is as it was;
    a directory is writable while its entries change."""
    if op.kind is Kind.LINK:
        return 0
    if op.kind is Kind.REWRITE or (op.kind is Kind.ATTRIBUTES and op.old is not None and not op.old.is_directory):
        return 4 if op.old is not None and op.old.nlink > 1 else 1
    if op.kind is Kind.ATTRIBUTES:
        return 2 if op.old is not None and not op.old.mode & stat.S_IWUSR else 5
    return 3
