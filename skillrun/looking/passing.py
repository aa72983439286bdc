"""Words and descriptors over a local socket, between a run and the keeper of its looks.

The keeper is a program of its own whose start is waited for, so this needs nothing that takes long to import: no `json`,
and of sockets only what is written in C.
"""

from __future__ import annotations

import _socket as sockets
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Socket(sockets.socket):
    """A socket that is closed with its block."""

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


MOST = 1 << 20
"""Bytes of one message."""


def packed(*lists: Sequence[str]) -> bytes:
    """Lists of words without a zero byte (arguments, variables, paths) as one message."""
    words = [word for each in lists for word in (str(len(each)), *each)]
    return "\0".join(words).encode("utf-8", "surrogateescape")


def unpacked(message: bytes) -> list[list[str]]:
    """What was packed."""
    words, lists, at = message.decode("utf-8", "surrogateescape").split("\0"), list[list[str]](), 0
    while at < len(words):
        end = at + 1 + int(words[at])
        lists.append(words[at + 1 : end])
        at = end
    return lists


def send(channel: sockets.socket, message: bytes, files: Sequence[int] = ()) -> None:
    """One message with descriptors. Raises OSError."""
    rights = [(sockets.SOL_SOCKET, sockets.SCM_RIGHTS, struct.pack(f"{len(files)}i", *files))] if files else []
    channel.sendmsg([message], rights)


def receive(channel: sockets.socket, most: int = MOST) -> tuple[bytes, list[int]]:
    """One message, and the descriptors that came with it; empty when the other side is closed. Raises OSError."""
    message, beside, _, _ = channel.recvmsg(most, sockets.CMSG_LEN(16 * 4))
    files = list[int]()
    for level, kind, data in beside:
        if level == sockets.SOL_SOCKET and kind == sockets.SCM_RIGHTS:
            files += struct.unpack(f"{len(data) // 4}i", data[: len(data) // 4 * 4])
    return message, files
