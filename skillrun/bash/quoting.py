"""The quoting of Bash in both directions: `$'...'` decoded, a word quoted for use in a command."""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{1,4}|U[0-9A-Fa-f]{1,8}|[0-7]{1,3}|c.|.)", re.DOTALL)
_SINGLE = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "v": "\v"}


def _decoded(match: re.Match[str]) -> str:
    code = match[1]
    if code in _SINGLE:
        return _SINGLE[code]
    if code[0] in "xuU" and len(code) > 1:
        value = int(code[1:], 16)
        return chr(value) if value < 0x110000 and not 0xD800 <= value < 0xE000 else "\ufffd"
    if code[0] in "01234567":
        return chr(int(code, 8) & 0xFF)
    if code[0] == "c" and len(code) > 1:
        return chr(ord(code[1]) & 0x1F)
    return code if code in "\\'\"?" else "\\" + code


def unescape(text: str) -> str:
    """Backslash escapes as `$'...'`, `echo -e` and `printf` understand them."""
    return _ESCAPE.sub(_decoded, text)


def ansi_c(text: str, start: int) -> tuple[str, int]:
    """Decode `$'...'` whose first character is at `start`; also where it ends (-1: it is not closed). A NUL ends the text."""
    i = start
    while True:
        end = text.find("'", i)
        if end < 0:
            return "", -1
        escape = text.find("\\", i, end)
        if escape < 0:
            return unescape(text[start:end]).split("\0", 1)[0], end + 1
        i = escape + 2
