"""The system calls that nothing inside a view makes: those that reach past every namespace.

Numbers are those of the Linux user API headers (`asm/unistd.h` of each processor); filters are `linux/seccomp.h`'s.
A processor's other instruction set has its own numbers, so it has its own row: one call is enough to get out by.
"""

from __future__ import annotations

import ctypes
import struct

from skillrun.overlay.kernel import syscalls as ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ABIS = ("x86_64", "i386", "aarch64", "arm")
CALLS: Mapping[str, tuple[int, int, int, int]] = {
    "io_uring_setup": (425, 425, 425, 425), "io_uring_enter": (426, 426, 426, 426), "io_uring_register": (427, 427, 427, 427),
    "add_key": (248, 286, 217, 309), "request_key": (249, 287, 218, 310), "keyctl": (250, 288, 219, 311),
    "bpf": (321, 357, 280, 386), "userfaultfd": (323, 374, 282, 388), "perf_event_open": (298, 336, 241, 364),
    "kexec_load": (246, 283, 104, 347), "kexec_file_load": (320, -1, 294, 401),
    "init_module": (175, 128, 105, 128), "finit_module": (313, 350, 273, 379), "delete_module": (176, 129, 106, 129),
    "reboot": (169, 88, 142, 88), "swapon": (167, 87, 224, 87), "swapoff": (168, 115, 225, 115), "acct": (163, 51, 89, 51),
    "settimeofday": (164, 79, 170, 79), "clock_settime": (227, 264, 112, 262), "clock_settime64": (-1, 404, -1, 404),
    "stime": (-1, 25, -1, 25), "open_by_handle_at": (304, 342, 265, 371), "iopl": (172, 110, -1, -1),
    "ioperm": (173, 101, -1, -1), "quotactl": (179, 131, 60, 131), "quotactl_fd": (443, 443, 443, 443),
    "lookup_dcookie": (212, 253, 18, 249), "vhangup": (153, 111, 58, 111), "syslog": (103, 103, 116, 103),
}  # fmt: skip
"""Name -> its number by ABI, -1 where there is none."""

UNSHARE, CLONE, CLONE3 = (272, 310, 97, 337), (56, 120, 220, 120), (435, 435, 435, 435)
"""Refused with CLONE_NEWCGROUP: whoever has a control group namespace of their own may mount the control groups of the
whole machine, which root's number is enough to write to. clone3's flags lie in memory, where no filter looks, so it is
not there: programs know to take clone then (clone(2))."""

SOCKET, SOCKETPAIR, SOCKETCALL = (41, 359, 198, 281), (53, 360, 199, 288), (-1, 102, -1, -1)
FAMILIES = (1, 2, 10, 16, 17)
"""The families of sockets there are inside (`linux/socket.h`): UNIX, IPv4, IPv6, netlink and packet, which network
namespaces divide. AF_VSOCK leads past them to whatever the machine runs on, and the mere name of a family that is not
loaded has the kernel load its module. socketcall's arguments lie in memory, where no filter looks: it is not there."""

_AUDIT_ARCH = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
_OF: Mapping[str, tuple[str, ...]] = {"x86_64": ("x86_64", "i386"), "aarch64": ("aarch64", "arm")}
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE, _NO_SUCH_CALL, _NO_SUCH_FAMILY = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38, 0x00050000 | 97
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
_X32 = 0x40000000

Row = tuple[int, int, int, int]


def refuse_calls() -> None:
    """Answer EPERM to the calls in CALLS from here on, children included. Raises OSError."""
    machine = ns.machine()
    if machine not in _OF:
        raise ns.Unsupported(f"no list of system calls for {machine} processors yet")
    program = filter_program(_OF[machine])
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    ns.syscall("seccomp", 1, 0, header)  # SECCOMP_SET_MODE_FILTER


def filter_program(abis: Iterable[str]) -> bytes:
    """The BPF program for one processor's ABIs. Calls by any other are refused."""
    rows: list[Row] = [(_LOAD, 0, 0, _ARCH)]
    for abi in abis:
        block = _block(abi)
        rows += [(_EQUAL, 0, len(block), _AUDIT_ARCH[abi]), *block]
    rows.append((_RETURN, 0, 0, _REFUSE))
    return b"".join(struct.pack("HBBI", *row) for row in rows)


def _block(abi: str) -> list[Row]:
    """What holds for one ABI; it returns always."""
    at = ABIS.index(abi)
    refused = [(_EQUAL, number) for number in sorted({row[at] for row in CALLS.values()} - {-1})]
    if abi == "x86_64":
        refused.append((_AT_LEAST, _X32))
    absent = [(_EQUAL, number) for number in (CLONE3[at], SOCKETCALL[at]) if number >= 0]
    allow, refuse, none = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _NO_SUCH_CALL)
    first = (_LOAD, 0, 0, _FIRST_ARGUMENT)
    families = [(_EQUAL, len(FAMILIES) - place, 0, family) for place, family in enumerate(FAMILIES)]
    ends = {
        "refused": [refuse],
        "absent": [none],
        "flagged": [first, (_ANY_BIT, 0, 1, ns.CLONE_NEWCGROUP), refuse, allow],
        "family": [first, *families, (_RETURN, 0, 0, _NO_SUCH_FAMILY), allow],
    }
    tests = [*((test, "flagged") for test in ((_EQUAL, UNSHARE[at]), (_EQUAL, CLONE[at])))]
    tests += [((_EQUAL, call[at]), "family") for call in (SOCKET, SOCKETPAIR)]
    tests += [*((test, "absent") for test in absent), *((test, "refused") for test in refused)]
    goals, rows = {}, [allow]
    for name, end in ends.items():
        goals[name] = len(rows)
        rows += end
    jumps = [(kind, len(tests) - place - 1 + goals[goal], 0, number) for place, ((kind, number), goal) in enumerate(tests)]
    return [(_LOAD, 0, 0, _NUMBER), *jumps, *rows]
