"""Programs that turn text into text, worked out for text that is known; bounded, and None where it would be a guess."""

from __future__ import annotations

import base64
import binascii
import re
import zlib

from skillrun.bash.quoting import unescape
from skillrun.policy.unknown import ANY, plain
from skillrun.text.patterns import later

MAX_DECODED = 262_144
_FORMAT = later(r"%(?:%|[-+ #0]*\d*(?:\.\d+)?([sbqdioxXcuf]))")


def printf(form: str, arguments: list[str]) -> str | None:
    """What `printf` prints; None for a format this does not follow."""
    if ANY.search(form):
        return None
    text = unescape(plain(form))
    if "%" not in text:
        return text
    spots = [match for match in _FORMAT.finditer(text) if match[1]]
    if "%" in _FORMAT.sub("", text) or len(text) > 4096 or len(arguments) > 64:
        return None
    rest = list(arguments)
    out = []
    while True:

        def filled(match: re.Match[str]) -> str:
            if match[1] is None:
                return "%"
            value = plain(rest.pop(0)) if rest else ""
            if match[1] == "b":
                return unescape(value)
            if match[1] == "c":
                return value[:1]
            if match[1] in "xXo" and value.lstrip("-").isdigit():
                return format(int(value), match[1])
            if match[1] in "diu":
                return value or "0"
            return value

        out.append(_FORMAT.sub(filled, text))
        if not rest or not spots:
            return "".join(out)


def shell_words(text: str) -> list[str]:
    """How xargs splits its input: blanks, with quotes and backslashes."""
    return [
        re.sub(r"\\(.)", r"\1", re.sub(r"(['\"])(.*?)\1", r"\2", word))
        for word in re.findall(r"(?:\\.|'[^']*'|\"[^\"]*\"|[^\s'\"\\])+", text)
    ][:500]


def decode(argv: list[str], data: str) -> str | None:
    """base64 -d, base32 -d, xxd -r -p, gunzip, openssl base64 -d on known text; None when it is not text."""
    name, options = argv[0], " ".join(argv[1:])
    raw = data.encode("utf-8", "surrogateescape") if len(data) <= MAX_DECODED else b""
    try:
        if name in ("base64", "base32", "openssl"):
            if not re.search(r"(?:^|\s)(?:-\w*[dD]\w*|--decode|-di)(?:\s|$)", options):
                if name == "base64":
                    return base64.b64encode(raw).decode() + "\n"
                return None
            squeezed = re.sub(rb"[^A-Za-z0-9+/=]", b"", raw)
            decoded = (
                base64.b32decode(squeezed) if name == "base32" else base64.b64decode(squeezed + b"=" * (-len(squeezed) % 4))
            )
        elif name == "xxd":
            if not re.search(r"-\w*r", options):
                return None
            decoded = bytes.fromhex(re.sub(r"[^0-9A-Fa-f]", "", data))
        else:
            decoded = zlib.decompressobj(31).decompress(raw, MAX_DECODED)
        return decoded.decode("utf-8")
    except (ValueError, binascii.Error, zlib.error, UnicodeDecodeError):
        return None


def work(argv: list[str], data: str) -> str | None:
    """tr, rev, tac, head and cut on known text, where a few lines of reading suffice."""
    name, words = argv[0], argv[1:]
    if len(data) > 65_536:
        return None
    if name == "rev":
        return "\n".join(line[::-1] for line in data.split("\n"))
    if name == "tac":
        return "".join(reversed(data.splitlines(keepends=True)))
    if name == "tr":
        return _translated(words, data)
    return None


def _translated(words: list[str], data: str) -> str | None:
    options = [word for word in words if word.startswith("-") and len(word) > 1]
    sets = [_set(plain(word)) for word in words if word not in options]
    flags = "".join(options)
    if "c" in flags or "C" in flags or None in sets or not sets:
        return None
    first, second = sets[0] or "", (sets[1] or "") if len(sets) > 1 else None
    if "d" in flags:
        return "".join(mark for mark in data if mark not in first)
    if second is None:
        return None if "s" not in flags else data
    if not second:
        return None
    second += second[-1] * (len(first) - len(second))
    return data.translate({ord(a): b for a, b in zip(first, second, strict=False)})


def _set(text: str) -> str | None:
    classes = {
        "[:upper:]": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "[:lower:]": "abcdefghijklmnopqrstuvwxyz",
        "[:digit:]": "0123456789",
        "[:space:]": " \t\n\r\v\f",
        "[:blank:]": " \t",
    }
    for name, value in classes.items():
        text = text.replace(name, value)
    if "[:" in text or "[=" in text:
        return None
    text = unescape(text)
    return re.sub(
        r"(.)-(.)",
        lambda m: "".join(chr(c) for c in range(ord(m[1]), min(ord(m[2]), ord(m[1]) + 300) + 1)),
        text,
        flags=re.DOTALL,
    )


