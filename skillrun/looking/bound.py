"""How many processes a look may have at once: without a bound, a line that starts itself again takes the machine's last one."""

from __future__ import annotations

import os

from skillrun.looking import processes

MOST = 500
"""Processes and threads that everything behind one wall may have at once."""
_BASES = ("/sys/fs/cgroup/pids", "/sys/fs/cgroup")
_NAME = "skillrun-look-"


class Bound:
    """The bound of one keeper. An account that is not root has a limit of its own (RLIMIT_NPROC in setrlimit(2), which
    the kernel does not hold root to); root's looks are put in a control group (pids in cgroups(7)) where one can be made.
    """

    def __init__(self) -> None:
        self.group = _made() if os.geteuid() == 0 else ""

    def join(self) -> None:
        """In a new process, before it is anybody's: from here on it counts, with all that it starts."""
        if os.geteuid():
            import resource

            most = _tasks(os.geteuid()) + MOST
            hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        elif self.group:
            _write(f"{self.group}/cgroup.procs", str(os.getpid()))

    def close(self) -> None:
        """Take the group away; one that still has somebody in it goes with the next keeper."""
        if self.group:
            _gone(self.group)


def _made() -> str:
    """A control group of this keeper's; empty where none can be made. What ended keepers left is taken away."""
    for base in _BASES:
        for name in os.listdir(base) if os.path.isdir(base) else ():
            if name.startswith(_NAME) and not os.path.exists(f"/proc/{name.removeprefix(_NAME)}"):
                _gone(f"{base}/{name}")
        group = f"{base}/{_NAME}{os.getpid()}"
        try:
            os.mkdir(group)
        except OSError:
            continue
        try:
            _write(f"{group}/pids.max", str(MOST))
        except OSError:  # no such controller here
            _gone(group)
            continue
        return group
    return ""


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _gone(group: str) -> None:
    try:
        os.rmdir(group)
    except OSError:
        return


def _tasks(uid: int) -> int:
    """How many processes and threads an account has now."""
    found = 0
    for name in os.listdir("/proc"):
        try:
            mine = name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid
        except OSError:
            continue  # it has ended
        fields = processes.stat(int(name)) if mine else []
        found += int(fields[17]) if fields else 0
    return found
