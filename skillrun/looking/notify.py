"""Seccomp user notification: the kernel holds a call until it is answered (seccomp_unotify(2), `linux/seccomp.h`)."""

from __future__ import annotations

import _socket as sockets
import ctypes
import fcntl
import os
import select
import struct

from skillrun.looking import calls, passing
from skillrun.overlay.kernel import syscalls as ns

_NEW_LISTENER, _WAIT_KILLABLE = 8, 32
RECEIVE, SEND = 0xC0502100, 0xC0182101
REQUEST = struct.Struct("=QIIiIQ6Q")
GO_ON = 1
"""Let the kernel carry the call out as it stands then."""
PR_SET_NO_NEW_PRIVS = 38


def install() -> int:
    """Put this process and all it will start under the filter; the descriptor its held calls arrive on. Raises OSError.

    Needs "no new privileges" to be set, or CAP_SYS_ADMIN.
    """
    try:
        code = calls.program(ns.machine())
    except KeyError:
        raise ns.Unsupported(f"the system calls of {ns.machine()} processors are not known here") from None
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    try:
        return ns.syscall("seccomp", 1, ctypes.c_ulong(_NEW_LISTENER | _WAIT_KILLABLE), header)
    except OSError as error:
        if error.errno != 22:  # EINVAL: before Linux 5.19 there is no killable wait
            raise
        return ns.syscall("seccomp", 1, ctypes.c_ulong(_NEW_LISTENER), header)


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


def why_not() -> str:
    """Put a program under the filter and hear of what it opens: empty when that worked, else why not.

    A program, since a mere copy of this process may have closed its memory to others, as a run does for its secrets.
    """
    ours, theirs = sockets.socketpair()

    def child() -> None:
        try:
            ns.call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            listener = install()
        except OSError as error:
            theirs.send((os.strerror(error.errno or 38)).encode())
            return
        passing.send(theirs, b"+", [listener])
        os.close(listener)
        os.execv("/bin/sh", ["sh", "-c", ": > /dev/null"])

    pid = os.fork()
    if pid == 0:
        ns.in_child(child)
    theirs.close()
    said, files = passing.receive(ours, 100)
    ours.close()
    told = _heard(files[0]) if files else said.decode()
    for file in files:
        os.close(file)
    os.waitpid(pid, 0)
    return told


def _heard(listener: int) -> str:
    """Answer what is held until a file is opened whose name can be read: empty then, else why it could not."""
    told = "the notification did not arrive"
    while select.select([listener], [], [], 2)[0]:
        request = bytearray(REQUEST.size)
        try:
            fcntl.ioctl(listener, RECEIVE, request)
        except OSError:
            return told
        number, thread, _, call, _, _, *arguments = REQUEST.unpack(request)
        name, heard = calls.held(ns.machine()).get(call), False
        try:
            heard = name in ("open", "openat") and read_text(thread, arguments[name == "openat"]) == b"/dev/null"
        except OSError as error:  # the kernel lets nobody read another process here
            told = str(error)
        fcntl.ioctl(listener, SEND, struct.pack("=QqiI", number, 0, 0, GO_ON))
        if heard:
            return ""
    return told
