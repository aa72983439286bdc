"""Two versions of one path side by side: in which attributes, and whether in content, they differ."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from skillrun.overlay.kernel.dirfd import Tree
from skillrun.overlay.kernel.inode import Attributes, Inode

_CHUNK = 1 << 18

Xattrs = Mapping[str, bytes]


def attributes_of(inode: Inode, xattrs: Xattrs) -> Attributes:
    """What an operation records of a side."""
    return Attributes(inode.mode, inode.uid, inode.gid, {name: value.hex() for name, value in xattrs.items()}, inode.mtime)


def aspects_between(new: Inode, old: Inode, ours: Xattrs, theirs: Xattrs) -> tuple[str, ...]:
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


def content_between(upper: Tree, real: Tree, path: str, new: Inode, old: Inode) -> str:
    """ "type" or "content" when what is inside differs, "" when it does not. Raises OSError."""
    if stat.S_IFMT(new.mode) != stat.S_IFMT(old.mode):
        return "type"
    if stat.S_ISLNK(new.mode):
        same = os.readlink(upper.proc_path(path)) == os.readlink(real.proc_path(path))
    elif stat.S_ISREG(new.mode):
        same = new.size == old.size and same_bytes(upper, real, path, new.size)
    else:
        same = new.rdev == old.rdev
    return "" if same else "content"


def same_bytes(upper: Tree, real: Tree, path: str, size: int, real_path: str = "") -> bool:
    """Do two regular files of this size hold the same? `real_path`: where it has another name there. Raises OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    places = (upper.place(path), real.place(real_path or path))
    opened: list[int] = []
    try:
        for directory, name in places:
            opened.append(os.open(name, flags, dir_fd=directory))
        while size > 0:
            ours, theirs = (os.read(descriptor, _CHUNK) for descriptor in opened)
            if ours != theirs:
                return False
            if not ours:
                break
            size -= len(ours)
        return True
    finally:
        for descriptor in opened:
            os.close(descriptor)
