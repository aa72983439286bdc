"""Names below a directory, reached by descriptors: no symbolic link and no mount is ever crossed.

The real side of a commit may be writable by other users. A path that was looked at and a path that
is renamed must therefore be the same directory entry; only descriptors can promise that.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import stat
from collections import OrderedDict
from collections.abc import Mapping
from types import TracebackType

NOREPLACE, EXCHANGE = 1, 2
"""Flags of renameat2(2)."""

_OPENAT2 = 437
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276, "riscv64": 276, "ppc64le": 357, "s390x": 347}
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 1, 2, 4, 8
_KEPT_OPEN = 64
_PATH_BYTES = 4000
"""A longer path is opened in pieces: the kernel takes less than PATH_MAX (4096) at once."""

ASTRAY = (errno.ELOOP, errno.ESTALE, errno.EXDEV)
"""How opening fails when a directory on the way was replaced by a link, another directory, or a mount."""

DIRECTORY = os.O_PATH | os.O_DIRECTORY if hasattr(os, "O_PATH") else os.O_RDONLY | os.O_DIRECTORY


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc: ctypes.CDLL | None = None


def libc() -> ctypes.CDLL:
    """The C library, opened once."""
    global _libc
    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
    return _libc


def _failed(name: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), name)


def open_below(root: int, path: str, flags: int = DIRECTORY) -> int:
    """Open a relative path below the directory `root`; an empty path is `root` itself.

    Raises OSError: ELOOP for a symbolic link anywhere on the way, EXDEV for a mount point.
    """
    if len(path) > _PATH_BYTES // 4 and len(os.fsencode(path)) > _PATH_BYTES:
        head = path[: _PATH_BYTES // 4].rpartition("/")[0]
        middle = open_below(root, head)
        try:
            return open_below(middle, path[len(head) + 1 :], flags)
        finally:
            os.close(middle)
    how = _How(flags | os.O_CLOEXEC, 0, _NO_XDEV | _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH)
    name = os.fsencode(path or ".")
    found = int(libc().syscall(_OPENAT2, root, name, ctypes.byref(how), ctypes.sizeof(how)))
    if found >= 0:
        return found
    if ctypes.get_errno() in (errno.ENOSYS, errno.EPERM):
        return _open_stepwise(root, path, flags)
    raise _failed(path)


def _open_stepwise(root: int, path: str, flags: int) -> int:
    """The same promise for kernels before 5.6, one component at a time (a bind mount is not noticed)."""
    here, device = os.dup(root), os.fstat(root).st_dev
    steps = [part for part in path.split("/") if part]
    try:
        for number, part in enumerate(steps):
            wanted = flags if number == len(steps) - 1 else DIRECTORY
            below = os.open(part, wanted | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
            status = os.fstat(here)
            if stat.S_ISLNK(status.st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if status.st_dev != device:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    except OSError:
        os.close(here)
        raise
    return here


def rename(from_dir: int, from_name: str, to_dir: int, to_name: str, flags: int = NOREPLACE) -> None:
    """renameat2(2) between two open directories. Raises OSError (EEXIST, ENOENT, EXDEV, EINVAL, ...)."""
    call = libc()
    old, new = os.fsencode(from_name), os.fsencode(to_name)
    if hasattr(call, "renameat2"):
        result = call.renameat2(from_dir, old, to_dir, new, flags)
    else:
        result = call.syscall(_RENAMEAT2[platform.machine()], from_dir, old, to_dir, new, flags)
    if result < 0:
        raise _failed(to_name)


def sync_file_system(path: str) -> None:
    """syncfs(2): everything written so far to the file system of `path` is on disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc().syncfs(descriptor) < 0:
            raise _failed(path)
    finally:
        os.close(descriptor)


def handle_of(directory: int, name: str) -> bytes:
    """The file handle of an inode as name_to_handle_at(2) writes it: type (4 bytes) and identifier; b"" without one."""
    buffer = ctypes.create_string_buffer(8 + 128)
    ctypes.c_uint32.from_buffer(buffer).value = 128
    mount = ctypes.c_int()
    if libc().name_to_handle_at(directory, os.fsencode(name), buffer, ctypes.byref(mount), 0) < 0:
        return b""
    size = ctypes.c_uint32.from_buffer(buffer).value
    return buffer.raw[4 : 8 + size]


class Tree:
    """A directory and the names below it. Descriptors of directories in use are kept open for a while."""

    def __init__(self, path: str, expected: Mapping[str, int] | None = None) -> None:
        """Open `path`; raises OSError when it is not a directory (a link is not one).

        `expected`: directory below it -> the inode number it must have, or opening it fails with ESTALE.
        """
        self.path, self.expected = path, expected or {}
        self.fd = os.open(path, DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._open: OrderedDict[str, int] = OrderedDict()
        self._latest: tuple[str, int] | None = None
        """The directory asked for last: most questions are about names in one directory after another."""

    def __enter__(self) -> Tree:
        """The tree itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Close every descriptor."""
        self.forget()
        os.close(self.fd)

    def forget(self, path: str = "") -> None:
        """Close the kept directories at and below `path`, whose name now means something else."""
        self._latest = None
        for known in [known for known in self._open if not path or known == path or known.startswith(path + "/")]:
            os.close(self._open.pop(known))

    def directory(self, path: str) -> int:
        """A descriptor of a directory below the tree; it belongs to the tree. Raises OSError."""
        if not path:
            return self.fd
        if self._latest is not None and self._latest[0] == path:
            return self._latest[1]
        found = self._open.get(path)
        if found is None:
            found = open_below(self.fd, path)
            if os.fstat(found).st_ino != self.expected.get(path, os.fstat(found).st_ino):
                os.close(found)
                raise OSError(errno.ESTALE, "another directory took its place", f"{self.path}/{path}")
            self._open[path] = found
            if len(self._open) > _KEPT_OPEN:
                os.close(self._open.popitem(last=False)[1])
        else:
            self._open.move_to_end(path)
        self._latest = (path, found)
        return found

    def place(self, path: str) -> tuple[int, str]:
        """The directory that holds `path`, and its last name: what the `*at` calls take. Raises OSError."""
        parent, _, name = path.rpartition("/")
        return self.directory(parent), name or "."

    def status(self, path: str) -> os.stat_result | None:
        """lstat, or None when there is no such name. Raises OSError when the way to it is not plain directories."""
        try:
            directory, name = self.place(path)
            return os.lstat(name, dir_fd=directory) if path else os.fstat(self.fd)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def proc_path(self, path: str) -> str:
        """A path for calls without a descriptor form; its last component must not be followed by the caller."""
        directory, name = self.place(path)
        return f"/proc/self/fd/{directory}/{name}"
