"""What a command wrote: the whole on disk, the latest for eyes, head and tail for a model. All of it masked."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

from skillrun.events import Result, State
from skillrun.pty.output.lines import Lines, Shortened, is_plain, strip, unfinished
from skillrun.pty.output.screen import Screen
from skillrun.secrets import Vault

SHOWN_AT_ONCE = 16_384
"""Characters of output a surface is handed in one event; when more came meanwhile, the latest are shown."""

_UNSEEN = 4 * SHOWN_AT_ONCE

HEAD, TAIL = 6_000, 10_000
"""Characters of output that a model reads, from the beginning and from the end."""

SMALL = 4_096
"""Bytes of plain output that need no file of their own: they are whole in the command's result."""

PIECE = 4_000
"""Bytes that are masked and carried out together, unless somebody asks; what a terminal hands out at once."""

WRITTEN_AT_ONCE = 16_384
"""Bytes that are written to the file together, unless somebody asks."""


class Transcript:
    """The output of one command. `path` is created once there is more than a result holds, or the command takes a while."""

    def __init__(self, path: Path, vault: Vault, size: tuple[int, int], head: int = HEAD, tail: int = TAIL) -> None:
        self.path = path
        self._vault = vault
        self._masker = vault.masker()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._file = -1
        self._unwritten = b""
        self._lines = Lines(head, tail)
        self.screen = Screen(size)
        self._unseen = Shortened(0, _UNSEEN)
        self._unread: list[bytes] = []
        self._unread_size = 0
        self.total = 0
        self.lost = ""
        """Why the file is not whole, as a sentence; empty while it is."""

    @property
    def full_screen(self) -> bool:
        """Is a full-screen program drawing?"""
        self.digest()
        return self._lines.full_screen

    @property
    def open_line(self) -> str:
        """The line the cursor is on, empty after a newline."""
        self.digest()
        return self._lines.open_line

    @property
    def question(self) -> str:
        """Where a program that waits says for what: the line the cursor is on, or the picture it drew."""
        self.digest()
        return self._vault.mask(self.screen.text()) if self.screen.placed else self._lines.open_line

    def feed(self, data: bytes) -> None:
        """Take in what was read from the terminal. It reaches the disk with the next question about it, or soon."""
        self.total += len(data)
        self._unread.append(data)
        self._unread_size += len(data)
        if self._unread_size >= PIECE:
            self.digest()

    def digest(self) -> None:
        """Mask, write down and carry out what was taken in."""
        if self._unread:
            data = b"".join(self._unread)
            self._unread, self._unread_size = [], 0
            self._keep(self._masker.feed(data))

    def settle(self) -> None:
        """Let go what was kept back as the possible beginning of a secret: nothing follows for now."""
        self.digest()
        self._keep(self._masker.flush())
        self._lines.settle()

    @property
    def on_disk(self) -> bool:
        """Has it a file of its own?"""
        return self._file >= 0

    def save(self) -> None:
        """What has come is on disk from now on, however little it is: a command that takes long may outlive skillrun."""
        self.digest()
        self._write()

    def _keep(self, masked: bytes) -> None:
        if masked:
            text = self._decoder.decode(masked)
            self._unwritten += masked
            if self._file >= 0:
                if len(self._unwritten) >= WRITTEN_AT_ONCE:
                    self._write()
            elif len(self._unwritten) > SMALL or not _is_shown_whole(text):
                self._write()
            self._lines.feed(text)
            self.screen.feed(text)
            self._unseen.add(text)

    def _write(self) -> None:
        data, self._unwritten = self._unwritten, b""
        if not data or self.lost:
            return
        # A full disk is a pity, and no reason to end a command that gets on.
        try:
            if self._file < 0:
                self._file = self._open()
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            self.lost = f"not all of the output could be kept in {self.path}: {error.strerror}"

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            return os.open(self.path, flags, 0o666)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return os.open(self.path, flags, 0o666)

    def unseen(self) -> str:
        """Output since the last call, safe to print; only the latest of it when there was too much."""
        self.digest()
        text = self._unseen.parts()[2]
        self._unseen.clear()
        if self._lines.full_screen:
            return ""
        if len(text) > SHOWN_AT_ONCE:
            text = text[text.find("\n", len(text) - SHOWN_AT_ONCE) + 1 :]
        cut = unfinished(text)
        if cut:
            self._unseen.add(text[-cut:])
            text = text[:-cut]
        return self._vault.mask(strip(text.replace("\r\n", "\n")))

    def part(self) -> tuple[str, bool]:
        """(output since the last call as a model reads it, was it shortened)."""
        self.digest()
        head, left_out, tail = self._lines.parts()
        self._lines.clear()
        if left_out:
            self._write()
            where = self.lost or f"the whole output is in {self.path}"
            tail = f"\n[... {left_out:,} characters left out; {where} ...]\n{tail}"
        return self._vault.mask((head + tail).rstrip("\n")), bool(left_out)

    def result(self, state: State, seconds: float, cwd: str, note: str) -> Result:
        """How its command stands after so many seconds, with what it wrote since the last call."""
        output, shortened = self.part()
        notes = [note, self.lost or (f"the whole output is in {self.path}" if shortened else "")]
        return Result(
            state,
            output=output,
            output_bytes=self.total,
            output_file=str(self.path) if self.on_disk else "",
            duration_s=round(seconds, 4),
            cwd=cwd,
            note="; ".join(note for note in notes if note),
        )

    def seen(self, rows: int) -> str:
        """The terminal's screen as text."""
        self.digest()
        text = self.screen.text() if self.screen.placed else self._lines.last(rows)
        return self._vault.mask(text.strip("\n"))

    def close(self) -> None:
        """Write what is left."""
        self.settle()
        if self._file >= 0:
            self._write()
            os.close(self._file)
            self._file = -1


def _is_shown_whole(text: str) -> bool:
    """Does a model read just these characters?"""
    return is_plain(text) and text.count("\r") == text.count("\r\n") and "\ufffd" not in text
