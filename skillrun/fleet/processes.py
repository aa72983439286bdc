"""The processes of another machine, as its /proc tells of them: who waits for input, what a command started.

As in `skillrun.pty.prompt_detection` nothing is concluded from what a program printed alone. What the kernel hides (another
user's process, a poll's descriptors) is concluded by elimination.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from skillrun.fleet.control import Control
from skillrun.pty.prompt_detection import Look, Sight
from skillrun.pty.sudo import Sudo

_READS = {"x86_64": (0, 19), "aarch64": (63, 65)}
"""read and readv by system call number; elsewhere elimination has to do."""
_PASSWORD = re.compile(r"pass(word|phrase|code)?\b|\bpin\b|secret|token", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Process:
    """One process. `started` in clock ticks since boot, `ticks` of processor time used (proc_pid_stat(5))."""

    pid: int
    name: str
    state: str
    parent: int
    group: int
    session: int
    terminal: int
    foreground: int
    ticks: int
    started: int


def processes(control: Control) -> dict[int, Process]:
    """All that can be seen, by number; nothing where there is no /proc."""
    found = {}
    for line in control.ask("cat /proc/[0-9]*/stat").splitlines():
        head, _, rest = line.rpartition(") ")
        pid, _, name = head.partition(" (")
        words = rest.split()
        if pid.isdigit() and len(words) > 19:
            parent, group, session, terminal, foreground = (int(word) for word in words[1:6])
            used, started = int(words[11]) + int(words[12]), int(words[19])
            number, state = int(pid), words[0]
            found[number] = Process(number, name, state, parent, group, session, terminal, foreground, used, started)
    return found


def descendants(all_of: Mapping[int, Process], root: int) -> set[int]:
    """Everything below a process."""
    below: dict[int, list[int]] = {}
    for process in all_of.values():
        below.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    pending = [root]
    while pending:
        for child in below.get(pending.pop(), ()):
            if child not in found:
                found.add(child)
                pending.append(child)
    return found


def marked(control: Control, mark: str) -> set[int]:
    """Processes of this user that have our mark in their environment, wherever they went."""
    told = control.ask(f"grep -ls {mark} /proc/[0-9]*/environ")
    return {int(match[1]) for match in re.finditer(r"/proc/(\d+)/", told)}


def family(control: Control, everything: Mapping[int, Process], shell: int, mark: str) -> set[int]:
    """Whatever the commands of a shell started, but for the shell itself and what it stands on."""
    found = {*descendants(everything, shell), *marked(control, mark)} - {shell, 0}
    below = everything.get(shell)
    return {pid for pid in found if pid in everything and everything[pid].state != "Z" and (not below or pid != below.parent)}


def is_daemon(everything: Mapping[int, Process], shell: int, pid: int) -> bool:
    """Has a process a session of its own, so that it outlives the shell's terminal?"""
    if shell not in everything:
        return everything[pid].terminal == 0
    return everything[pid].session != everything[shell].session


def look(control: Control, everything: Mapping[int, Process], shell: int, machine: str, open_line: str) -> Look:
    """Look at whoever is in the foreground of the terminal that `shell` leads."""
    if shell not in everything:
        return Look(Sight.BUSY)
    top = everything[shell]
    family = {shell, *descendants(everything, shell)}
    front = [pid for pid in family if everything[pid].group == top.foreground]
    inner = [
        pid for pid in family
        if everything[pid].terminal not in (0, top.terminal) and everything[pid].group == everything[pid].foreground
    ]  # fmt: skip
    asked = [pid for pid in [*front, *inner] if everything[pid].state in "SI"]
    echo, by_line, told = _ask(control, shell, asked)
    secret = not echo and (by_line or bool(_PASSWORD.search(open_line)))
    reading = frozenset(pid for pid in asked if _reads(told.get(pid, ""), machine))
    if reading:
        return Look(Sight.READS, reading, secret, everything[min(reading)].name)
    hidden = frozenset(pid for pid in asked if _is_hidden(told.get(pid, ""), machine))
    asleep = all(everything[pid].state in "SI" for pid in family)
    if hidden and asleep and (open_line.strip() or not (echo and by_line)):
        return Look(Sight.HIDDEN, hidden, secret, everything[min(hidden)].name)
    return Look(Sight.BUSY)


def _ask(control: Control, shell: int, pids: Iterable[int]) -> tuple[bool, bool, dict[int, str]]:
    """(echo, by line, what each is blocked in: `syscall words|what the descriptor is|`)."""
    lines = [f"stty -a < $(readlink /proc/{shell}/fd/8 || readlink /proc/{shell}/fd/0)"]
    lines += [
        f'read -r n a r < /proc/{pid}/syscall && echo "==={pid} $n $(readlink /proc/{pid}/fd/$(($a)))" || echo "==={pid}"'
        for pid in pids
    ]
    told = control.ask("\n".join(lines))
    head, *rest = re.split(r"^===", told, flags=re.MULTILINE)
    found = {}
    for part in rest:
        number, _, words = part.strip().partition(" ")
        found[int(number)] = words
    modes = head.split()
    return "-echo" not in modes, "-icanon" not in modes, found


def _reads(words: str, machine: str) -> bool:
    number, _, subject = words.partition(" ")
    return number.isdigit() and int(number) in _READS.get(machine, ()) and subject.startswith(("/dev/pts/", "/dev/tty"))


def _is_hidden(words: str, machine: str) -> bool:
    number = words.partition(" ")[0]
    return not number.isdigit() or machine not in _READS or int(number) in _WATCHES.get(machine, ())


_WATCHES = {"x86_64": (7, 271, 23, 270, 232, 281, 441), "aarch64": (73, 72, 22, 441)}
"""poll, select and epoll, whose descriptors lie in a memory that is not ours to read."""


def sudo_among(control: Control, pids: Iterable[int]) -> Sudo | None:
    """The first of these that is sudo: the kernel says that it runs as root, and nobody but root names such a process."""
    for pid in pids:
        told = control.ask(
            f"cd /proc/{pid}; cat comm; grep ^Uid: status; cut -d' ' -f22 stat; tr '\\0' '\\n' < cmdline"
        ).splitlines()
        if len(told) > 3 and told[0] in ("sudo", "sudo-rs") and told[1].split()[2:3] == ["0"]:
            return Sudo(pid, float(told[2]) if told[2].isdigit() else 0.0, tuple(told[3:]))
    return None
