"""Reading an upper directory against the real tree: what a commit would do, and what a person is to see of it."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from skillrun.view.dirfd import ASTRAY, Tree, handle_of
from skillrun.view.inode import Attributes, Inode, inode_at, is_whiteout, may_be_whiteout, overlay_xattr, read_xattrs
from skillrun.view.layers import Layer
from skillrun.view.ledger import Folder, Kind, Op

TICK_NS = 10_000_000
"""The kernel's coarse clock may lag behind `time.time_ns()` by this much (HZ=100)."""
_CHUNK = 1 << 18

Xattrs = Mapping[str, bytes]


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


@dataclass(slots=True)
class _Shared:
    """A name in the upper whose inode has further names; settled when all of them are known."""

    path: str
    new: Inode
    old: Inode | None
    aspects: tuple[str, ...]
    origin: bytes
    capability: bool


def scan_layer(layer: Layer, number: int, t0_ns: int, ignore: tuple[str, ...] = (), first: int = 0) -> Scan:
    """Read one layer; its operations are numbered from `first`. Raises OSError when a side cannot be read."""
    with Tree(layer.upper) as upper, Tree(layer.target) as real:
        walker = _Walker(layer, number, upper, real)
        walker.since, walker.ignore, walker.first = t0_ns - TICK_NS, frozenset(ignore), first
        walker.walk()
        walker.settle_copied()
        walker.settle_shared()
        walker.order()
        return walker.scan


