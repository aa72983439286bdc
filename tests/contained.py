"""Becomes a program that may make no namespaces and no mounts, as containers keep theirs from it: `contained.py PROGRAM...`.

A seccomp filter like that of container engines: unshare and mount are refused, clone3 is not there, clone makes no
user namespace. For 64-bit x86 and ARM.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

UNSHARE, MOUNT, CLONE = {"x86_64": (272, 165, 56), "aarch64": (97, 40, 220)}[platform.machine()]
CLONE3 = 435
REFUSE, ABSENT, ALLOW = 0x00050000 | 1, 0x00050000 | 38, 0x7FFF0000
LOAD, EQUAL, HAS, END = 0x20, 0x15, 0x45, 0x06
NUMBER, FLAGS = 0, 16
NEW_USER = 0x10000000

FILTER = [
    (LOAD, 0, 0, NUMBER),
    *[step for number in (UNSHARE, MOUNT) for step in ((EQUAL, 0, 1, number), (END, 0, 0, REFUSE))],
    *((EQUAL, 0, 1, CLONE3), (END, 0, 0, ABSENT)),
    *((EQUAL, 0, 3, CLONE), (LOAD, 0, 0, FLAGS), (HAS, 0, 1, NEW_USER), (END, 0, 0, REFUSE)),
    (END, 0, 0, ALLOW),
]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in FILTER))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(FILTER), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(program)), 0, 0):
    sys.exit(f"no filter: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[1], sys.argv[1:])
