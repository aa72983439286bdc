"""Is it really installed? What a check is, and which commands cannot be one.

Checks run in a fresh login shell, as the person would type them in a new terminal after the run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from skillrun.events import CheckResult, Result, State
from skillrun.skills.skill import Check
from skillrun.text.patterns import later

RAN_S = 8.0
"""Seconds after which a program that was asked who it is has shown by running that it is there."""
NOT_THERE = 127
NO_TERMINAL = "no new terminal of this account comes up: "
"""How what is said of a login shell that cannot be started begins; with exit code 127, as for any program that is not there."""
_ASKS_VERSION = later(r"^\S+(?: version|\s--version|\s-V)\s*$|^timeout \d+ \S+ --version </dev/null \|\|")
"""A check that has to be answered: an empty file that may be executed ends with 0 as well."""
_ALWAYS_TRUE = later(r"(?:^|&&|;|\|\||\||\n)\s*(?:true|:|exit(?:\s+0)?|echo\b[^|&;<>]*|printf\b[^|&;<>]*)\s*$")


_PROGRAM = later(r"~?[A-Za-z0-9_.+/-]+")
_OF_THE_SHELL = frozenset(
    [
        "[",
        ".",
        ":",
        "alias",
        "bg",
        "break",
        "builtin",
        "cd",
        "command",
        "continue",
        "declare",
        "echo",
        "eval",
        "exec",
        "exit",
        "export",
        "false",
        "fg",
        "getopts",
        "hash",
        "help",
        "jobs",
        "kill",
        "let",
        "local",
        "printf",
        "pwd",
        "read",
        "return",
        "set",
        "shift",
        "source",
        "test",
        "times",
        "trap",
        "true",
        "type",
        "typeset",
        "ulimit",
        "umask",
        "unset",
        "wait",
    ]
)


def cannot_fail(command: str) -> str:
    """Why this command proves nothing, or an empty string when it can fail.

    Its last part decides the exit code, so a command that ends in `|| true`, `; echo ok` or the like always passes.
    """
    text = "\n".join(line for line in command.splitlines() if not line.lstrip().startswith("#")).strip().rstrip(";").strip()
    if not text:
        return "it is empty"
    if text.endswith("&"):
        return "it ends in the background"
    end = _ALWAYS_TRUE.search(text)
    if end and not end.group(0).lstrip().startswith("&&"):
        return f"its last part, `{end.group(0).lstrip('&|; ').strip()}`, always succeeds"
    parts = [part.strip() for part in text.split("&&")]
    if all(_ALWAYS_TRUE.fullmatch(part) for part in parts):
        return "every part of it always succeeds"
    return ""


def programs(command: str) -> list[str]:
    """The programs a check calls by a plain name or path, in their order; used to see early that one is missing.

    Empty when the text cannot be read, and for what only the shell itself or a function of the check is called.
    """
    from skillrun.bash.nodes import Function, Lit, Simple
    from skillrun.bash.syntax import parse

    script = parse(command)
    if script.error:
        return []
    found: list[str] = []
    pending: list[Any] = [script.body]
    while pending:
        node = pending.pop(0)
        if isinstance(node, Function):
            return []
        if isinstance(node, Simple) and node.words and all(isinstance(part, Lit) for part in node.words[0]):
            name = _called([[part.text for part in word if isinstance(part, Lit)] for word in node.words])
            if _PROGRAM.fullmatch(name) and name not in _OF_THE_SHELL and name not in found:
                found.append(name)
        pending[:0] = _parts(node)
    return found


def _called(words: list[list[str]]) -> str:
    """The program a simple command calls; behind `timeout SECONDS`, the one that is timed."""
    plain = ["".join(word) for word in words]
    return plain[2] if plain[0] == "timeout" and len(plain) > 2 and plain[1].isdigit() else plain[0]


def _parts(node: Any) -> list[Any]:
    """What a piece of syntax is made of, whatever it is."""
    if isinstance(node, list | tuple):
        return list(node)
    return [getattr(node, f.name) for f in dataclasses.fields(node)] if dataclasses.is_dataclass(node) else []


def judge(check: Check, result: Result) -> CheckResult:
    """What a check's run means: passed only with exit code 0 and the expected text in its output, or any if it asks for one."""
    reason = ""
    if result.state is not State.EXITED:
        reason = f"it ended {result.state}" + (f": {result.note or result.output}" if result.note or result.output else "")
    elif result.exit_code != 0:
        reason = ": ".join(filter(None, (f"exit code {result.exit_code}", no_terminal(result))))
    elif check.expect and check.expect not in result.output:
        reason = f"its output does not contain {check.expect!r}"
    elif _ASKS_VERSION.search(check.command) and not result.output.strip() and result.duration_s < RAN_S:
        reason = "it printed nothing, and was asked for a version"
    return CheckResult(
        command=check.command,
        ok=not reason,
        exit_code=result.exit_code,
        output=result.output,
        origin=check.origin,
        reason=reason,
    )


def no_terminal(result: Result) -> str:
    """Why no login shell was there to run the command; empty where one was."""
    lines = result.output.strip().splitlines() if result.exit_code == NOT_THERE else []
    return lines[0] if lines and lines[0].startswith(NO_TERMINAL) else ""


def report(results: Sequence[CheckResult], gone: Sequence[str] = ()) -> str:
    """The checks as a model reads them after it said that it is done. `gone`: what was ended before them."""
    if not results:
        return "There is no check, so nothing is verified."
    lines = [f"ended first, as what runs in the background ends with the run: {', '.join(gone)}"] if gone else []
    for check in results:
        lines.append(f"{'passed' if check.ok else 'FAILED'}: {check.command}" + (f" ({check.reason})" if check.reason else ""))
        if not check.ok and check.output:
            lines.append(check.output.rstrip())
    return "\n".join(lines)
