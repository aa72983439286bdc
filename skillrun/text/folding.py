"""Lines for a terminal: broken between words, since a terminal itself breaks them anywhere."""

from __future__ import annotations

import os
import textwrap
from typing import TextIO


def width_of(stream: TextIO) -> int:
    """Columns of the terminal a stream is; 0 where it is none, or does not say: there, lines stay whole."""
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        return 0


def folded(text: str, columns: int, hang: int = 2) -> str:
    """A line in pieces of at most so many columns (0: as it is), the later ones `hang` further in. Words stay whole."""
    if not columns or len(text) <= columns:
        return text
    inset = " " * min(len(text) - len(text.lstrip()) + hang, max(columns - max(map(len, text.split()), default=0), 0))
    return "\n".join(
        textwrap.wrap(
            text, columns, subsequent_indent=inset, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
        )
    )
