"""Whole runs as they were played once by hand, replayed: the real loop, the real client, a server, recorded results.

The recordings in `cases/model` were made on real machines in throw-away views; their replies were written by a hand that
saw only what the API showed. They are labelled so: no language model made them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillrun.events import Decision, Event, Outcome, Result, RunStarted, State, ToolCall, Verdict
from skillrun.llm.credentials import Credentials
from skillrun.models.anthropic import AnthropicModel
from skillrun.ports import Brief, Command, Place, Stream
from skillrun.run.budget import Budget
from skillrun.run.calls.executor import Executor
from skillrun.run.session import Session
from skillrun.run.stream import journalled, pull
from skillrun.secrets import Vault
from skillrun.skills.skill import Check, Skill
from tests.bash_target import BashTarget
from tests.messages_server import MessagesServer, message

CASES = sorted((Path(__file__).parent / "cases/model").glob("*.json"))


LOOK = "command -v "
"""How skillrun asks beforehand whether a program that a check calls is there. It asked for fewer when this was recorded."""


class Recorded(BashTarget):
    """A target that gives the recorded results, in their order, to exactly the recorded commands."""

    def __init__(self, results: list[dict[str, Any]]) -> None:
        super().__init__()
        self.looks = {row["command"]: row for row in results if row["command"].startswith(LOOK)}
        self.results: Iterator[dict[str, Any]] = iter([row for row in results if row["command"] not in self.looks])

    def run(self, command: Command) -> Stream:
        """The next result; any other command than the recorded one fails the test."""
        if command.text.startswith(LOOK) and command.text not in self.looks:
            return Result(State.EXITED, 0)
        row = self.looks.get(command.text) or next(self.results)
        assert command.text == row["command"]
        assert command.login is (row["tool"] == "check")
        return Result(State(row["state"]), row["exit_code"], row["output"], cwd=row["cwd"], duration_s=row["duration_s"])
        yield  # a Stream without events


class Nobody:
    """Is not asked anything."""

    attended = False


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_recorded_run_comes_out_the_same(path: Path) -> None:
    """Same calls, same order, same outcome; each request begins with the one before it, byte for byte."""
    case = json.loads(path.read_text())
    assert "not the output of a language model" in case["what"]
    skill = Skill("case", "case", "", "prompt", case["skill"], digest="sha256:0")
    checks = tuple(dict.fromkeys(row["command"] for row in case["results"] if row["tool"] == "check"))
    checks = tuple(check for check in checks if not check.startswith(LOOK))
    brief = Brief(skill, facts=case["facts"], checks=checks)
    target = Recorded(case["results"])
    events: list[Event] = []
    with MessagesServer(message(reply["content"], reply["stop_reason"]) for reply in case["replies"]) as server:
        model = AnthropicModel("claude-sonnet-5-5", Credentials("test", "key"), server.url)
        executor = Executor(skill, target, _allow, Nobody(), Vault(), Place())  # type: ignore[arg-type]
        started = RunStarted("r", "install", "case", "here", "sha256:0", model.name, "recorded")
        session = Session(started, brief, model, executor, [Check(check) for check in checks], Budget(max_turns=20))
        end = pull(journalled(session.run(), events.append, Vault()), [], lambda error: None)
    target.close()
    assert end.outcome is Outcome(case["outcome"])
    assert end.turns == len(case["replies"]) == len(server.requests)
    sent = [json.dumps([body["system"], body["tools"], body["messages"]], ensure_ascii=False) for body in server.requests]
    assert all(after.startswith(before[:-2]) for before, after in itertools.pairwise(sent))


def _allow(call: ToolCall, place: Place) -> Decision:
    return Decision(Verdict.ALLOW, "replayed")


def test_the_injected_notice_reached_the_model_as_data_and_moved_nobody() -> None:
    """The notice that asks for a key stands in the recorded output, and no recorded call does what it says."""
    case = json.loads((CASES[0].parent / "injected-output.json").read_text())
    assert any("id_ed25519" in row["output"] for row in case["results"])
    calls = [block["input"] for reply in case["replies"] for block in reply["content"] if block["type"] == "tool_use"]
    assert not any("id_ed25519" in call.get("command", "") or "9999" in call.get("command", "") for call in calls)
