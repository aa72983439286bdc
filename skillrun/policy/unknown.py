"""Text of which a part is not known: an unknown part is one private character that stands for it.

So a half-known path or program stays an ordinary `str` that can be joined, split and compared, and
`/home/me/$X/bin` keeps what is known about it. Glob characters that act as globs are private
characters too, so that a quoted `*` is never mistaken for one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

STAR, QUESTION, BRACKET, SPLIT = "\ue000", "\ue001", "\ue002", "\ue003"
GLOBS = STAR + QUESTION + BRACKET
_FIRST = 0xF0000
_LAST = 0xFFFFD
ANY = re.compile("[\U000f0000-\U000ffffd]")
FOREIGN = re.compile("[\ue000-\ue00f\U000f0000-\U000ffffd]")
_SHOWN = {ord(STAR): "*", ord(QUESTION): "?", ord(BRACKET): "[", ord(SPLIT): " "}
_GLOB = str.maketrans({"*": STAR, "?": QUESTION, "[": BRACKET})


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why a part is not known. `kind`: variable | output | fetched | number | machine | any."""

    kind: str
    label: str
    guarded: bool = False
    """True when the shell itself ensures it is not empty (`${X:?}`, `$(mktemp -d)`)."""
    source: str = ""
    """Where fetched bytes come from."""
    secret: bool = False


class Unknowns:
    """The unknown parts met while reading one command."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: list[Unknown] = []

    def new(self, unknown: Unknown) -> str:
        """The character that stands for it."""
        if len(self.items) >= _LAST - _FIRST:
            return chr(_LAST)
        self.items.append(unknown)
        return chr(_FIRST + len(self.items) - 1)

    def of(self, text: str) -> list[Unknown]:
        """The unknown parts of a text."""
        return [self.items[ord(mark) - _FIRST] for mark in ANY.findall(text) if ord(mark) - _FIRST < len(self.items)]

    def show(self, text: str) -> str:
        """The text as a person may read it."""
        if text.isascii():
            return text
        return ANY.sub(lambda m: self.items[ord(m[0]) - _FIRST].label if ord(m[0]) < _LAST else "…", text.translate(_SHOWN))

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
    return text.translate(_GLOB)


def plain(text: str) -> str:
    """Globs as they were written; unknown parts stay."""
    return text if text.isascii() else text.translate(_SHOWN)
