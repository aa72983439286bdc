"""Walls inside a view beyond its namespaces: Landlock scopes and a list of system calls no install needs.

Both are applied once, by the first process, while it still rules its own user namespace: then neither needs
"no new privileges", and sudo goes on working inside. Sources: `linux/landlock.h`, `linux/seccomp.h`.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

from skillrun.overlay.kernel import syscalls as ns

LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
SCOPE_ABSTRACT_UNIX, SCOPE_SIGNAL = 1, 2

REFUSED_CALLS = {
    "x86_64": {
        "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "add_key": 248, "request_key": 249,
        "keyctl": 250, "bpf": 321, "userfaultfd": 323, "perf_event_open": 298, "kexec_load": 246, "kexec_file_load": 320,
        "init_module": 175, "finit_module": 313, "delete_module": 176, "reboot": 169, "swapon": 167, "swapoff": 168,
        "acct": 163, "settimeofday": 164, "clock_settime": 227, "open_by_handle_at": 304, "iopl": 172, "ioperm": 173,
        "quotactl": 179, "lookup_dcookie": 212, "vhangup": 153,
    },
    "aarch64": {
        "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "add_key": 217, "request_key": 218,
        "keyctl": 219, "bpf": 280, "userfaultfd": 282, "perf_event_open": 241, "kexec_load": 104, "kexec_file_load": 294,
        "init_module": 105, "finit_module": 273, "delete_module": 106, "reboot": 142, "swapon": 224, "swapoff": 225,
        "acct": 89, "settimeofday": 170, "clock_settime": 112, "open_by_handle_at": 265, "quotactl": 60,
        "lookup_dcookie": 18, "vhangup": 58,
    },
}  # fmt: skip
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1
_FOREIGN = _ALLOW
"""32-bit programs are let through: installers ship some, and their calls meet the namespaces all the same."""
_X32 = 0x40000000


def confine() -> list[str]:
    """Apply what this kernel has; the names of what was applied."""
    applied = []
    for name, wall in (("landlock scopes", restrict_scopes), ("seccomp", refuse_calls)):
        try:
            wall()
        except OSError:
            continue  # an older kernel: the view's namespaces stand without it, and the list says what is missing
        applied.append(name)
    return applied


def landlock_version() -> int:
    """The kernel's Landlock version, 0 without Landlock."""
    try:
        return _raw(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    except OSError:
        return 0


def restrict_scopes() -> None:
    """Cut off abstract UNIX sockets and signals to everything started outside (Landlock 6, Linux 6.12). Raises OSError."""
    if landlock_version() < 6:
        raise OSError(38, "this kernel's Landlock knows no scopes")
    attributes = struct.pack("=QQQ", 0, 0, SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL)
    ruleset = _raw(LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    try:
        _raw(LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def refuse_calls() -> None:
    """Answer EPERM to the calls in REFUSED_CALLS from here on, children included. Raises OSError."""
    numbers = sorted(REFUSED_CALLS[platform.machine()].values())
    program = filter_program(numbers, platform.machine())
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    ns.syscall("seccomp", 1, 0, header)  # SECCOMP_SET_MODE_FILTER


def filter_program(numbers: list[int], machine: str) -> bytes:
    """The BPF program: EPERM for these call numbers and for calls in another instruction set's clothes."""
    rows: list[tuple[int, int, int, int]] = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, _AUDIT_ARCH[machine]), (_RETURN, 0, 0, _FOREIGN)]
    rows.append((_LOAD, 0, 0, 0))
    left = len(numbers)
    if machine == "x86_64":
        rows.append((_AT_LEAST, left + 1, 0, _X32))
    for place, number in enumerate(numbers):
        rows.append((_EQUAL, left - place, 0, number))
    rows += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    return b"".join(struct.pack("HBBI", *row) for row in rows)


def _raw(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return ns.check(libc.syscall(number, *arguments), f"system call {number}")
