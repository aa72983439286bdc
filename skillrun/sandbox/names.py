"""The little of the domain name system that a machine's name server needs (RFC 1035): one question, one address."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

_A, _AAAA, _INTERNET = 1, 28, 1
_HEADER = struct.Struct(">6H")
_ANSWER = 0x8180  # a response, recursion desired and available
_NO_SUCH_NAME = 3
_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked. `name` in small letters, without a dot at its end."""

    number: int
    name: str
    kind: int
    raw: bytes
    """The question's own bytes, which its answer repeats."""

    @property
    def wants_address(self) -> bool:
        """Is an IPv4 address wanted? There are no others in a machine."""
        return self.kind == _A


def read_question(data: bytes) -> Question | None:
    """The question in a packet; None for what is not a single one."""
    if len(data) < _HEADER.size:
        return None
    number, flags, questions, *_ = _HEADER.unpack_from(data)
    labels, place = [], _HEADER.size
    while place < len(data) and data[place]:
        length = data[place]
        if length > 63:
            return None
        labels.append(data[place + 1 : place + 1 + length].decode("ascii", "replace").lower())
        place += 1 + length
    end = place + 5
    if flags & 0x8000 or questions != 1 or end > len(data):
        return None
    (kind, family) = struct.unpack_from(">HH", data, place + 1)
    return Question(number, ".".join(labels), kind, data[_HEADER.size : end]) if family == _INTERNET else None


def answer(question: Question, address: str = "") -> bytes:
    """The reply with one address, or with none: there is such a name, and nothing of that kind."""
    head = _HEADER.pack(question.number, _ANSWER, 1, 1 if address else 0, 0, 0)
    # 0xC00C points back to the name in the question.
    row = struct.pack(">HHHIH", 0xC00C, _A, _INTERNET, _SECONDS, 4) + socket.inet_aton(address) if address else b""
    return head + question.raw + row


def refusal(question: Question) -> bytes:
    """The reply that there is no such name."""
    return _HEADER.pack(question.number, _ANSWER | _NO_SUCH_NAME, 1, 0, 0, 0) + question.raw
