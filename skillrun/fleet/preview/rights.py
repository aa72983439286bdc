"""Shell text with root's rights on another machine, where the account has them: as root, or by sudo."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_hex

from skillrun.fleet.reach import Host
from skillrun.fleet.unreachable import lost
from skillrun.fleet.wires import Ran, Wire
from skillrun.pty.protocol import quote

ASKS_S = 30.0
"""How long sudo may take to ask for its password."""
_WHO = """id -u; id -g; id -un; echo "$HOME"; echo "$SHELL"; echo "$PATH"; echo "$SSH_CONNECTION"
if [ "$(id -u)" = 0 ]; then echo root; elif ! command -v sudo > /dev/null; then echo none
elif sudo -n true 2> /dev/null; then echo sudo; else echo asks; fi"""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Who logs in there."""

    uid: int
    gid: int
    name: str
    home: str
    shell: str
    path: str
    connection: str = ""


class Rights:
    """What the account may do as root. `how`: root | sudo | password | none. Raises Unreachable."""

    def __init__(self, host: Host, password: Callable[[], str | None] = lambda: None) -> None:
        self.host = host
        told = host.run(_WHO).output.decode("utf-8", "surrogateescape").splitlines()
        if len(told) != 8:
            raise lost(host.name, "no shell answers there")
        self.account = LoggedIn(int(told[0]), int(told[1]), *told[2:7])
        self.how, self._password = told[7], ""
        if self.how == "asks":
            given = password()
            taken = bool(given) and host.run("exec sudo -S -p '' true", f"{given}\n".encode()).code == 0
            self.how, self._password = ("password", given or "") if taken else ("none", "")

    def run(self, text: str, stdin: bytes = b"", seconds: float | None = None) -> Ran:
        """Run it to its end, without a terminal. Raises Unreachable."""
        return self.host.run(self.words(f"sh -c {quote(text)}"), self.first + stdin, seconds=seconds)

    def start(self, words: str, *, terminal: bool = False) -> Wire:
        """Start a command (words for sh) on pipes or a terminal. Raises Unreachable."""
        if not self._password or not terminal:
            wire = self.host.start(self.words(words), terminal=terminal)
            if self._password:
                wire.send(self.first)
            return wire
        prompt = f"={token_hex(8)}="
        wire = self.host.start(self.words(words, prompt), terminal=True)
        said, until = b"", time.monotonic() + ASKS_S
        while prompt.encode() not in said:  # until then the terminal would show what is typed
            ready = select.select([wire.fileno()], [], [], max(0.0, until - time.monotonic()))[0]
            if not ready or not (data := wire.receive()):
                raise lost(self.host.name, "sudo there did not ask for its password")
            said += data
        wire.send(self.first)
        return wire

    def words(self, words: str, prompt: str = "") -> str:
        """A command in front of which stands what gives it root's rights."""
        before = {"root": "", "sudo": "sudo -n -- ", "password": f"sudo -S -p {quote(prompt)} -- "}.get(self.how, "")
        return f"exec {before}{words}"

    @property
    def first(self) -> bytes:
        """What goes before everything else on standard input."""
        return f"{self._password}\n".encode() if self._password else b""
