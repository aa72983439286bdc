"""Text from strangers made safe to look at: terminal escapes removed or shown, nothing hidden.

Two readings of the same bytes: `shown` is for what a person must judge (a command before it is approved): every
invisible character appears as its code point. `settled` is for what a command printed: it reads as the line a
terminal would have been left with, without any power over the terminal that shows it now.
"""

from __future__ import annotations

import re
from collections import deque

from skillrun.text.patterns import later

ESCAPES = later(
    r"\x1b\[[0-?]*[ -/]*[@-~]?|\x9b[0-?]*[ -/]*[@-~]?"  # CSI
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]+[0-~]?|\x1b[0-~]?"  # charset and two-byte sequences
)
"""Control sequences after ECMA-48. A string sequence ends with its line, so that an unterminated one hides nothing."""

CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
INVISIBLE = CONTROLS + r"\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
HIDDEN = later(f"[{INVISIBLE}]")
TREACHEROUS = later(f"[{INVISIBLE}\\u00a0\\u1680\\u2000-\\u200a\\u202f\\u205f\\u2800\\u3000\\ufe00-\\ufe0f]")

OVERWRITES = 64
"""How many carriage-return overwrites of one line are followed; progress bars need a few, an attack has millions."""
ERASE = later(r"\x1b\[[02]?[JK]")


def _code(match: re.Match[str]) -> str:
    return f"⟨U+{ord(match.group()):04X}⟩"


def shown(text: str) -> str:
    """The text with every control, bidirectional, zero-width and look-alike space character as its code point.

    Line feeds and tabs stay. Two different texts never look the same for want of a visible character.
    """
    return TREACHEROUS.sub(_code, text)


def settled(text: str) -> str:
    """What a terminal would have been left with: sequences gone, overwritten lines as last written, one per line."""
    if HIDDEN.search(text) is None:
        return text
    return "\n".join(_settle(line) for line in text.split("\n"))


def _settle(line: str) -> str:
    if HIDDEN.search(line) is None:
        return line
    kept = ""
    for part in line.rstrip("\r").split("\r")[-OVERWRITES:]:
        erases = ERASE.search(part) is not None
        new = _backspaced(ESCAPES.sub("", part))
        kept = new if erases else new + kept[len(new) :]
    return HIDDEN.sub(_code, kept)


def _backspaced(text: str) -> str:
    if "\b" not in text:
        return text
    kept: list[str] = []
    for character in text:
        if character != "\b":
            kept.append(character)
        elif kept:
            kept.pop()
    return "".join(kept)


class Tail:
    """The last lines of a stream of output, fed in pieces that may end in the middle of a line or of a sequence."""

    def __init__(self, limit: int = 200, width: int = 2000) -> None:
        self._lines: deque[str] = deque(maxlen=limit)
        self._open = ""
        self._width = width

    def feed(self, text: str) -> None:
        """Take the next piece of output."""
        *whole, rest = (self._open + text).split("\n")
        self._lines.extend(_settle(line[-8192:])[: self._width] for line in whole)
        self._open = rest[-8192:]

    def lines(self, count: int | None = None) -> list[str]:
        """The last `count` lines that are not blank at the end, the unfinished one included."""
        found = [*self._lines]
        last = _settle(self._open)[: self._width]
        if last.strip():
            found.append(last)
        while found and not found[-1].strip():
            found.pop()
        return found if count is None else found[-count:]


def seconds(value: float) -> str:
    """A duration for people: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: int | float) -> str:
    """A number of bytes for people, in powers of 1000: `812 B`, `3.4 MB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def one_line(text: str, width: int = 100) -> str:
    """The first line of a text, shortened with an ellipsis: for titles, never for anything that is approved."""
    lines = text.strip().splitlines() or [""]
    line = lines[0].strip()
    if len(line) > width:
        return line[: width - 1] + "…"
    return line + " …" if len(lines) > 1 and len(line) < width - 1 else line
