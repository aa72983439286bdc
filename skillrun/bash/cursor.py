"""Where a reader of Bash stands in its text, and how far it will go: blanks, comments and the limits."""

from __future__ import annotations

import re

MAX_DEPTH = 40
"""Nesting beyond which text counts as unreadable (constructs inside one another)."""
MAX_PARTS = 3_000
"""Words, parts of words and constructs beyond which a command counts as unreadable: no person would review it either."""

ENDS_WORD = frozenset(" \t\n|&;<>()")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PLAIN = re.compile(r"[^ \t\n|&;<>()$`'\"\\]+")
"""A run of characters that neither end a word nor mean anything in it but globs, tildes and braces."""

_BLANK = re.compile(r"(?:[ \t]+|\\\n)+")


class Unreadable(Exception):
    """Text that is not Bash as far as this reader can tell: why, and at which character."""

    def __init__(self, reason: str, at: int = 0) -> None:
        super().__init__(f"{reason} (character {at + 1})")
        self.reason, self.at = reason, at


class Unfinished(Unreadable):
    """The text ended within something that more of it would close."""


class TooLarge(Unreadable):
    """Text beyond what can be judged, or reviewed by anybody."""


class Cursor:
    """A place in a text. What reads on from it leaves `i` behind what it read."""

    __slots__ = ("depth", "i", "left", "n", "text")

    def __init__(self, text: str, depth: int, left: int) -> None:
        self.text, self.i, self.n = text, 0, len(text)
        self.depth, self.left = depth, left

    def word_ends(self, i: int) -> bool:
        """Would a word end at this character?"""
        return i >= self.n or self.text[i] in ENDS_WORD

    def word_ends_here(self) -> bool:
        """Does a word end here? A process substitution begins one."""
        mark = self.text[self.i]
        if mark in "<>" and self.text.startswith("(", self.i + 1):
            return False
        return mark in ENDS_WORD

    def skip_blanks(self, i: int) -> int:
        """The first character from here on that is no blank."""
        blank = _BLANK.match(self.text, i)
        return blank.end() if blank else i

    def blanks(self) -> None:
        """Skip blanks, line continuations and a comment."""
        text = self.text
        if self.i < self.n and text[self.i] in " \t\\":
            blank = _BLANK.match(text, self.i)
            if blank:
                self.i = blank.end()
        if text.startswith("#", self.i) and (self.i == 0 or text[self.i - 1] in ENDS_WORD):
            end = text.find("\n", self.i)
            self.i = self.n if end < 0 else end

    def deeper(self) -> None:
        """Enter a construct. Raises TooLarge."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge("nested too deep", self.i)

    def count(self) -> None:
        """One part more. Raises TooLarge."""
        self.left -= 1
        if self.left < 0:
            raise TooLarge("too many parts", self.i)
