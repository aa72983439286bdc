"""A pattern that is compiled later answers as one that was compiled at once."""

import re

import pytest

from skillrun.text.patterns import later


def test_it_answers_as_a_compiled_one() -> None:
    """Its methods and what it says of itself, flags included, however often it is asked."""
    mine, theirs = later(r"(?P<a>x)(y)?", re.IGNORECASE), re.compile(r"(?P<a>x)(y)?", re.IGNORECASE)
    for _ in range(2):
        assert [m.groupdict() for m in mine.finditer("xyX")] == [m.groupdict() for m in theirs.finditer("xyX")]
        assert mine.sub("-", "axyb") == theirs.sub("-", "axyb")
        assert (mine.pattern, mine.flags, mine.groups) == (theirs.pattern, theirs.flags, theirs.groups)


def test_nothing_is_compiled_before_it_is_used() -> None:
    """So what is wrong with one shows at its first use, as the library's own error."""
    wrong = later("(")
    with pytest.raises(re.error):
        wrong.search("x")
