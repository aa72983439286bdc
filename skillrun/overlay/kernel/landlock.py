"""Walls inside a view beyond its namespaces: Landlock scopes, and the calls that are refused.

Both are applied once, by the first process, while it still rules its own user namespace: then neither needs
"no new privileges", and sudo goes on working inside. Source: `linux/landlock.h`.
"""

from __future__ import annotations

import ctypes
import os
import struct

from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.kernel.call_filter import refuse_calls

LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
SCOPE_ABSTRACT_UNIX, SCOPE_SIGNAL = 1, 2


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
        return ns.numbered(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    except OSError:
        return 0


def restrict_scopes() -> None:
    """Cut off abstract UNIX sockets and signals to everything started outside (Landlock 6, Linux 6.12). Raises OSError."""
    if landlock_version() < 6:
        raise OSError(38, "this kernel's Landlock knows no scopes")
    attributes = struct.pack("=QQQ", 0, 0, SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL)
    ruleset = ns.numbered(LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    try:
        ns.numbered(LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
