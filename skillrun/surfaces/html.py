"""One run as one HTML file: nothing is fetched, nothing of the run can become markup or script.

Every value goes through jinja2's autoescape as settled text, and the page's own content-security policy allows
exactly the one style and the one script that are in it, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from skillrun.events import CheckResult, Effect, Outcome
from skillrun.record import wording
from skillrun.record.report import Checks, Entry, Moment, Note, Question, Report, Speech
from skillrun.text.escape import one_line, seconds, settled, shown, size

TONES: dict[str, str] = {
    Outcome.CHECKS_FAILED: "bad",
    Outcome.ERROR: "bad",
    Outcome.MODEL_UNAVAILABLE: "bad",
    Outcome.UNSUPPORTED: "bad",
    Outcome.REFUSED: "bad",
}
RISKS = ("looks only", "usual", "careful", "grave")
OUTPUT_LIMIT = 200_000
"""Characters of one output that are put into the page; its beginning and its end are kept."""

MARKS = {"good": "✓", "warn": "!", "bad": "✕"}
CHANGE_SIGNS = {"added": "+", "installed": "+", "enabled": "+", "removed": "−", "deleted": "−", "upgraded": "↑", "changed": "~"}
KNOWN_CHANGES = frozenset(
    {"counts", "packages", "commands", "services", "accounts", "groups", "files", "alerts", "kept_out", "deferred"}
)  # fmt: skip


def page(report: Report) -> str:
    """The report as an HTML document. Raises nothing for a run's content, whatever it is."""
    import jinja2

    own = files("skillrun.surfaces").joinpath("page")
    style = own.joinpath("report.css").read_text(encoding="utf-8")
    script = own.joinpath("report.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_last_look
    )
    template = environment.from_string(own.joinpath("report.html").read_text(encoding="utf-8"))
    return template.render(view(report), style=style, script=script, policy=policy(style, script))


