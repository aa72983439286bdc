"""The processes of a command: are they getting on, and how they are ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MARK = "SKILLRUN_SESSION"
"""Variable by which processes that left their family are still recognised."""

KILLED_S = 0.5
"""How long one waits for what was killed to be gone."""

_IDLE_CPU = 0.02
"""Share of one processor below which a tree is not getting on: polling loops use as much."""

_IDLE_BYTES = 64 * 1024
"""Bytes read and written in a second below which a tree is not getting on."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a tree has done so far: seconds of processor time and bytes moved, at a moment."""

    at: float
    cpu_s: float
    moved: int

    def went_on_since(self, before: Work) -> bool:
        """Has the tree done more than idling in between?"""
        seconds = max(self.at - before.at, 0.01)
        return (self.cpu_s - before.cpu_s) / seconds > _IDLE_CPU or (self.moved - before.moved) / seconds > _IDLE_BYTES


def descendants(root: int) -> list[int]:
    """The processes below root, parents before children. Root itself is not among them."""
    if os.path.exists("/proc/thread-self/children"):  # proc_pid_task(5)
        family = [root]
        for pid in family:
            family += _children(pid)
        return family[1:]
    import psutil

    with contextlib.suppress(psutil.Error):
        return [process.pid for process in psutil.Process(root).children(recursive=True)]
    return []


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                found += map(int, file.read().split())
    return found


def work(pids: Iterable[int], waited_by: int) -> Work:
    """What these processes and those the shell has waited for have done; what may not be seen counts as idle.

    The shell's own work does not count: all it does by itself for long is to go round in circles.
    """
    import psutil

    cpu, moved = 0.0, 0
    with contextlib.suppress(psutil.Error, OSError):
        times = psutil.Process(waited_by).cpu_times()
        cpu = times.children_user + times.children_system
    for pid in pids:
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                cpu += times.user + times.system + times.children_user + times.children_system
                if hasattr(process, "io_counters"):
                    counters = process.io_counters()
                    moved += counters.read_bytes + counters.write_bytes
    return Work(time.monotonic(), cpu, moved)


def marked(mark: str) -> list[int]:
    """Processes of ours that carry the mark in their environment, wherever they are in the tree."""
    entry = f"{MARK}={mark}".encode()
    me = os.getpid()
    if os.path.exists("/proc/self/environ"):
        return [
            pid for name in os.listdir("/proc") if name.isdigit() and (pid := int(name)) != me and _started_with(pid, entry)
        ]
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.pid != me:
                found.append(process.pid)
    return found


def _started_with(pid: int, entry: bytes) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
        return entry in file.read().split(b"\0")
    return False


def is_daemon(pid: int, session: int) -> bool:
    """Would the process go on when the session's terminal is closed?

    It has a session of its own; or it has let go of the terminal, and whoever started it has ended (so nobody passes
    the hang-up on) or it ignores hang-ups, as under nohup.
    """
    with contextlib.suppress(OSError):
        return os.getsid(pid) != session or (_off_terminal(pid) and _outlives_hangup(pid, session))
    return True


def _off_terminal(pid: int) -> bool:
    with contextlib.suppress(OSError):  # another user's, or no /proc here
        return not any(os.readlink(f"/proc/{pid}/fd/{number}").startswith(("/dev/pts/", "/dev/tty")) for number in range(3))
    return False


def _outlives_hangup(pid: int, session: int) -> bool:
    with contextlib.suppress(OSError, StopIteration, ValueError):
        fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
        if int(fields.get("SigIgn", "0"), 16) & 1 << signal.SIGHUP - 1:
            return True
        return os.getsid(int(fields["PPid"])) != session
    return False


def started(pid: int) -> float:
    """When the process was started, in seconds since the epoch; 0 when it is gone."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return float(psutil.Process(pid).create_time())
    return 0.0


def name_of(pid: int) -> str:
    """The process's short name, empty when it is gone."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return str(psutil.Process(pid).name())
    return ""


def alive(pids: Iterable[int]) -> list[int]:
    """Those that still run; a zombie does not."""
    return [pid for pid in pids if _runs(pid)]


def _runs(pid: int) -> bool:
    if os.path.exists("/proc/self/stat"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            # proc_pid_stat(5): the state stands behind the name, which may hold brackets itself
            return file.read().rpartition(b")")[2].split()[:1] not in ([b"Z"], [b"X"])
        return False
    import psutil

    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def send(pids: Iterable[int], number: int) -> None:
    """Signal each of them; those that are gone or not ours are passed over."""
    for pid in pids:
        if pid > 1:
            with contextlib.suppress(OSError):
                os.kill(pid, number)


def left(pids: Iterable[int], patience_s: float) -> list[int]:
    """Those that still run after the patience, or sooner none: who is killed still has its memory to give back."""
    deadline = time.monotonic() + patience_s
    while (going := alive(pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return going


def end_as_root(pids: Iterable[int]) -> list[int]:
    """SIGKILL with root rights, where sudo gives them without asking; those that are still there."""
    import subprocess

    going = alive(pids)
    if going and hasattr(os, "getuid") and os.getuid() != 0:
        command = ["sudo", "-n", "kill", "-KILL", *map(str, going)]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False)
    return left(going, KILLED_S)


def end(pids: Iterable[int], patience_s: float = 1.0) -> None:
    """SIGTERM, and SIGKILL for what is still there after the patience."""
    going = alive(pids)
    send(going, signal.SIGTERM)
    send(going, signal.SIGCONT)
    going = left(going, patience_s)
    send(going, signal.SIGKILL)
    left(going, KILLED_S)
