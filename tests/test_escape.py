import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillrun.text.escape import HIDDEN, Tail, seconds, settled, shown, size


def test_shown_shows_what_is_invisible() -> None:
    """A command to approve shows every escape, bidirectional mark, zero-width and look-alike space as its code point."""
    assert shown("rm\u200b -rf\u00a0/\x1b[8m\u202e") == "rm⟨U+200B⟩ -rf⟨U+00A0⟩/⟨U+001B⟩[8m⟨U+202E⟩"
    assert shown("tag\U000e0041") == "tag⟨U+E0041⟩"
    assert shown("a\n\tb") == "a\n\tb"
    assert shown("ls\rrm") == "ls⟨U+000D⟩rm"


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]52;c;aGk=\x1b\\text", "text"),
        ("\x1bP+q\x1b\\text", "text"),
        ("\x9b31mred", "red"),
        (" 10%\r 50%\r100%\n", "100%\n"),
        ("long line\rab", "abng line"),
        ("long line\r\x1b[Kab", "ab"),
        ("abc\b\bX", "aX"),
        ("line\r\nnext\r\n", "line\nnext\n"),
        ("\x1b]0;never ended\nnext line", "\nnext line"),
        ("a\x00b\u202ec", "a⟨U+0000⟩b⟨U+202E⟩c"),
        ("\x1b(Bplain\x1b=", "plain"),
    ],
)
def test_settled_reads_like_the_terminal_was_left(raw: str, plain: str) -> None:
    """Sequences are gone, overwritten text is as last written, and nothing swallows the following lines."""
    assert settled(raw) == plain


@given(st.text())
def test_nothing_keeps_power_over_the_terminal(text: str) -> None:
    """Whatever goes in, no control character but line feed and tab comes out of either reading."""
    for out in (settled(text), shown(text)):
        assert HIDDEN.search(out.replace("\n", "").replace("\t", "")) is None


@given(st.lists(st.text(alphabet=st.sampled_from("ab\n\r\x1b[31m;K\b"), max_size=8)))
def test_tail_does_not_depend_on_how_output_is_cut(pieces: list[str]) -> None:
    """The last lines are those of the whole text, in whatever pieces it came."""
    tail, whole = Tail(), Tail()
    for piece in pieces:
        tail.feed(piece)
    whole.feed("".join(pieces))
    assert tail.lines() == whole.lines()


def test_hostile_output_takes_linear_time() -> None:
    """A megabyte of escapes, overwrites or unterminated strings is settled in well under a second each."""
    for text in ("\x1b" * 10**6, "a\r" * 500_000, "\x1b]" * 500_000, "\x1b[" + "1;" * 500_000, "x\b" * 500_000):
        before = time.process_time()
        settled(text)
        tail = Tail()
        for start in range(0, len(text), 4096):
            tail.feed(text[start : start + 4096])
            tail.lines(6)
        assert time.process_time() - before < 3


def test_quantities_for_people() -> None:
    """Durations and sizes read the way people write them."""
    assert [seconds(value) for value in (0.04, 9.94, 12.3, 59.6, 185, 7800)] == [
        "0.0 s", "9.9 s", "12 s", "1 min 00 s", "3 min 05 s", "2 h 10 min",
    ]  # fmt: skip
    assert [size(value) for value in (0, 812, 3400, 3_400_000, 999_999, 5 * 10**12)] == [
        "0 B", "812 B", "3.4 kB", "3.4 MB", "1.0 MB", "5.0 TB",
    ]  # fmt: skip
