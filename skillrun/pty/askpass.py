"""How sudo gets the person's password without anybody else seeing it.

sudo starts a helper (`SUDO_ASKPASS`, sudo(8)); the helper asks over a socket in a folder that only this user can
open; the answer goes to sudo and is kept nowhere. How long it holds is sudo's own rule.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import sys
import tempfile
import weakref
from pathlib import Path

_HELPER = """#!{python} -IS
import socket, sys
with socket.socket(socket.AF_UNIX) as asking:
    asking.connect({path!r})
    asking.sendall((sys.argv[1] if len(sys.argv) > 1 else "Password:").encode() + b"\\0")
    answer = b""
    while piece := asking.recv(4096):
        answer += piece
if not answer:
    sys.exit(1)
sys.stdout.buffer.write(answer)
"""

FUNCTION = """sudo() { case "$1" in -S|--stdin|-n|--non-interactive|-A|--askpass) command sudo "$@";;
*) command sudo -A "$@";; esac; }"""
"""Makes sudo use the helper although there is a terminal. Scripts that call sudo ask on the terminal instead."""

PROMPT_LIMIT = 1000


class Askpass:
    """A socket on which sudo's helper asks. Raises OSError when its folder cannot be made."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="skillrun-"))  # mode 0700
        # A session may be dropped without being closed; the folder must not outlive the process.
        self._tidy = weakref.finalize(self, shutil.rmtree, self._folder, True)
        path = self._folder / "ask"
        self.helper = self._folder / "askpass"
        self.helper.write_text(_HELPER.format(python=sys.executable, path=str(path)))
        self.helper.chmod(0o700)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(4)
        self._socket.setblocking(False)
        self._asking: socket.socket | None = None

    def fileno(self) -> int:
        """For poll: readable when somebody asks."""
        return self._socket.fileno()

    def prompt(self) -> str | None:
        """The prompt of whoever asks, None when it is nobody who may."""
        try:
            asking, _ = self._socket.accept()
        except OSError:
            return None
        self._asking = asking
        asking.settimeout(2.0)
        asked = b""
        with contextlib.suppress(OSError):
            if _peer(asking) in (os.getuid(), 0):
                while not asked.endswith(b"\0") and len(asked) < PROMPT_LIMIT and (piece := asking.recv(1024)):
                    asked += piece
        if not asked.endswith(b"\0"):
            self.answer(None)
            return None
        return asked[:-1].decode("utf-8", "replace")

    def answer(self, password: str | None) -> None:
        """Give the password, or refuse with None: then sudo fails."""
        asking, self._asking = self._asking, None
        if asking is not None:
            with asking, contextlib.suppress(OSError):
                if password is not None:
                    asking.sendall(password.encode("utf-8", "surrogateescape") + b"\n")

    def close(self) -> None:
        """Stop answering and take the folder away."""
        self.answer(None)
        self._socket.close()
        self._tidy()


def _peer(connection: socket.socket) -> int:
    """The user on the other end; our own where the system does not say (the folder is closed to others anyway)."""
    if hasattr(socket, "SO_PEERCRED"):
        _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(uid)
    return os.getuid()
