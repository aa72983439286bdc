"""The person's own terminal, connected to a program for a while."""

from __future__ import annotations

import contextlib
import os
import termios
import tty
from collections.abc import Iterator

DETACH = b"\x1d"
"""Ctrl-]: what the person presses to give the program back."""

ENTER_FULL_SCREEN = b"\x1b[?1049h\x1b[2J"
LEAVE_FULL_SCREEN = b"\x1b[?1049l\x1b[?25h\x1b[0m"


@contextlib.contextmanager
def key_by_key(terminal: int) -> Iterator[None]:
    """Every key goes to the program, Ctrl-C too; the terminal is put back afterwards."""
    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)


class Typed:
    """Follows what is typed unseen, so that the program cannot betray it later by printing it."""

    def __init__(self) -> None:
        self._line = bytearray()

    def follow(self, keys: bytes) -> list[str]:
        """The lines these keys completed."""
        lines = []
        for key in keys:
            if key in b"\r\n":
                lines.append(self._line.decode("utf-8", "replace"))
                self._line.clear()
            elif key in b"\x7f\x08":
                del self._line[-1:]
            elif key == 0x15:
                self._line.clear()
            else:
                self._line.append(key)
        return [line for line in lines if line]


def show(terminal: int, data: bytes) -> None:
    """Write all of it to the person's terminal, which may be slow."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(terminal, view) :]
        except BlockingIOError:
            continue
        except OSError:
            return


def size_of(terminal: int) -> tuple[int, int] | None:
    """(rows, columns) of a terminal, None when it does not know."""
    with contextlib.suppress(OSError):
        size = os.get_terminal_size(terminal)
        if size.lines and size.columns:
            return size.lines, size.columns
    return None
