"""Is it sudo itself that asks, and for which command? A password is given to nobody else.

Any program can print "[sudo] password for you:" and any can call itself sudo. What it cannot do is run as root, which the
kernel says of a process, and be forked by the run's own shell, which shares its stack's address with nobody else.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import dataclass

from skillrun.text.escape import shown

_LONGEST = 300
_DEEPEST = 64


@dataclass(frozen=True, slots=True)
class Sudo:
    """A running sudo. `began` (seconds since the epoch) and `pid` together name it."""

    pid: int
    began: float
    words: tuple[str, ...]

    @property
    def command(self) -> tuple[str, ...]:
        """Its words as they were written, without what our own function puts before them (`skillrun.pty.askpass`)."""
        command = tuple(word for word in self.words[1:] if word not in ("-A", "--askpass"))
        return command[command[:1] == ("-k",) :]

    @property
    def wish(self) -> str:
        """What it wants the password for, as a person reads it: never its own prompt, which a script can choose."""
        text = shown(shlex.join(self.command))
        return f"to run: {text}" if len(text) <= _LONGEST else f"to run: {text[:_LONGEST]}... (and {len(text) - _LONGEST} more)"


def sudo_at(pid: int) -> Sudo | None:
    """The sudo that a process is: it runs as root, and is the program of that name wherever that can be seen."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError, ValueError):
        process = psutil.Process(pid)
        if process.name() not in _NAMES or process.uids().effective != 0:
            return None
        with contextlib.suppress(psutil.AccessDenied):  # an ordinary user may not see which file a process of root's is
            if not _is_sudo_file(process.exe()):
                return None
        return Sudo(pid, process.create_time(), tuple(process.cmdline()))
    return None


_NAMES = frozenset({"sudo", "sudo-rs"})


def _is_sudo_file(path: str) -> bool:
    return any(os.path.realpath(found) == os.path.realpath(path) for name in _NAMES if (found := shutil.which(name)))


def sudo_among(pids: Iterable[int]) -> Sudo | None:
    """The first of these that is sudo."""
    return next((found for pid in pids if (found := sudo_at(pid)) is not None), None)


def who_asks(pids: Iterable[int], name: str) -> str:
    """What a person must know before they type a secret at a program."""
    if sudo_among(pids):
        return "echo is off: only a person may type here"
    asker = f"{shown(name)} asks" if name else "a program asks"
    return f"echo is off: only a person may type here; {asker}, which is not sudo: not for the password of your account"


def asked_by_shell(helper: int, program: str, shell: int, since: float) -> Sudo | None:
    """The sudo for which `helper` asks: its parent, started after `since` by the run's `shell` itself and by no script of it.

    `program`: the interpreter the helper runs in. None when anything about it is otherwise.
    """
    import psutil

    with contextlib.suppress(psutil.Error, OSError, ValueError, IndexError):
        process = psutil.Process(helper)
        if not os.path.samefile(process.exe(), program):
            return None
        found = sudo_at(process.ppid())
        if found is None or found.began < since - 1:
            return None
        above = psutil.Process(found.pid).ppid()
        for _ in range(_DEEPEST):
            if above == shell:
                return found
            if not _forked_from(above, shell):
                return None
            above = psutil.Process(above).ppid()
    return None


def _forked_from(pid: int, shell: int) -> bool:
    """Is the process a copy of the shell that has become no other program?

    Both then have their arguments and their stack where the kernel put them when the shell began, which is a place
    chosen anew at random for every program (proc_pid_stat(5), startstack and arg_start).
    """
    import psutil

    if not os.path.exists("/proc/self/stat"):
        return bool(psutil.Process(pid).cmdline() == psutil.Process(shell).cmdline())
    places = [_places(each) for each in (pid, shell)]
    return places[0] == places[1] and all(places[0])


def _places(pid: int) -> tuple[int, int]:
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[25]), int(fields[45])
