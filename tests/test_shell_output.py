"""What is left of output once a terminal has carried it out."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillrun.pty.output.lines import Lines, Shortened, strip
from skillrun.pty.output.screen import Screen, asked
from skillrun.pty.output.transcript import Transcript
from skillrun.secrets import Vault

SEEN = {
    "plain\r\ntext\r\n": "plain\ntext\n",
    "10%\r20%\r100%\r\n": "100%\n",
    "long text\rshort\r\n": "shorttext\n",
    "long text\r\x1b[Kshort\r\n": "short\n",
    "abc\b\bX\r\n": "aXc\n",
    "a\r\nb\r\n\x1b[2A\x1b[KA\r\n\x1b[KB\r\n": "A\nB\n",
    "\x1b[1;32mok\x1b[0m done\r\n": "ok done\n",
    "x\x1b]0;title\x07y\x1b]52;c;AAAA\x1b\\z\r\n": "xyz\n",
    "abcdef\x1b[4D\x1b[P\r\n": "abdef\n",
    "abcdef\x1b[2GX\r\n": "aXcdef\n",
    "one\x1b[2J\x1b[Htwo\r\n": "one\ntwo\n",
    "before\r\n\x1b[?1049h\x1b[Hdrawn\x1b[?1049lafter\r\n": "before\nafter\n",
    "tab\there\r\n": "tab\there\n",
    "\x9b31mc1\x07\x00\x0e\r\n": "31mc1\n",
}


@pytest.mark.parametrize("written", SEEN)
def test_cursor_movement_is_carried_out(written: str) -> None:
    """In one piece and character by character."""
    for pieces in ([written], list(written)):
        lines = Lines(1000, 1000)
        for piece in pieces:
            lines.feed(piece)
        assert "".join(map(str, lines.parts()[::2])) == SEEN[written]


@settings(deadline=None)
@given(st.text(alphabet="ab\r\n\b\t\x1b[]0;1mKHAJ?h\x07\\\x00\x9b\xff", max_size=200), st.integers(1, 50))
def test_nothing_gets_through(text: str, size: int) -> None:
    """Whatever is written, in whatever pieces: no control character reaches the reader, and nothing raises."""
    lines, screen = Lines(100, 100), Screen((10, 40))
    for start in range(0, len(text), size):
        lines.feed(text[start : start + size])
        screen.feed(text[start : start + size])
    head, _, tail = lines.parts()
    for shown in (head + tail, strip(text), screen.text()):
        assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", shown.replace("\r", ""))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(alphabet="xyz\n", max_size=80), max_size=40), st.integers(1, 60), st.integers(1, 60))
def test_head_and_tail_are_the_texts_own(pieces: list[str], head_limit: int, tail_limit: int) -> None:
    """The head begins the text, the tail ends it, and the count of what is missing between is right."""
    shortened = Shortened(head_limit, tail_limit)
    for piece in pieces:
        shortened.add(piece)
    head, left_out, tail = shortened.parts()
    whole = "".join(pieces)
    assert whole.startswith(head)
    assert whole.endswith(tail)
    assert len(head) + left_out + len(tail) == len(whole)
    assert len(head) <= head_limit
    assert len(tail) <= tail_limit


@pytest.mark.parametrize("ending", ["\r\n", "\n", "", "\r\n10%\r20%", "\r\nabc\bX\r\n", "\r\n\x1b[1Aup"])
def test_very_much_at_once_reads_as_it_does_line_by_line(ending: str) -> None:
    """Text that is passed over unread, because much more follows, leaves the same head and the same tail."""
    written = [f"line {number} of a build\r\n" for number in range(9_000)]
    written[-1] = written[-1].rstrip() + ending
    slowly, at_once = Lines(500, 1000), Lines(500, 1000)
    for piece in written:
        slowly.feed(piece)
    for begin in (0, 50, 4000, 8000):
        end = {0: 50, 50: 4000, 4000: 8000, 8000: 9000}[begin]
        at_once.feed("".join(written[begin:end]))
    assert at_once.parts() == slowly.parts()


def test_the_end_shows_though_an_escape_is_not_finished(tmp_path: Path) -> None:
    """Noise that looks like the beginning of a sequence cannot swallow the last words of a command."""
    transcript = Transcript(tmp_path / "1.log", Vault(), (24, 80))
    transcript.feed(b"noise \x1b]0;\xff\r\nend\r\n")
    transcript.settle()
    assert transcript.part()[0].endswith("end")
    transcript.close()


@pytest.mark.parametrize("piece", ["\x1b]0;t", "\x1bP", "\x1b[", "\x1b[1A\x1b[K", "\x1b", "\r\x1b[K10%", "\b\a"])
def test_a_flood_of_escapes_is_read_in_linear_time(piece: str, tmp_path: Path) -> None:
    """Any sequence over and over, finished or not, costs seconds of processor time at most, not minutes."""
    transcript = Transcript(tmp_path / "1.log", Vault(), (24, 80))
    began = time.process_time()
    data = (piece * (200_000 // len(piece))).encode()
    for start in range(0, len(data), 50_000):
        transcript.feed(data[start : start + 50_000])
        transcript.unseen()
    transcript.settle()
    transcript.seen(24)
    transcript.close()
    assert time.process_time() - began < 10


def test_a_full_disk_loses_the_file_and_not_the_output() -> None:
    """Where the output cannot be kept, the reader is told, and goes on reading."""
    transcript = Transcript(Path("/dev/full"), Vault(), (24, 80), head=10, tail=10)
    transcript.feed(b"0123456789abcdef" * 10)
    text, shortened = transcript.part()
    transcript.close()
    assert shortened
    assert text.endswith("6789abcdef")
    assert "No space left" in text
    assert "No space left" in transcript.lost


def test_a_long_output_is_shortened_and_lies_on_disk(tmp_path: Path) -> None:
    """The model reads the beginning, the end, how much is missing and where it is."""
    transcript = Transcript(tmp_path / "o" / "1.log", Vault(), (24, 80), head=100, tail=100)
    for number in range(5000):
        transcript.feed(b"line %d\r\n" % number)
    text, shortened = transcript.part()
    transcript.close()
    assert shortened
    assert text.startswith("line 0\nline 1\n")
    assert text.endswith("line 4998\nline 4999")
    assert str(tmp_path / "o" / "1.log") in text
    assert len(text) < 500
    assert (tmp_path / "o" / "1.log").read_bytes().count(b"\n") == 5000


def test_text_split_inside_a_character_is_whole(tmp_path: Path) -> None:
    """UTF-8 is decoded over the borders of reads."""
    transcript = Transcript(tmp_path / "1.log", Vault(), (24, 80))
    for byte in "naïve — 日本\r\n".encode():
        transcript.feed(bytes([byte]))
    assert transcript.part() == ("naïve — 日本", False)
    transcript.close()


def test_events_never_carry_escapes(tmp_path: Path) -> None:
    """Also when the escape is split over two events."""
    transcript = Transcript(tmp_path / "1.log", Vault(), (24, 80))
    shown = ""
    for piece in (b"a\x1b]52;c;Zm", b"9v\x07b\x1b[3", b"1mc\r\n"):
        transcript.feed(piece)
        shown += transcript.unseen()
    assert shown == "abc\n"
    transcript.close()


def test_the_screen_of_a_full_screen_program() -> None:
    """What it drew, where it drew it, until it leaves."""
    screen = Screen((5, 20))
    screen.feed("$ menu\r\n\x1b[?1049h\x1b[2J\x1b[2;3HTitle\x1b[4;3H< OK >")
    assert screen.text() == "\n  Title\n\n  < OK >"
    screen.feed("\x1b[?1049lback\r\n")
    assert screen.text() == "back"


def test_a_terminal_answers() -> None:
    """Where the cursor is, what it is, how it is; nothing else."""
    assert asked(b"\x1b[6n", "ab", (24, 80)) == b"\x1b[24;3R"
    assert asked(b"x\x1b[c\x1b[5n", "", (24, 80)) == b"\x1b[0n\x1b[?1;2c"
    assert asked(b"\x1b[31mred", "", (24, 80)) == b""
