"""The shell that commands run in on another machine: on a terminal, driven from beside it, with a mark where each one ended.

Like `skillrun.pty.protocol`, but for any POSIX shell and with nothing between the two but a connection. The mark's token is
still unread in the pipe while its command runs, so nothing a command prints can be taken for its end.
"""

from __future__ import annotations

import contextlib
import re
import select
import shlex
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_hex

from skillrun.fleet.control import Control
from skillrun.fleet.unreachable import Unreachable
from skillrun.fleet.wires import Reached, Wire
from skillrun.pty.protocol import Report, ShellState, quote, read_exports

_DRAIN_S, _DRAINED = 0.1, 65_536
"""How often an idle shell's terminal is emptied, and how many of the latest bytes are kept."""

_SETTLE_S = 2.0
"""How long a program that has closed its terminal may take to end."""

_DRIVER = r"""exec 8<&0 9<> @D/go; rm -f @D/go
set -m 2> /dev/null; trap : INT
trap '__s=$?; { printf "\033]7;%s;%s\n" @EXIT "$__s"; pwd; umask; export -p
printf "\033]7;%s\007" @EXIT; } > /dev/tty 2> /dev/null' EXIT
while :; do
IFS= read -r __t <&9 || continue
case $__t in i*) exec 0< @D/stdin ;; esac
__t=$(printf '%b.' "${__t#?}"); __t=${__t%.}
for __t in "$__t"; do command eval "$__t" 8<&- 9<&-; done
__s=$?
{ set -m; set +aefuvx; unset POSIXLY_CORRECT; trap : INT; } 2> /dev/null
exec 0<&8 1>&8 2>&8
until IFS= read -r __t <&9; do :; done
printf '\033]7;%s;%s\n' "$__t" "$__s"; pwd; umask; export -p; printf '\033]7;%s\007' "$__t"
unset __t __s
done"""


# The shell itself outlives Ctrl-C, which may come when the command it was meant for has just ended. Nothing inherits a trap.


class RemoteShell:
    """One shell that lives through many commands. Raises Unreachable."""

    def __init__(self, host: Reached, control: Control, env: Mapping[str, str]) -> None:
        self._control = control
        self._exit = token_hex(8)
        self._token = self._exit
        self.held = b""
        self._seen = b""
        self.dead = False
        self.report: Report | None = None
        driver = _DRIVER.replace("@D", control.place).replace("@EXIT", self._exit)
        inner = f"exec {control.bash} --noprofile --norc -c" if control.bash else "exec sh -c"
        given = "; ".join(f"export {name}={quote(value)}" for name, value in env.items())
        # the driver stands in a file for a moment: on a command line everybody could read it
        start = f'{given}; {inner} "$(cat {control.place}/driver; rm -f {control.place}/driver)" skillrun'
        control.ask(
            f"[ -p {control.place}/go ] || {{ mkfifo {control.place}/go && exec 7<> {control.place}/go; }}\n"
            f"printf %s {quote(driver)} > {control.place}/driver; printf %s {quote(start)} > {control.place}/start"
        )
        text = f". {control.place}/start"
        self.wire: Wire = host.start(f"exec {login_shell(control.shell)} -l -c {shlex.quote(text)}", terminal=True)
        self._turn, self._ending, self._idle = threading.Lock(), threading.Event(), False
        threading.Thread(target=self._drain, name=f"idle shell of {host.name}", daemon=True).start()

    def _drain(self) -> None:
        """While no command runs here, programs in the background must not stand still because nobody reads them."""
        while not self._ending.wait(_DRAIN_S):
            with self._turn, contextlib.suppress(Unreachable, OSError, ValueError):
                while self._idle and select.select([self.wire.fileno()], [], [], 0)[0] and (data := self.wire.receive()):
                    self.held = (self.held + data)[-_DRAINED:]

    def send(self, text: str, stdin: str | None = None) -> None:
        """Start a command. The one before must have been reported."""
        with self._turn:
            self._idle = False
        self._token, self.report = token_hex(8), None
        self._control.tell_shell(text, self._token, stdin)

    def read(self) -> bytes:
        """What the command wrote; sets `report` at its end, `dead` at the shell's. Blocks when nothing has come."""
        data = b"" if self.held else self.wire.receive()
        end = not data and not self.held
        data, self.held = self._seen + self.held + data, b""
        self._seen = b""
        for token in (self._token, self._exit):
            begin = data.find(b"\33]7;%s;" % token.encode())
            if begin < 0:
                continue
            close = data.find(b"\33]7;%s\7" % token.encode(), begin)
            if close < 0 and not end:
                self._seen = data[begin:]
                return data[:begin]
            self.report = _read_report(data[begin:close]) or Report(255, ShellState("/"))
            self.dead = token == self._exit
            self._idle = not self.dead
            self.held = data[close + len(token) + 5 :] if not self.dead and close >= 0 else b""
            return data[:begin]
        if end:
            self.dead = True
            return data
        marks = [b"\33]7;%s;" % token.encode() for token in (self._token, self._exit)]
        tail = data.rfind(b"\33", -len(marks[0]))
        if tail >= 0 and any(mark.startswith(data[tail:]) for mark in marks):
            data, self._seen = data[:tail], data[tail:]
        return data

    def close(self) -> None:
        """Hang up."""
        self._ending.set()
        with self._turn:
            self.wire.close()


