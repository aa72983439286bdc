"""What a run may cost is said before it, what it did cost after it; rules first, then a small model, then a larger one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillrun.events import Outcome, Reply, Result, RunEnded, RunStarted, State, Turn, Usage
from skillrun.llm.catalog import default_model, small_model
from skillrun.llm.credentials import Credentials
from skillrun.models.anthropic import AnthropicModel
from skillrun.models.chain import ChainModel
from skillrun.models.scripted import Line, ScriptedModel
from skillrun.ports import Brief
from skillrun.record.journal import Journal, new_run
from skillrun.run.past_costs import expectation
from skillrun.skills.skill import Skill
from tests.messages_server import Body, MessagesServer, call
from tests.test_session import Trial, finish, shell

SKILL = """---
name: made
description: A file.
metadata:
  skillrun-verify: test "$(cat $HOME/made)" = yes
---
# Made

```bash
make-the-made-thing ~/made
```
"""


def past(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *runs: tuple[str, float | None]) -> None:
    """A history with these skills and what they cost."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for skill, cost in runs:
        journal = Journal(new_run(skill))
        journal(RunStarted("r", "install", skill, "", "", "m", "here"))
        journal(RunEnded(Outcome.VERIFIED, 0, "", cost_usd=cost))
        journal.close()


def test_what_runs_like_it_cost_is_said_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Runs of this skill first, else of others, else the price of the model; whoever costs nothing is not spoken of."""
    small = small_model()
    past(monkeypatch, tmp_path, ("jq", 0.0021), ("fd", None))
    assert expectation("fd", (small,), small) == (
        f"{small}: no run of fd with a paid model is on record; other skills cost $0.0021 (1 on record)"
    )
    past(monkeypatch, tmp_path, ("jq", 0.0121))
    assert expectation("jq", (small,), "builtin") == (
        f"builtin costs nothing; where it is not enough, {small}: runs of jq cost $0.0021 to $0.0121 (2 on record)"
    )
    assert expectation("jq", (), "builtin") == ""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "empty"))
    assert "$0.10 in and $0.50 out per million tokens on 2026-" in expectation("jq", (small,), small)


def test_auto_hands_everything_on_until_somebody_can(tmp_path: Path) -> None:
    """Rules, small model, larger model, through the real client: each sees what was tried, and what it cost is told."""
    (tmp_path / "made.skill").mkdir()
    (tmp_path / "made.skill/SKILL.md").write_text(SKILL)
    script = [
        call("shell", "t1", command="ls ~/made", why="is it there?"),
        call("finish", "t2", outcome="stuck", summary="I know no such program"),
        call("shell", "t3", command="echo yes > ~/made", why="write it"),
        call("finish", "t4", outcome="done", summary="written by hand"),
    ]
    with MessagesServer(script) as server:
        server.models = (default_model(), small_model())
        env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONPATH": os.getcwd()}
        command = [sys.executable, "-m", "skillrun", "install", "./made.skill", "--approve", "all", "--no-input"]
        done = subprocess.run(
            command, env=env | {"ANTHROPIC_BASE_URL": server.url}, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert [body["model"] for body in server.requests] == [small_model()] * 2 + [default_model()] * 2
    assert "make-the-made-thing" in json.dumps(server.requests[0]["messages"][1]), "what the rules tried is not told"
    assert len(server.requests[2]["messages"]) == len(server.requests[1]["messages"])
    assert server.requests[1]["messages"][-1]["content"][0]["tool_use_id"] == "t1"
    assert f"builtin costs nothing; where it is not enough, {small_model()}" in told
    assert f"{small_model()} cannot go on (I know no such program); {default_model()} takes over" in told
    price = (2 * (1000 * 0.10 + 50 * 0.50) + 2 * (1000 * 2.00 + 50 * 10.00)) / 1e6
    assert f"${price:.4f}" in told


class _After(ScriptedModel):
    """A script that begins after so many turns."""

    def __init__(self, turns: int, *script: Line) -> None:
        super().__init__([*[Reply()] * turns, *script])


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    """A directory and a shell standing in it."""
    made = Trial(tmp_path)
    yield made
    made.target.close()


def test_a_model_that_goes_in_circles_hands_over(trial: Trial) -> None:
    """The same failure three times, or `done` three times while the checks fail: the next one goes on, with all of it."""
    circles = ScriptedModel([shell("cat nothing", n) for n in (1, 2, 3)])
    liar = _After(3, finish(), finish(), finish())
    chain = ChainModel([circles, liar, _After(6, shell("touch made", 9), finish())])
    assert trial.run(model=chain).outcome is Outcome.VERIFIED
    assert chain.position == 2


def cached(memory: set[str]) -> Any:
    """A server's cache as the API describes it: what stands before a mark is written once and read from then on."""

    def answer(body: Body) -> Body:
        head = json.dumps([body["tools"], body["system"]])
        blocks = [
            json.dumps({key: value for key, value in block.items() if key != "cache_control"})
            for each in body["messages"]
            for block in each["content"]
        ]
        prefixes = [head + "".join(blocks[:count]) for count in range(1, len(blocks) + 1)]
        read = max((len(prefix) for prefix in prefixes if prefix in memory), default=0)
        assert body["cache_control"]["type"] == body["messages"][0]["content"][0]["cache_control"]["type"] == "ephemeral"
        memory.update((prefixes[0], prefixes[-1]))
        written = len(prefixes[-1]) - read
        usage = {"input_tokens": 1, "cache_read_input_tokens": read // 4, "cache_creation_input_tokens": written // 4}
        number = len(body["messages"])
        reply = call("shell", f"t{number}", command=f"cat file-{number}", why="look")
        return {**reply, "usage": {**usage, "output_tokens": 20}}

    return answer


def test_nine_tenths_of_what_is_sent_come_from_the_cache() -> None:
    """Twenty turns through the real client: every request continues the one before byte by byte, and is priced as such."""
    answer = cached(set())
    with MessagesServer([answer] * 20) as server:
        model = AnthropicModel(small_model(), Credentials("t", "k"), server.url, True)
        turns: list[Turn] = []
        for number in range(20):
            reply = _whole(model.reply(Brief(Skill("x", "x", "", "skill", "Install x.\n" * 300)), turns))
            result = Result(State.EXITED, 0, output=f"line {number}\n" * 30)
            turns.append(Turn(reply, tuple((each, result) for each in reply.calls)))
    used = [turn.reply.usage or Usage() for turn in turns]
    read = sum(usage.cache_read_tokens for usage in used)
    assert read / sum(usage.cache_read_tokens + usage.cache_write_tokens + usage.input_tokens for usage in used) > 0.9
    assert all(usage.cache_read_tokens for usage in used[1:])
    price = model.facts.price
    assert price is not None
    assert used[-1].cost_usd == pytest.approx(price.of(used[-1]))
    assert all(body["thinking"]["type"] == "adaptive" for body in server.requests)


def _whole(stream: Any) -> Reply:
    while True:
        try:
            next(stream)
        except StopIteration as stop:
            reply: Reply = stop.value
            return reply
