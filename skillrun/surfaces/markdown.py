"""One run as Markdown, for job summaries and pull requests. Nothing of the run becomes markup, links or mentions."""

from __future__ import annotations

import re
from collections.abc import Mapping

from skillrun.record import wording
from skillrun.record.report import Entry, Report
from skillrun.text.escape import one_line, seconds, settled, shown

MARKS = {"ok": "✅", "failed": "❌", "denied": "⛔", "would-run": "⚪", "unknown": "❔"}
ACTIVE = re.compile(r"([\\`*_{}\[\]()#+!|<>~&@$:-])")
"""Characters that can begin markup, a link or an entity; a backslash before each keeps them text."""
LINK, MENTION = re.compile(r"(www)\.", re.IGNORECASE), re.compile(r"\\@")
"""What is made a link or a mention after the markup was read: only a break in the middle prevents that."""


def markdown(report: Report, *, output_lines: int = 30, most_steps: int = 200) -> str:
    """The report as GitHub-flavoured Markdown; outputs of failed calls are folded, the first `most_steps` calls listed."""
    mark = "✅" if report.good else "❌"
    skill = shown(report.run.skill) if report.run else "run"
    lines = [f"## {mark} {plain(skill)}: {wording.OUTCOMES.get(report.outcome, report.outcome)}", ""]
    if report.end and report.end.summary:
        lines += [plain(settled(report.end.summary)), ""]
    lines += [f"{plain(wording.closing(report))}", ""]
    if report.run:
        lines += [f"{plain(wording.heading(report.run))}", ""]
    lines += _checks(report) + _changes(report) + _effects(report) + _steps(report, output_lines, most_steps)
    return "\n".join(lines).rstrip() + "\n"


def plain(text: str) -> str:
    """The text as Markdown that renders as exactly this text, on one line."""
    text = ACTIVE.sub(r"\\\1", " ".join(text.split()))
    return MENTION.sub("@<!-- -->", LINK.sub(r"\1\\.", text))


def code(text: str, cell: bool = False) -> str:
    """The text as inline code, whatever backticks it contains; line ends become spaces. `cell`: inside a table."""
    text = " ".join(text.split()) or " "
    ticks = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    pad = " " if text[0] == "`" or text[-1] == "`" else ""
    found = f"{ticks}{pad}{text}{pad}{ticks}"
    return found.replace("|", "\\|") if cell else found


def fence(text: str) -> list[str]:
    """The text as a fenced block that it cannot close itself."""
    ticks = "`" * max(3, max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    return [f"{ticks}text", text, ticks]


def _checks(report: Report) -> list[str]:
    lines = [f"### Checks: {wording.checks_line(report.checks)}", ""]
    for check in report.checks:
        reason = "" if check.ok else f": {plain(shown(check.reason) or f'exit code {check.exit_code}')}"
        lines.append(f"- {'✅' if check.ok else '❌'} {code(shown(check.command))}{reason}")
    return [*lines, ""]


def _changes(report: Report) -> list[str]:
    if not report.changes_state:
        return []
    lines = [f"### Changes ({plain(report.changes_state)})", "", plain(wording.changes_line(report.changes)) or "none", ""]
    alerts = report.changes.get("alerts")
    for row in alerts if isinstance(alerts, list | tuple) else []:
        text = f"{row.get('text', '')} {row.get('path', '')}" if isinstance(row, Mapping) else str(row)
        lines.append(f"- ⚠️ {plain(settled(text))}")
    return [*lines, ""] if lines[-1] else lines


def _effects(report: Report) -> list[str]:
    effects = [effect for entry in report.entries if entry.started for effect in entry.effects]
    rows = [row for row in wording.effects_by_kind(effects) if row[2] > 0]
    if not rows:
        return []
    lines = ["### What its commands do", "", "| | |", "|---|---|"]
    return [
        *lines,
        *(f"| {plain(words)} | {code(one_line(subjects, 300)) if subjects else ''} |" for words, subjects, _ in rows),
        "",
    ]


def _steps(report: Report, output_lines: int, most_steps: int) -> list[str]:
    entries = [entry for entry in report.entries if entry.call.name not in wording.QUIET_TOOLS]
    if not entries:
        return []
    lines = ["### Steps", "", "| | command | outcome | took |", "|---|---|---|---|"]
    for entry in entries[:most_steps]:
        result = entry.result
        took = seconds(result.duration_s) if result and result.duration_s >= 0.05 else ""
        cells = (MARKS.get(entry.word, "▫️"), code(one_line(shown(entry.text), 160), cell=True), plain(_state(entry)), took)
        lines.append(f"| {' | '.join(cells)} |")
    if len(entries) > most_steps:
        lines.append(f"| | and {len(entries) - most_steps} more | | |")
    lines.append("")
    for entry in [entry for entry in entries if entry.failed and entry.result and entry.result.output][-10:]:
        assert entry.result is not None
        title = plain(one_line(shown(entry.text), 120))
        block = fence("\n".join(wording.last_lines(entry.result.output, output_lines)))
        lines += [f"<details><summary>{title}</summary>", "", *block, "", "</details>", ""]
    return lines


def _state(entry: Entry) -> str:
    if entry.word == "denied" and entry.decision:
        return wording.decided(entry.decision)
    state = wording.ended(entry.result, entry.asks) if entry.result else "its end is not on record"
    fidelity = wording.FIDELITY.get(entry.result.fidelity, "") if entry.result else ""
    return f"{state}; {fidelity}" if fidelity else state
