"""The other side of `transaction.root`: a process of root's, started through sudo, that serves one run."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any

from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.kernel.channel import Gone, receive, send
from skillrun.overlay.process.init import build_and_serve
from skillrun.overlay.transaction.privileged import answer


def main(path: str) -> None:
    """Leave sudo, connect to the socket at `path` and answer until its other end closes. Raises OSError."""
    channel = socket.socket(socket.AF_UNIX)
    channel.connect(path)
    reader, writer = os.pipe()
    if os.fork():
        # sudo ends with this process, and with sudo its terminal; not before the other has one of its own, which is none.
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.setsid()  # a child leads no process group, which sudo's use_pty makes of the process it starts (setsid(2), EPERM)
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.chdir("/")
    os.umask(0o022)
    os.close(writer)
    os.close(reader)
    _serve(channel)


def _serve(channel: socket.socket) -> None:
    builders: set[int] = set()
    with suppress(Gone):
        while True:
            request, files = receive(channel)
            builders -= {pid for pid in builders if os.waitpid(pid, os.WNOHANG)[0]}
            if request["verb"] != "view":
                send(channel, _answered(request))
                continue
            pid = os.fork()
            if pid == 0:
                _build(files[0])
            builders.add(pid)
            os.close(files[0])
            handle = os.pidfd_open(pid)
            send(channel, {}, [handle])
            os.close(handle)


def _answered(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return answer(request)
    except Exception as error:  # noqa: BLE001 - told as what it was, on the other side; the next request may work
        return {"error": "CommitError", "message": f"{type(error).__name__}: {error}"}


def _build(channel: int) -> None:
    ns.in_child(lambda: build_and_serve(socket.socket(fileno=channel)))
