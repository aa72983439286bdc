"""Whole runs of the command line against a server that does everything wrong that servers do.

Each run ends verified, or says honestly what happened with the exit code of that. No command of a message that was not
whole is ever carried out: those commands would leave a file behind.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from skillrun import cli
from tests.messages_server import Body, Fault, Line, MessagesServer, call, error, events, message, say, wire

SKILL = """---
name: made
description: A file.
metadata:
  skillrun-verify: test "$(cat $HOME/made)" = yes
---
# Made
Write yes into ~/made.
"""
KEY = "sk-ant-test-key-0002"
TRAP = call("shell", "toolu_trap", "Now.", command="touch $HOME/trap", why="must never run")
WORK = call("shell", "toolu_work", command="echo yes > $HOME/made", why="what the skill asks for")
DONE = call("finish", "toolu_done", outcome="done", summary="it is there")
GOOD: tuple[Line, ...] = (WORK, DONE)
STREAM = events(WORK, piece=8)
SEEN = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}


def use(id: str | None = "u", name: Any = "shell", raw: str = "", **input: Any) -> Body:  # noqa: A002
    """A tool call's block, its input as given or as raw text."""
    return {"type": "tool_use", "id": id, "name": name, "input": input, **({"raw_input": raw} if raw else {})}


def without(stream: list[Body], *keys: str) -> list[Body]:
    """Events without some of their own keys."""
    return [{key: value for key, value in event.items() if key not in keys} for event in stream]


def with_usage(usage: Any) -> Fault:
    """The work, with this where the tokens should be counted."""
    stream = events(WORK)
    stream[0] = {**stream[0], "message": {**stream[0]["message"], "usage": usage}}
    stream[-2] = {**stream[-2], "usage": usage}
    return Fault("events", body=stream)


def status(code: int, body: Any, **headers: str) -> Fault:
    """An HTTP error that wants to be asked again at once, unless told otherwise."""
    names = {name.replace("_", "-"): text for name, text in headers.items()}
    return Fault("status", status=code, body=body, headers={"retry-after-ms": "0", **names})


