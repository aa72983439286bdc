"""Files with several names: names of one inode in the view are to be names of one inode on the machine."""

from __future__ import annotations

import stat
from dataclasses import dataclass

from skillrun.overlay.diff.compare import aspects_between, attributes_of, content_between, same_bytes
from skillrun.overlay.diff.entries import Findings
from skillrun.overlay.diff.operations import Kind, Op
from skillrun.overlay.diff.origins import handle_in
from skillrun.overlay.kernel.dirfd import handle_of
from skillrun.overlay.kernel.inode import Attributes, Inode, inode_at, overlay_xattr, read_xattrs


@dataclass(slots=True)
class _Name:
    """A name in the upper whose inode has further names."""

    path: str
    new: Inode
    old: Inode | None
    aspects: tuple[str, ...]
    origin: bytes


class Links:
    """Collects such names while a layer is walked, and settles them when all are known."""

    def __init__(self, findings: Findings) -> None:
        self._found = findings
        self._names: list[_Name] = []
        self._handles: dict[bytes, str] = {}
        """Handle of a real inode with several names -> one of its names."""

    def remember(self, path: str, old: Inode) -> None:
        """A real file that was met: it may be another name of one that changed."""
        if old.nlink > 1 and stat.S_ISREG(old.mode):
            handle = handle_of(*self._found.real.place(path))
            if handle:
                self._handles.setdefault(handle, path)

    def add(self, path: str, new: Inode, old: Inode | None) -> None:
        """A name of the upper whose inode has others."""
        upper, real = self._found.upper, self._found.real
        here = upper.proc_path(path)
        aspects: tuple[str, ...] = ()
        if old is not None:
            aspects = aspects_between(new, old, read_xattrs(here), read_xattrs(real.proc_path(path)))
            content = content_between(upper, real, path, new, old)
            aspects = (content, *aspects) if content else aspects
        self._names.append(_Name(path, new, old, aspects, handle_in(overlay_xattr(here, "origin") or b"")))

    def settle(self) -> None:
        """Carry over link structure.

        An inode that was copied up (its origin is known) and has several names on the real side is
        kept and written in place; one that was created or has a single real name is swapped in whole.
        """
        groups: dict[int, list[_Name]] = {}
        for item in self._names:
            groups.setdefault(item.new.ino, []).append(item)
        for group in groups.values():
            source = self._handles.get(group[0].origin) if group[0].origin else None
            if source is not None:
                self._settle_kept(group, source)
            elif len(group) == group[0].new.nlink and _same_links(group):
                self._found.scan.unchanged += len(group)
            else:
                for item in group:
                    self._found.swap(item.path, item.old, item.new, item.aspects or (("link",) if item.old else ()))

    def _settle_kept(self, group: list[_Name], source: str) -> None:
        found = self._found
        kept = inode_at(found.real, source)
        assert kept is not None
        in_place = [item.path for item in group if item.old is not None and item.old.ino == kept.ino]
        for item in group:
            if item.path not in in_place:
                if item.old is not None:
                    found.clash(item.path, item.old)
                change = "added" if item.old is None else "changed"
                found.entry(item.path, change, item.old, kept, ("link",))
                slot = f".skillrun-link-{found.next}"
                found.scan.ops.append(Op(found.number, item.path, Kind.LINK, item.old, kept, slot, source=source))
        first = group[0]
        # Written when all names are where they belong, through one that stays.
        stays, was = (in_place[0], "") if in_place else (first.path, source)
        aspects, before, after = self._attributes_between(first.path, source, first.new, kept)
        kind = Kind.ATTRIBUTES
        if first.new.size != kept.size or not same_bytes(found.upper, found.real, first.path, kept.size, source):
            kind, aspects = Kind.REWRITE, ("content", *aspects)
        if aspects:
            found.clash(source, kept)
            found.entry(stays, "changed", kept, first.new, aspects)
            found.scan.ops.append(Op(found.number, stays, kind, kept, first.new, first.path, before, after, was))

    def _attributes_between(
        self, ours: str, theirs: str, new: Inode, old: Inode
    ) -> tuple[tuple[str, ...], Attributes, Attributes]:
        before = attributes_of(old, read_xattrs(self._found.real.proc_path(theirs)))
        after = attributes_of(new, read_xattrs(self._found.upper.proc_path(ours)))
        names = ("mode", "owner", "owner", "xattr", "time")
        return tuple(dict.fromkeys(n for n, a, b in zip(names, before, after, strict=True) if a != b)), before, after


def _same_links(group: list[_Name]) -> bool:
    """Are these names of one inode on the real side too, with nothing changed in it?"""
    inodes = {item.old.ino if item.old else -1 for item in group}
    return len(inodes) == 1 and -1 not in inodes and not any(item.aspects for item in group)
