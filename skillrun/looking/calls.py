"""System calls a look is kept from, as one seccomp filter: refused, or held until the keeper has looked at them.

Numbers are those of `asm/unistd_64.h` (x86-64) and `asm-generic/unistd.h` (arm64). A held call is *answered*, never
merely let through, where its meaning lies in memory that another thread could change meanwhile (seccomp_unotify(2));
the exceptions are calls that Landlock decides on by itself.
"""

from __future__ import annotations

import os
import struct

from skillrun.overlay.kernel.call_filter import ABIS
from skillrun.overlay.kernel.call_filter import CALLS as REFUSED_CALLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def _numbers(text: str) -> dict[str, dict[str, int]]:
    """Machine -> name -> number, from `name x86-64 arm64; ...` (`-`: that processor has no such call)."""
    rows = [row.split() for row in text.split(";")]
    return {
        machine: {row[0]: int(row[at]) for row in rows if row[at] != "-"} for at, machine in enumerate(("x86_64", "aarch64"), 1)
    }


FILE_CALLS = _numbers(
    """
    open 2 -; creat 85 -; truncate 76 45; rename 82 -; unlink 87 -; rmdir 84 -; mkdir 83 -; link 86 -; symlink 88 -; chmod
    90 -; chown 92 -; lchown 94 -; mknod 133 -; utime 132 -; utimes 235 -; futimesat 261 -; openat 257 56; openat2 437 437;
    renameat 264 38; renameat2 316 276; unlinkat 263 35; mkdirat 258 34; linkat 265 37; symlinkat 266 36; fchmod 91 52;
    fchmodat 268 53; fchmodat2 452 452; fchown 93 55; fchownat 260 54; setxattr 188 5; lsetxattr 189 6; fsetxattr 190 7;
    removexattr 197 14; lremovexattr 198 15; fremovexattr 199 16; mknodat 259 33; utimensat 280 88
    """
)
"""Calls that change a file, or may."""

HELD = _numbers(
    """
    socket 41 198; connect 42 203; setsockopt 54 208; bind 49 200; listen 50 201; sendto 44 206; kill 62 129; tkill 200 130;
    tgkill 234 131; rt_sigqueueinfo 129 138; rt_tgsigqueueinfo 297 240; pidfd_send_signal 424 424; execve 59 221; execveat
    322 281
    """
)
"""The keeper is asked: these and every call that changes a file."""

NEVER = _numbers(
    """
    ptrace 101 117; process_vm_writev 311 271; process_vm_readv 310 270; process_madvise 440 440; kcmp 312 272; mount 165
    40; umount2 166 39; pivot_root 155 41; chroot 161 51; setns 308 268; unshare 272 97; sethostname 170 161; setdomainname
    171 162; fanotify_init 300 262; open_tree 428 428; move_mount 429 429; fsopen 430 430; fsconfig 431 431; fsmount 432
    432; fspick 433 433; mount_setattr 442 442; shmget 29 194; shmat 30 196; shmctl 31 195; semget 64 190; semop 65 193;
    semctl 66 191; semtimedop 220 192; msgget 68 186; msgsnd 69 189; msgrcv 70 188; msgctl 71 187; mq_open 240 180;
    mq_unlink 241 181; ioprio_set 251 30; sched_setaffinity 203 122; sched_setscheduler 144 119; sched_setparam 142 118;
    sched_setattr 314 274; setpriority 141 140; migrate_pages 256 238; move_pages 279 239; pidfd_getfd 438 438; personality
    135 92; adjtimex 159 171; clock_adjtime 305 266; modify_ldt 154 -; file_setattr 469 469; setxattrat 463 463;
    removexattrat 466 466; nfsservctl 180 42
    """
)
"""Answered EPERM at once: memory, priority and affinity of other processes, mounts, namespaces, shared memory, queues."""

_SOME = _numbers(
    """
    open 2 -; openat 257 56; ioctl 16 29; prlimit64 302 261; clone 56 220; clone3 435 435; sendmsg 46 211; sendmmsg 307 269;
    socketpair 53 199; io_uring_setup 425 425; fcntl 72 25
    """
)
"""Calls that depend on a number among their arguments."""

ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_LOAD, _EQUAL, _ANY_BIT, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x54, 0x06
_NOTIFY, _ALLOW, _ERROR = 0x7FC00000, 0x7FFF0000, 0x00050000
_EPERM, _EACCES, _ENOSYS = 1, 13, 38
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_NAMESPACES = 0x7E020000
"""CLONE_NEW* (linux/sched.h)."""
_FASTOPEN = 0x20000000
_UNIX, _DGRAM = 1, 2
_IOCTLS = (0x5412, 0x541C, 0x40087602, 0x40047602, 0x8901, 0x8902)
"""Typing into a terminal (TIOCSTI, TIOCLINUX), a file's version, whom a socket signals (FIOSETOWN, SIOCSPGRP)."""
_READING = (0x80086601, 0x80046601, 0xC020660B, 0x801C581F, 0xC0C0583B)
"""What only reads among those of file systems: flags and extents of a file (FS_IOC_GETFLAGS, FIEMAP, FSGETXATTR, GETFSMAP)."""
_OF_FILE_SYSTEMS = (0x6600, 0x5800, 0x9400)
"""Types of all the others (ext4 and what is common to all, XFS, btrfs): many change a file that is open for reading only."""
_FCNTLS = (8, 10, 15, 1024, 1026)
"""Whom a descriptor signals and with what (F_SETOWN, F_SETSIG, F_SETOWN_EX), leases, notes of a directory (fcntl(2))."""