PASSING: dict[str, Sequence[Line]] = {
    "529": [status(529, error("overloaded_error", "Overloaded")), *GOOD],
    "503 in HTML": [status(503, "<html><title>503</title>touch trap</html>"), *GOOD],
    "429 with seconds": [status(429, error("rate_limit_error", "slow"), retry_after="0"), *GOOD],
    "429 with a date gone by": [
        Fault(
            "status", status=429, body=error("rate_limit_error", "x"), headers={"retry-after": "Thu, 01 Jan 2026 00:00:00 GMT"}
        ),
        *GOOD,
    ],
    "429 with nonsense": [
        Fault("status", status=429, body=error("rate_limit_error", "x"), headers={"retry-after": "nan"}),
        *GOOD,
    ],
    "overload in mid-stream, status 200": [Fault("error", TRAP, at=7, body=error("overloaded_error", "Overloaded")), *GOOD],
    "an error event that is text": [Fault("error", TRAP, at=7, body={"type": "error", "error": "slot lost"}), *GOOD],
    "cut in the middle of a call": [Fault("cut", TRAP, at=600), *GOOD],
    "clean end before message_stop": [Fault("end", TRAP, at=len(events(TRAP)) - 1), *GOOD],
    "reset": [Fault("reset", TRAP, at=500), *GOOD],
    "half a call at the token limit": [message([use(raw='{"command": "touch $HOME/trap"')], "max_tokens"), *GOOD],
    "a paused turn": [say("One moment.", "pause_turn"), *GOOD],
    "one byte a packet": [Fault("bytes", WORK), DONE],
    "compressed": [Fault("gzip", WORK), DONE],
    "not a stream but one object": [Fault("whole", WORK), Fault("whole", DONE)],
    "another API's [DONE] at the end": [Fault("after", WORK, body=b"data: [DONE]\n\n"), DONE],
    "garbage after the end": [Fault("after", WORK, body=b"event: x\ndata: {not json\n\n"), DONE],
    "indexes missing": [Fault("events", body=without(events(WORK), "index")), DONE],
    "comments and pings between all events": [
        Fault("events", body=[one for event in STREAM for one in (*[{"type": "ping"}] * 20, event)]),
        DONE,
    ],
    "unknown events and blocks": [
        Fault(
            "events",
            body=[{"type": "aurora", "x": 1}, *events(message([{"type": "hologram", "d": 1}, *WORK["content"]], "tool_use"))],
        ),
        DONE,
    ],
    "usage is null": [with_usage(None), DONE],
    "usage is missing": [with_usage({}), DONE],
    "ids are missing": [
        message([use("", command="true", why="a"), use("", command="echo yes > $HOME/made", why="b")], "tool_use"),
        DONE,
    ],
    "one id for two calls": [
        message([use("same", command="true", why="a"), use("same", command="echo yes > $HOME/made", why="b")], "tool_use"),
        DONE,
    ],
    "the same id in every turn": [
        call("shell", "again", command="true", why="a"),
        call("shell", "again", command="echo yes > $HOME/made", why="b"),
        call("finish", "again", outcome="done", summary="x"),
    ],
    "input that is not JSON": [message([use(raw='{"command": "touch $HOME/trap')], "tool_use"), *GOOD],
    "input nested too deep": [message([use(raw='{"command":' + "[" * 50_000)], "tool_use"), *GOOD],
    "input of wrong types": [message([use(command=["touch", "trap"], why="x")], "tool_use"), *GOOD],
    "input that is a list": [message([use(raw='["touch $HOME/trap"]')], "tool_use"), *GOOD],
    "fields nobody knows": [message([use(command="touch $HOME/trap", why="x", sudo=True)], "tool_use"), *GOOD],
    "fields missing": [message([use(why="touch $HOME/trap")], "tool_use"), *GOOD],
    "an unknown tool": [message([use(name="bash", command="touch $HOME/trap")], "tool_use"), *GOOD],
    "a name that is no text": [message([use(name=None, command="touch $HOME/trap", why="x")], "tool_use"), *GOOD],
    "half a surrogate pair": [
        message([use(raw=r'{"command": "echo yes > $HOME/made # \ud800", "why": "\udfff"}')], "tool_use"),
        DONE,
    ],
    "thinking, seen and hidden": [
        message(
            [
                SEEN,
                {"type": "redacted_thinking", "data": "eA=="},
                use(command="true", why="x"),
            ],
            "tool_use",
        ),
        *GOOD,
    ],
    "thinking, and a call that may not run": [message([SEEN, use(command="touch $HOME/trap", why="x")], "end_turn"), *GOOD],
    "nothing at all, then the work": [message([], "end_turn"), *GOOD],
    "too long, then shorter": [status(400, error("invalid_request_error", "prompt is too long: 9 > 8")), *GOOD],
    "too long for llama.cpp": [status(400, {"error": {"message": "the request exceeds the available context size"}}), *GOOD],
    "replies too long for vLLM": [status(400, {"object": "error", "message": "max_tokens must be at most 4096"}), *GOOD],
    "the window is exceeded": [message([], "model_context_window_exceeded"), *GOOD],
}
"""What passes or can be mended: the run ends verified."""