def policy(style: str, script: str) -> str:
    """The content-security policy that allows this style and this script and nothing else."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _last_look(value: object) -> object:
    """Nothing reaches the page with a control character in it, whoever forgot to settle it."""
    return settled(value) if type(value) is str else value


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def view(report: Report) -> dict[str, Any]:
    """What the template is given: plain values, in the order they are shown."""
    tone = "good" if report.good else TONES.get(report.outcome, "warn")
    steps = [_moment(number, moment) for number, moment in enumerate(report.timeline, 1)]
    calls = [step for step in steps if step["kind"] == "call"]
    return {
        "tone": tone,
        "mark": MARKS[tone],
        "outcome": wording.OUTCOMES.get(report.outcome, report.outcome),
        "skill": settled(report.run.skill) if report.run else "a run",
        "verb": report.run.verb if report.run else "",
        "heading": wording.heading(report.run) if report.run else "skillrun",
        "place": wording.place(report.run) if report.run else "",
        "summary": settled(report.end.summary).strip() if report.end else "The run's last event was never written.",
        "facts": _facts(report),
        "origin": _origin(report),
        "checks": [_check(check) for check in report.checks],
        "changes": _changes(report),
        "effects": [{"words": w, "subjects": s, "risk": r} for w, s, r in _all_effects(report.entries)],
        "risks": RISKS,
        "steps": steps,
        "counts": {
            "all": len(steps),
            "changes": sum(step["changes"] for step in calls),
            "trouble": sum(step["trouble"] for step in steps),
        },
        "strip": _strip(calls),
    }


def _facts(report: Report) -> list[tuple[str, str]]:
    run, rows = report.run, []
    if run:
        system = run.facts.get("os") or {}
        user = run.facts.get("user") or {}
        machine = " · ".join(
            str(part)
            for part in (system.get("name") or system.get("id"), run.facts.get("arch"), user.get("name"))
            if part and isinstance(part, str)
        )
        rows += [("Machine", machine), ("Where", wording.place(run)), ("Model", run.model), ("Approval", run.approve)]
    rows.append(("Started", report.began.replace("T", " ")[:19] + " UTC" if report.began else ""))
    rows.append(("Took", seconds(report.duration_s) if report.duration_s else ""))
    rows.append(("Commands", str(sum(entry.started and not entry.is_check for entry in report.entries))))
    usage = report.usage
    tokens = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    rows.append(("Tokens", f"{tokens:,} in, {usage.output_tokens:,} out" if tokens or usage.output_tokens else ""))
    rows.append(("Cost", wording.money(report.cost_usd) if report.cost_usd is not None else ""))
    return [(name, settled(value)) for name, value in rows if value]


def _origin(report: Report) -> list[tuple[str, str]]:
    run = report.run
    rows = [
        ("Run", run.run_id if run else ""),
        ("Skill from", run.source if run else ""),
        ("Skill digest", run.digest if run else ""),
        ("skillrun", run.skillrun if run else ""),
        ("Exit code", "" if report.exit_code is None else str(report.exit_code)),
    ]
    return [(name, settled(value)) for name, value in rows if value]


def _check(check: CheckResult) -> dict[str, Any]:
    reason = check.reason or ("" if check.ok or check.exit_code is None else f"exit code {check.exit_code}")
    return {
        "ok": check.ok,
        "command": shown(check.command),
        "origin": check.origin,
        "reason": settled(reason),
        "output": _output(check.output),
    }


def _all_effects(entries: Iterable[Entry]) -> list[tuple[str, str, int]]:
    effects = (Effect(effect.kind, effect.subject) for entry in entries if entry.started for effect in entry.effects)
    return wording.effects_by_kind(effects)


def _output(text: str) -> str:
    half = OUTPUT_LIMIT // 2
    if len(text) > OUTPUT_LIMIT:
        text = f"{text[:half]}\n[... {len(text) - OUTPUT_LIMIT:,} characters are left out here ...]\n{text[-half:]}"
    return settled(text).rstrip("\n")


def _moment(number: int, moment: Moment) -> dict[str, Any]:
    base: dict[str, Any] = {"number": number, "at": _clock(moment.at), "changes": False, "trouble": False}
    match moment:
        case Entry():
            return base | _call(moment)
        case Speech(text, model, usage):
            cost = wording.money(usage.cost_usd) if usage and usage.cost_usd is not None else ""
            return base | {"kind": "speech", "text": settled(text).strip(), "who": settled(model) or "model", "cost": cost}
        case Note(text, level):
            return base | {"kind": "note", "text": settled(text), "level": level, "trouble": level != "info"}
        case Question(question, choices, about, answer, by):
            given = None if answer is None else settled(answer) or "(not shown)"
            return base | {
                "kind": "question",
                "text": settled(question),
                "choices": [settled(choice) for choice in choices],
                "about": about,
                "answer": given,
                "by": by,
            }
        case Checks(checks):
            return base | {
                "kind": "checks",
                "ok": moment.ok,
                "text": wording.checks_line(checks),
                "checks": [_check(check) for check in checks],
            }


def _call(entry: Entry) -> dict[str, Any]:
    result, risk = entry.result, wording.risk(entry.effects)
    text = shown(entry.text)
    notes = [] if result is None or not result.note else [settled(result.note)]
    if result and wording.shortened(result):
        notes.append(
            f"shortened: all {size(result.output_bytes)} are in the run folder, {result.output_file.rsplit('/', 1)[-1]}"
        )
    return {
        "kind": "call",
        "tool": entry.call.name,
        "step": entry.call.step,
        "title": one_line(text, 160),
        "text": text,
        "prompt": entry.call.name in ("shell", "check"),
        "why": settled(entry.call.why),
        "word": entry.word,
        "state": wording.ended(result, entry.asks) if result else "its end is not on record" if entry.started else "not run",
        "tone": _tone(entry),
        "trouble": entry.failed or entry.word in ("denied", "unknown", "not-run"),
        "changes": risk > 0 and entry.started,
        "risk": risk,
        "decision": wording.decided(entry.decision) if entry.decision else "",
        "effects": [{"words": w, "subjects": s, "risk": r} for w, s, r in wording.effects_by_kind(entry.effects)],
        "fidelity": wording.FIDELITY.get(result.fidelity, result.fidelity) if result else "",
        "took": seconds(result.duration_s) if result and result.duration_s >= 0.05 else "",
        "duration_s": result.duration_s if result else 0.0,
        "cwd": shown(entry.cwd),
        "output": _output(result.screen or result.output) if result else "",
        "notes": notes,
    }


def _tone(entry: Entry) -> str:
    if entry.is_check:
        return "look"
    if entry.failed:
        return "bad"
    return {"ok": "good", "answered": "look", "denied": "warn", "unknown": "warn", "would-run": "plan"}.get(entry.word, "wait")


def _clock(at: float) -> str:
    whole = int(at)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}" if whole >= 3600 else f"{whole // 60}:{whole % 60:02d}"


def _strip(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where the time went: the longest calls as parts of a bar 1000 wide, in their order."""
    longest = sorted(calls, key=lambda call: -call["duration_s"])[:200]
    chosen = {id(call) for call in longest}
    total = sum(call["duration_s"] for call in longest) or 1.0
    x, parts = 0.0, []
    for call in calls:
        if id(call) not in chosen or call["duration_s"] <= 0:
            continue
        width = 1000 * call["duration_s"] / total
        parts.append(
            {"x": f"{x:.2f}", "width": f"{max(width - 0.8, 0.6):.2f}", "tone": call["tone"], "number": call["number"],
             "title": f"{call['title']} ({seconds(call['duration_s'])})"}
        )  # fmt: skip
        x += width
    return parts if len(parts) > 1 else []


