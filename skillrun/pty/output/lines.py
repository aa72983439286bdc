"""What a person would have seen: output with carriage returns and cursor movement carried out.

A progress bar redraws one line 4,000 times; here it is one line. Escapes never come through.
"""

from __future__ import annotations

import re
from collections import deque

from skillrun.text.patterns import later

KEPT_ROWS = 48
"""Lines that cursor movement can still reach; what is above has scrolled away."""

LONGEST_LINE = 16_384
"""A line that grows beyond this is let go in pieces."""

STRING = r"\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"
"""A title, a link, a picture: an escape sequence that holds text. Another escape inside cancels it, as terminals do."""

_LONGEST_STRING = 65_536
_LOOKED_AT = 1_024
_CONTROL = r"\x1b\[([0-?]*)[ -/]*([@-~])"
_TOKEN = later(rf"{STRING}|{_CONTROL}|\x1b[ -/]*[0-~]|[\x00-\x1f\x7f-\x9f]|[^\x00-\x1f\x7f-\x9f]+")
_ESCAPES = later(rf"{STRING}|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_UNFINISHED = later(r"\x1b(?:\[[0-?]*[ -/]*|[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?)\Z")
_FULL_SCREEN = later(r"\x1b\[\?(?:1049|1047|47)([hl])")
_NOT_PLAIN = bytes({*range(32), 127} - set(b"\n\t\r"))
_COLOURS = later(r"\x1b\[[0-9;:]*m")


def strip(text: str) -> str:
    """The text without escapes and control characters, except newline, tab and carriage return."""
    return text if is_plain(text) else _ESCAPES.sub("", text)


def is_plain(text: str) -> bool:
    """Nothing but text, newlines, tabs and carriage returns?"""
    # Deleting bytes is twenty times faster than looking for them with a regular expression. (C1 controls begin with C2.)
    data = text.encode("utf-8", "surrogateescape")
    return b"\xc2" not in data and len(data.translate(None, _NOT_PLAIN)) == len(data)


def unfinished(text: str) -> int:
    """How many characters at the end are the beginning of an escape sequence."""
    begin = max(0, len(text) - _LONGEST_STRING)
    match = _UNFINISHED.search(text, begin) if text.find("\x1b", begin) >= 0 else None
    return len(text) - match.start() if match else 0


class Shortened:
    """The beginning and the end of a long text, and how much lies between."""

    def __init__(self, head: int, tail: int) -> None:
        self._head_limit, self.tail_limit = head, tail
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._head: list[str] = []
        self._head_size = 0
        self._tail: deque[str] = deque()
        self._tail_size = 0
        self.left_out = 0

    @property
    def head_is_full(self) -> bool:
        """Has the beginning got all it can hold?"""
        return self._head_size >= self._head_limit

    def leave_out(self, count: int) -> None:
        """So many characters follow which nobody will read, and after them more than the end can hold."""
        self.left_out += self._tail_size + count
        self._tail.clear()
        self._tail_size = 0

    def add(self, text: str) -> None:
        """Append text."""
        room = self._head_limit - self._head_size
        if room > 0:
            piece, text = text[:room], text[room:]
            self._head.append(piece)
            self._head_size += len(piece)
        if not text:
            return
        if len(text) > self.tail_limit:
            self.left_out += len(text) - self.tail_limit
            text = text[-self.tail_limit :]
        self._tail.append(text)
        self._tail_size += len(text)
        while self._tail_size - len(self._tail[0]) >= self.tail_limit:
            gone = len(self._tail.popleft())
            self.left_out += gone
            self._tail_size -= gone

    def parts(self) -> tuple[str, int, str]:
        """(head, characters left out, tail); cut at line ends where that loses little."""
        head, tail, left_out = "".join(self._head), "".join(self._tail), self.left_out
        if len(tail) > self.tail_limit:
            left_out += len(tail) - self.tail_limit
            tail = tail[-self.tail_limit :]
        if left_out:
            whole = head.rfind("\n") + 1
            if whole > len(head) * 0.7:
                left_out += len(head) - whole
                head = head[:whole]
            begin = tail.find("\n") + 1
            if 0 < begin < len(tail) * 0.3:
                left_out += begin
                tail = tail[begin:]
        return head, left_out, tail


class Lines:
    """A terminal that scrolls: text goes in as it was written, finished lines come out at the top."""

    def __init__(self, head: int, tail: int) -> None:
        self._above = Shortened(head, tail)
        self._rows: list[str] = [""]
        self._row = self._column = 0
        self._partial = ""
        self._later: deque[str] = deque()
        self._later_size = 0
        self.full_screen = False
        """Is a full-screen program drawing?"""

    def feed(self, text: str) -> None:
        """Carry out what was written."""
        text = self._partial + text
        self._partial = ""
        if "\x1b" in text:
            if cut := unfinished(text):
                self._partial, text = text[-cut:], text[:-cut]
            text = _COLOURS.sub("", text)
        if text.endswith("\r"):  # half of a line's end
            self._partial, text = "\r" + self._partial, text[:-1]
        if "\x1b" not in text:
            self._put_off(text)
            return
        self._catch_up()
        position = 0
        for match in _FULL_SCREEN.finditer(text):
            self._feed(text[position : match.start()])
            self.full_screen = match[1] == "h"
            position = match.end()
        self._feed(text[position:])

    def settle(self) -> None:
        """Nothing follows for now: what was kept back as the beginning of an escape sequence was none."""
        self._catch_up()
        text, self._partial = self._partial, ""
        self._feed(text)

    def _put_off(self, text: str) -> None:
        """Of very much text without escapes only the end will be read: carry that out when somebody asks, leave out the rest.

        Nothing is lost by it: what is kept is more than the end can hold, unless carriage returns make it shorter.
        """
        redraws = text.count("\r", -_LOOKED_AT) != text.count("\r\n", -_LOOKED_AT)
        if redraws or self.full_screen or not self._above.head_is_full:
            self._catch_up()
            self._feed(text)
            return
        self._later.append(text)
        self._later_size += len(text)
        while self._later_size - len(self._later[0]) >= 4 * self._above.tail_limit:
            gone = self._later.popleft()
            self._later_size -= len(gone)
            self._above.leave_out(len("\n".join(self._rows)) + len(gone) - gone.count("\r"))
            self._rows, self._row, self._column = [""], 0, 0

    def _catch_up(self) -> None:
        if self._later:
            text = "".join(self._later)
            self._later.clear()
            self._later_size = 0
            self._feed(text)

    def _feed(self, text: str) -> None:
        if not text or self.full_screen:
            return
        text = text.replace("\r\n", "\n")
        at_end = self._row == len(self._rows) - 1 and self._column == len(self._rows[-1])
        if at_end and "\r" not in text and is_plain(text):
            self._append(text)
        else:
            for match in _TOKEN.finditer(text):
                self._token(match)

    def _append(self, text: str) -> None:
        text = self._rows[-1] + text
        cut = _before_last_lines(text, KEPT_ROWS)
        if cut:
            self._let_go(len(self._rows) - 1)
            self._above.add(text[:cut])
            text = text[cut:]
        self._rows[-1:] = text.split("\n")
        self._let_go(len(self._rows) - KEPT_ROWS)
        if len(self._rows[-1]) > LONGEST_LINE:
            self._let_go(len(self._rows) - 1)
            self._above.add(self._rows[-1])
            self._rows = [""]
        self._row, self._column = len(self._rows) - 1, len(self._rows[-1])

    def _let_go(self, count: int) -> None:
        if count > 0:
            self._above.add("\n".join(self._rows[:count]) + "\n")
            del self._rows[:count]
            self._row = max(0, self._row - count)

    def _token(self, match: re.Match[str]) -> None:
        token = match[0]
        if match[2]:
            self._control(match[1], match[2])
        elif token == "\n":
            self._down(1)
            self._column = 0
        elif token == "\r":
            self._column = 0
        elif token == "\b":
            self._column = max(0, self._column - 1)
        elif token == "\t":
            self._write(" " * (8 - self._column % 8) if self._column < len(self._rows[self._row]) else "\t")
        elif token[0] >= " " and token[0] != "\x7f" and not "\x80" <= token[0] <= "\x9f":
            self._write(token)

    def _write(self, text: str) -> None:
        row = self._rows[self._row]
        if self._column > len(row):
            row += " " * (self._column - len(row))
        self._rows[self._row] = row[: self._column] + text + row[self._column + len(text) :]
        self._column += len(text)
        if self._column > LONGEST_LINE and self._row == len(self._rows) - 1:
            self._append("")

    def _down(self, count: int) -> None:
        for _ in range(min(count, KEPT_ROWS)):
            self._row += 1
            if self._row == len(self._rows):
                self._rows.append("")
                self._let_go(len(self._rows) - KEPT_ROWS)

    def _control(self, parameters: str, final: str) -> None:
        first = parameters.split(";")[0]
        number = int(first) if first.isdecimal() and len(first) < 6 else 0
        count = max(1, min(number, LONGEST_LINE))
        row = self._rows[self._row]
        if final in "AF":
            self._row = max(0, self._row - count)
        elif final in "BE":
            self._row = min(self._row + count, len(self._rows) - 1)
        elif final == "C":
            self._column = min(self._column + count, LONGEST_LINE)
        elif final == "D":
            self._column = max(0, self._column - count)
        elif final in "G`":
            self._column = count - 1
        elif final == "K":
            self._rows[self._row] = {0: row[: self._column], 1: " " * self._column + row[self._column :]}.get(number, "")
        elif final == "P":
            self._rows[self._row] = row[: self._column] + row[self._column + count :]
        elif final == "J" and number == 0:
            self._rows[self._row] = row[: self._column]
            del self._rows[self._row + 1 :]
        elif final == "J" and number in (2, 3):
            self._let_go(len(self._rows) - 1 if not self._rows[-1] else len(self._rows))
            self._rows, self._row = [""], 0
        elif final in "Hf":
            self._column = 0  # absolute rows mean nothing in a text that scrolls
        if final in "EF":
            self._column = 0

    def parts(self) -> tuple[str, int, str]:
        """(head, characters left out, tail) of everything since `clear`."""
        self._catch_up()
        rest = Shortened(self._above._head_limit, self._above.tail_limit)
        head, left_out, tail = self._above.parts()
        if not left_out:
            rest.add(head + tail + "\n".join(self._rows))
            return rest.parts()
        rest = Shortened(0, self._above.tail_limit)
        rest.add(tail + "\n".join(self._rows))
        _, more, tail = rest.parts()
        return head, left_out + more, tail

    def last(self, count: int) -> str:
        """The last lines as they stand."""
        self._catch_up()
        return "\n".join(self._rows[-count:])

    @property
    def open_line(self) -> str:
        """The line the cursor is on, empty after a newline."""
        self._catch_up()
        return self._rows[self._row]

    def clear(self) -> None:
        """Forget what was shown; the line the cursor is on stays."""
        self._catch_up()
        self._above.clear()
        self._rows = [self._rows[self._row]]
        self._row, self._column = 0, min(self._column, len(self._rows[0]))


def _before_last_lines(text: str, count: int) -> int:
    """Where the last `count` lines begin; 0 when there are not so many."""
    cut = len(text)
    for _ in range(count):
        cut = text.rfind("\n", 0, cut)
        if cut < 0:
            return 0
    return cut + 1
