"""Seccomp user notification: hear of every call that would change a file, before it happens.

The kernel holds the caller until it is told to go on. This is a record, not a wall: between the look and
the call another thread may change the path (seccomp_unotify(2)). Reading and plain opening cost nothing.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from skillrun.overlay.kernel import syscalls as ns

OLD_CALLS = {
    "open": 2, "creat": 85, "truncate": 76, "rename": 82, "unlink": 87, "rmdir": 84, "mkdir": 83, "link": 86, "symlink": 88,
    "chmod": 90, "chown": 92, "lchown": 94, "mknod": 133, "utime": 132, "utimes": 235, "futimesat": 261,
}  # fmt: skip
"""Calls only x86-64 has; newer processors know just the ...at forms."""

CALLS: Mapping[str, Mapping[str, int]] = {
    "x86_64": {
        **OLD_CALLS, "openat": 257, "openat2": 437, "renameat": 264, "renameat2": 316, "unlinkat": 263, "mkdirat": 258,
        "linkat": 265, "symlinkat": 266, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452, "fchown": 93, "fchownat": 260,
        "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199,
        "mknodat": 259, "utimensat": 280, "bind": 49,
    },
    "aarch64": {
        "truncate": 45, "openat": 56, "openat2": 437, "renameat": 38, "renameat2": 276, "unlinkat": 35, "mkdirat": 34,
        "linkat": 37, "symlinkat": 36, "fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "fchown": 55, "fchownat": 54,
        "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16,
        "mknodat": 33, "utimensat": 88, "bind": 200,
    },
}  # fmt: skip

_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_IO_URING_SETUP = 425
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NOTIFY, _ALLOW, _NO_SUCH_CALL = 0x7FC00000, 0x7FFF0000, 0x00050000 | 38
_NEW_LISTENER, _WAIT_KILLABLE = 8, 32
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_REQUEST = struct.Struct("=QIIiIQ6Q")
_CONTINUE = 1
PR_SET_NO_NEW_PRIVS = 38


@dataclass(frozen=True, slots=True)
class Notice:
    """A call that is being held: its name, arguments, and the thread that made it."""

    id: int
    thread: int
    call: str
    arguments: tuple[int, ...]


def program(machine: str) -> bytes:
    """The BPF program for one processor. Raises KeyError for an unknown one.

    io_uring would change files without system calls, and other instruction sets number theirs differently:
    both are answered "no such call", to which programs know a way round.
    """
    calls = dict(CALLS[machine])
    rows = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, _ARCHITECTURE[machine]), (_RETURN, 0, 0, _NO_SUCH_CALL), (_LOAD, 0, 0, 0)]
    rows += [(_EQUAL, 0, 1, _IO_URING_SETUP), (_RETURN, 0, 0, _NO_SUCH_CALL)]
    for name, flags_at in (("open", 24), ("openat", 32)):
        if name in calls:
            rows += [(_EQUAL, 0, 4, calls.pop(name)), (_LOAD, 0, 0, flags_at), (_ANY_BIT, 0, 1, _WRITING)]
            rows += [(_RETURN, 0, 0, _NOTIFY), (_RETURN, 0, 0, _ALLOW)]
    numbers = sorted(calls.values())
    rows += [(_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    rows += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _NOTIFY)]
    return b"".join(struct.pack("HBBI", *row) for row in rows)


def install() -> int:
    """Put this process and all it will start under notification; the descriptor notices arrive on. Raises OSError.

    Without CAP_SYS_ADMIN this needs "no new privileges", after which sudo cannot work below.
    """
    try:
        code = program(platform.machine())
    except KeyError:
        raise ns.Unsupported(f"notifications are not available on {platform.machine()} processors yet") from None
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    try:
        return _install(header)
    except PermissionError:
        ns.call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return _install(header)


def _install(header: bytes) -> int:
    try:
        return ns.syscall("seccomp", 1, ctypes.c_ulong(_NEW_LISTENER | _WAIT_KILLABLE), header)
    except OSError as error:
        if error.errno != 22:  # EINVAL: before Linux 5.19 there is no killable wait
            raise
        return ns.syscall("seccomp", 1, ctypes.c_ulong(_NEW_LISTENER), header)


def receive(listener: int) -> Notice | None:
    """The next notice; None when the caller was interrupted meanwhile. Raises OSError."""
    request = bytearray(_REQUEST.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, request)
    except FileNotFoundError:
        return None
    number, thread, _, call, _, _, *arguments = _REQUEST.unpack(request)
    return Notice(number, thread, _names().get(call, str(call)), tuple(arguments))


def go_on(listener: int, notice: Notice) -> None:
    """Let the call happen. A caller that is gone is no error."""
    try:
        fcntl.ioctl(listener, _SEND, struct.pack("=QqiI", notice.id, 0, 0, _CONTINUE))
    except FileNotFoundError:
        return


def _names() -> dict[int, str]:
    return {number: name for name, number in CALLS[platform.machine()].items()}


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def read_memory(thread: int, address: int, size: int) -> bytes:
    """Up to `size` bytes of another process's memory. Raises OSError."""
    buffer = ctypes.create_string_buffer(size)
    local, remote = _Vector(ctypes.addressof(buffer), size), _Vector(address, size)
    count = ns.call(
        "process_vm_readv", thread, ctypes.byref(local), ctypes.c_ulong(1), ctypes.byref(remote), ctypes.c_ulong(1), 0
    )
    return buffer.raw[:count]


def read_text(thread: int, address: int) -> bytes:
    """A string of another process, without its final zero byte. Raises OSError."""
    if not address:
        return b""
    text = b""
    while len(text) < 65536:
        part = read_memory(thread, address + len(text), 4096 - ((address + len(text)) & 4095))
        before, end, _ = part.partition(b"\0")
        text += before
        if end:
            return text
    return text


def try_notifications() -> str:
    """Put a child under notification and hear of one call: empty when that worked, else why not."""
    import select
    import socket

    ours, theirs = socket.socketpair()

    def child() -> None:
        try:
            listener = install()
        except OSError as error:
            theirs.send(os.strerror(error.errno or 38).encode())
            return
        socket.send_fds(theirs, [b"+"], [listener])
        os.close(os.open("/dev/null", os.O_WRONLY))

    pid = os.fork()
    if pid == 0:
        ns.in_child(child)
    theirs.close()
    with ours:
        said, files, _, _ = socket.recv_fds(ours, 100, 1)
    heard = False
    if files:
        if select.select(files, [], [], 2)[0] and (notice := receive(files[0])):
            heard = read_text(pid, notice.arguments[1]) == b"/dev/null"
            go_on(files[0], notice)
        os.close(files[0])
    os.waitpid(pid, 0)
    return "" if heard else (said.decode() if not files else "the notification did not arrive")
