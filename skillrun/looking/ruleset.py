"""What a look may read and write, as Landlock rules (`linux/landlock.h`)."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from skillrun.overlay.kernel import landlock
from skillrun.overlay.kernel import syscalls as ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_WRITE_RIGHTS = {
    "write": 1 << 1, "remove dir": 1 << 4, "remove file": 1 << 5, "make char": 1 << 6, "make dir": 1 << 7, "make reg": 1 << 8,
    "make sock": 1 << 9, "make fifo": 1 << 10, "make block": 1 << 11, "make sym": 1 << 12,
}  # fmt: skip
_READ_FILE, _REFER, _TRUNCATE, _IOCTL = 1 << 2, 1 << 13, 1 << 14, 1 << 15
_ON_FILES = (1 << 1) | _READ_FILE | _TRUNCATE | _IOCTL


def restrict(trees: Iterable[str], private: str, terminal: str) -> None:
    """Landlock: read these trees, write the private directory and one's own terminal, signal nobody outside. Raises OSError."""
    version = landlock.landlock_version()
    if version < 1:
        raise OSError(errno.ENOSYS, "this kernel has no Landlock")
    writes = sum(_WRITE_RIGHTS.values()) | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    handled = writes | _READ_FILE | (_IOCTL if version >= 5 else 0)
    net = 3 if version >= 4 else 0
    scoped = landlock.SCOPE_ABSTRACT_UNIX | landlock.SCOPE_SIGNAL if version >= 6 else 0
    attributes = struct.pack("=QQQ", handled, net, scoped)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    ruleset = ns.numbered(landlock.LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    devices = _READ_FILE | (1 << 1) | (_TRUNCATE if version >= 3 else 0) | (_IOCTL if version >= 5 else 0)
    try:
        for path in trees:
            _allow(ruleset, path, handled & (_READ_FILE | (_IOCTL if path.startswith("/dev/") else 0)))
        for path in ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", terminal):
            _allow(ruleset, path, handled & devices)
        _allow(ruleset, private, handled)
        ns.numbered(landlock.LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # gone since it was listed
    try:
        if os.fstat(handle).st_mode & 0o170000 != 0o040000:  # no directory
            rights &= _ON_FILES
        ns.numbered(445, ruleset, 1, struct.pack("=Qi", rights, handle), 0)
    except OSError:
        pass  # a file system that knows no such rule: it stays closed
    finally:
        os.close(handle)
