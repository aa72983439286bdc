"""The master side of a pseudo-terminal: reading, typing, and what state the program left it in."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import termios
import time
from collections.abc import Generator
from typing import Any

READ_AT_ONCE = 16 * 1024
"""Bytes asked for with one look. Linux mostly hands out 4,095."""

FLOWING, FLOWING_MS = 4_000, 1
"""So many bytes at one look mean that more follows, and how long one waits for it."""

DRAINED_AT_ONCE = 256 * 1024
"""Bytes taken from a terminal before anything else gets its turn."""

_TIOCGPTPEER = 0x5441  # Linux, ioctl_tty(2): the program's side, wherever that is mounted
_TIOCSIG = 0x40045436  # Linux, asm-generic/ioctls.h: signal the foreground group, whoever owns it


class Terminal:
    """A terminal a program runs on. It is closed once, by whoever opened it."""

    def __init__(self, master: int) -> None:
        self.master = master
        self.hung_up = False
        os.set_blocking(master, False)
        self._more = select.poll()
        self._more.register(master, select.POLLIN)
        self._modes = self.modes()
        self._size = os.get_terminal_size(master)
        self._typed = False

    def read(self) -> bytes:
        """Of what has been written and not read yet, what one look gets, possibly nothing. Sets `hung_up` at the end."""
        try:
            data = os.read(self.master, READ_AT_ONCE)
        except BlockingIOError:
            return b""
        except OSError:  # EIO: the last holder of the other side has gone
            data = b""
        self.hung_up = self.hung_up or not data
        return data

    def drain(self) -> bytes:
        """All that has been written and not read yet, possibly nothing, up to `DRAINED_AT_ONCE`. Sets `hung_up`."""
        pieces, size = [], 0
        while size < DRAINED_AT_ONCE and (data := self.read()):
            pieces.append(data)
            size += len(data)
        return b"".join(pieces)

    def flow(self, until: float) -> Generator[bytes, None, bytes]:
        """While output flows and is nothing but text: piece by piece, until a moment. Returns what ended it, maybe nothing.

        Work on a piece costs no time then, when it is done before the kernel, which holds 4 KB ready, has brought the next.
        """
        flowed = False
        while not self.hung_up:
            data = self.read()
            if len(data) < FLOWING or b"\33" in data or time.monotonic() > until:
                if not data and flowed and self._more.poll(FLOWING_MS):
                    continue
                return data
            yield data
            flowed = True
        return b""

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
