"""`skillrun doctor`: can this machine do its part? Which model, which preview, which terminal, and why."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import Any

import click

from skillrun.cli.page import Page
from skillrun.errors import Problem
from skillrun.events import SCHEMA
from skillrun.host.config import ConfigError, config_path, load_config
from skillrun.models.choose import Choice, build, choices
from skillrun.ports import ModelUnavailable, Preflight
from skillrun.text.folding import folded, width_of

Row = dict[str, Any]


@click.command(
    "doctor",
    cls=Page,
    examples=(
        "skillrun doctor",
        "skillrun doctor --model claude-haiku-5-5 --online",
    ),
)
@click.option("--model", default="auto", envvar="SKILLRUN_MODEL", show_envvar=True, help="The --model to explain.")
@click.option("--online", is_flag=True, help="Also ask the model's server whether it takes the key (no tokens).")
@click.option("--json", "as_json", is_flag=True, help="One object.")
def doctor_command(model: str, online: bool, as_json: bool) -> int:
    """Say what a run would use on this machine, and what is missing. Exit code 0 when a run can work."""
    rows = {
        "model": _model(model, online),
        "servers": _servers(),
        "agents": _agents(),
        "preview": _preview(),
        "looks": _looks(),
        "terminal": _terminal(),
        "config": _config(),
    }
    broken = [row for row in rows.values() if row["state"] == "broken"]
    if as_json:
        print(json.dumps({"schema": SCHEMA, "ok": not broken, **rows}, ensure_ascii=False))
    else:
        columns = width_of(sys.stdout)
        for name, row in rows.items():
            print(folded(f"{_MARKS[row['state']]} {name:<9} {row['text']}", columns, 15))
            if row.get("hint"):
                print(folded(f"  {'':<9} -> {row['hint']}", columns, 3))
    return int(broken[0].get("code", 1)) if broken else 0


_MARKS = {"ok": "ok  ", "note": "note", "broken": "FAIL"}


def _row(state: str, text: str, hint: str = "", **more: Any) -> Row:
    return {"state": state, "text": text, "hint": hint, **more}


def _model(spec: str, online: bool) -> Row:
    try:
        chain = choices(spec)
    except Problem as problem:
        return _row("broken", problem.message, problem.hint, code=problem.code)
    names = [{"name": choice.name, "kind": choice.kind, "why": choice.why, "server": _server(choice)} for choice in chain]
    text = ", then ".join(f"{choice.name} ({choice.why}{_at(choice)})" for choice in chain)
    hint = (
        "a model can solve what the rules cannot: set ANTHROPIC_API_KEY, or see agents below"
        if [choice.kind for choice in chain] == ["builtin"]
        else ""
    )
    row = _row("ok", text, hint, chain=names)
    served = next((choice for choice in chain if choice.kind == "anthropic"), chain[0])
    model = build(served) if online else None
    if isinstance(model, Preflight):
        try:
            row["text"] += f"; the server knows it as {model.preflight()}"
        except ModelUnavailable as stop:
            return row | {"state": "broken", "text": f"{served.name}: {stop}", "hint": stop.hint, "code": 6}
    return row


def _server(choice: Choice) -> str:
    return (choice.base_url or "https://api.anthropic.com") if choice.kind == "anthropic" else ""


def _at(choice: Choice) -> str:
    if not choice.base_url or choice.kind != "anthropic":
        return ""
    return f", at {choice.base_url}" + ("" if choice.native else ", without Anthropic's own fields")


def _servers() -> Row:
    from skillrun.llm.servers import USUAL, find_servers

    found = find_servers()
    data = [{"url": server.url, "program": server.program, "models": list(server.models)} for server in found]
    if not found:
        return _row("note", f"no local model server on ports {', '.join(str(port) for port, _ in USUAL)}", servers=data)
    text = "; ".join(
        f"{server.url} (usually {server.program}): {', '.join(server.models[:5]) or 'names no models'}" for server in found
    )
    used = os.environ.get("ANTHROPIC_BASE_URL", "").rstrip("/")
    hint = "" if any(server.url == used for server in found) else f"to use it: ANTHROPIC_BASE_URL={found[0].url}"
    return _row("ok", text, hint, servers=data)


def _agents() -> Row:
    from skillrun.models.via import AGENTS

    found = {name: path for name in AGENTS if (path := shutil.which(AGENTS[name].program))}
    text = ", ".join(f"{name} ({path})" for name, path in found.items()) or f"none of {', '.join(AGENTS)} is installed"
    return _row("ok" if found else "note", f"for --via: {text}", agents=found)


def _preview() -> Row:
    """The tiers are found by doing: a view is made and thrown away."""
    from skillrun.overlay.process.probe import NAMES, probe

    found = probe()
    tiers = {tier.letter: tier.available for tier in found.tiers}
    best = next(tier for tier in found.tiers if tier.available)
    if best.untried:
        return _row("note", f"{best.name}: not tried, since {best.how}", "", tier=found.tier, tiers=tiers)
    state = "ok" if found.tier == "R" else "note"
    return _row(state, NAMES[found.tier], "; ".join(found.reasons), tier=found.tier, tiers=tiers)


def _looks() -> Row:
    """What holds a command that is run unasked; tried by doing."""
    from skillrun.looking.wall import means

    held, why = means()
    if held:
        return _row("ok", f"what only looks is held by the kernel: {held}", means=held)
    hint = "what is not known only to look is asked about instead"
    return _row("note", f"nothing holds a look here but judging: {why}", hint, means="")


def _terminal() -> Row:
    term, colour = os.environ.get("TERM", ""), not os.environ.get("NO_COLOR")
    screen, keyboard = sys.stdout.isatty(), sys.stdin.isatty()
    facts: Row = {"term": term, "stdout": screen, "stdin": keyboard, "colour": colour and screen and term != "dumb"}
    if not keyboard:
        hint = "without one nothing that changes the machine runs unless --approve says so"
        return _row("note", "no terminal to ask you on", hint, **facts)
    return _row("ok", f"{term or 'unnamed'}{'' if facts['colour'] else ', without colour'}", **facts)


def _config() -> Row:
    path = config_path()
    try:
        values = load_config().values
    except ConfigError as error:
        return _row("broken", str(error), "correct the file", code=2, path=str(path))
    return _row("ok" if values else "note", f"{path}{'' if values else ' (not there: defaults)'}", path=str(path))
