"""A second shell on a machine, beside the one commands run in: it answers skillrun's own questions, one after the other.

It needs sh, mkfifo, mktemp and cat there, and nothing else. Text goes to it as one line, in the escapes of `printf %b`.
"""

from __future__ import annotations

import contextlib
import select
import time
from secrets import token_hex

from skillrun.fleet.unreachable import Unreachable, lost
from skillrun.fleet.wires import Reached
from skillrun.pty.protocol import quote

_LOOP = (
    "while IFS= read -r l; do t=${l%% *}; s=$(printf '%b.' \"${l#* }\"); s=${s%.}; "
    'eval "$s" < /dev/null 2> /dev/null; printf \'\\n%s %s\\n\' "$t" "$?"; done'
)
_PLACE = """umask 077
for d in /dev/shm "$XDG_RUNTIME_DIR" "$TMPDIR" /tmp; do
[ -n "$d" ] && [ -w "$d" ] && D=$(mktemp -d "$d/.skillrun-XXXXXXXX") && break; done
mkfifo "$D/go" && exec 7<> "$D/go" && echo "$D"
echo "${SHELL:-/bin/sh}"; echo "$HOME"; id -u; id -un; command -v bash || echo; uname -sm"""
ANSWER_S = 60.0
"""How long a machine may take for one of skillrun's own questions."""


def one_line(text: str) -> str:
    """Text as `printf %b` makes it of one line without a newline in it."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


class Control:
    """Asked for what a machine does meanwhile. Raises Unreachable, and OSError when nothing can be written there."""

    def __init__(self, host: Reached) -> None:
        self._name = host.name
        self._wire = host.start(_LOOP)
        self._received = b""
        told = self.ask(_PLACE).splitlines()
        if len(told) < 7 or not told[0].startswith("/"):
            self._wire.close()
            raise OSError(28, f"{host.name}: no directory there takes a file (/dev/shm, $TMPDIR, /tmp)")
        self.place, self.shell, self.home, uid, self.user, self.bash, self.system = told[:7]
        self.root = uid == "0"

    def ask(self, script: str, seconds: float = ANSWER_S) -> str:
        """What a script prints. Raises Unreachable, also when nothing is heard for so long."""
        token = token_hex(8)
        self._wire.send(f"{token} {one_line(script)}\n".encode("utf-8", "surrogateescape"))
        mark, until = f"\n{token} ".encode(), time.monotonic() + seconds
        while True:
            found = self._received.find(mark)
            end = self._received.find(b"\n", found + len(mark)) if found >= 0 else -1
            if end >= 0:
                answer, self._received = self._received[:found], self._received[end + 1 :]
                return answer.decode("utf-8", "surrogateescape")
            ready, _, _ = select.select([self._wire.fileno()], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise lost(self._name, f"no answer for {seconds:.0f} s")
            data = self._wire.receive()
            if not data:
                raise lost(self._name, "the connection was closed")
            self._received += data

    def tell_shell(self, text: str, token: str, stdin: str | None) -> None:
        """Hand the driver of `skillrun.fleet.shell` its next command. Nothing of it is on a command line or a disk."""
        given = ""
        kind = "i" if stdin is not None else "g"
        line = quote(f"{kind}{one_line(text)}")
        script = f"printf '%s\\n' {line} {token} >&7"
        if stdin is not None:
            # printf and not a here-document, whose last line would always end with a newline
            given = f"printf '%b' {quote(one_line(stdin))} > {self.place}/stdin\n"
        self._wire.send(f"{token_hex(4)} {one_line(given + script)}\n".encode("utf-8", "surrogateescape"))

    def close(self) -> None:
        """Take away what was made there, and hang up. Safe to call twice."""
        with contextlib.suppress(Unreachable, OSError, ValueError):  # gone already, or lost: either way this is the end
            self.ask(f"rm -rf {self.place}", 5)
        self._wire.close()
