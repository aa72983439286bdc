"""Does a program wait for its input? Found in what the kernel says of it, never in the text it printed.

On Linux a process that waits is blocked in a system call, which /proc names along with its arguments
(proc(5), `/proc/PID/syscall`): a read of a terminal, or a poll, select or epoll that watches one. Where that
cannot be seen (another user's process, another system) it is concluded by elimination: all asleep, nothing
used, nothing written, and the terminal changed from line mode or left with an unfinished line.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
import stat
import struct
import termios
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache

from skillrun.pty import process_tree
from skillrun.pty.sudo import sudo_among
from skillrun.pty.terminal import Terminal
from skillrun.text.patterns import later


class Sight(Enum):
    """What a look at a program showed."""

    READS = "reads"
    """It is blocked reading the terminal and waits for nothing else."""
    READS_AND_MORE = "reads and more"
    """It watches the terminal among other things (connections, other terminals)."""
    BUSY = "busy"
    """It is doing or waiting for something else."""
    HIDDEN = "hidden"
    """It cannot be seen into."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the foreground of a terminal. `secret`: what is typed now is not shown by the terminal."""

    sight: Sight
    pids: frozenset[int] = frozenset()
    secret: bool = False
    name: str = ""


_X86 = {0: "read", 19: "read", 7: "poll", 271: "poll", 23: "select", 270: "select", 232: "epoll", 281: "epoll", 441: "epoll"}
_ARM = {63: "read", 65: "read", 73: "poll", 72: "select", 22: "epoll", 441: "epoll"}
_CALLS = {"x86_64": _X86, "aarch64": _ARM}
_PASSWORD = later(r"pass(word|phrase|code)?\b|\bpin\b|secret|token", re.IGNORECASE)
_TERMINAL_MAJORS = frozenset({4, *range(136, 144)})  # Linux, admin-guide/devices.txt: consoles, pseudo-terminals
_HARMLESS = ("anon_inode:[eventfd]", "anon_inode:[signalfd]", "anon_inode:[timerfd]", "anon_inode:inotify")


@cache
def _calls() -> dict[int, str]:
    return _CALLS.get(platform.machine(), {}) if os.path.exists("/proc/self/syscall") else {}


@dataclass(frozen=True, slots=True)
class _Stat:
    """Of proc_pid_stat(5): state, parent, process group, the terminal's device number and its foreground group."""

    state: str
    parent: int
    group: int
    device: int
    foreground: int


def _stat(pid: int) -> _Stat | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return _Stat(fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[4]), int(fields[5]))
    return None


def _read_memory(pid: int, address: int, size: int) -> bytes:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        file.seek(address)
        return file.read(size) or b""


