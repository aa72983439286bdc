"""Is what a program writes something new? A spinner, a redraw, one line again and again are not."""

from __future__ import annotations

import re
from collections import OrderedDict

from skillrun.pty.output.lines import strip
from skillrun.text.patterns import later

LOOKED_AT = 2_048
"""Bytes at the end of an output that are looked at: what stands before them was drawn over or scrolled away."""

REMEMBERED = 2_000
"""Pieces of lines that are remembered as seen."""

_CUT = later(r"[\r\n\b\f\v]+")
_CLOCKS = later(
    r"\d+:\d\d(?::\d\d)?(?:[.,]\d+)?|\b\d+(?:[.,]\d+)?\s*(?:ms|s|sec|secs|seconds?|m|min|mins|minutes?|h|hours?)\b",
    re.IGNORECASE,
)
_SPINNING = later(r"[\u2800-\u28ff\u25a0-\u25ff|/\\\-.\s]+")


class Novelty:
    """What was seen of one program's output so far."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()

    def found_in(self, data: bytes) -> bool:
        """True when the output holds a line, or a piece of one, that was not there before. Times that pass do not count."""
        new = False
        for piece in _CUT.split(strip(data[-LOOKED_AT:].decode("utf-8", "replace"))):
            kept = _SPINNING.sub(" ", _CLOCKS.sub("#", piece)).strip()
            if not kept:
                continue
            if kept not in self._seen:
                new = True
            self._seen[kept] = None
            self._seen.move_to_end(kept)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return new
