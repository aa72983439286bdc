"""Patterns that are compiled when they are first looked with: most of what a run loads it never asks."""

from __future__ import annotations

import re
from typing import Any, cast


class _Later:
    """Stands for a compiled pattern; each method that was asked for is kept."""

    def __init__(self, text: str, flags: int) -> None:
        self._text, self._flags = text, flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, value)
        return value


def later(text: str, flags: int = 0) -> re.Pattern[str]:
    """The pattern, by its methods only: the functions of `re` do not take it. Raises re.error when it is first used."""
    return cast(re.Pattern[str], _Later(text, flags))
