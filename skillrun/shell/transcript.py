"""What a command wrote: the whole on disk, the latest for eyes, head and tail for a model. All of it masked."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import BinaryIO

from skillrun.secrets import Vault
from skillrun.shell.lines import Lines, is_plain, strip, unfinished
from skillrun.shell.screen import Screen

SHOWN_AT_ONCE = 16_384
"""Characters of output a surface is handed in one event; when more came meanwhile, the latest are shown."""

HEAD, TAIL = 6_000, 10_000
"""Characters of output that a model reads, from the beginning and from the end."""


class Transcript:
    """The output of one command. `path` is created with the first byte."""

    def __init__(self, path: Path, vault: Vault, size: tuple[int, int], head: int = HEAD, tail: int = TAIL) -> None:
        self.path = path
        self._vault = vault
        self._masker = vault.masker()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._file: BinaryIO | None = None
        self._lines = Lines(head, tail)
        self.screen = Screen(size)
        self._unseen = ""
        self.total = 0

    @property
    def full_screen(self) -> bool:
        """Is a full-screen program drawing?"""
        return self._lines.full_screen

    @property
    def open_line(self) -> str:
        """The line the cursor is on, empty after a newline."""
        return self._lines.open_line

    def feed(self, data: bytes) -> None:
        """Take in what was read from the terminal."""
        self.total += len(data)
        self._take(self._masker.feed(data))

    def settle(self) -> None:
        """Let go what was kept back as the possible beginning of a secret: nothing follows for now."""
        self._take(self._masker.flush())

    def _take(self, data: bytes) -> None:
        if not data:
            return
        if self._file is None:
            try:
                self._file = self.path.open("wb", buffering=0)
            except FileNotFoundError:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._file = self.path.open("wb", buffering=0)
        self._file.write(data)
        text = self._decoder.decode(data)
        self._lines.feed(text, is_plain(data))
        self.screen.feed(text)
        self._unseen = (self._unseen + text)[-4 * SHOWN_AT_ONCE :]

    def unseen(self) -> str:
        """Output since the last call, safe to print; only the latest of it when there was too much."""
        text, self._unseen = self._unseen, ""
        if self._lines.full_screen:
            return ""
        if len(text) > SHOWN_AT_ONCE:
            text = text[text.find("\n", len(text) - SHOWN_AT_ONCE) + 1 :]
        cut = unfinished(text)
        if cut:
            self._unseen, text = text[-cut:], text[:-cut]
        return self._vault.mask(strip(text.replace("\r\n", "\n")))

    def part(self) -> tuple[str, bool]:
        """(output since the last call as a model reads it, was it shortened)."""
        head, left_out, tail = self._lines.parts()
        self._lines.clear()
        if left_out:
            tail = f"\n[... {left_out:,} characters left out; the whole output is in {self.path} ...]\n{tail}"
        return self._vault.mask((head + tail).rstrip("\n")), bool(left_out)

    def seen(self, rows: int) -> str:
        """The terminal's screen as text."""
        text = self.screen.text() if self._lines.full_screen else self._lines.last(rows)
        return self._vault.mask(text.strip("\n"))

    def close(self) -> None:
        """Write what is left."""
        self.settle()
        if self._file is not None:
            self._file.close()
            self._file = None