_OPENED = r"\[(?:\^?\]|\^(?!\])|(?![\^\]]))"
_BRACKETS = _OPENED + r"(?:\[[:.=](?:(?![:.=]\]|%s)[^\\\n])*[:.=]\]|\[(?![:.=])|(?!%s)[^]\[\\\n]|\\.)*\]"
"""A bracket expression without the delimiter, which some read as its end."""
_PLAIN_BRACKETS = _OPENED + r"(?:\[[:.=](?:(?![:.=]\])[^\\\n])*[:.=]\]|\[(?![:.=])|[^]\[\\\n])*\]"
"""One without a backslash: in it a delimiter ends nothing for sed(1), of GNU, the BSDs and busybox."""
_IN_SLASHES = rf"/(?:[^/\\\n\[]|\\.|{_BRACKETS % ('/', '/')})*/"
_OTHERWISE = _BRACKETS % (r"\1", r"\1")
_SED_REGEX = rf"/(?:[^/\\\n\[]|\\.|{_PLAIN_BRACKETS}|{_BRACKETS % ('/', '/')})*/I?"
_SED_ADDRESS = rf"(?:(?:\d+|\$|{_SED_REGEX})(?:,(?:\+?\d+|\$|{_SED_REGEX}))?\s*!?\s*)?"
_SED_COMMAND = re.compile(
    _SED_ADDRESS
    + rf"(?:s([/|#,:@!%~;_])(?:(?!\1)[^\\\n\[]|\\.|{_PLAIN_BRACKETS}|{_OTHERWISE})*\1(?:(?!\1)[^\\\n]|\\.|\\\n)*\1[gpiIm0-9]*"
    + r"|[pdDhHgGxnNPlFz=q]\d*|y(.)(?:(?!\2).)*\2(?:(?!\2).)*\2"
    + r"|[aic]\\?\s?[^\n]*|[bt]\s*\w*|:\w+|\{|\}|)\s*(?:#[^\n]*)?"
)


def harmless_sed(script: str) -> bool:
    """True when a sed script consists of commands that neither run programs (`e`) nor write files (`w`)."""
    i = 0
    text = script.strip()
    if len(text) > 2000:
        return False
    while i < len(text):
        match = _SED_COMMAND.match(text, i)
        if match is None:
            return False
        end = match.end()
        if end < len(text):
            if text[end] in ";\n}{":
                end += 1
            elif not match[0].strip().endswith(("{", "}")):
                return False
        if end == i:
            return False
        i = end
        while i < len(text) and text[i] in " \t\n;":
            i += 1
    return True


_AWK_TOKEN = re.compile(
    r"""(?P<blank>(?:[ \t\r]|\\\n|\#[^\n]*)+)|(?P<text>"(?:[^"\\\n]|\\.|\\\n)*")|(?P<word>[A-Za-z_]\w*)"""
    r"""|(?P<number>\.?\d[\w.]*)|(?P<step>\+\+|--|\))|(?P<closed>\])|(?P<slash>/)|(?P<other>[^"/])""",
    re.DOTALL,
)
_AWK_REGEX = re.compile(_IN_SLASHES)
_AWK_BEFORE_REGEX = frozenset(("print", "printf", "return", "in", "else", "do", "case", "exit", "delete"))
"""Words of the language behind which an expression begins; behind any other a slash divides."""
_AWK_FOREIGN = re.compile(
    r"\b(?:ENVIRON|SYMTAB|PROCINFO|ARGV|ARGC|system|getline|close)\b|\|(?!\|)(?<!\|\|)|@\s*(?:load|include|namespace|\w+\s*\()"
)


def harmless_awk(program: str) -> bool:
    """True when an awk program neither runs commands nor reads or writes files of its own choice nor loads code."""
    bare = None if len(program) > 4000 else _without_texts(program)
    return bare is not None and not _AWK_FOREIGN.search(bare) and not re.search(r"\bprintf?\b[^;}\n]*>", bare)


def _without_texts(program: str) -> str | None:
    """The program with `""` for its strings and regular expressions; None where it is not clear what a slash is."""
    out, before, at = list[str](), "", 0
    while at < len(program):
        match = _AWK_TOKEN.match(program, at)
        if match is None:
            return None  # a string without an end
        kind, text = match.lastgroup, match[0]
        if kind == "slash" and before in ("step", "text"):
            return None
        if kind == "slash" and before not in ("name", "number", "closed"):
            match = _AWK_REGEX.match(program, at)
            if match is None:
                return None
            kind = "text"
        at = match.end()
        out.append('""' if kind == "text" else " " if kind == "blank" else text)
        if kind == "word":
            before = "" if text in _AWK_BEFORE_REGEX else "name"
        elif kind != "blank":
            before = str(kind)
    return "".join(out)
