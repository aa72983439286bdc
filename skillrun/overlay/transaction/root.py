"""A process of root's for a person who may use sudo: started once, it does for a run what only root may.

It starts through sudo, lets go of it at once and answers over a socket of its own, so that sudo asks at most once however
it is set up (sudoers(5): use_pty, requiretty, timestamp_timeout, log_input), and nobody relays the person's keys meanwhile.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from skillrun.overlay.kernel.channel import Gone, receive, send

FAILED_INSIDE = 70
"""Our own part's exit code where it cannot start; sudo itself exits with 1 (sudo(8), "Exit value")."""

_PACKAGE_ROOT = Path(__file__).resolve().parents[3]
_CODE = """
import sys
try:
    sys.path.insert(0, sys.argv[1])
    from skillrun.overlay.process.elevated import main
    main(sys.argv[2])
except Exception as error:
    sys.stderr.write(f"{type(error).__name__}: {error}")
    sys.exit(70)
"""


class RootError(Exception):
    """Root's process could not start or was lost. `errno` is the kernel's, 0 when there is none."""

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class RootRefused(RootError):
    """sudo was asked for root and did not give it."""


class Asking(Protocol):
    """Whoever is asked for the person's password, by a helper that sudo starts (sudo(8), --askpass)."""

    helper: Path

    def fileno(self) -> int:
        """Readable when the helper asks."""

    def serve(self) -> None:
        """Answer the helper."""


class Root:
    """One process of root's, started with the first request. Requests are answered one at a time."""

    def __init__(self, sudo: Sequence[str], asking: Asking | None = None) -> None:
        """`sudo`: what gives root, as far as the program. `asking`: asked for the password instead of the terminal."""
        self.sudo = tuple(sudo)
        self._asking = asking
        self._channel: socket.socket | None = None
        self._lock = threading.Lock()

    def ask(self, request: Mapping[str, Any], files: Sequence[int] = ()) -> tuple[dict[str, Any], list[int]]:
        """Send a request and wait for the answer. Raises RootError, RootRefused."""
        with self._lock:
            if self._channel is None:
                self._channel = self._started()
                self._tidy = weakref.finalize(self, self._channel.close)  # it ends when nobody listens any more
            try:
                send(self._channel, request, files)
                return receive(self._channel)
            except Gone as error:
                self._channel.close()
                self._channel = None
                raise RootError(f"the part that runs as root ended without an answer ({error})") from None

    def close(self) -> None:
        """End it. The next request starts another."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _started(self) -> socket.socket:
        with tempfile.TemporaryDirectory(prefix="skillrun-root-") as folder, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/socket")
            listener.listen(1)
            command = [*self.sudo, sys.executable, "-I", "-B", "-c", _CODE, str(_PACKAGE_ROOT), f"{folder}/socket"]
            environment = {**os.environ, "LC_ALL": "C"}
            if self._asking is not None:
                environment["SUDO_ASKPASS"] = str(self._asking.helper)
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
                )
            except OSError as error:
                raise RootError(f"cannot start {self.sudo[0]}: {error.strerror}", error.errno or 0) from None
            with process:
                try:
                    return self._connected(listener, process)
                except BaseException:
                    with suppress(OSError):  # sudo is root's and cannot be signalled, but takes what the terminal sends
                        process.terminate()
                    raise

    def _connected(self, listener: socket.socket, process: subprocess.Popen[bytes]) -> socket.socket:
        """The socket of our part, once sudo has started it. Raises RootError, RootRefused."""
        assert process.stderr is not None
        said = bytearray()
        poller = select.poll()
        for source in (listener.fileno(), process.stderr.fileno()):
            poller.register(source, select.POLLIN)
        if self._asking is not None:
            poller.register(self._asking.fileno(), select.POLLIN)
        while True:
            for ready, _ in poller.poll():
                if ready == listener.fileno():
                    channel, _ = listener.accept()
                    if _is_root(channel):
                        return channel
                    channel.close()
                elif ready == process.stderr.fileno():
                    piece = os.read(ready, 4096)
                    said += piece
                    if not piece:
                        return self._last_chance(listener, process, said.decode("utf-8", "replace").strip())
                elif self._asking is not None:
                    self._asking.serve()

    def _last_chance(self, listener: socket.socket, process: subprocess.Popen[bytes], said: str) -> socket.socket:
        """Both outputs are closed: our part has connected, or never will."""
        code = process.wait()
        if select.select([listener], [], [], 0)[0]:
            channel, _ = listener.accept()
            if _is_root(channel):
                return channel
            channel.close()
        last = said.splitlines()[-1].removeprefix("sudo: ") if said else ""
        if code == FAILED_INSIDE:
            raise RootError(f"the part that runs as root cannot start: {last}")
        raise RootRefused(last or "no password was given")


def _is_root(channel: socket.socket) -> bool:
    """Only root's own process is listened to: the folder is closed to everybody else, and this makes sure."""
    credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1]) == 0
