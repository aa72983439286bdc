"""Is it really installed? What a check is, and which commands cannot be one.

Checks run in a fresh login shell, as the person would type them in a new terminal after the run.
"""

from __future__ import annotations

import re
import shlex

from skillrun.events import CheckResult, Result, State
from skillrun.skill import Check

_ALWAYS_TRUE = re.compile(r"(?:^|&&|;|\|\||\||\n)\s*(?:true|:|exit(?:\s+0)?|echo\b[^|&;<>]*|printf\b[^|&;<>]*)\s*$")


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
    """The programs a check starts with, as far as simple words show them; used to see early that one is missing."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        return []
    first = next((word for word in words if "=" not in word), "")
    return [first] if re.fullmatch(r"[A-Za-z0-9_.+-]+", first) else []


def judge(check: Check, result: Result) -> CheckResult:
    """What a check's run means: passed only with exit code 0 and the expected text in its output."""
    reason = ""
    if result.state is not State.EXITED:
        reason = f"it ended {result.state}" + (f": {result.note or result.output}" if result.note or result.output else "")
    elif result.exit_code != 0:
        reason = f"exit code {result.exit_code}"
    elif check.expect and check.expect not in result.output:
        reason = f"its output does not contain {check.expect!r}"
    return CheckResult(
        command=check.command,
        ok=not reason,
        exit_code=result.exit_code,
        output=result.output,
        origin=check.origin,
        reason=reason,
    )
