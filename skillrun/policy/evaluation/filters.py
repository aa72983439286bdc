"""Programs that turn text into text, worked out for text that is known; bounded, and None where it would be a guess."""

from __future__ import annotations

import base64
import binascii
import re
import zlib

from skillrun.bash.quoting import unescape
from skillrun.policy.unknown import ANY, plain

MAX_DECODED = 262_144
_FORMAT = re.compile(r"%(?:%|[-+ #0]*\d*(?:\.\d+)?([sbqdioxXcuf]))")


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


_SED_ADDRESS = r"(?:(?:\d+|\$|/(?:[^/\\\n]|\\.)*/I?)(?:,(?:\+?\d+|\$|/(?:[^/\\\n]|\\.)*/I?))?\s*!?\s*)?"
_SED_COMMAND = re.compile(
    _SED_ADDRESS
    + r"(?:s([/|#,:@!%~;_])(?:(?!\1)[^\\\n]|\\.)*\1(?:(?!\1)[^\\\n]|\\.|\\\n)*\1[gpiIm0-9]*"
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


_AWK_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"|/(?:[^/\\\n]|\\.)*/')


def harmless_awk(program: str) -> bool:
    """True when an awk program neither runs commands nor writes files nor loads code."""
    if len(program) > 4000:
        return False
    bare = _AWK_QUOTED.sub("@", program)
    if re.search(
        r"\bENVIRON\b|\bSYMTAB\b|\bsystem\b|\bgetline\b|\|(?!\|)(?<!\|\|)|\bclose\b|@(?:load|include)|@\w+\s*\(", bare
    ):
        return False
    return not re.search(r"\bprintf?\b[^;}\n]*>", bare)
