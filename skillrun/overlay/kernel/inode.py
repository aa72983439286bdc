"""What is at a name: an inode's identity, its attributes, and what overlayfs wrote beside them."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from skillrun.overlay.kernel.dirfd import Tree

OVERLAY = ("trusted.overlay.", "user.overlay.")
"""Prefixes of the attributes that belong to the overlay and never to the file."""

_NOT_OURS = (*OVERLAY, "trusted.SGI_ACL_")
"""Not read or set: the overlay's, and the shadows xfs lists of its access lists, which have their proper names too."""

_ORIGIN_ALONE = ["trusted.overlay.origin"]
"""What most files that were copied up have."""

_NAMED = (0x02, 0x08)
"""ACL_USER and ACL_GROUP: entries for somebody by number."""

_NO_ATTRIBUTES = (errno.ENOTSUP, errno.EPERM, errno.ENODATA, errno.ENOENT, errno.EACCES)


_TYPE = 0o170000
"""S_IFMT as a number: asked for every file there is."""

_FIELDS = attrgetter(
    "st_ino", "st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_ctime_ns", "st_nlink", "st_rdev", "st_blocks"
)


class Inode(NamedTuple):
    """An inode as lstat shows it. `size` is 0 for directories: theirs says nothing."""

    ino: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    ctime: int
    nlink: int
    rdev: int
    blocks: int

    @classmethod
    def of(cls, status: os.stat_result) -> Inode:
        """From what lstat returned. Times are nanoseconds."""
        found: Inode = tuple.__new__(cls, _FIELDS(status))  # as the constructor, without naming each field once more
        return found._replace(size=0) if status.st_mode & _TYPE == stat.S_IFDIR else found

    @property
    def is_directory(self) -> bool:
        """Is it a directory?"""
        return self.mode & _TYPE == stat.S_IFDIR

    def is_object(self, other: Inode | None) -> bool:
        """Is it the same inode, whatever happened to its content?"""
        return other is not None and self.ino == other.ino and stat.S_IFMT(self.mode) == stat.S_IFMT(other.mode)

    def is_untouched(self, other: Inode | None) -> bool:
        """Is it the same inode, not written and not given other rights since? (A directory's times do not count.)"""
        if other is None or self[:5] != other[:5]:
            return False
        return self.is_directory or self.mtime == other.mtime


class Attributes(NamedTuple):
    """What can be set on an existing inode: mode with type, owner, extended attributes (hex), mtime in ns."""

    mode: int
    uid: int
    gid: int
    xattrs: Mapping[str, str]
    mtime: int

    @classmethod
    def of(cls, status: os.stat_result, xattrs: Mapping[str, bytes]) -> Attributes:
        """From what lstat and listxattr returned."""
        packed = {name: value.hex() for name, value in xattrs.items()}
        return cls(status.st_mode, status.st_uid, status.st_gid, packed, status.st_mtime_ns)

    @classmethod
    def from_json(cls, data: list[Any]) -> Attributes:
        """From a JSON list."""
        return cls(*data)

    def same_but_time(self, other: Attributes) -> bool:
        """Equal, modification times aside?"""
        return self[:4] == other[:4]


def inode_at(tree: Tree, path: str) -> Inode | None:
    """The inode at a name, None when there is none. Raises OSError when the way is not plain directories."""
    status = tree.status(path)
    return None if status is None else Inode.of(status)


def read_xattrs(path: str) -> dict[str, bytes]:
    """The extended attributes of a file itself, without the overlay's own; empty where there are none."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
        if not names or names == _ORIGIN_ALONE:
            return {}
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in names if not name.startswith(_NOT_OURS)}
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return {}
        raise


def is_shared(xattrs: Mapping[str, bytes]) -> bool:
    """Does an access list let a user or a group that it names write (acl(5); `linux/posix_acl_xattr.h`)?

    What it grants is bounded by its mask, which the mode shows as the rights of the group.
    """
    lists = (xattrs.get(f"system.posix_acl_{kind}", b"")[4:] for kind in ("access", "default"))
    entries = (entry for rows in lists for entry in struct.iter_unpack("<HHI", rows[: len(rows) // 8 * 8]))
    return any(tag in _NAMED and rights & 2 for tag, rights, _ in entries)


def overlay_xattr(path: str, name: str) -> bytes | None:
    """An attribute of the overlay (`opaque`, `origin`, `whiteout`, ...), None without it."""
    for prefix in OVERLAY:
        try:
            return os.getxattr(path, prefix + name, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_ATTRIBUTES:
                raise
    return None


def may_be_whiteout(status: os.stat_result) -> bool:
    """What can be told without a look at the attributes: a character device, or an empty file."""
    mode = status.st_mode
    return stat.S_ISCHR(mode) or (status.st_size == 0 and stat.S_ISREG(mode))


def is_whiteout(path: str, status: os.stat_result) -> bool:
    """Does this entry of an upper say that the name was deleted? (Documentation/filesystems/overlayfs.rst)"""
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == 0
    return stat.S_ISREG(status.st_mode) and status.st_size == 0 and overlay_xattr(path, "whiteout") is not None


def strip_overlay(path: str) -> None:
    """Take the overlay's attributes off one file. Raises OSError other than "not supported"."""
    try:
        for name in os.listxattr(path, follow_symlinks=False):
            if name.startswith(OVERLAY):
                os.removexattr(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM):
            raise


def set_attributes(path: str, wanted: Attributes, time: bool = True) -> None:
    """Give a file or directory these attributes. `path` is followed: hand in a /proc/self/fd path.

    The order matters: a change of owner drops set-user-ID bits and capabilities, an access list
    rewrites the group bits of the mode. Raises OSError.
    """
    status = os.stat(path)
    if (status.st_uid, status.st_gid) != (wanted.uid, wanted.gid):
        os.chown(path, wanted.uid, wanted.gid)
    try:
        now = {name: os.getxattr(path, name) for name in os.listxattr(path) if not name.startswith(_NOT_OURS)}
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTES:
            raise
        now = {}
    for name in now:
        if name not in wanted.xattrs:
            os.removexattr(path, name)
    if stat.S_IMODE(os.stat(path).st_mode) != stat.S_IMODE(wanted.mode):
        os.chmod(path, stat.S_IMODE(wanted.mode))
    for name, value in wanted.xattrs.items():
        if now.get(name) != bytes.fromhex(value):
            os.setxattr(path, name, bytes.fromhex(value))
    if stat.S_IMODE(os.stat(path).st_mode) != stat.S_IMODE(wanted.mode):
        os.chmod(path, stat.S_IMODE(wanted.mode))
    if time and os.stat(path).st_mtime_ns != wanted.mtime:
        os.utime(path, ns=(os.stat(path).st_atime_ns, wanted.mtime))
