"""Lines of package managers that say nothing once everything went well, and the output without them."""

from __future__ import annotations

import re

WORTHWHILE = 5
"""So many lines must go before leaving them out is worth the words that say so."""

_LINE = re.compile(
    r"(?:Get|Hit):\d+ |Reading (?:package lists|state information)\.\.\.|Building dependency tree\.\.\."
    r"|Selecting previously unselected package |\(Reading database \.\.\.|Preparing to unpack |Unpacking |Setting up "
    r"|Processing triggers for |Fetched [\d,.]+ k?M?B in |Need to get |After this operation, "
    r"|debconf: delaying package configuration"
    r"|\s*(?:Collecting|Downloading|Using cached|Preparing metadata|Getting requirements|Installing build dependencies)\b"
)
"""Of apt, dpkg and pip. What they warn of (W:, E:, Err:, Ign:) never begins so."""

_LIST = re.compile(r"(?:Suggested packages|Recommended packages|The following additional packages will be installed):$")
"""Begins a list of indented lines; the new packages are listed again, whole, after it."""


def without_routine(text: str) -> tuple[str, int]:
    """The text without such lines, and how many were left out; unchanged when it is hardly worth it."""
    kept: list[str] = []
    listing = False
    lines = text.split("\n")
    for line in lines:
        listing = _LIST.match(line) is not None or (listing and line.startswith("  "))
        if not listing and not _LINE.match(line):
            kept.append(line)
    left_out = len(lines) - len(kept)
    return ("\n".join(kept), left_out) if left_out >= WORTHWHILE else (text, 0)
