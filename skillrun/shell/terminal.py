"""The master side of a pseudo-terminal: reading, typing, and what state the program left it in."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import termios
from typing import Any

READ_AT_ONCE = 256 * 1024
"""Bytes taken from a terminal before anything else gets its turn."""

_TIOCGPTPEER = 0x5441  # Linux, ioctl_tty(2): the program's side, wherever that is mounted
_TIOCSIG = 0x40045436  # Linux, asm-generic/ioctls.h: signal the foreground group, whoever owns it


class Terminal:
    """A terminal a program runs on. It is closed once, by whoever opened it."""

    def __init__(self, master: int) -> None:
        self.master = master
        self.hung_up = False
        os.set_blocking(master, False)
        self._room = memoryview(bytearray(READ_AT_ONCE))
        self._modes = self.modes()
        self._size = os.get_terminal_size(master)
        self._typed = False

    def read(self) -> bytes:
        """What has been written and not read yet, possibly nothing. Sets `hung_up` when nobody is left."""
        # Into one buffer: the kernel hands out 4 KB at a time, and making room for each costs more than reading it.
        size = 0
        while size < READ_AT_ONCE:
            try:
                got = os.readv(self.master, (self._room[size:],))
            except BlockingIOError:
                break
            except OSError:  # EIO: the last holder of the other side has gone
                got = 0
            if not got:
                self.hung_up = True
                break
            size += got
        return bytes(self._room[:size])

    def type(self, data: bytes) -> bytes:
        """Type at the program; returns what the terminal would not take yet."""
        self._typed = True
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

    def keys(self, text: str) -> bytes:
        """Text as a keyboard sends it: Enter is a carriage return, which the terminal itself may turn into a newline."""
        modes = self.modes()
        enter = modes is None or modes[0] & termios.ICRNL or not modes[3] & termios.ICANON
        return (text.replace("\n", "\r") if enter else text).encode("utf-8", "surrogateescape")

    def restore(self) -> None:
        """Back to the settings and the size of the beginning, with nothing typed ahead."""
        with contextlib.suppress(termios.error, OSError):
            if self._modes is not None and self.modes() != self._modes:
                termios.tcsetattr(self.master, termios.TCSANOW, self._modes)
            if os.get_terminal_size(self.master) != self._size:
                size = struct.pack("HHHH", self._size.lines, self._size.columns, 0, 0)
                fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)
            if self._typed:
                self._typed = False
                self._forget_typed()

    def _forget_typed(self) -> None:
        # Only the program's side can throw away what was typed at it.
        side = fcntl.ioctl(self.master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
        try:
            termios.tcflush(side, termios.TCIFLUSH)
        finally:
            os.close(side)

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