def _watched(pid: int, call: str, arguments: list[int]) -> list[int] | None:
    """The descriptors a blocked call waits to read from; None when they cannot be seen."""
    try:
        if call == "read":
            return [arguments[0]]
        if call == "poll":
            count = min(arguments[1], 1024)
            entries = struct.iter_unpack("=ihh", _read_memory(pid, arguments[0], count * 8))
            return [descriptor for descriptor, events, _ in entries if events & 1 and descriptor >= 0]
        if call == "select":
            if not arguments[1]:
                return []
            bits = int.from_bytes(_read_memory(pid, arguments[1], (min(arguments[0], 1024) + 63) // 64 * 8), "little")
            return [descriptor for descriptor in range(min(arguments[0], 1024)) if bits >> descriptor & 1]
        with open(f"/proc/{pid}/fdinfo/{arguments[0]}") as file:
            found = re.findall(r"^tfd:\s*(\d+) events:\s*([0-9a-f]+)", file.read(), re.MULTILINE)
        return [int(descriptor) for descriptor, events in found if int(events, 16) & 1]
    except (OSError, OverflowError, ValueError, IndexError):
        return None


def _thread_reads(pid: int, tid: str) -> Sight:
    """What one thread is blocked in."""
    try:
        with open(f"/proc/{pid}/task/{tid}/syscall") as file:
            words = file.read().split()
    except OSError:
        return Sight.HIDDEN
    if len(words) < 3:
        return Sight.BUSY
    call = _calls().get(int(words[0]))
    if call is None:
        return Sight.BUSY
    descriptors = _watched(pid, call, [int(word, 16) for word in words[1:7]])
    if descriptors is None:
        return Sight.HIDDEN
    kinds = [_kind(pid, descriptor) for descriptor in descriptors]
    if "terminal" not in kinds:
        return Sight.BUSY
    pipes = {kind for kind in kinds if kind.startswith("pipe:")}
    more = "other" in kinds or (bool(pipes) and not _own_pipes(pid, pipes))
    return Sight.READS_AND_MORE if more else Sight.READS


def _kind(pid: int, descriptor: int) -> str:
    """terminal | pipe:INODE | harmless | other. Device numbers and not names: a view has its own /dev."""
    path = f"/proc/{pid}/fd/{descriptor}"
    try:
        status = os.stat(path)
        if stat.S_ISCHR(status.st_mode):
            major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
            return "terminal" if major in _TERMINAL_MAJORS or (major == 5 and minor < 2) else "other"
        if stat.S_ISFIFO(status.st_mode):
            return f"pipe:{status.st_ino}"
        return "harmless" if os.readlink(path).startswith(_HARMLESS) else "other"
    except OSError:
        return "harmless"


def _own_pipes(pid: int, pipes: set[str]) -> bool:
    """Are these pipes a program's way of waking itself up (both ends are its own)?"""
    with contextlib.suppress(OSError):
        kinds = [_kind(pid, int(name)) for name in os.listdir(f"/proc/{pid}/fd")]
        return all(kinds.count(pipe) > 1 for pipe in pipes)
    return False


def only_reads(pid: int) -> bool:
    """Is it one thread, blocked in a plain read? Then nothing of what is written meanwhile comes from it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/syscall") as file:
            call = int(file.read().split()[0])
        return _calls().get(call) == "read" and len(os.listdir(f"/proc/{pid}/task")) == 1
    return False


def _process_reads(pid: int) -> Sight:
    """The most waiting of its threads."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return Sight.HIDDEN
    sights = [_thread_reads(pid, thread) for thread in threads[:64]]
    for sight in (Sight.READS, Sight.READS_AND_MORE, Sight.HIDDEN):
        if sight in sights:
            return sight
    return Sight.BUSY


def look(terminal: Terminal, shell: int, open_line: str, drawn: bool = False) -> Look:
    """Look at whoever is in the foreground of the terminal, and of the terminals below it (sudo, apt, ssh make such).

    `drawn`: a full-screen program has the terminal. A shell that stopped itself is woken: nobody else could.
    """
    group = terminal.foreground()
    family = process_tree.descendants(shell)
    stats = {pid: entry for pid in (shell, *family) if (entry := _stat(pid)) is not None}
    if not stats:
        return _by_elimination(terminal, open_line, group != shell and group > 1)
    if shell in stats and stats[shell].state == "T":
        process_tree.send([shell], signal.SIGCONT)
        return Look(Sight.BUSY)
    device = stats[shell].device if shell in stats else 0
    inner = [pid for pid, entry in stats.items() if entry.device not in (0, device) and entry.group == entry.foreground]
    found = _by_sight([pid for pid, entry in stats.items() if entry.group == group] + _detached(stats, group, shell))
    if inner and not found[Sight.READS]:
        return _look_below(inner, open_line, terminal)
    if reads := _reading(found, terminal, open_line):
        return reads
    asleep = all(entry.state in "SI" for entry in stats.values())
    if found[Sight.HIDDEN]:
        return _by_elimination(terminal, open_line, asleep, hidden=found[Sight.HIDDEN])
    if drawn and asleep and not terminal.by_line:  # its keys are read by somebody outside the family: the server of tmux
        return Look(Sight.HIDDEN, frozenset([group]), name=process_tree.name_of(group))
    return Look(Sight.BUSY)


def _reading(found: Mapping[Sight, list[int]], terminal: Terminal, open_line: str) -> Look | None:
    for sight in (Sight.READS, Sight.READS_AND_MORE):
        if found[sight]:
            pids = frozenset(found[sight])
            return Look(sight, pids, _is_secret(terminal.echo, terminal.by_line, open_line), process_tree.name_of(min(pids)))
    return None


def _by_sight(pids: Iterable[int]) -> dict[Sight, list[int]]:
    found: dict[Sight, list[int]] = {sight: [] for sight in Sight}
    for pid in pids:
        found[_process_reads(pid) if _calls() else Sight.HIDDEN].append(pid)
    return found


def _detached(stats: Mapping[int, _Stat], group: int, shell: int) -> list[int]:
    """Those in a session without a terminal (setsid, `su -c`) that somebody in the foreground started."""
    found = []
    for pid, entry in stats.items():
        above = entry.parent if entry.device == 0 else 0
        while above in stats and above != shell and stats[above].group != group:
            above = stats[above].parent
        if above in stats and above != shell:
            found.append(pid)
    return found


def _look_below(inner: list[int], open_line: str, terminal: Terminal) -> Look:
    """Look at programs on a terminal that another program made and relays."""
    sights = {pid: _process_reads(pid) if _calls() else Sight.HIDDEN for pid in inner}
    reading = [pid for pid, sight in sights.items() if sight is Sight.READS]
    if reading:
        echo, by_line = _modes_of(reading[0])
        return Look(Sight.READS, frozenset(reading), _is_secret(echo, by_line, open_line), process_tree.name_of(reading[0]))
    if all(sight is Sight.HIDDEN for sight in sights.values()):
        asleep = all((entry := _stat(pid)) is not None and entry.state in "SI" for pid in inner)
        return _by_elimination(terminal, open_line, asleep, relayed=True)
    return Look(Sight.BUSY)


def _modes_of(pid: int) -> tuple[bool, bool]:
    """(echo, by line) of the terminal a process reads; the usual when it cannot be opened."""
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError, termios.error):
            opened = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
            try:
                flags = termios.tcgetattr(opened)[3]
            finally:
                os.close(opened)
            return bool(flags & termios.ECHO), bool(flags & termios.ICANON)
    return True, True


def _by_elimination(
    terminal: Terminal, open_line: str, asleep: bool, relayed: bool = False, hidden: Sequence[int] = ()
) -> Look:
    """Nobody can be looked into: all asleep, and the terminal left as a question leaves it."""
    echo, by_line = terminal.echo, terminal.by_line
    prepared = bool(open_line.strip()) or (not relayed and not (echo and by_line))
    if not asleep or not prepared:
        return Look(Sight.BUSY)
    pids = frozenset(hidden or [terminal.foreground()])
    name = "sudo" if sudo_among(hidden) else process_tree.name_of(min(pids))
    return Look(Sight.HIDDEN, pids, _is_secret(echo, by_line, open_line), name)


def _is_secret(echo: bool, by_line: bool, open_line: str) -> bool:
    """Echo off in line mode is a password prompt. A program that reads key by key shows what it likes itself, so
    there (and behind a relay) the words of the question have to do: they can only add caution.
    """
    return not echo and (by_line or bool(_PASSWORD.search(open_line)))
