"""An agent's report held against the checks as they really are: `verify SKILL --report FILE`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skillrun.errors import Problem
from skillrun.events import CheckResult
from skillrun.llm.prompt import REPORT_MARK, BadReport, read_report
from skillrun.skills.skill import Skill


def load_report(file: str) -> dict[str, Any]:
    """The report in a file (`-`: standard input), which may be the agent's whole answer. Raises Problem."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        return read_report(text)
    except OSError as error:
        raise Problem(
            f"{file}: {error.strerror}", "give the file the agent's answer was saved in, or - for standard input"
        ) from None
    except (BadReport, UnicodeDecodeError) as error:
        raise Problem(
            f"{file}: {error}", f"the agent's answer must end with the ```{REPORT_MARK} block it was asked for"
        ) from None


def compare(report: Mapping[str, Any], skill: Skill, checks: tuple[CheckResult, ...]) -> list[str]:
    """One line for each claim: confirmed, false, or about something else. The checks decide, not these lines."""
    lines = []
    digest = report.get("digest")
    if digest and skill.digest and digest != skill.digest:
        lines.append(f"ananother skill: the report is about {digest}, this skill is {skill.digest}")
    claims = {str(claim["command"]): claim.get("exit_code") for claim in report.get("checks", ())}
    for check in checks:
        claimed = claims.pop(check.command, None)
        said = "not reported" if claimed is None else f"reported exit code {claimed}"
        passed = claimed == 0
        word = "confirmed" if passed and check.ok else "FALSE" if passed else "unreported" if claimed is None else "agrees"
        if claimed not in (None, 0) and check.ok:
            word = "better than reported"
        lines.append(f"{word}: {check.command} ({said}; here {'passed' if check.ok else check.reason or 'failed'})")
    lines += [f"not a check of this skill: {command}" for command in claims]
    outcome = report.get("outcome")
    if outcome == "done" and not all(check.ok for check in checks):
        lines.append("FALSE: the report says done, and the checks do not pass")
    return lines
