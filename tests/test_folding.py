"""Lines for a terminal."""

from __future__ import annotations

import pytest

from skillrun.text.folding import folded

LINE = "  sudo env DEBIAN_FRONTEND=noninteractive dpkg --purge ripgrep a-name-that-is-far-longer-than-forty-columns-are"


@pytest.mark.parametrize("columns", [1, 10, 40, 80, 200])
def test_no_word_is_broken_and_none_is_lost(columns: int) -> None:
    """Whatever the width: the same words in the same order, and a line is longer only where one word is."""
    text = folded(LINE, columns)
    assert text.split() == LINE.split()
    assert all(len(line) <= columns or len(line.split()) == 1 for line in text.splitlines())


def test_later_pieces_hang_under_the_first() -> None:
    """Two further in than the first; where there is no terminal a line stays as it is."""
    assert folded("  one two three", 9) == "  one two\n    three"
    assert folded("  one two three", 0) == "  one two three"
