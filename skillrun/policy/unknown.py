"""Text of which a part is not known: an unknown part is one private character that stands for it.

So a half-known path or program stays an ordinary `str` that can be joined, split and compared, and
`/home/me/$X/bin` keeps what is known about it. Glob characters that act as globs are private
characters too, so that a quoted `*` is never mistaken for one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from skillrun.text.patterns import later

STAR, QUESTION, BRACKET, SPLIT = "\ue000", "\ue001", "\ue002", "\ue003"
GLOBS = STAR + QUESTION + BRACKET
_FIRST = 0xF0000
_LAST = 0xFFFFD
ANY = later("[\U000f0000-\U000ffffd]")
FOREIGN = later("[\ue000-\ue00f\U000f0000-\U000ffffd]")
_SHOWN = {ord(STAR): "*", ord(QUESTION): "?", ord(BRACKET): "[", ord(SPLIT): " "}
_GLOB = str.maketrans({"*": STAR, "?": QUESTION, "[": BRACKET})
_GLOB_NO_SET = str.maketrans({"*": STAR, "?": QUESTION})


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why a part is not known. `kind`: variable | output | fetched | number | machine | below | temporary | any.

    `below`: each of all the paths below what stands before it (`find DIR`)."""

    kind: str
    label: str
    guarded: bool = False
    """True when the shell itself ensures it is not empty (`${X:?}`, `$(mktemp -d)`)."""
    source: str = ""
    """Where fetched bytes come from."""
    secret: bool = False


class TooMuch(Exception):
    """More than can be judged, or reviewed by anybody."""


class Unknowns:
    """The unknown parts met while reading one command, and how much may still be read of it."""

    __slots__ = ("budget", "items", "seen")

    def __init__(self, budget: int) -> None:
        self.items: list[Unknown] = []
        self.seen: dict[Unknown, str] = {}
        self.budget = budget

    def spend(self, amount: int = 1) -> None:
        """Count work. Raises TooMuch when there was too much of it."""
        self.budget -= amount
        if self.budget < 0:
            raise TooMuch("too many commands and expansions")

    def new(self, unknown: Unknown) -> str:
        """The character that stands for it."""
        mark = self.seen.get(unknown)
        if mark is None:
            if len(self.items) >= _LAST - _FIRST:
                raise TooMuch("too many unknown parts")
            mark = self.seen[unknown] = chr(_FIRST + len(self.items))
            self.items.append(unknown)
        return mark

    def of(self, text: str) -> list[Unknown]:
        """The unknown parts of a text."""
        if text.isascii():
            return []
        items = self.items
        return [items[ord(mark) - _FIRST] for mark in dict.fromkeys(ANY.findall(text)) if ord(mark) - _FIRST < len(items)]

    def show(self, text: str) -> str:
        """The text as a person may read it."""
        if text.isascii():
            return text
        return ANY.sub(self._label, text.translate(_SHOWN))

    def _label(self, match: re.Match[str]) -> str:
        number = ord(match[0]) - _FIRST
        return self.items[number].label if number < len(self.items) else "…"

    def fetched(self, text: str) -> str | None:
        """Where the fetched bytes in a text come from; None when there are none."""
        return next((item.source for item in self.of(text) if item.kind == "fetched"), None)


def known(text: str) -> bool:
    """True when every character is what it seems (globs count as known)."""
    return text.isascii() or ANY.search(text) is None


def certain(text: str) -> bool:
    """True when nothing is unknown and nothing is a glob."""
    return text.isascii() or FOREIGN.search(text) is None


def globbed(text: str) -> str:
    """Unquoted text with its glob characters marked."""
    return text.translate(_GLOB if "]" in text else _GLOB_NO_SET)


def plain(text: str) -> str:
    """Globs as they were written; unknown parts stay."""
    return text if text.isascii() else text.translate(_SHOWN)
