"""How a value looks when it is written down otherwise: encoded, reversed, in other letters, spelled out, wrapped.

Two kinds. Exact forms are searched for byte by byte. Plain forms are searched for in text of which only letters and digits
are left, in lower case: one such search finds a value in any case and with anything between its letters, as tools for
dumping, wrapping and quoting put it there (`xxd -p`, `od -c`, `fold`, `sed 's/./& /g'`, `%73%65`, `\\x73\\x65`).
"""

from __future__ import annotations

import base64
import codecs
import html
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

SHORTEST_PLAIN = 8
"""Plain forms shorter than this are left out: in text without its blanks, short words are everywhere."""

_KEPT = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyz")
_DROPPED = bytes(byte for byte in range(256) if byte not in _KEPT and not 0x41 <= byte <= 0x5A)
_LOWER = bytes(byte + 32 if 0x41 <= byte <= 0x5A else byte for byte in range(256))


def exact_forms(value: str, shortest: int) -> list[bytes]:
    """The value itself, in other case, backwards, escaped in the usual ways and in base64, from `shortest` bytes on."""
    raw = value.encode("utf-8", "surrogateescape")
    cases = {case.encode("utf-8", "surrogateescape") for case in (value.upper(), value.lower(), value.swapcase(), value[::-1])}
    forms = {raw, raw.replace(b"\n", b"\r\n"), quote(value, safe="").encode(), quote_plus(value).encode(), raw[::-1], *cases}
    forms |= {html.escape(value).encode("utf-8", "replace"), json.dumps(value)[1:-1].encode()}
    # The middle of a base64 text depends on where the value begins: the three alignments, less their ragged ends.
    for lead in range(3):
        encoded = base64.b64encode(b"\0" * lead + raw).rstrip(b"=")
        encoded = encoded[(lead * 8 + 5) // 6 :]
        if (lead + len(raw)) % 3:
            encoded = encoded[:-1]
        if len(encoded) >= 8:
            forms |= {encoded, encoded.replace(b"+", b"-").replace(b"/", b"_")}
    return [form for form in forms if len(form) >= shortest]


def plain_forms(value: str) -> list[bytes]:
    """What `plain` makes of the value in any case, backwards, in hexadecimal (backwards too), octal, decimal, binary, base32,
    base64 and rot13."""
    raw = value.encode("utf-8", "surrogateescape")
    texts = [raw, raw[::-1], *(case.encode("utf-8", "surrogateescape") for case in (value.upper(), value.lower(), value[::-1]))]
    texts += [codecs.encode(value, "rot13").encode("utf-8", "surrogateescape")]
    texts += [text.hex().encode() for text in (raw[::-1], raw.upper(), raw.lower())]
    texts.append(raw.hex()[::-1].encode())
    numbers = [(f"{b:02x}", f"x{b:02x}", f"0x{b:02x}", f"u00{b:02x}", f"{b:03o}", f"{b:d}", f"{b:08b}") for b in raw]
    texts += ["".join(column).encode() for column in zip(*numbers, strict=True)]
    for lead in range(5):
        encoded = base64.b32encode(b"\0" * lead + raw).rstrip(b"=")
        texts.append(encoded[(lead * 8 + 4) // 5 : -1 if (lead + len(raw)) % 5 else None])
    texts += exact_forms(value, SHORTEST_PLAIN)
    found = {plain(text) for text in texts}
    return sorted((form for form in found if len(form) >= SHORTEST_PLAIN), key=len, reverse=True)


def plain(data: bytes) -> bytes:
    """Its ASCII letters and digits in lower case; one pass of a table, a few microseconds for 4 KB."""
    return data.translate(_LOWER, _DROPPED)


def places(data: bytes, form: bytes) -> Iterator[tuple[int, int]]:
    """Where in the data a plain form stands, from its first letter to behind its last."""
    text, at = plain(data), -1
    kept: list[int] = []
    while (at := text.find(form, at + 1)) >= 0:
        kept = kept or [place for place, byte in enumerate(data) if byte not in _DROPPED]
        yield kept[at], kept[at + len(form) - 1] + 1


def raw_length(data: bytes, count: int) -> int:
    """How many bytes at the end of the data hold its last `count` letters and digits."""
    at = len(data)
    while count and at:
        at -= 1
        count -= data[at] not in _DROPPED
    return len(data) - at