@dataclass
class Ran:
    """A run of the command line: exit code, standard output and error, what the server was asked."""

    code: int
    out: str
    err: str
    requests: list[Body] = field(default_factory=list)

    @property
    def said(self) -> str:
        """All that a person saw."""
        return self.out + self.err


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """`skillrun install` in this process, in a home of its own, against a server with a script."""
    (tmp_path / "made.skill").mkdir()
    (tmp_path / "made.skill/SKILL.md").write_text(SKILL)
    for name, value in {"HOME": str(tmp_path), "TERM": "dumb", "ANTHROPIC_API_KEY": KEY, "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "SKILLRUN_CONFIG", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def go(script: Sequence[Line], *args: str, path: str = "", url: str = "") -> Ran:
        with MessagesServer(script) as server:
            monkeypatch.setenv("ANTHROPIC_BASE_URL", url or server.url + path)
            words = ["install", "./made.skill", "--approve", "all", "--no-input", "--model", "test", *args]
            code = cli.main(words)
        read = capfd.readouterr()
        assert "Traceback" not in read.out + read.err, read.err
        assert KEY not in read.out + read.err
        for journal in (tmp_path / ".local/state/skillrun/runs").glob("*/journal.jsonl"):
            rows = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
            assert rows[-1]["type"] == "RunEnded"
            assert rows[-1]["exit_code"] == code
            assert KEY not in journal.read_text(encoding="utf-8")
        assert not (tmp_path / "trap").exists(), "a command of a message that was not whole was carried out"
        return Ran(code, read.out, read.err, server.requests)

    return go


def test_a_context_too_small_for_anything_ends_the_run_honestly(run: Any) -> None:
    """Where nothing is left to put away the person is told so: exit code 6, after a few requests, and no internal error."""
    done = run([status(400, {"error": {"message": "the request exceeds the available context size"}})] * 20)
    assert done.code == 6, done.said
    assert "do not fit the model's context" in done.said
    assert len(done.requests) <= 10


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_or_can_be_mended_ends_verified(name: str, run: Any) -> None:
    """The run goes on, and every call it sends back has its one result."""
    done = run(PASSING[name])
    assert done.code == 0, done.said
    for body in done.requests:
        uses = [block["id"] for turn in body["messages"] for block in turn["content"] if block["type"] == "tool_use"]
        results = [
            block["tool_use_id"] for turn in body["messages"] for block in turn["content"] if block["type"] == "tool_result"
        ]
        assert uses == results
        assert len(set(uses)) == len(uses)


FATAL: dict[str, tuple[Line, int, str]] = {
    "bad key": (status(401, error("authentication_error", "invalid x-api-key")), 6, "ANTHROPIC_API_KEY"),
    "forbidden": (status(403, error("permission_error", "no")), 6, "--model"),
    "spending limit": (status(429, error("rate_limit_error", "spend limit reached")), 6, "spending limit"),
    "credit": (status(400, error("invalid_request_error", "Your credit balance is too low")), 6, "spending limit"),
    "a redirect": (status(307, "", location="http://elsewhere.invalid/"), 6, "http://elsewhere.invalid/"),
    "a page with status 200": (Fault("whole", body="<html>log in to this network</html>", status=200), 6, "web page"),
    "an unknown model": (status(404, {"error": "model 'test' not found"}), 6, "it offers test"),
    "a chat-completions server": (
        Fault("whole", body={"object": "chat.completion", "choices": []}, status=200),
        6,
        "no message",
    ),
    "a refusal": (message([use(command="touch $HOME/trap", why="x")], "refusal"), 4, "refused"),
}


@pytest.mark.parametrize("name", FATAL)
def test_what_cannot_be_mended_says_what_to_do(name: str, run: Any) -> None:
    """Its exit code, its reason, what to do next; where waiting cannot help, one request."""
    line, code, says = FATAL[name]
    done = run([line] * 9)
    assert done.code == code, done.said
    assert says.lower() in done.said.lower()
    assert len(done.requests) == 1


def test_a_call_that_came_with_another_stop_is_not_run_and_that_is_said(run: Any) -> None:
    """Some servers end a message with end_turn although it holds a call: nothing runs, the person reads why, exit code 3."""
    wished = message([use(command="touch $HOME/trap", why="x")], "end_turn")
    done = run([wished] * 5)
    assert done.code == 3, done.said
    assert "not carried out" in done.said
    done = run([{**wished, "stop_reason": "a_reason_of_tomorrow"}] * 5)
    assert done.code == 3, done.said


def test_a_model_that_says_nothing_at_all_ends(run: Any) -> None:
    """Empty messages: the checks decide, three times, and that is the end."""
    done = run([message([], "end_turn")] * 9)
    assert done.code == 3, done.said
    assert len(done.requests) <= 4


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "//"])
def test_a_base_url_in_other_clothes(path: str, run: Any) -> None:
    """A slash at the end, or the /v1 that other APIs want, is the same server."""
    assert run(GOOD, path=path).code == 0


