"""Addresses programs connect to, read from their memory; names they ask a name server for."""

from __future__ import annotations

import _socket as socket
import os

from skillrun.looking import notify


def address(thread: int, at: int, size: int = 110) -> str:
    """A socket address as text; `?` for one that means nothing."""
    if not at:
        return "?"
    data = notify.read_memory(thread, at, 2)
    family = int.from_bytes(data, "little")
    if family == socket.AF_UNIX:
        data = notify.read_memory(thread, at, max(min(size, 110), 3))
        path = data[2:]
        return "@" + os.fsdecode(path[1:].split(b"\0")[0]) if path[:1] == b"\0" else os.fsdecode(path.split(b"\0")[0])
    if family == socket.AF_INET:
        data = notify.read_memory(thread, at, 8)
        return f"{socket.inet_ntop(family, data[4:8])}:{int.from_bytes(data[2:4], 'big')}"
    if family == socket.AF_INET6:
        data = notify.read_memory(thread, at, 24)
        return f"[{socket.inet_ntop(family, data[8:24])}]:{int.from_bytes(data[2:4], 'big')}"
    return "netlink" if family == socket.AF_NETLINK else "?"


def name_asked(data: bytes) -> str:
    """The name in a DNS question (RFC 1035, 4.1.2); empty for anything else."""
    labels, at = [], 12
    while at < len(data) and 0 < data[at] < 64:
        labels.append(data[at + 1 : at + 1 + data[at]].decode("ascii", "replace"))
        at += data[at] + 1
    return ".".join(labels) if len(data) >= 17 and at < len(data) and data[at] == 0 else ""
