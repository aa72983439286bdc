"""What passes between skillrun and its bash: one driver, a command in, a report out.

The driver reads commands from descriptors that no command inherits, and reports on another one. The token of a
report is still unread in the pipe while its command runs, so nothing a command prints can be taken for its end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from skillrun.text.patterns import later

TTY_FD, GO_FD, TEXT_FD, REPORT_FD, STDIN_FD = 195, 196, 197, 198, 199
"""The child's descriptors: its terminal kept safe, the next-command pipe, the command's text, reports, stdin text."""

_DRIVER = r"""exec @TTY<&0; set -m
trap '{ __status=$?; [[ $BASHPID = "$$" ]] && { builtin printf "\33]7;%s;%s\n" @EXIT "$__status"
builtin pwd; builtin umask; builtin export -p; builtin printf "\7"; } >/dev/tty; } 2>/dev/null' EXIT
while IFS= builtin read -r -u @GO __text; do
[[ $__text = stdin ]] && exec 0<&@STDIN
IFS= builtin read -r -d '' -u @TEXT __text
for __text in "$__text"; do builtin eval "$__text" @TTY>&- @GO<&- @TEXT<&- @REPORT>&- @STDIN<&-; done
{ __status=$?; POSIXLY_CORRECT=; unset -f builtin; builtin trap - DEBUG ERR; builtin set -m +aeEfnuvxT +o posix; } 2>&-
exec 0<&@TTY 1>&@TTY 2>&@TTY
builtin read -r -n 16 -u @GO __text || builtin exit "$__status"
{ builtin pwd; builtin umask; builtin export -p; } >&@TEXT
builtin printf '%s %s\n' "$__text" "$__status" >&@REPORT
builtin printf '\33]7;%s\7' "$__text" >&@TTY
builtin unset __text __status
done"""
# POSIX mode, for a moment, finds `unset` before any function: `builtin` itself may have become one.
# The for loop of one round makes a stray `break` or `continue` end the command and not the driver.
# The state goes behind the command's text, into a file: bash writes it line by line, and on a pipe each would wake us.
# The escape sequence at the end marks the place in the output up to which the command wrote.


def driver(exit_token: str) -> str:
    """The text bash is started with. The exit token marks what a dying shell says of itself on its terminal."""
    numbers = {"TTY": TTY_FD, "GO": GO_FD, "TEXT": TEXT_FD, "REPORT": REPORT_FD, "STDIN": STDIN_FD, "EXIT": exit_token}
    return re.sub(r"@([A-Z]+)", lambda match: str(numbers[match[1]]), _DRIVER)


def end_mark(token: str) -> bytes:
    """What the driver writes to the terminal after a command."""
    return b"\33]7;%s\7" % token.encode()


def exit_mark(exit_token: str) -> bytes:
    """How a dying shell's last words begin."""
    return b"\33]7;%s;" % exit_token.encode()


_GO_BACK = """__text={0}
until builtin cd -- "${{__text:-/}}" 2>/dev/null || [[ -z $__text ]]; do __text=${{__text%/*}}; done"""
# Where the directory is gone, the nearest one above it that is there.


@dataclass(frozen=True, slots=True)
class ShellState:
    """What outlives a shell: where it was and what it exported."""

    cwd: str
    exports: Mapping[str, str] = field(default_factory=dict)
    umask: str = ""
    """In octal; empty: as the shell inherited it."""

    def restoring(self) -> str:
        """Shell text that brings a new shell into this state."""
        lines = [f"export {name}={quote(value)}" for name, value in self.exports.items()]
        mask = [f"umask {self.umask}"] if self.umask else []
        return "\n".join([*lines, *mask, _GO_BACK.format(quote(self.cwd))])


@dataclass(frozen=True, slots=True)
class Report:
    """How a command ended, and the state it left the shell in."""

    exit_code: int
    state: ShellState


_EXPORT = later(
    r"""declare\ -\w*x\w*\ (?P<name>[A-Za-z_]\w*)
        (?: =(?: "(?P<double>(?:[^"\\]|\\.)*)" | \$'(?P<ansi>(?:[^'\\]|\\.)*)' | (?P<bare>[^\n]*) ) )? (?:\n|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_ANSI = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "E": "\33", "e": "\33"}
_ANSI_ESCAPE = later(r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|(.))", re.DOTALL)


def quote(text: str) -> str:
    """The text as one word of shell, with nothing expanded."""
    return "'" + text.replace("'", "'\\''") + "'"


def _ansi(match: re.Match[str]) -> str:
    octal, hexadecimal, letter = match.groups()
    if letter is not None:
        return _ANSI.get(letter, letter)
    code = int(octal, 8) if octal else int(hexadecimal, 16)
    return bytes([code & 255]).decode("utf-8", "surrogateescape")


@lru_cache(maxsize=2)  # most commands export nothing
def read_exports(text: str) -> Mapping[str, str]:
    """The variables in the output of `export -p`. Variables without a value are left out."""
    exports = {}
    for match in _EXPORT.finditer(text):
        if (value := match["double"]) is not None:
            exports[match["name"]] = re.sub(r'\\([\\"$`])', r"\1", value)
        elif (value := match["ansi"]) is not None:
            joined = _ANSI_ESCAPE.sub(_ansi, value)
            exports[match["name"]] = joined.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
        elif match["bare"] is not None:
            exports[match["name"]] = match["bare"]
    return exports


_STATE = later(r"(.*?)\n([0-7]{3,4})\n((?:declare |export |\Z).*)", re.DOTALL)


def read_state(text: bytes) -> ShellState | None:
    """A state from what `pwd`, `umask` and `export -p` print; None when it is not one."""
    match = _STATE.fullmatch(text.decode("utf-8", "surrogateescape"))
    return ShellState(match[1], read_exports(match[3]), match[2]) if match else None


def read_last_words(words: bytes) -> Report | None:
    """The report of a shell that ended: its exit code, and on the next lines its state; None when it is not one."""
    code, _, state = words.partition(b"\n")
    return Report(int(code), found) if code.isdigit() and (found := read_state(state)) else None


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    """The exports a command set, and with None those it took away; not what bash itself keeps up."""
    ignored = {"_", "SHLVL", "OLDPWD", "PWD"}
    changes: dict[str, str | None] = {name: None for name in before if name not in after}
    changes.update({name: value for name, value in after.items() if before.get(name) != value})
    return {name: value for name, value in changes.items() if name not in ignored}


def read_status(received: bytes, token: str) -> int | None:
    """The exit code in the report with this token, when it is complete."""
    _, found, rest = received.partition(token.encode() + b" ")
    status, ended, _ = rest.partition(b"\n")
    return int(status) if found and ended and status.isdigit() else None
