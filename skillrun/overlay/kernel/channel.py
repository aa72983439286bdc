"""Messages with open files between the supervisor outside and the first process inside a view."""

from __future__ import annotations

import array
import json
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

_HEADER = struct.Struct("=I")
_MOST_FILES = 64


class Gone(Exception):
    """The other side has ended."""


def send(channel: socket.socket, message: Mapping[str, Any], files: Sequence[int] = ()) -> None:
    """Send one message; the files (descriptors) arrive as copies. Raises Gone."""
    body = json.dumps(message).encode("utf-8", "surrogateescape")
    try:
        if files:
            socket.send_fds(channel, [_HEADER.pack(len(body))], list(files))
        else:
            channel.sendall(_HEADER.pack(len(body)))
        channel.sendall(body)
    except OSError as error:
        raise Gone(str(error)) from None


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The next message and the files that came with it (close-on-exec). Raises Gone at the end of the stream."""
    try:
        header, files = _header(channel)
        header += _exactly(channel, _HEADER.size - len(header)) if header else b""
    except OSError as error:
        raise Gone(str(error)) from None
    if not header:
        raise Gone("the view has ended")
    message = json.loads(_exactly(channel, _HEADER.unpack(header)[0]).decode("utf-8", "surrogateescape"))
    return message, files


def _header(channel: socket.socket) -> tuple[bytes, list[int]]:
    # socket.recv_fds drops its flags (CPython 3.11), and files that stay open across exec would leak inside.
    size = array.array("i").itemsize
    data, ancillary, _, _ = channel.recvmsg(_HEADER.size, socket.CMSG_SPACE(_MOST_FILES * size), socket.MSG_CMSG_CLOEXEC)
    files = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            files.frombytes(content[: len(content) - len(content) % size])
    return data, list(files)


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = channel.recv(size - len(parts))
        if not part:
            raise Gone("the view ended in the middle of a message")
        parts += part
    return bytes(parts)
