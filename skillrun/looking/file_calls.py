"""Calls about files, read from the memory of whoever makes them: which path, and what is to become of it."""

from __future__ import annotations

import os

from skillrun.looking import notify
from skillrun.looking.processes import as_int
from skillrun.overlay.kernel import syscalls as ns

BY_DESCRIPTOR = frozenset(("fchmod", "fchown", "fsetxattr", "fremovexattr"))
METADATA = frozenset(
    (
        *BY_DESCRIPTOR,
        *("chmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchownat", "utime", "utimes", "futimesat", "utimensat"),
        *("setxattr", "lsetxattr", "removexattr", "lremovexattr"),
    )
)
"""Calls about owner, mode, times and attributes, on which Landlock has no say."""
DELETES = frozenset(("unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2"))
_SECOND = frozenset(("link", "symlink"))
"""Calls whose second argument is the path that is made; of the others without a folder it is the first."""
_BEHIND_FOLDER = {
    **dict.fromkeys(("openat", "openat2", "renameat", "renameat2", "unlinkat", "mkdirat", "mknodat"), 0),
    **dict.fromkeys(("fchmodat", "fchmodat2", "fchownat", "utimensat", "futimesat"), 0),
    "linkat": 2,
    "symlinkat": 1,
}
"""Calls with a folder's descriptor before the path -> which argument that is."""


def path_of(thread: int, name: str, arguments: list[int]) -> str:
    """The path a call is about, made absolute from outside."""
    if name in BY_DESCRIPTOR:
        return os.readlink(f"/proc/{thread}/fd/{as_int(arguments[0])}")
    if name not in _BEHIND_FOLDER:
        folder, text = f"/proc/{thread}/cwd", notify.read_text(thread, arguments[1 if name in _SECOND else 0])
    else:
        place = _BEHIND_FOLDER[name]
        at = as_int(arguments[place])
        folder = f"/proc/{thread}/cwd" if at == ns.AT_FDCWD else f"/proc/{thread}/fd/{at}"
        text = notify.read_text(thread, arguments[place + 1]) if arguments[place + 1] else b""
    path = os.fsdecode(text)
    if not path.startswith("/"):
        path = os.path.join(os.readlink(folder), path).rstrip("/")
    return os.path.normpath(os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)))


def writes(thread: int, how: int) -> bool:
    """Does the `open_how` at this address ask for more than reading?"""
    flags = int.from_bytes(notify.read_memory(thread, how, 8), "little")
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
