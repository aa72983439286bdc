"""The master side of a pseudo-terminal: reading, typing, and what state the program left it in."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import termios
from typing import Any

READ_AT_ONCE = 256 * 1024
"""Bytes taken from a terminal before anything else gets its turn."""

_TIOCSIG = 0x40045436  # Linux, asm-generic/ioctls.h: signal the foreground group, whoever owns it


class Terminal:
    """A terminal a program runs on. It is closed once, by whoever opened it."""

    def __init__(self, master: int) -> None:
        self.master = master
        self.hung_up = False
        os.set_blocking(master, False)
        self._modes = self.modes()

    def read(self) -> bytes:
        """What has been written and not read yet, possibly nothing. Sets `hung_up` when nobody is left."""
        pieces, size = [], 0
        while size < READ_AT_ONCE:
            try:
                piece = os.read(self.master, 65536)
            except BlockingIOError:
                break
            except OSError:  # EIO: the last holder of the other side has gone
                piece = b""
            if not piece:
                self.hung_up = True
                break
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    def type(self, data: bytes) -> bytes:
        """Type at the program; returns what the terminal would not take yet."""
        with contextlib.suppress(BlockingIOError, OSError):
            # A terminal in line mode holds 4,095 bytes: more would be dropped, not refused.
            written = os.write(self.master, data[:1024])
            return data[written:]
        return data

    def modes(self) -> list[Any] | None:
        """The terminal's settings as termios has them, or None when they cannot be read."""
        try:
            return termios.tcgetattr(self.master)
        except termios.error:
            return None

    @property
    def echo(self) -> bool:
        """Is what is typed shown?"""
        modes = self.modes()
        return modes is None or bool(modes[3] & termios.ECHO)

    @property
    def by_line(self) -> bool:
        """Does the program get its input line by line (and not key by key)?"""
        modes = self.modes()
        return modes is None or bool(modes[3] & termios.ICANON)

    def restore(self) -> None:
        """Back to the settings of the beginning, with nothing typed ahead."""
        with contextlib.suppress(termios.error, OSError):
            if self._modes is not None and self.modes() != self._modes:
                termios.tcsetattr(self.master, termios.TCSANOW, self._modes)
            termios.tcflush(self.master, termios.TCOFLUSH)

    def foreground(self) -> int:
        """The process group in the foreground, in our own PID namespace; 0 when there is none."""
        try:
            return os.tcgetpgrp(self.master)
        except OSError:
            return 0

    def signal(self, number: int) -> None:
        """Send a signal to the foreground group. The kernel sends SIGINT and SIGQUIT also to other users' programs."""
        if number in (signal.SIGINT, signal.SIGQUIT):
            with contextlib.suppress(OSError):
                fcntl.ioctl(self.master, _TIOCSIG, number)
                return
        group = self.foreground()
        if group > 1:
            with contextlib.suppress(OSError):
                os.killpg(group, number)

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            os.close(self.master)
