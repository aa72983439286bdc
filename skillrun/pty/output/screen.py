"""The picture a full-screen program has drawn, as text."""

from __future__ import annotations

import contextlib
from typing import Any

from skillrun.pty.output.lines import STRING, Shortened
from skillrun.text.patterns import later

_ENTER = later(r"\x1b\[\?(?:1049|1047|47)h")
_LEAVE = later(r"\x1b\[\?(?:1049|1047|47)l")
_NOT_FOR_PYTE = later(STRING + r"|\x1b\[[<=>?][0-9;]*[a-gi-km-z]|\x1b\[[>!][0-9;]*[a-zA-Z]")
_PLACED = later(r"\x1b\[\d+;\d+[Hf]")
_KEPT, _LATELY = 65_536, 4_096


_PLACE, _HEALTH, _KIND = _QUESTIONS = (b"\x1b[6n", b"\x1b[5n", b"\x1b[c")


def asks(data: bytes) -> bool:
    """Does a program ask its terminal something here?"""
    return b"\x1b" in data and any(question in data for question in _QUESTIONS)


def asked(data: bytes, open_line: str, size: tuple[int, int]) -> bytes:
    """What a terminal answers to a program that asks it for its state, its kind or the cursor's place."""
    row_and_column = b"\x1b[%d;%dR" % (size[0], min(len(open_line) + 1, size[1]))
    answers = {_PLACE: row_and_column, _HEALTH: b"\x1b[0n", _KIND: b"\x1b[?1;2c"}
    return b"".join(answers[question] for question in _QUESTIONS if question in data)


class Screen:
    """Follows the output, and draws it only while a full-screen program runs or somebody looks."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._recent = Shortened(0, _KEPT)
        self._drawn: Any = None
        self._stream: Any = None

    def feed(self, text: str) -> None:
        """Take in output."""
        if self._stream is None:
            if "\x1b" in text and (match := _ENTER.search(text)):
                self._start()
                self._draw(text[match.start() :])
            self._recent.add(text)
        else:
            self._draw(text)

    @property
    def placed(self) -> bool:
        """Has a program lately put text at places of its own choice, as `dialog` does? Then lines say nothing."""
        return self._stream is not None or bool(_PLACED.search(self._recent.parts()[2][-_LATELY:]))

    def _start(self) -> None:
        import pyte

        self._drawn = pyte.Screen(self._size[1], self._size[0])
        self._stream = pyte.Stream(self._drawn)
        self._stream.use_utf8 = False  # as xterm does it: the frames of dialogs come from the line-drawing set, UTF-8 or not

    def _draw(self, text: str) -> None:
        end = next(reversed(list(_LEAVE.finditer(text))), None)
        if end is not None and not _ENTER.search(text, end.end()):
            self._drawn = self._stream = None
            self._recent.clear()
            self._recent.add(text[end.end() :])
            return
        # pyte raises on private forms of sequences it knows only in their plain form, and on numbers it does not know.
        first, *rest = _NOT_FOR_PYTE.sub("", text).split("\x1b")
        for piece in (first, *("\x1b" + piece for piece in rest)):
            with contextlib.suppress(TypeError, ValueError, LookupError, NameError):
                self._stream.feed(piece)

    def text(self) -> str:
        """The screen, without empty lines at the end."""
        drawn = self._drawn
        if drawn is None:
            self._start()
            self._draw(self._recent.parts()[2])
            drawn, self._drawn, self._stream = self._drawn, None, None
        return "\n".join(line.rstrip() for line in drawn.display).rstrip() if drawn is not None else ""
