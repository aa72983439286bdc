"""Programs that run on although their files were taken away."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from skillrun.overlay.diff.operations import Store
from skillrun.overlay.transaction.wal import Plan

_NAME_BYTES = 15
"""What the kernel keeps of a program's name (proc_pid_comm(5))."""


def still_running(plan: Plan) -> tuple[str, ...]:
    """Processes of programs that an undo moved into its stores, in words.

    Where a process may not be looked into (another user's, in a container), its name decides.
    """
    names = {os.path.basename(path).encode()[:_NAME_BYTES] for path in _programs(plan)}
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            name = Path(f"/proc/{process}/comm").read_bytes().rstrip(b"\n")
            runs = _is_kept(os.readlink(f"/proc/{process}/exe"), plan.stores)
        except PermissionError:
            runs = name in names
        except OSError:
            continue
        if runs:
            found.append(f"{name.decode('utf-8', 'replace')} (process {process}) was not stopped and runs on")
    return tuple(found)


def _is_kept(program: str, stores: tuple[Store, ...]) -> bool:
    return any(program.startswith(store.store + "/") for store in stores)


def _programs(plan: Plan) -> Iterator[str]:
    """Executable files that undo took away, those inside a directory that went as a whole included."""
    for op in plan.ops:
        if op.old is None and op.new is not None:
            if op.new.is_directory:
                for folder, _, files in os.walk(f"{plan.stores[op.layer].store}/{op.slot}"):
                    yield from (name for name in files if _is_program(f"{folder}/{name}"))
            elif stat.S_ISREG(op.new.mode) and op.new.mode & 0o111:
                yield op.path


def _is_program(path: str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)