def login_shell(shell: str) -> str:
    """The account's shell as far as shell text for `sh` can be given to it; else sh."""
    name = shell.rpartition("/")[2]
    return shell if name in ("bash", "sh", "dash", "ash", "zsh", "ksh", "mksh") else "sh"


_REPORT = re.compile(rb"\x1b\]7;[0-9a-f]+;(\d+)\n(.*?)\n([0-7]{3,4})\n(.*)", re.DOTALL)


def _read_report(words: bytes) -> Report | None:
    match = _REPORT.match(words.replace(b"\r\n", b"\n"))
    if not match:
        return None
    cwd, umask, exports = (match[i].decode("utf-8", "surrogateescape") for i in (2, 3, 4))
    return Report(int(match[1]), ShellState(cwd, exported(exports), umask))


def exported(text: str) -> Mapping[str, str]:
    """The variables that `export -p` told of, as bash prints them (`declare -x`) or as any POSIX shell does (`export`)."""
    if not text.startswith("export "):
        return read_exports(text)
    found = {}
    try:
        words = shlex.split(text)
    except ValueError:
        return {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals and re.fullmatch(r"[A-Za-z_]\w*", name):
            found[name] = value
    return found


def restoring(state: ShellState) -> str:
    """Text for any POSIX shell that brings it into a state; where the directory is gone, the nearest one above it."""
    lines = [f"export {name}={quote(value)}" for name, value in state.exports.items()]
    mask = [f"umask {state.umask}"] if state.umask else []
    back = f'__t={quote(state.cwd)}\nuntil cd "${{__t:-/}}" 2> /dev/null || [ -z "$__t" ]; do __t=${{__t%/*}}; done'
    return "\n".join([*lines, *mask, back])


@dataclass(slots=True)
class OnceShell:
    """A command line in a program and a terminal of its own: login shells, jobs in the background."""

    wire: Wire
    report: Report | None = None
    dead: bool = False

    def read(self) -> bytes:
        """What it wrote; sets `report` at its end. Blocks when nothing has come."""
        data = self.wire.receive()
        if not data:
            deadline = time.monotonic() + _SETTLE_S
            while self.wire.ended() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            self.look_for_end()
            self.dead = True
        return data

    def look_for_end(self) -> None:
        """Notice an end that its terminal does not tell, because something it started holds it open."""
        if (code := self.wire.ended()) is not None:
            self.report = Report(code, ShellState("/"))

    def close(self) -> None:
        """Hang up."""
        self.wire.close()
