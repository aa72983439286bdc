"""Reading an upper directory against the real tree: what a commit would do, and what a person is to see of it."""

from __future__ import annotations

import os
import stat

from skillrun.overlay.diff.compare import Xattrs, aspects_between, content_between
from skillrun.overlay.diff.entries import Clash, Findings, Scan
from skillrun.overlay.diff.hardlinks import Links
from skillrun.overlay.diff.operations import Folder
from skillrun.overlay.diff.origins import Origins
from skillrun.overlay.kernel.cwd_thread import Standing, standing_apart
from skillrun.overlay.kernel.dirfd import Tree, handle_of
from skillrun.overlay.kernel.inode import Inode, is_whiteout, may_be_whiteout, read_xattrs
from skillrun.overlay.kernel.walk import listing
from skillrun.overlay.mount.layers import Layer, Layers

TICK_NS = 10_000_000
"""The kernel's coarse clock may lag behind `time.time_ns()` by this much (HZ=100)."""

_NONE: Xattrs = {}


def scan_layer(layer: Layer, number: int, t0_ns: int, layers: Layers | None = None, first: int = 0) -> Scan:
    """Read one layer; its operations are numbered from `first`. Raises OSError when a side cannot be read."""

    def read(standing: Standing) -> Scan:
        with Tree(layer.upper) as upper, Tree(layer.target) as real:
            findings = Findings(number, layer.target, upper, real, t0_ns - TICK_NS, first)
            _Walker(findings, layers, standing).walk()
            return findings.scan

    return standing_apart(read)


class _Walker:
    def __init__(self, findings: Findings, layers: Layers | None, standing: Standing) -> None:
        self.found, self.standing = findings, standing
        self.ignore = frozenset(layers.ignore if layers else ())
        self.stood_for = frozenset(layers.stood_for if layers else ())
        self.upper, self.real = findings.upper, findings.real
        self.origins, self.links = Origins(findings), Links(findings)

    def walk(self) -> None:
        """Visit every merged directory, parents first; then settle what needs to know them all."""
        self._folder("", Inode.of(os.fstat(self.upper.fd)), Inode.of(os.fstat(self.real.fd)))
        pending = [""]
        while pending:
            path = pending.pop()
            try:
                self.real.directory(path)
            except OSError as error:
                self.found.in_the_way(path, error)
                continue
            pending += reversed(self._merge(path))
        self.origins.settle()
        self.links.settle()
        self.found.order()

    def _merge(self, path: str) -> list[str]:
        """Compare a directory that is on both sides, entry by entry; those of its directories that are on both sides too."""
        below, base = path and path + "/", self.found.base
        entries = [
            (name, status)
            for name, status in listing(self.upper, path)
            if not self.ignore or f"{base}/{below}{name}" not in self.ignore
        ]
        at = self.standing.at(self.real.directory(path))
        olds = [_real_side(at + name, status) for name, status in entries]
        at = self.standing.at(self.upper.directory(path))
        merged: list[str] = []
        for (name, status), (old, theirs) in zip(entries, olds, strict=True):
            if may_be_whiteout(status) and is_whiteout(at + name, status):
                self._whiteout(below + name, old)
            elif old is None:
                self._new(below + name, Inode.of(status))
            elif stat.S_ISDIR(status.st_mode) or old.is_directory:
                if self._directory(below + name, Inode.of(status), old):
                    merged.append(below + name)
            else:
                self._covering(below + name, Inode.of(status), old, at + name, theirs)
        return merged

    def _whiteout(self, path: str, old: Inode | None) -> None:
        if old is None:
            self.found.scan.unchanged += 1
        else:
            self.links.remember(path, old)
            self.found.swap(path, old, None)

    def _new(self, path: str, new: Inode) -> None:
        if new.nlink > 1 and not new.is_directory:
            self.links.add(path, new, None)
        else:
            self.origins.notice(path, new)
            self.found.swap(path, None, new)

    def _directory(self, path: str, new: Inode, old: Inode) -> bool:
        """A directory on one side at least; True when both are merged."""
        if new.is_directory and old.is_directory and not self.found.is_opaque(path):
            self._folder(path, new, old)
            return True
        self.found.swap(path, old, new)
        return False

    def _covering(self, path: str, new: Inode, old: Inode, here: str, theirs: Xattrs) -> None:
        """Something that is no directory on both sides. `here`: a short way to the new one."""
        self.origins.cover(path, old)
        if old.nlink > 1:
            self.links.remember(path, old)
        if new.nlink > 1:
            self.links.add(path, new, old)
            return
        ours = read_xattrs(here)
        aspects = aspects_between(new, old, ours, theirs)
        content = content_between(self.upper, self.real, path, new, old)
        if content:
            told = (content, *(a for a in aspects if a != "time"))
            self.found.swap(path, old, new, told, "security.capability" in ours)
        elif not aspects:
            self.found.scan.unchanged += 1
        elif stat.S_ISLNK(new.mode):
            self.found.swap(path, old, new, aspects)
        else:
            self.found.attributes(path, new, old, (ours, theirs), aspects)

    def _folder(self, path: str, new: Inode, old: Inode) -> None:
        """A directory on both sides: its attributes, and the time it will have."""
        found = self.found
        after = new.mtime if path else old.mtime
        known = path and f"{found.base}/{path}" not in self.stood_for
        origin = self.origins.of(path) if known else b""
        if origin and origin != handle_of(*self.real.place(path)):
            found.scan.clashes.append(Clash(f"{found.base}/{path}", "is another directory than the one the view showed"))
        if path and new.mtime != old.mtime:
            found.scan.touched += 1
        found.scan.folders.append(Folder(found.number, path, old.ino, old.mtime, after))
        if not path and (new.uid, new.gid) != (old.uid, old.gid):
            return  # the view's builder had no right to make the upper like a directory of somebody else's
        xattrs = read_xattrs(self.upper.proc_path(path)), read_xattrs(self.real.proc_path(path))
        aspects = tuple(a for a in aspects_between(new, old, *xattrs) if a != "time")
        if aspects:
            found.attributes(path, new, old, xattrs, aspects)


def _real_side(path: str, status: os.stat_result) -> tuple[Inode | None, Xattrs]:
    """What the machine has under a name of the upper; its attributes where they will be compared."""
    try:
        old = Inode.of(os.lstat(path))
    except FileNotFoundError:
        return None, _NONE
    compared = not (stat.S_ISDIR(status.st_mode) or stat.S_ISCHR(status.st_mode) or old.is_directory)
    return old, read_xattrs(path) if compared else _NONE
