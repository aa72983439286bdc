"""A real pseudo-terminal with a person's eyes and hands: what a child process shows, and what is typed at it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import pyte

ROOT = Path(__file__).parents[1]


class Terminal:
    """Runs Python source on a terminal of its own. `screen` is what is visible now, `seen` every byte it wrote.

    Instead of source it may be a command line, which then has only the environment that is given.
    """

    def __init__(
        self, source: str | Sequence[str], rows: int = 24, columns: int = 80, environment: dict[str, str] | None = None
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.seen = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            ours = ("NO_COLOR", "FORCE_COLOR", "CI", "COLUMNS", "LINES")  # they would speak for this terminal
            clean = {name: value for name, value in os.environ.items() if name not in ours}
            for number in (signal.SIGINT, signal.SIGQUIT):  # ignored when the tests themselves run in the background
                signal.signal(number, signal.SIG_DFL)
            given = {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "EDITOR": "", "VISUAL": "", **(environment or {})}
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            if not isinstance(source, str):
                os.execvpe(source[0], list(source), dict(environment or {}))
            os.execve(sys.executable, [sys.executable, "-c", source], {**clean, **given})

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.master)
        with_end = time.monotonic() + 5
        while time.monotonic() < with_end:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                return
            time.sleep(0.02)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    @property
    def screen(self) -> str:
        """What a person sees."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    @property
    def cursor_hidden(self) -> bool:
        """True while the cursor is switched off."""
        return bool(self._screen.cursor.hidden)

    @property
    def echoes(self) -> bool:
        """True while the terminal shows what is typed."""
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    def _read(self, patience_s: float) -> bool:
        if not select.select([self.master], [], [], patience_s)[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += data
        self._stream.feed(data)
        return bool(data)

    def wait_for(self, text: str, patience_s: float = 15) -> str:
        """Read until the screen shows the text; the screen. Fails with what is there instead."""
        until = time.monotonic() + patience_s
        while text not in self.screen:
            left = until - time.monotonic()
            assert left > 0, f"{text!r} did not appear; the screen shows:\n{self.screen}"
            self._read(min(left, 0.2))
        return self.screen

    def wait_for_count(self, text: str, count: int, patience_s: float = 15) -> str:
        """Read until the screen shows the text so many times; the screen."""
        until = time.monotonic() + patience_s
        while self.screen.count(text) < count:
            assert time.monotonic() < until, f"{text!r} did not appear {count} times; the screen shows:\n{self.screen}"
            self._read(0.2)
        return self.screen

    def answer(self, question: str, keys: str, patience_s: float = 15) -> str:
        """Press keys once a question's prompt is there: what is typed before is thrown away. The screen before them."""
        until = time.monotonic() + patience_s
        while not self.wait_for(question, until - time.monotonic()).endswith(">"):
            assert time.monotonic() < until, f"{question!r} has no prompt; the screen shows:\n{self.screen}"
            self._read(0.2)
        screen = self.screen
        self.type(keys)
        return screen

    def rest_for(self, seconds: float) -> None:
        """Look on for so long, as somebody does who thinks."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._read(left)

    def rest(self, patience_s: float = 10) -> str:
        """Read until the child is gone; the last screen."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until and self._read(0.5):
            pass
        return self.screen

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.master, text.encode())
