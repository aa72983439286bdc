"""The words for what happened, the same on every surface. Plain text; nothing in it has power over a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from skillrun.events import CheckResult, Decision, Effect, Outcome, Result, RunStarted, State, ToolCall, Verdict
from skillrun.policy.wording import EFFECTS, RISK
from skillrun.record.guarded import without_looks
from skillrun.record.report import Report, wish
from skillrun.text.escape import one_line, seconds, settled, shown, size

OUTCOMES: dict[str, str] = {
    Outcome.VERIFIED: "Verified",
    Outcome.ALREADY: "Already installed",
    Outcome.REMOVED: "Removed",
    Outcome.DRY_RUN_OK: "Dry run: would install and pass its checks",
    Outcome.DRY_RUN_PENDING: "Dry run: would install; what needs its service is not checked",
    Outcome.CHECKS_FAILED: "Not installed: checks failed",
    Outcome.UNVERIFIED: "Unverified: no check says that it works",
    Outcome.DENIED: "Denied",
    Outcome.NEEDS_PERSON: "Needs a person",
    Outcome.DISCARDED: "Discarded: nothing was changed",
    Outcome.REFUSED: "Refused",
    Outcome.BUDGET: "Stopped: a budget ran out",
    Outcome.MODEL_UNAVAILABLE: "Stopped: the model is not available",
    Outcome.UNSUPPORTED: "This machine is not supported",
    Outcome.INTERRUPTED: "Interrupted",
    Outcome.ERROR: "Internal error",
    "unfinished": "Unfinished: no end is on record",
}


FIDELITY: dict[str, str] = {
    "real": "really ran",
    "view": "ran in a copy-on-write view",
    "simulated": "its own simulator ran",
    "would-run": "only listed, did not run",
}

QUIET_TOOLS = frozenset({"check", "read_file", "finish", "ask_user"})
"""Calls that need no line of their own when they come out as they should, or whose outcome is told elsewhere."""


def risk(effects: Iterable[Effect]) -> int:
    """The gravest of the effects, 0 to 3."""
    return max((RISK.get(effect.kind, 2) for effect in effects), default=0)


def effects_by_kind(effects: Iterable[Effect]) -> list[tuple[str, str, int]]:
    """(words, subjects, risk) for each kind of effect, the gravest first."""
    found: dict[str, list[str]] = {}
    for effect in effects:
        remark = f"({effect.detail})" if effect.detail and "\n" not in effect.detail else ""
        subject = shown(" ".join(part for part in (effect.subject, remark) if part))
        subjects = found.setdefault(str(effect.kind), [])
        if subject and subject not in subjects:
            subjects.append(subject)
    rows = [(EFFECTS.get(kind, kind), ", ".join(subjects), RISK.get(kind, 2)) for kind, subjects in found.items()]
    return sorted(rows, key=lambda row: -row[2])


def heading(run: RunStarted) -> str:
    """What is being done, to what, by whom: the first line of every surface."""
    by = f", {shown(run.model)}" if run.model else ""
    return f"{run.verb} {shown(run.skill)} · {place(run)}{by}"


def place(run: RunStarted) -> str:
    """Where commands run, in words."""
    if run.mode == "live":
        return "on this machine" if run.tier in ("", "live") else f"on {shown(run.target)}"
    if run.tier == "S" or "simulat" in run.tier.lower():
        return "dry run, only simulated"
    what = "dry run" if run.mode == "dry-run" else "preview"
    of = {"R": " of the whole machine", "U": " of your home directory"}.get(run.tier, "")
    if run.target not in ("", "preview"):
        of = f" of {shown(run.target)}"
    return f"{what} in a copy-on-write view{of}"


def title(call: ToolCall, width: int = 100) -> str:
    """One line naming a call: its command's beginning. For titles only, never for approval."""
    text = without_looks(wish(call))[0]
    return one_line(shown(f"$ {text}" if call.name in ("shell", "check") else text), width)


def step(call: ToolCall, total: int) -> str:
    """`step 2/5` when the call is known to carry out a step of the skill, else empty."""
    if call.step is None:
        return ""
    return f"step {call.step}/{total}" if total else f"step {call.step}"