class _Walker:
    def __init__(self, layer: Layer, number: int, upper: Tree, real: Tree) -> None:
        self.number, self.first, self.since = number, 0, 0
        self.ignore: frozenset[str] = frozenset()
        self.base = layer.target.rstrip("/")
        self.upper, self.real = upper, real
        self.root_handle = handle_of(real.fd, ".")
        self.scan = Scan()
        self.shared: list[_Shared] = []
        self.copied: list[tuple[str, bytes, int]] = []
        self.covered: list[tuple[str, Inode]] = []
        """Files on both sides."""
        self.orphans: list[tuple[str, Inode, int]] = []
        """Copied up, from what is not known."""
        self.handles: dict[bytes, str] = {}
        """Handle of a real inode with several names -> one of its names."""

    def walk(self) -> None:
        """Visit every merged directory, parents first."""
        self._folder("", Inode.of(os.fstat(self.upper.fd)), Inode.of(os.fstat(self.real.fd)))
        pending = [""]
        while pending:
            path = pending.pop()
            found: list[str] = []
            try:
                self.real.directory(path)
            except OSError as error:
                self._in_the_way(path, error)
                continue
            for name, new in _listing(self.upper, path):
                below = f"{path}/{name}" if path else name
                if self.ignore and f"{self.base}/{below}" in self.ignore:
                    continue
                old = _lstat(name, self.real.directory(path))
                if self._merged(below, new, old):
                    found.append(below)
            pending += reversed(found)

    def _merged(self, path: str, status: os.stat_result, old: Inode | None) -> bool:
        """One entry of the upper; True when it is a directory on both sides that has to be entered."""
        new = Inode.of(status)
        if may_be_whiteout(status) and is_whiteout(self.upper.proc_path(path), status):
            if old is None:
                self.scan.unchanged += 1
            else:
                self._remember(path, old)
                self._swap(path, old, None)
        elif old is None:
            if status.st_nlink > 1 and not new.is_directory:
                self._share(path, new, None)
            else:
                self._notice_origin(path, new)
                self._swap(path, None, new)
        elif new.is_directory and old.is_directory and not self._is_opaque(path):
            self._folder(path, new, old)
            return True
        elif new.is_directory or old.is_directory:
            self._swap(path, old, new)
        else:
            self.covered.append((path, old))
            self._remember(path, old)
            if status.st_nlink > 1:
                self._share(path, new, old)
            else:
                self._file(path, new, old)
        return False

    def order(self) -> None:
        """Put the operations into the order they can be carried out in (and, reversed, taken back in)."""
        ops = self.scan.ops
        order = sorted(range(len(ops)), key=lambda number: _rank(ops[number]))
        if order == list(range(len(ops))):
            return
        now_at = {self.first + before: self.first + now for now, before in enumerate(order)}
        self.scan.ops = [ops[number] for number in order]
        self.scan.entries = [entry._replace(op=now_at.get(entry.op, -1)) for entry in self.scan.entries]
        self.scan.clashes = [replace(clash, op=now_at.get(clash.op, -1)) for clash in self.scan.clashes]

    # --- one path ---------------------------------------------------------------------------------

    def _notice_origin(self, path: str, new: Inode) -> None:
        """Something copied up from a name that is not there: moved inside the view, or removed outside meanwhile."""
        if not (new.is_directory or stat.S_ISREG(new.mode)) or (new.is_directory and self._is_opaque(path)):
            return
        noted = overlay_xattr(self.upper.proc_path(path), "origin")
        if noted == b"":
            self.orphans.append((path, new, self.first + len(self.scan.ops)))
        elif noted is not None and (origin := self._of_this_tree(noted)):
            self.copied.append((path, origin, self.first + len(self.scan.ops)))

    def _is_opaque(self, path: str) -> bool:
        """Does this directory of the upper hide what the machine has below that name?"""
        return overlay_xattr(self.upper.proc_path(path), "opaque") == b"y"

    def _origin(self, path: str) -> bytes:
        """The handle of the real inode something was copied up from; b"" when unknown, or from a hidden lower layer."""
        return self._of_this_tree(overlay_xattr(self.upper.proc_path(path), "origin") or b"")

    def _of_this_tree(self, noted: bytes) -> bytes:
        found = _fid(noted)
        return found if found[:4] == self.root_handle[:4] and len(found) == len(self.root_handle) else b""

    def settle_copied(self) -> None:
        """What was moved has its former name among the removed ones; anything else lost its origin outside."""
        if not self.copied and not self.orphans:
            return
        gone = [
            (entry.path[len(self.base) + 1 :], entry.old)
            for entry in self.scan.entries
            if entry.old and (entry.change == "removed" or "type" in entry.aspects)
        ]
        handles = {handle_of(*self.real.place(path)) for path, _ in (*gone, *self.covered)} if self.copied else set()
        lost = [(path, op) for path, origin, op in self.copied if origin not in handles]
        lost += self._without_origin([old for _, old in gone])
        reason = "was removed on the machine after the view was opened"
        self.scan.clashes += [Clash(f"{self.base}/{path}", reason, op) for path, op in lost]

    def _without_origin(self, gone: list[Inode]) -> list[tuple[str, int]]:
        """Those of the orphans that cannot have been moved. A user's own overlay notes that there was an origin, but not which.

        One that was only moved still has its size and time; one that was written too may have been any that is gone or
        was made anew.
        """
        if not self.orphans:
            return []
        anew = (old for path, old in self.covered if overlay_xattr(self.upper.proc_path(path), "origin") is None)
        left = Counter((old.size, old.mtime) for old in (*gone, *anew))
        unlike = []
        for path, new, op in self.orphans:
            if left[new.size, new.mtime] > 0:
                left[new.size, new.mtime] -= 1
            else:
                unlike.append((path, op))
        return unlike[left.total() :]

    def _folder(self, path: str, new: Inode, old: Inode) -> None:
        """A directory on both sides: its attributes, and the time it will have."""
        after = new.mtime if path else old.mtime
        origin = self._origin(path) if path else b""
        if origin and origin != handle_of(*self.real.place(path)):
            self.scan.clashes.append(Clash(f"{self.base}/{path}", "is another directory than the one the view showed"))
        if path and new.mtime != old.mtime:
            self.scan.touched += 1
        self.scan.folders.append(Folder(self.number, path, old.ino, old.mtime, after))
        if not path and (new.uid, new.gid) != (old.uid, old.gid):
            return  # the view's builder had no right to make the upper like a directory of somebody else's
        xattrs = self._xattrs(path)
        aspects = tuple(a for a in _aspects(new, old, *xattrs) if a != "time")
        if aspects:
            self._attribute_op(path, new, old, xattrs, aspects)

    def _file(self, path: str, new: Inode, old: Inode) -> None:
        """Something that is no directory on both sides, under one name."""
        xattrs = self._xattrs(path)
        aspects = _aspects(new, old, *xattrs)
        content = self._content(path, new, old)
        if content:
            told = (content, *(a for a in aspects if a != "time"))
            self._swap(path, old, new, told, "security.capability" in xattrs[0])
        elif not aspects:
            self.scan.unchanged += 1
        elif stat.S_ISLNK(new.mode):
            self._swap(path, old, new, aspects)
        else:
            self._attribute_op(path, new, old, xattrs, aspects)

    def _attribute_op(self, path: str, new: Inode, old: Inode, xattrs: tuple[Xattrs, Xattrs], aspects: tuple[str, ...]) -> None:
        after, before = (
            Attributes(side.mode, side.uid, side.gid, _hex(own), side.mtime)
            for side, own in zip((new, old), xattrs, strict=True)
        )
        light = aspects == ("time",)
        if light:
            self.scan.touched += 1
        self._clash(path, old)
        op = Op(self.number, path, Kind.ATTRIBUTES, old, new, path, before, after, light=light or is_passing(self.base, path))
        self._entry(path, "changed", old, new, aspects, capability="security.capability" in after.xattrs)
        self.scan.ops.append(op)

    def _swap(
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
        self._entry(path, change, old, new, aspects, capability)
        if new is not None and new.is_directory:
            self._below(path, new=True)
        if old is not None:
            self._clash(path, old)
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
                    self._entry(path, "added", None, inode)
                else:
                    self._entry(path, "removed", inode, None)
                    self._clash(path, inode)
        except OSError as error:
            self._in_the_way(top, error)

    def _in_the_way(self, path: str, error: OSError) -> None:
        """A real directory that cannot be entered as the view did: a mount or a link took its place. No operation can pass."""
        if error.errno not in ASTRAY:
            raise error
        self.scan.clashes.append(
            Clash(f"{self.base}/{path}", "has a mount or a link on or below it that the view did not know")
        )

    def _entry(
        self,
        path: str,
        change: str,
        old: Inode | None,
        new: Inode | None,
        aspects: tuple[str, ...] = (),
        capability: bool | None = None,
    ) -> None:
        if capability is None:
            program = new is not None and new.mode & 0o111 and stat.S_ISREG(new.mode)
            capability = bool(program) and "security.capability" in read_xattrs(self.upper.proc_path(path))
        self.scan.entries.append(
            Entry(f"{self.base}/{path}", change, old, new, aspects, self.first + len(self.scan.ops), capability)
        )

    def _clash(self, path: str, old: Inode) -> None:
        if old.ctime >= self.since and (not old.is_directory or self._is_leaving(path)):
            reason = "was changed on the machine after the view was opened"
            self.scan.clashes.append(Clash(f"{self.base}/{path}", reason, self.first + len(self.scan.ops)))

    def _is_leaving(self, path: str) -> bool:
        """Is this real directory going away? Then a new entry in it counts; in one that stays it does not."""
        status = self.upper.status(path)
        return status is None or not stat.S_ISDIR(status.st_mode) or self._is_opaque(path)

    def _xattrs(self, path: str) -> tuple[Xattrs, Xattrs]:
        """The extended attributes of the new and of the old file at a name."""
        return read_xattrs(self.upper.proc_path(path)), read_xattrs(self.real.proc_path(path))

    def _content(self, path: str, new: Inode, old: Inode) -> str:
        """ "type" or "content" when what is inside differs, "" when it does not."""
        if stat.S_IFMT(new.mode) != stat.S_IFMT(old.mode):
            return "type"
        if stat.S_ISLNK(new.mode):
            same = os.readlink(self.upper.proc_path(path)) == os.readlink(self.real.proc_path(path))
        elif stat.S_ISREG(new.mode):
            same = new.size == old.size and _same_bytes(self.upper, self.real, path)
        else:
            same = new.rdev == old.rdev
        return "" if same else "content"

    # --- inodes with several names ------------------------------------------------------------------

    def _remember(self, path: str, old: Inode) -> None:
        if old.nlink > 1 and stat.S_ISREG(old.mode):
            handle = handle_of(*self.real.place(path))
            if handle:
                self.handles.setdefault(handle, path)

    def _share(self, path: str, new: Inode, old: Inode | None) -> None:
        here = self.upper.proc_path(path)
        origin = overlay_xattr(here, "origin") or b""
        capability = "security.capability" in read_xattrs(here)
        aspects: tuple[str, ...] = ()
        if old is not None:
            aspects = _aspects(new, old, *self._xattrs(path))
            content = self._content(path, new, old)
            aspects = (content, *aspects) if content else aspects
        self.shared.append(_Shared(path, new, old, aspects, _fid(origin), capability))

    def settle_shared(self) -> None:
        """Carry over link structure: names of one inode in the view are names of one inode afterwards.

        An inode that was copied up (its origin is known) and has several names on the real side is
        kept and written in place; one that was created or has a single real name is swapped in whole.
        """
        groups: dict[int, list[_Shared]] = {}
        for item in self.shared:
            groups.setdefault(item.new.ino, []).append(item)
        for group in groups.values():
            source = self.handles.get(group[0].origin) if group[0].origin else None
            if source is not None:
                self._settle_kept(group, source)
            elif len(group) == group[0].new.nlink and _same_links(group):
                self.scan.unchanged += len(group)
            else:
                for item in group:
                    self._swap(item.path, item.old, item.new, item.aspects or (("link",) if item.old else ()))

    def _settle_kept(self, group: list[_Shared], source: str) -> None:
        kept = inode_at(self.real, source)
        assert kept is not None
        in_place = [item.path for item in group if item.old is not None and item.old.ino == kept.ino]
        for item in group:
            if item.path not in in_place:
                if item.old is not None:
                    self._clash(item.path, item.old)
                change = "added" if item.old is None else "changed"
                self._entry(item.path, change, item.old, kept, ("link",))
                slot = f".skillrun-link-{self.first + len(self.scan.ops)}"
                self.scan.ops.append(Op(self.number, item.path, Kind.LINK, item.old, kept, slot, source=source))
        first = group[0]
        # Written when all names are where they belong, through one that stays.
        stays, was = (in_place[0], "") if in_place else (first.path, source)
        aspects, before, after = self._attributes_between(first.path, source, first.new, kept)
        kind = Kind.ATTRIBUTES
        if first.new.size != kept.size or not _same_bytes(self.upper, self.real, first.path, source):
            kind, aspects = Kind.REWRITE, ("content", *aspects)
        if aspects:
            self._clash(source, kept)
            self._entry(stays, "changed", kept, first.new, aspects)
            self.scan.ops.append(Op(self.number, stays, kind, kept, first.new, first.path, before, after, was))

    def _attributes_between(
        self, ours: str, theirs: str, new: Inode, old: Inode
    ) -> tuple[tuple[str, ...], Attributes, Attributes]:
        before = Attributes(old.mode, old.uid, old.gid, _hex(read_xattrs(self.real.proc_path(theirs))), old.mtime)
        after = Attributes(new.mode, new.uid, new.gid, _hex(read_xattrs(self.upper.proc_path(ours))), new.mtime)
        names = ("mode", "owner", "owner", "xattr", "time")
        return tuple(dict.fromkeys(n for n, a, b in zip(names, before, after, strict=True) if a != b)), before, after


def _aspects(new: Inode, old: Inode, ours: Xattrs, theirs: Xattrs) -> tuple[str, ...]:
    """Which attributes differ."""
    aspects: list[str] = []
    if new.mode != old.mode and stat.S_IFMT(new.mode) == stat.S_IFMT(old.mode):
        aspects.append("mode")
    if new.uid != old.uid or new.gid != old.gid:
        aspects.append("owner")
    if ours != theirs:
        kinds = {"system": "acl", "security": "xattr"}
        differing = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        named = ("capability" if n == "security.capability" else kinds.get(n.partition(".")[0], "xattr") for n in differing)
        aspects += dict.fromkeys(named)
    if new.mtime != old.mtime:
        aspects.append("time")
    return tuple(aspects)


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


def walk_tree(tree: Tree, top: str) -> Iterator[tuple[str, Inode, bool]]:
    """Everything below a directory, parents first: path, inode, is it a whiteout. Links are not followed."""
    pending = [top]
    while pending:
        path = pending.pop()
        found: list[str] = []
        for name, status in _listing(tree, path):
            below = f"{path}/{name}"
            hidden = may_be_whiteout(status) and is_whiteout(tree.proc_path(below), status)
            yield below, Inode.of(status), hidden
            if stat.S_ISDIR(status.st_mode):
                found.append(below)
        pending += reversed(found)


def _listing(tree: Tree, path: str) -> list[tuple[str, os.stat_result]]:
    """Names and lstat of a directory's entries, sorted by name."""
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree.directory(path))
    try:
        with os.scandir(directory) as found:
            return sorted(((entry.name, entry.stat(follow_symlinks=False)) for entry in found), key=lambda item: item[0])
    finally:
        os.close(directory)


