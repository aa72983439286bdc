"""Small documents carried out by the engine, its commands answered from data: which commands it takes, and which never."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from skillrun.events import Result, State, ToolCall, Turn
from skillrun.models.builtin import BuiltinModel
from skillrun.ports import Brief
from skillrun.skills.parser.read import read_skill
from tests.test_builtin import drain

CASES: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "cases/understanding/carried.toml").read_text("utf-8"))[
    "case"
]
QUIET = re.compile(
    r"^(?:export|unset|case|\[|LC_ALL=C|env -i|find|p=|apt-cache|npm (?:view|prefix)|pip index|dpkg -L|files=|\(?for f in|grep)"
)
"""Looks, and what is only for the run's own shell."""


def carried(case: dict[str, Any]) -> tuple[list[ToolCall], str]:
    """The calls that a document leads to, and all that was said with them."""
    skill = read_skill(case["text"].lstrip())
    facts = {
        "os": {"system": "linux", "id": "debian", "family": "debian", "name": "Debian 12"},
        "arch": "x86_64",
        "tools": {"apt": "x", "python3": "x", **dict.fromkeys(case["tools"], "x")},
        "packages": {"manager": "apt"},
        "user": {"name": "dev", "home": "/home/dev", "shell": "/bin/bash", "root": False},
        "sudo": {"present": True, "passwordless": True},
    }
    brief = Brief(skill, facts=facts, checks=tuple(check.command for check in skill.checks))
    engine, turns, calls, said = BuiltinModel(), list[Turn](), list[ToolCall](), list[str]()
    failures = [dict(one) for one in case.get("fails", [])]
    while not calls or calls[-1].name != "finish":
        assert len(calls) < 60, "the engine does not end"
        reply = drain(engine.reply(brief, turns))
        call = reply.calls[0]
        calls.append(call)
        said.append(reply.text)
        failing = next((one for one in failures if one["words"] in call.command), None)
        result = Result(State.EXITED, 0)
        if failing:
            result = Result(State.EXITED, failing["code"], failing["said"])
            if not failing.get("always"):
                failures.remove(failing)
        elif "/usr/share/keyrings" in call.command and call.command.startswith("for f in"):
            result = Result(State.EXITED, 0, "/usr/share/keyrings/tidelamp.gpg\n/etc/apt/sources.list.d/tidelamp.list\n")
        elif call.name == "ask_user":
            result = Result(State.DENIED, None, "nobody is there")
        turns.append(Turn(reply, ((call, result),)))
    return calls, "\n".join([*said, str(calls[-1].input["summary"])])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"][:50])
def test_a_document_is_carried_out_as_its_case_says(case: dict[str, Any]) -> None:
    """Exactly these commands, nobody is asked for anything, and the end is told."""
    calls, said = carried(case)
    runs = [call.command for call in calls if call.name == "shell" and not QUIET.match(call.command)]
    assert not [call for call in calls if call.name == "ask_user"]
    if "runs" in case:
        assert runs == case["runs"]
    for start in case.get("begins", []):
        assert [command for command in runs if start in command], runs
    if "ends" in case:
        assert runs[-1] == case["ends"]
    if "most" in case:
        assert len(runs) <= case["most"]
    assert calls[-1].input["outcome"] == case["outcome"], said
    assert case.get("told", "") in said
