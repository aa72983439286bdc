"""The last steps of a forked child before it becomes a command: its terminal, its files, its directory."""

from __future__ import annotations

import fcntl
import os
import signal
import termios
from collections.abc import Iterable, Mapping, Sequence

_PARKED = 200
"""Passed files are moved up here before they get their numbers, so that none overwrites another."""


def take_files(files: Sequence[int], numbers: Iterable[int], terminal: int | None) -> None:
    """Start a session on `terminal` and give each file its number. Raises OSError."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for stopped in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(stopped, signal.SIG_DFL)
    os.setsid()
    parked = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _PARKED) for descriptor in files]
    if terminal is not None:
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        for standard in (0, 1, 2):
            os.dup2(terminal, standard)
    for number, descriptor in zip(numbers, parked, strict=True):
        os.dup2(descriptor, number)


def execute(argv: Sequence[str], env: Mapping[str, str], folders: Iterable[str]) -> None:
    """Become the command, in the first of the folders that can be entered. Never returns: 126 or 127 when it cannot be."""
    for folder in folders:
        try:
            os.chdir(folder)
            break
        except OSError:
            continue  # gone or closed to the person: the next best place
    try:
        os.execvpe(argv[0], list(argv), dict(env))
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode("utf-8", "replace"))
        os._exit(126 if isinstance(error, PermissionError) else 127)
