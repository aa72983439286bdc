"""A person's look around in a view: their shell inside, on their own terminal, before they decide."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import termios
import tty

from skillrun.pty.environment import command_environment, shell_of
from skillrun.targets.preview import PreviewTarget


def explore(target: PreviewTarget, terminal: int) -> None:
    """Run the person's login shell inside until it ends, keys and screen passed on. Raises OSError, ViewError."""
    account = target.view.spec.account
    size = _size(terminal)
    # Looking around is no change to commit: no history is left behind.
    environment = {**command_environment(os.environ, ()), "HISTFILE": "/dev/null"}
    shell = account.shell() if os.access(account.shell(), os.X_OK) else shell_of("")
    spawned = target.view.spawn([shell, "-l"], environment, target.cwd, size=size)
    assert spawned.master is not None
    before = termios.tcgetattr(terminal)
    tty.setraw(terminal)
    try:
        _pass_on(terminal, spawned.master, spawned.handle, size)
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        os.close(spawned.master)
        os.close(spawned.handle)


def _pass_on(terminal: int, master: int, handle: int, size: tuple[int, int]) -> None:
    poll = select.poll()
    for descriptor in (terminal, master, handle):
        poll.register(descriptor, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in poll.poll(500)]
        if _size(terminal) != size:
            size = _size(terminal)
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        if master in ready:
            with contextlib.suppress(OSError):
                if data := os.read(master, 65536):
                    _write_all(terminal, data)
                    continue
            return
        if terminal in ready:
            data = os.read(terminal, 65536)
            if not data:
                return
            _write_all(master, data)
        elif handle in ready:
            return


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _size(terminal: int) -> tuple[int, int]:
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))
    return rows or 24, columns or 80