@pytest.mark.parametrize("url", ["127.0.0.1:11434", "ftp://127.0.0.1/", "http://"])
def test_a_base_url_that_is_none(url: str, run: Any) -> None:
    """What is no address is named before anything else, with exit code 2 or 6, and nothing waits."""
    done = run([], url=url)
    assert done.code in (2, 6), done.said
    assert "http" in done.said


LIMITS: dict[str, tuple[tuple[str, ...], str]] = {
    "turns": (("--max-turns", "1"), "--max-turns"),
    "tokens": (("--max-tokens", "1500"), "--max-tokens"),
    "dollars": (("--max-cost", "0.001"), "--max-cost"),
    "time": (("--timeout", "4"), "--timeout"),  # a busy machine needs more than a second before the first request
}


WHERE = [*(("option", name) for name in LIMITS), *(("configuration", name) for name in LIMITS), ("environment", "turns")]


@pytest.mark.parametrize(("where", "name"), WHERE)
def test_every_limit_ends_the_run_wherever_it_was_set(
    where: str, name: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 5 and the limit's name; the run can be resumed, the model is not asked again."""
    option, says = LIMITS[name]
    key, value = option[0].removeprefix("--").replace("-", "_"), option[1]
    if where == "environment":
        monkeypatch.setenv(f"SKILLRUN_{key.upper()}", value)
    elif where == "configuration":
        (tmp_path / "config.toml").write_text(f"[budget]\n{key} = {value}\n")
        monkeypatch.setenv("SKILLRUN_CONFIG", str(tmp_path / "config.toml"))
    slow = call("shell", "t1", command=f"sleep {4.2 if name == 'time' else 1.2}; true", why="takes its time")
    given = option if where == "option" else ()
    done = run([slow, slow, slow], "--model", "claude-sonnet-5-5", *given)
    assert done.code == 5, done.said
    assert says in done.said
    assert len(done.requests) == 1


@pytest.mark.parametrize(
    "text",
    [
        "budget = 3",
        "[budget]\nmax_cost = '1'",
        "[budget]\nmax_cost = nan",
        "[budget]\nmax_turn = 3",
        "[budget]\nmax_turns = 1.5",
    ],
)
def test_a_limit_nobody_understands_is_no_licence(text: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake among the limits ends the run before it begins: exit code 2, the file and the limit named."""
    (tmp_path / "config.toml").write_text(text)
    monkeypatch.setenv("SKILLRUN_CONFIG", str(tmp_path / "config.toml"))
    done = run(GOOD)
    assert done.code == 2, done.said
    assert "config.toml" in done.said
    assert done.requests == []


def test_time_that_runs_out_ends_what_is_going_on(run: Any, tmp_path: Path) -> None:
    """A command, and a server that never answers, are ended soon after the limit; exit code 5, and what was done is kept."""
    import time

    begun = time.monotonic()
    done = run([call("shell", "t", command="sleep 60 && touch $HOME/trap", why="long")], "--timeout", "1")
    assert done.code == 5, done.said
    assert "--timeout" in done.said
    done = run([Fault("stall", WORK, at=100, seconds=60)], "--timeout", "1")
    assert done.code == 5, done.said
    assert time.monotonic() - begun < 40
    assert (tmp_path / "made").exists() is False


def test_a_server_that_does_not_count_tokens_keeps_within_the_limit(run: Any) -> None:
    """Without a count, tokens and dollars are estimated rather than taken for nothing."""
    for option in (("--max-tokens", "1200"), ("--max-cost", "0.002")):
        stream = with_usage(None).body
        stream[1:-2] = events(call("shell", command="true", why="nothing yet"))[1:-2]
        done = run([Fault("events", body=stream)] * 3, "--model", "claude-sonnet-5-5", *option)
        assert done.code == 5, done.said
        assert len(done.requests) == 1


def test_the_wire_format_is_the_one_that_is_tested() -> None:
    """The recorded stream parses back into what was scripted: the faults above are faults of a real stream."""
    lines = wire(events(WORK)).decode().split("\n\n")
    assert json.loads(lines[0].split("data: ")[1])["type"] == "message_start"
