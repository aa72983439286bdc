"""Text nobody sees: characters that a reader is not shown but a model reads.

Tag characters, bidirectional controls, zero-width characters, invisible fillers and control characters can carry
instructions past a person. What emoji and scripts need legitimately is left alone: joiners between characters
outside ASCII, variation selectors behind a symbol, the three flags made of tag characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from skillrun.text.patterns import later

_REGIONS = ("gbeng", "gbsct", "gbwls")
_FLAG = "\U0001f3f4(?:" + "|".join("".join(chr(0xE0000 + ord(c)) for c in region) for region in _REGIONS) + ")\U000e007f"
_CLASSES = {
    "tag": r"\U000e0000-\U000e007f",
    "selector": r"\U000e0100-\U000e01ef",
    "bidi": r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069",
    "zero-width": r"\u200b\u2060-\u2064\u206a-\u206f\ufeff\u180e\u00ad\u034f",
    "joiner": r"\u200c\u200d",
    "filler": r"\u115f\u1160\u3164\uffa0\u2800\ufff9-\ufffb",
    "control": r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff",
}
_HIDDEN = later(
    f"(?P<flag>{_FLAG})|" + "|".join(f"(?P<{name.replace('-', '_')}>[{chars}])" for name, chars in _CLASSES.items())
)


@dataclass(frozen=True, slots=True)
class Hidden:
    """One hidden character: where it stands (offset from 0; line and column from 1) and what kind it is."""

    offset: int
    line: int
    column: int
    char: str
    kind: str


def _is_meant(text: str, match: re.Match[str]) -> bool:
    """Whether the match is something a script or an emoji needs."""
    if match.lastgroup == "flag":
        return True
    if match.lastgroup != "joiner":
        return False
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    return bool(before and after) and ord(before) > 0x2FF and ord(after) > 0x2FF


def hidden_in(text: str, limit: int = 10_000) -> list[Hidden]:
    """The hidden characters of a text, in order, the first `limit` of them."""
    found: list[Hidden] = []
    line, start, seen = 1, 0, 0
    for match in _HIDDEN.finditer(text):
        if _is_meant(text, match):
            continue
        if len(found) >= limit:
            break
        newlines = text.count("\n", seen, match.start())
        if newlines:
            line += newlines
            start = text.rfind("\n", seen, match.start()) + 1
        seen = match.start()
        kind = (match.lastgroup or "").replace("_", "-")
        found.append(Hidden(match.start(), line, match.start() - start + 1, match.group(), kind))
    return found


def reveal(text: str) -> str:
    """The text with every hidden character written as its code point, `⟨U+200B⟩`; all else unchanged."""
    return _HIDDEN.sub(lambda m: m.group() if _is_meant(text, m) else "".join(f"⟨U+{ord(c):04X}⟩" for c in m.group()), text)
