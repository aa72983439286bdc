"""How sudo gets the person's password without anybody else seeing it.

sudo starts a helper (`SUDO_ASKPASS`, sudo(8)); the helper asks over a socket in a folder that only this user can
open; the answer goes to sudo and is kept nowhere. How long it holds is sudo's own rule. Any program of the user's can
connect to the socket, so who asks is looked up (`skillrun.pty.sudo`), and nothing it says is believed or shown.
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
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from skillrun.bash.called import says
from skillrun.pty.sudo import Sudo, asked_by_shell

_HELPER = """#!{python} -IS
import ctypes, socket, sys
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: others of this user do not look into it
with socket.socket(socket.AF_UNIX) as asking:
    asking.connect({path!r})
    answer = b""
    while piece := asking.recv(4096):
        answer += piece
if not answer:
    sys.exit(1)
sys.stdout.buffer.write(answer)
"""

TRIES = 3
"""How often one sudo is answered: it asks again when a password was wrong (sudoers(5), passwd_tries)."""


DROP_TICKET = "command sudo -k 2>/dev/null\n"
"""What a person did on this terminal before, or a sudo deep in a script left there, is good for nobody else."""


UNSAID = "(the command that runs does not say this: something it started asks)"


class Remembered:
    """A person's sudo password, asked for once a run and kept in memory alone.

    A sudo is given it once without asking where the command that runs says it itself; a person has agreed to that one.
    """

    def __init__(self, ask: Callable[[str], str | None]) -> None:
        self._ask = ask
        self._value: str | None = None
        self._given: Counter[Sudo] = Counter()

    def again(self, sudo: Sudo, command: str) -> str | None:
        """The password that was typed before; None when there is none, or when this sudo has seen it and asks once more.

        None too where `command`, the text that was agreed to, does not say this sudo.
        """
        if self._value is None or sudo in self._given or not says(command, "sudo", sudo.command):
            return None
        self._given[sudo] += 1
        return self._value

    def ask(self, wish: str, sudo: Sudo, command: str) -> str | None:
        """Ask the person, and say so where `command` does not say this sudo itself.

        What is typed at a last try is not kept: nobody hears whether it was right.
        """
        self._given[sudo] += 1
        said = says(command, "sudo", sudo.command)
        wish = wish if said else f"{wish} {UNSAID}"
        typed = self._ask(f"the last one was not taken; {wish}" if self._given[sudo] > 1 else wish) or None
        if said or typed:  # no is the word on what was not said, not on the password
            self._value = typed if self._given[sudo] < TRIES else None
        return typed


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
        self._for: Sudo | None = None
        self._shell, self._since = 0, 0.0
        self._answered: Counter[Sudo] = Counter()

    @property
    def function(self) -> str:
        """Makes sudo use the helper although there is a terminal. Scripts that call sudo ask on the terminal instead.

        The helper is named for sudo alone, so that no script finds it in its environment.
        """
        # With -k and a command sudo neither uses nor keeps a ticket (sudo(8)): what was agreed is this command, not the next.
        ask = f"SUDO_ASKPASS={self.helper} command sudo"
        return (
            f'sudo() {{ case "$1" in -S|--stdin|-n|--non-interactive|-k|-K|-v|-l|-V|--validate|--list) command sudo "$@";;\n'
            f'-A|--askpass) {ask} -k "$@";; *) {ask} -k -A "$@";; esac; }}\n{DROP_TICKET}'
        )

    def fileno(self) -> int:
        """For poll: readable when somebody asks."""
        return self._socket.fileno()

    def asking(self, shell: int, since: float) -> Sudo | None:
        """The sudo that asks; None, and no answer, when it is anybody else or none that `shell` started after `since`."""
        try:
            asking, _ = self._socket.accept()
        except OSError:
            return None
        self._asking = asking
        asking.settimeout(2.0)
        self._shell, self._since = shell, since
        self._for = self._who()
        if self._for is None or self._answered[self._for] >= TRIES:
            self.answer(None)
            return None
        return self._for

    def _who(self) -> Sudo | None:
        uid, pid = _peer(self._asking) if self._asking is not None else (-1, 0)
        return asked_by_shell(pid, sys.executable, self._shell, self._since) if uid == os.getuid() else None

    def answer(self, password: str | None) -> None:
        """Give the password to who asked, when it still is who it was; refuse with None: then sudo fails."""
        asking, asked = self._asking, self._for
        if asking is not None:
            with asking, contextlib.suppress(OSError):
                if password is not None and asked is not None and self._who() == asked:
                    self._answered[asked] += 1
                    asking.sendall(password.encode("utf-8", "surrogateescape") + b"\n")
        self._asking = self._for = None

    def close(self) -> None:
        """Stop answering and take the folder away."""
        self.answer(None)
        self._socket.close()
        self._tidy()


def _peer(connection: socket.socket) -> tuple[int, int]:
    """User and process on the other end, as the kernel says (unix(7), SO_PEERCRED; LOCAL_PEERPID on macOS)."""
    if hasattr(socket, "SO_PEERCRED"):
        pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(uid), int(pid)
    return os.getuid(), struct.unpack("i", connection.getsockopt(0, 2, 4))[0]