def _lstat(name: str, directory: int) -> Inode | None:
    try:
        return Inode.of(os.lstat(name, dir_fd=directory))
    except FileNotFoundError:
        return None


def _same_bytes(upper: Tree, real: Tree, path: str, real_path: str = "") -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    places = (upper.place(path), real.place(real_path or path))
    opened: list[int] = []
    try:
        for directory, name in places:
            opened.append(os.open(name, flags, dir_fd=directory))
        while True:
            ours, theirs = (os.read(descriptor, _CHUNK) for descriptor in opened)
            if ours != theirs:
                return False
            if not ours:
                return True
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _fid(origin: bytes) -> bytes:
    """Type and identifier out of an overlay's origin attribute (struct ovl_fb), as `handle_of` gives them."""
    if len(origin) < 22 or origin[1] != 0xFB:
        return b""
    return int(origin[4]).to_bytes(4, "little") + origin[21:]


def _same_links(group: list[_Shared]) -> bool:
    """Are these names of one inode on the real side too, with nothing changed in it?"""
    inodes = {item.old.ino if item.old else -1 for item in group}
    return len(inodes) == 1 and -1 not in inodes and not any(item.aspects for item in group)


def _hex(xattrs: Xattrs) -> dict[str, str]:
    return {name: value.hex() for name, value in xattrs.items()}
