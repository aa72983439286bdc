"""Starting a program on a pseudo-terminal of its own.

A launcher is the one place where a view of the machine (namespaces, another user, another root)
differs from the machine itself: whoever holds a `Launched` need not know which it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import struct
import termios
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

FIRST_SPARE_FD = 300
"""Descriptors are moved above this number first, so that none is overwritten before it was copied."""


@dataclass(frozen=True, slots=True)
class Launched:
    """A program on its own terminal, as a session leader.

    `pid` is in this process's own PID namespace; the program need not be a child of this process.
    `master` is the terminal's master side, owned by whoever asked for the launch.
    """

    pid: int
    master: int


Launcher = Callable[[Sequence[str], Mapping[str, str], str, Mapping[int, int], tuple[int, int]], Launched]
"""(argv, environment, directory, {child descriptor: our descriptor}, (rows, columns)) -> Launched.

argv[0] is searched on the PATH of the environment given. The terminal is on 0, 1 and 2 and is the controlling
terminal; the descriptors are put in place after that and so may replace it (the session puts its script on 0).
The child has these descriptors and no others; signals are at their defaults. Raises OSError.
"""


def set_size(terminal: int, size: tuple[int, int]) -> None:
    """Tell a terminal its (rows, columns)."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", size[0], size[1], 0, 0))


def _inheritable() -> list[int]:
    # What this process was itself started with (a pipe of a caller waiting for its end, say) is none of the child's.
    with os.scandir("/dev/fd") as entries:
        numbers = [int(entry.name) for entry in entries if int(entry.name) > 2]
    inheritable = []
    for number in numbers:
        with contextlib.suppress(OSError):
            if os.get_inheritable(number):
                inheritable.append(number)
    return inheritable


def _allow_descriptors() -> None:
    # A low limit on open files (64, say) is met in start-up files; the numbers used here lie above it.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FIRST_SPARE_FD + 100
    if soft != resource.RLIM_INFINITY and soft < wanted:
        wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def launch_local(
    argv: Sequence[str], env: Mapping[str, str], cwd: str, fds: Mapping[int, int], size: tuple[int, int]
) -> Launched:
    """Start argv on a new terminal on this machine, as this user. Raises OSError."""
    # posix_spawn and not fork: other threads of this process may hold locks. It cannot change the
    # directory, so a shell does that first; a session leader's first open makes the controlling terminal.
    _allow_descriptors()
    # Where that is not to be had (an account without a home), login(1) begins in `/`.
    argv = ["/bin/sh", "-c", 'cd "$0" 2> /dev/null || cd /; exec "$@"', cwd, *argv]
    master, slave = os.openpty()
    spare: list[int] = []
    try:
        set_size(master, size)
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.ttyname(slave), os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, 0, 2),
        ]
        for child_fd, our_fd in fds.items():
            copy = fcntl.fcntl(our_fd, fcntl.F_DUPFD_CLOEXEC, FIRST_SPARE_FD)
            spare.append(copy)
            actions.append((os.POSIX_SPAWN_DUP2, copy, child_fd))
        actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable() if fd not in fds]
        pid = os.posix_spawn(
            argv[0],
            argv,
            dict(env),
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP],
        )
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
        for copy in spare:
            os.close(copy)
    return Launched(pid, master)
