"""Whose word a licence needs: accepting terms is a person's to do, not a model's."""

from __future__ import annotations

import re

from skillrun.text.patterns import later

_TERMS = later(r"\blicen[cs]e\b|\bEULA\b|\bterms\b", re.IGNORECASE)
_ACCEPTS = later(r"\W*(?:i\W+)?(?:y|yes|ok|okay|accept(?:ed)?|agree[d]?)\W*", re.IGNORECASE)
_BY_ENTER = later(
    r"\[Y/n\]|\[yes\]|<(?:ok|yes|accept|i agree)>|(?:press|hit)\s+(?:enter|return)[^.\n]*(?:accept|agree)", re.IGNORECASE
)


def accepts_terms(text: str, screen: str) -> bool:
    """Would typing `text` at this screen accept a licence or terms? Rather yes than no, where it cannot be told."""
    if not _TERMS.search(screen):
        return False
    accepts = any(_ACCEPTS.fullmatch(line) for line in text.splitlines())
    return accepts or (not text.strip() and bool(_BY_ENTER.search(screen)))