_PARTS: Mapping[int | str, int] = {"type": 0xF, "family": 0xFF00}
"""Tests on a part of an argument: the type of a socket, the family of an ioctl (ioctl(2))."""

Row = tuple[int, int, int, int]


def held(machine: str) -> dict[int, str]:
    """Number -> name of every call the keeper is asked about."""
    return {number: name for name, number in {**FILE_CALLS[machine], **HELD[machine]}.items()}


def program(machine: str) -> bytes:
    """The BPF program. Raises KeyError for a processor whose numbers are not known here."""
    some = dict(_SOME[machine])
    rows: list[Row] = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, ARCHITECTURE[machine]),
        (_RETURN, 0, 0, _ERROR | _ENOSYS),
        (_LOAD, 0, 0, 0),
    ]
    if machine == "x86_64":
        rows += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _ERROR | _ENOSYS)]
    for number in (some["clone3"], some["io_uring_setup"]):
        rows += _when(number, [], _ERROR | _ENOSYS)
    rows += _when(some["clone"], [(_ANY_BIT, 0, _NAMESPACES)], _ERROR | _EPERM)
    rows += _when(some["prlimit64"], [("not", 0, 0)], _ERROR | _EPERM)
    for name, position in (("sendmsg", 2), ("sendmmsg", 3)):
        rows += _when(some[name], [(_ANY_BIT, position, _FASTOPEN)], _ERROR | _EPERM)
    rows += _when(HELD[machine]["sendto"], [(_ANY_BIT, 3, _FASTOPEN)], _ERROR | _EPERM)
    rows += _when(HELD[machine]["sendto"], [("not", 4, 0)], _NOTIFY)
    for name in ("socketpair", "socket"):
        number = some.get(name) or HELD[machine][name]
        rows += _when(number, [(_EQUAL, 0, _UNIX), ("type", 1, _DGRAM)], _ERROR | _EACCES)
    rows += _when(HELD[machine]["socket"], [(_EQUAL, 0, _UNIX)], _ALLOW)
    for level in (0, 41):  # SOL_IP and SOL_IPV6, which a stand-in for a datagram socket does not know
        rows += _when(HELD[machine]["setsockopt"], [(_EQUAL, 1, level)], _NOTIFY)
    for request in _IOCTLS:
        rows += _when(some["ioctl"], [(_EQUAL, 1, request)], _ERROR | _EPERM)
    for request in _READING:
        rows += _when(some["ioctl"], [(_EQUAL, 1, request)], _ALLOW)
    for kind in _OF_FILE_SYSTEMS:
        rows += _when(some["ioctl"], [("family", 1, kind)], _ERROR | _EPERM)
    for command in _FCNTLS:
        rows += _when(some["fcntl"], [(_EQUAL, 1, command)], _ERROR | _EPERM)
    for name, position in (("open", 1), ("openat", 2)):
        if name in some:
            rows += _when(some[name], [(_ANY_BIT, position, _WRITING)], _NOTIFY)
    notified = {**FILE_CALLS[machine], **HELD[machine]}
    for name in ("open", "openat", "sendto", "setsockopt"):
        notified.pop(name, None)
    at = ABIS.index(machine)
    others = {name: row[at] for name, row in REFUSED_CALLS.items() if row[at] >= 0 and name != "io_uring_setup"}
    refused = {**NEVER[machine], **others}
    rows += _members(sorted(refused.values()), _ERROR | _EPERM)
    rows += _members(sorted(notified.values()), _NOTIFY)
    rows.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *row) for row in rows)


def _when(number: int, tests: Sequence[tuple[int | str, int, int]], action: int) -> list[Row]:
    """`action` for this call where every test on the low half of an argument holds; else the rows behind decide."""
    if not tests:
        return [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, action)]
    wanted = sum(3 if kind in _PARTS else 2 for kind, _, _ in tests)
    rows: list[Row] = []
    for kind, argument, value in tests:
        rows.append((_LOAD, 0, 0, 16 + 8 * argument))
        if kind in _PARTS:
            rows.append((_AND, 0, 0, _PARTS[kind]))
        past = wanted - len(rows)  # over the other tests and the return, to where the number is loaded again
        operation = kind if isinstance(kind, int) else _EQUAL
        rows.append((operation, past, 0, value) if kind == "not" else (operation, 0, past, value))
    return [(_EQUAL, 0, wanted + 2, number), *rows, (_RETURN, 0, 0, action), (_LOAD, 0, 0, 0)]


def _members(numbers: Sequence[int], action: int) -> list[Row]:
    rows: list[Row] = []
    for number in numbers:
        rows += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, action)]
    return rows