def ended(result: Result, asks: bool = False) -> str:
    """How a call came out, in a few words. `asks`: it only looked, so that its exit code is an answer."""
    took = f" in {seconds(result.duration_s)}" if result.duration_s else ""
    match result.state:
        case State.EXITED if result.fidelity == "would-run":
            return "would run"
        case State.EXITED if result.exit_code == 0:
            return f"ok{took}" + (", simulated" if result.fidelity == "simulated" else "")
        case State.EXITED:
            return f"{'answered' if asks else 'failed'} with exit code {result.exit_code}{took}"
        case State.WAITING:
            return "asks for a secret" if result.secret else "asks something"
        case State.QUIET:
            return f"silent for a while{took}, still running"
        case State.BACKGROUND:
            return f"runs on in the background as {shown(result.job)}" if result.job else "runs on in the background"
        case State.TIMEOUT:
            return f"ended because time ran out{took}"
        case State.INTERRUPTED:
            return f"interrupted{took}"
        case State.DENIED:
            return "not allowed"
        case State.ERROR:
            return "could not be carried out"
        case State.UNKNOWN:
            return "its end was not seen"


def shortened(result: Result) -> bool:
    """True when a result holds less than the command printed; escapes and line ends that were taken out do not count."""
    return bool(result.output_file) and result.output_bytes > 1.2 * len(result.output.encode("utf-8", "replace")) + 2000


def decided(decision: Decision) -> str:
    """Who allowed or refused it, and why."""
    verb = {Verdict.ALLOW: "allowed", Verdict.LOOK: "only looks", Verdict.ASK: "needs approval", Verdict.DENY: "denied"}[
        decision.verdict
    ]
    rule = f" [{shown(decision.rule)}]" if decision.rule else ""
    return f"{verb} by {shown(decision.by)}: {one_line(shown(decision.reason), 300)}{rule}"


def checks_line(checks: Iterable[CheckResult]) -> str:
    """How many checks passed."""
    every = tuple(checks)
    passed = sum(check.ok for check in every)
    return f"{passed} of {len(every)} checks passed" if len(every) != 1 else f"{passed} of 1 check passed"


def check_words(check: CheckResult) -> str:
    """Why a check did not pass, or what it printed, in one line."""
    origin = f" ({check.origin})" if check.origin != "declared" else ""
    if check.ok:
        return f"{shown(check.command)}{origin}"
    why = shown(check.reason) or (f"exit code {check.exit_code}" if check.exit_code is not None else "did not pass")
    return f"{shown(check.command)}{origin}: {why}"


def closing(report: Report) -> str:
    """The last line: the outcome, how long it took, what it cost."""
    parts = [OUTCOMES.get(report.outcome, report.outcome)]
    if report.duration_s:
        parts.append(seconds(report.duration_s))
    if report.end and report.end.waited_s >= 1:
        parts.append(f"waited {seconds(report.end.waited_s)} for you")
    commands = (
        report.end.commands
        if report.end and report.end.commands
        else sum(entry.started and not entry.is_check for entry in report.entries)
    )
    if commands:
        parts.append(f"{commands} command{'s' if commands != 1 else ''}")
    if report.cost_usd is not None:
        parts.append(money(report.cost_usd))
    return " · ".join(parts)


def money(value: float) -> str:
    """US dollars, with as many digits as the amount needs."""
    return f"${value:.2f}" if value >= 0.1 or value == 0 else f"${value:.4f}"


def last_lines(text: str, count: int) -> list[str]:
    """The last lines of an output, safe to print."""
    lines = settled(text).rstrip().split("\n")
    return lines[-count:] if lines != [""] else []


TELLING = frozenset({"pending", "recorded", "undone"})
"""States of changes that are told in full; the others say again, in one line, what was told before."""


def changes_line(changes: Mapping[str, Any]) -> str:
    """A run's changes in one line: packages, services and accounts by name, files by number."""
    parts: list[str] = []
    for key in ("packages", "services", "accounts"):
        rows = changes.get(key)
        if isinstance(rows, list | tuple) and rows:
            names = [shown(str(row.get("name", "")) if isinstance(row, Mapping) else str(row)) for row in rows]
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            parts.append(f"{len(names)} {key if len(names) > 1 else key[:-1]} ({', '.join(names[:5])}{more})")
    counts = changes.get("counts")
    if isinstance(counts, Mapping):
        files = [f"{counts[key]} {key}" for key in ("added", "changed", "removed") if counts.get(key)]
        if files:
            written = counts.get("bytes")
            much = f", {size(written)} written" if isinstance(written, int | float) and written else ""
            parts.append(f"files: {', '.join(files)}{much}")
    if not parts:
        known = [
            f"{len(value)} {shown(str(key))}"
            for key, value in changes.items()
            if key != "counts" and isinstance(value, list | tuple | Mapping)
        ]
        parts = [part for part in known if not part.startswith("0 ")]
    return "; ".join(parts)
