"""Other processes, as /proc and the kernel show them to the keeper."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from skillrun.overlay.kernel import syscalls as ns

_KILL, _STOP = 9, 19  # as they are on the processors whose calls are known here; `signal` is slow to import


def descriptor(thread: int, number: int) -> int:
    """A copy of a caller's descriptor (pidfd_getfd(2)). Raises OSError."""
    process = os.pidfd_open(leader(thread))
    try:
        return ns.numbered(438, process, as_int(number), 0)
    finally:
        os.close(process)


def as_int(value: int) -> int:
    """An argument as the C int it stands for."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name; none when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def session(pid: int) -> int:
    """The session it belongs to; -1 when it is gone."""
    fields = stat(pid)
    return int(fields[3]) if fields else -1


def below(pid: int, ancestor: int) -> bool:
    """Does a process descend from another?"""
    seen = 0
    while pid > 1 and seen < 100:
        if pid == ancestor:
            return True
        fields = stat(pid)
        pid, seen = (int(fields[1]) if fields else 0), seen + 1
    return False


def descendants(pid: int) -> list[int]:
    """Every process below another, the nearest first."""
    parents = {int(name): int(fields[1]) for name in os.listdir("/proc") if name.isdigit() and (fields := stat(int(name)))}
    found, todo = list[int](), [pid]
    while todo:
        parent = todo.pop(0)
        below = [child for child, above in parents.items() if above == parent]
        found += below
        todo += below
    return found


def fork() -> int:
    """fork(2), once more where what an earlier look left has taken every place. Raises OSError."""
    try:
        return os.fork()
    except OSError:
        end_all()
        return os.fork()


def end_all() -> None:
    """Kill everything below this process, which orphans are handed to.

    All are stopped first: what is stopped starts nobody and keeps its place among those that may be there at once, while the
    place of a killed one is taken at once by what goes on starting itself.
    """
    stopped: set[int] = set()
    while reap() and (found := set(descendants(os.getpid())) - stopped):
        _signal(found, _STOP)
        stopped |= found
    _signal(stopped, _KILL)
    for _ in range(1000):  # one that has ended keeps its place until it is let go of
        if not reap():
            return
        time.sleep(0.005)


def _signal(whom: Iterable[int], number: int) -> None:
    for pid in whom:
        try:
            os.kill(pid, number)
        except OSError:
            continue  # it has ended, or is another's by now


def reap() -> bool:
    """Let go of the children that have ended; are there others?"""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def group(group: int) -> list[int]:
    """Who is in a process group."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and (f := stat(int(name))) and int(f[2]) == group]


def comm(thread: int) -> str:
    """Its name."""
    try:
        with open(f"/proc/{thread}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def leader(thread: int) -> int:
    """The process a thread belongs to."""
    try:
        with open(f"/proc/{thread}/status", encoding="ascii", errors="replace") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("Tgid:")), thread)
    except OSError:
        return thread