# --- changes ------------------------------------------------------------------------------------


def _rows(value: Any) -> list[Mapping[str, Any]]:
    """A list of rows, whatever it was: text becomes a row with a name."""
    if not isinstance(value, list | tuple):
        return []
    return [row if isinstance(row, Mapping) else {"name": row} for row in value]


def _word(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else settled(str(value))


def _number(row: Mapping[str, Any], key: str) -> int:
    value = row.get(key)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0


_LISTS = {"packages": "Packages", "commands": "New commands", "services": "Services", "accounts": "Accounts"}


def _changes(report: Report) -> dict[str, Any]:
    given = report.changes
    return {
        "title": "What would change" if report.changes_state in ("pending", "discarded") else "What changed",
        "state": report.changes_state,
        "known": bool(given) or bool(report.changes_state),
        "tiles": _tiles(given.get("counts")),
        "alerts": [
            {
                "level": _word(row, "level") or "warning",
                "text": _word(row, "text") or _word(row, "name"),
                "path": _word(row, "path"),
            }
            for row in _rows(given.get("alerts"))
        ],
        "lists": [
            {"label": label, "items": [_item(row) for row in _rows(given.get(key))]}
            for key, label in _LISTS.items()
            if _rows(given.get(key))
        ],
        "groups": _groups(_rows(given.get("groups"))),
        "files": [_file(row) for row in _rows(given.get("files"))],
        "kept_out": [(_word(row, "path") or _word(row, "name"), _word(row, "reason")) for row in _rows(given.get("kept_out"))],
        "deferred": [_word(row, "name") for row in _rows(given.get("deferred"))],
        "other": [(settled(str(key)), _other(value)) for key, value in given.items() if key not in KNOWN_CHANGES and value],
    }


def _tiles(counts: Any) -> list[dict[str, str]]:
    """The figures at the top, as far as they were counted."""
    if not isinstance(counts, Mapping):
        return []
    kinds = ("added", "changed", "removed")
    tiles = [{"value": f"{_number(counts, key):,}", "label": f"files {key}"} for key in kinds if key in counts]
    written = _number(counts, "bytes")
    return [*tiles, {"value": size(written), "label": "written"}] if written else tiles


def _groups(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The directories, each with its share of the largest one in percent."""
    groups = [_group(row) for row in rows]
    most = max((group["weight"] for group in groups), default=0) or 1
    return [{**group, "share": f"{max(1.0, 100 * group['weight'] / most):.1f}"} for group in groups]


def _item(row: Mapping[str, Any]) -> dict[str, str]:
    old, version = _word(row, "old"), _word(row, "version")
    change = _word(row, "change")
    detail = f"{old} → {version}" if old and version else version or old
    extra = _word(row, "manager") or _word(row, "kind")
    return {
        "name": _word(row, "name"),
        "detail": detail,
        "change": change,
        "sign": CHANGE_SIGNS.get(change, "+"),
        "extra": extra,
    }


def _group(row: Mapping[str, Any]) -> dict[str, Any]:
    added, changed, removed = (_number(row, key) for key in ("added", "changed", "removed"))
    words = [f"{count:,} {name}" for count, name in ((added, "added"), (changed, "changed"), (removed, "removed")) if count]
    if _number(row, "bytes"):
        words.append(size(_number(row, "bytes")))
    examples = row.get("examples")
    return {
        "name": _word(row, "name"),
        "words": ", ".join(words),
        "weight": added + changed + removed,
        "examples": [shown(str(path)) for path in examples] if isinstance(examples, list | tuple) else [],
    }


def _file(row: Mapping[str, Any]) -> dict[str, Any]:
    change, count = _word(row, "change"), _number(row, "bytes")
    lines = [
        {"text": line, "tone": {"+": "add", "-": "del", "@": "at"}.get(line[:1], "")}
        for line in _output(str(row.get("diff") or "")).split("\n")
        if line
    ]
    details = (_word(row, "kind"), size(count) if count else "", _word(row, "detail"))
    return {
        "path": shown(str(row.get("path") or row.get("name") or "")),
        "change": change,
        "sign": CHANGE_SIGNS.get(change, "~"),
        "detail": " · ".join(detail for detail in details if detail),
        "diff": lines,
    }


def _other(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "\n".join(settled(str(item)) for item in value)
    if isinstance(value, Mapping):
        return "\n".join(f"{settled(str(key))}: {settled(str(item))}" for key, item in value.items())
    return settled(str(value))
