"""Text that a person would not see as it is: found, and made visible. Used for commands and for skills."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_SUSPECT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffc"
    "\ue000-\uf8ff\U000e0000-\U000e0fff\U000f0000-\U0010ffff]|\r(?!\n)|<!--.*?(?:-->|\\Z)",
    re.DOTALL,
)
_JOINED = re.compile("[\u200d\ufe0e\ufe0f]")


@dataclass(frozen=True, slots=True)
class Hidden:
    """A hidden piece: where (offset in characters, line and column from 1), what kind, and how it looks made visible."""

    offset: int
    line: int
    column: int
    kind: str
    """control | escape | return | bidi | zero-width | tag | private | comment | blank"""
    shown: str


def _kind(mark: str) -> str:
    code = ord(mark[0])
    if mark.startswith("<!--"):
        return "comment"
    if mark == "\x1b" or code == 0x9B:
        return "escape"
    if mark == "\r":
        return "return"
    if code < 0xA0:
        return "control"
    if 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or code in (0x200E, 0x200F, 0x061C):
        return "bidi"
    if 0xE0000 <= code <= 0xE0FFF:
        return "tag"
    if 0xE000 <= code <= 0xF8FF or code >= 0xF0000:
        return "private"
    if code in (0x2800, 0x3164, 0x115F, 0x1160, 0xFFA0):
        return "blank"
    return "zero-width"


def _shown(mark: str, kind: str) -> str:
    if kind == "comment":
        return " ".join(visible(mark).split())
    if kind == "tag" and 0xE0020 <= ord(mark) <= 0xE007E:
        return f"<tag {chr(ord(mark) - 0xE0000)}>"
    return f"<U+{ord(mark):04X}>"


def _emoji(text: str, at: int) -> bool:
    """Joiners and variation selectors belong to emoji; there they hide nothing."""
    before = text[at - 1] if at else ""
    return bool(before) and (
        unicodedata.category(before) in ("So", "Sk", "Mn", "Cf") or ord(before) >= 0x1F000 or before in "#*0123456789©®™"
    )


def find_hidden(text: str, comments: bool = True) -> list[Hidden]:
    """Every piece a reader would not see. `comments`: HTML comments too (for Markdown).

    A byte-order mark at the very beginning is not one.
    """
    found: list[Hidden] = []
    if text.isascii() and "\x1b" not in text and "\r" not in text and "<!--" not in text and text.isprintable():
        return found
    line, line_start, seen = 1, 0, 0
    for match in _SUSPECT.finditer(text):
        mark, at = match[0], match.start()
        if (mark == "\ufeff" and at == 0) or (mark.startswith("<!--") and not comments):
            continue
        if _JOINED.match(mark) and _emoji(text, at):
            continue
        newlines = text.count("\n", seen, at)
        if newlines:
            line += newlines
            line_start = text.rfind("\n", seen, at) + 1
        seen = at
        kind = _kind(mark)
        found.append(Hidden(at, line, at - line_start + 1, kind, _shown(mark, kind)))
    return found


def visible(text: str) -> str:
    """The text with every hidden character replaced by its name in angle brackets."""
    return _SUSPECT.sub(lambda m: m[0] if m[0].startswith("<!--") else _shown(m[0], _kind(m[0])), text)


_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "HEBREW", "ARABIC", "FULLWIDTH")


def mixed_scripts(name: str) -> bool:
    """True for a name that mixes Latin letters with letters of another alphabet that look like them."""
    if name.isascii():
        return False
    scripts = {next((s for s in _SCRIPTS if s in unicodedata.name(mark, "")), "") for mark in name if mark.isalpha()}
    return len(scripts - {""}) > 1
