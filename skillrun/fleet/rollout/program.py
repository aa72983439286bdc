"""What a machine is given to run, as text: a look, the steps of a plan, the checks. One command for all of it, with marks.

The text comes in on a descriptor, so that it stands on no command line, and runs as the account's login would: in bash where
there is one. Marks hold a token that nothing in the text knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex

from skillrun.host.facts import essentials
from skillrun.plans.looking import guard
from skillrun.plans.plan import Plan, filled
from skillrun.plans.rendering import shell_of
from skillrun.pty.environment import prompt_proof
from skillrun.pty.protocol import quote
from skillrun.pty.secret_handles import resolve

RUNNER = """exec 3<&0 < /dev/null
case ${SHELL##*/} in bash|sh|dash|ash|zsh|ksh|mksh) ;; *) SHELL=/bin/sh ;; esac
export SHELL; exec "$SHELL" -l -c 'if command -v bash > /dev/null; then exec bash --noprofile --norc /dev/fd/3; fi
exec sh /dev/fd/3'"""
"""The command line; the program follows on standard input."""

_SUDO = """umask 077; for d in /dev/shm "$XDG_RUNTIME_DIR" /tmp; do
[ -n "$d" ] && [ -w "$d" ] && D=$(mktemp -d "$d/.skillrun-XXXXXXXX") && break; done; umask 022
trap 'rm -rf "$D"' EXIT; trap 'exit 1' HUP INT TERM
printf '%s\\n' {password} > "$D/w"; printf '#!/bin/sh\\ncat %s/w\\n' "$D" > "$D/a"; chmod 600 "$D/w"; chmod 700 "$D/a"
export SUDO_ASKPASS="$D/a"; sudo() {{ command sudo -A "$@"; }}; [ -z "$BASH_VERSION" ] || export -f sudo
"""
"""sudo asks a file in memory that only this user may read, for as long as the program runs."""

_PACKAGES = "command -v dpkg-query > /dev/null && dpkg-query -W -f '${Package} ${db:Status-Status}\\n' 2> /dev/null"
CHECK_S = 60
"""Seconds a check may take."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one marked part of a program came to. `code` None: its end was not seen."""

    kind: str
    number: int
    code: int | None = None
    output: str = ""


def new_token() -> str:
    """A mark that nobody else writes."""
    return f"=skillrun={token_hex(8)}="


def contact(token: str, checks: Sequence[str]) -> str:
    """The first command on every machine: what plans look at, and, where they may run, the checks."""
    return f"{essentials()}\n{_checks(token, checks)}"


_AS_A_LOGIN = """cd; env -i HOME="$HOME" USER="$(id -un)" LOGNAME="$(id -un)" TERM=dumb SHELL="$SHELL" PATH="$PATH" \\
LANG="${LANG:-C.UTF-8}" SSH_CONNECTION="$SSH_CONNECTION" """
"""What a new terminal starts from; nothing the steps exported is in it."""


def _checks(token: str, checks: Sequence[str]) -> str:
    limit = f"$(command -v timeout > /dev/null && echo timeout {CHECK_S})"
    texts = [f'{_AS_A_LOGIN} {limit} "$SHELL" -l -c {quote(check)}' for check in checks]
    return "".join(_part(token, "check", number, text) for number, text in enumerate(texts))


def _part(token: str, kind: str, number: int, text: str) -> str:
    begin = f"printf '\\n%s begin {kind} {number}\\n' {token}"
    return f"{begin}\n( eval {quote(text)} ) 2>&1; s=$?\nprintf '\\n%s end %s\\n' {token} $s\n"


def carrying_out(
    token: str,
    plan: Plan,
    numbers: Sequence[int],
    values: Mapping[str, str],
    checks: Sequence[str],
    secrets: Mapping[str, str],
    password: str | None = None,
) -> str:
    """The program that carries out these steps (counted from 0) and runs the checks; it stops at the first that differs.

    `password`: for sudo there. Raises PlanError for a placeholder without a value, MisplacedSecret for a secret where the
    shell would not expand it.
    """
    lines = [f"export {name}={quote(str(entry['value']))}" for name, entry in prompt_proof().items() if entry["value"]]
    if password is not None:
        lines.append(_SUDO.format(password=quote(password)))
    lines.append(f"stop=; before=$({_PACKAGES})")
    for number in numbers:
        step = plan.steps[number]
        text, names = resolve(shell_of(step, values, None))
        given = "".join(f"{variable}={quote(secrets[name])}\n" for name, variable in names.items())
        paths = [filled(left.subject, values) for left in step.leaves if left.kind in ("file", "link", "directory")]
        absent = "".join(f'[ -e {quote(path)} ] || set -- "$@" {quote(path)}\n' for path in paths)
        test = guard(step, values) or ":"
        lines.append(
            f'if [ -z "$stop" ]; then\nset --\n{absent}{_part(token, "step", number, given + text)}'
            f"[ $s = {step.ends} ] || stop=yes\n"
            f'for f; do [ -e "$f" ] && printf \'%s made %s\\n\' {token} "$f"; done\n'
            f"[ -n \"$stop\" ] || {{ {test}; }} > /dev/null 2>&1 || {{ stop=yes; printf '%s left {number}\\n' {token}; }}\nfi"
        )
    lines.append(
        f'[ -z "$before" ] || {{ {_PACKAGES}; }} | grep -vxF "$before" | while read -r p s; do '
        f'[ "$s" = installed ] && printf \'%s brought %s\\n\' {token} "$p"; done'
    )
    return "\n".join(lines) + f'\nif [ -z "$stop" ]; then :\n{_checks(token, checks)}fi\n'


def shown(plan: Plan, numbers: Iterable[int], values: Mapping[str, str]) -> str:
    """The steps as a person and the policy read them: one after the other, secrets by their handles."""
    return "\n".join(shell_of(plan.steps[number], values, None) for number in numbers)


@dataclass(frozen=True, slots=True)
class Told:
    """What a program told: its parts in order, what it made and brought, the steps that did not leave what they should."""

    parts: tuple[Part, ...] = ()
    made: tuple[str, ...] = ()
    brought: tuple[str, ...] = ()
    left_out: tuple[int, ...] = ()
    head: str = ""

    def of(self, kind: str) -> list[Part]:
        """The parts of one kind."""
        return [part for part in self.parts if part.kind == kind]


def read_told(token: str, output: str) -> Told:
    """A program's output by its marks; a part whose end is missing has no code."""
    head, *pieces = re.split(rf"^{re.escape(token)} ", output, flags=re.MULTILINE)
    parts: list[Part] = []
    made, brought, left_out = [], [], []
    for piece in pieces:
        line, _, rest = piece.partition("\n")
        word, _, value = line.partition(" ")
        if word == "begin":
            kind, _, number = value.partition(" ")
            parts.append(Part(kind, int(number), None, rest.rstrip("\n")))
        elif word == "end" and parts:
            last = parts[-1]
            parts[-1] = Part(last.kind, last.number, int(value), last.output)
        elif word == "made":
            made.append(value)
        elif word == "brought":
            brought.append(value)
        elif word == "left":
            left_out.append(int(value))
    return Told(tuple(parts), tuple(made), tuple(brought), tuple(left_out), head)
