"""Long and hard runs through the real client: many turns, a build of an hour, answers of a megabyte, a changed mind."""

from __future__ import annotations

import json
import os
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.events import Finished, Noted, Outcome, State
from skillrun.llm.conversation import estimate
from skillrun.llm.credentials import Credentials
from skillrun.models.anthropic import AnthropicModel
from tests.messages_server import Body, MessagesServer, call
from tests.test_session import Trial

DONE = call("finish", "f", outcome="done", summary="so it is")


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    """A directory and a shell standing in it."""
    made = Trial(tmp_path)
    yield made
    made.target.close()


def test_sixty_turns_fit_a_small_context(trial: Trial) -> None:
    """Old outputs are put away, then folded: no request outgrows the model, pairs stay pairs, and it ends verified."""
    noise = "seq -f 'line %g of some output that a build prints' 1 120"
    script = [call("shell", f"t{n}", f"Step {n}.", command=f"echo part {n}; {noise}", why=f"part {n}") for n in range(59)]
    last = call("shell", "t59", command="touch made", why="the end")
    with MessagesServer([*script, last, DONE]) as server:
        model = AnthropicModel("test", Credentials("t", "k"), server.url)
        assert trial.run(model=model).outcome is Outcome.VERIFIED
    assert len(server.requests) == 61
    for body in server.requests:
        assert estimate(body["messages"]) < model.facts.context * 0.65
        calls = [block["id"] for each in body["messages"] for block in each["content"] if block["type"] == "tool_use"]
        results = [block["tool_use_id"] for each in body["messages"] for block in each["content"] if "tool_use_id" in block]
        assert calls == results
    final = server.requests[-1]["messages"]
    assert "Earlier in this run, oldest first" in json.dumps(final[0]), "nothing was folded"
    assert "part 0" in json.dumps(final[0])
    same = sum(a["messages"][0] == b["messages"][0] for a, b in zip(server.requests, server.requests[1:], strict=False))
    assert same >= 50, "the beginning changes too often for any cache"


class Clock:
    """A clock that runs `rate` times as fast, until a build that reads a pipe has been waited for so long by it.

    It goes on only where the run itself waits for the build, by some minutes at most, however long a machine stood still:
    no request is late by it. The build ends by this clock alone.
    """

    def __init__(self, rate: float, pipe: Path, silent_s: float) -> None:
        self.real, self.rate, self.pipe, self.silent_s = time.monotonic, rate, pipe, silent_s
        self.since = self.at = self.real()
        self.waited_from: float | None = None
        self.lock, self.run = threading.RLock(), threading.get_ident()

    def __call__(self) -> float:
        """What it shows."""
        with self.lock:
            now = self.real()
            waits = sys._getframe(1).f_globals.get("__name__", "").startswith("skillrun.pty.")
            if self.rate != 1 and not (waits and threading.get_ident() == self.run):
                return self.at
            self.at += min((now - self.since) * self.rate, 400.0) if self.rate != 1 else now - self.since
            self.since = now
            if self.waited_from is not None and self.at - self.waited_from > self.silent_s:
                self.waited_from, self.rate = None, 1.0
                self.pipe.write_text("on\n")
            return self.at


def test_a_build_of_an_hour_is_waited_for(trial: Trial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the clock 1,200 times as fast: a silent phase is asked about, waited out, and its result comes back whole."""
    pipe = tmp_path / "compiles"
    os.mkfifo(pipe)
    clock = Clock(1200, pipe, silent_s=1600)
    monkeypatch.setattr(time, "monotonic", clock)

    def waits(body: Body) -> Body:
        clock.waited_from = clock()
        return call("shell_input", "t2", action="wait", timeout_s=7200)

    build = f"echo configuring; sleep 0.2; echo compiling; read -r < {shlex.quote(str(pipe))}; touch made; echo linked"
    first = call("shell", "t1", command=build, why="build it", timeout_s=1500)
    with MessagesServer([first, waits, DONE]) as server:
        assert trial.run(model=AnthropicModel("test", Credentials("t", "k"), server.url)).outcome is Outcome.VERIFIED
    ends = {event.call.id: event.result for event in trial.events if isinstance(event, Finished)}
    assert ends["t1"].state is State.QUIET
    assert "still running, silent" in json.dumps(server.requests[1]["messages"][-1])
    assert (ends["t2"].state, ends["t2"].exit_code) == (State.EXITED, 0)
    assert ends["t2"].duration_s > 3000, "so long did it take by the clock"
    assert "linked" in json.dumps(server.requests[2]["messages"][-1])


def test_a_megabyte_of_output_is_told_in_part_and_can_be_read(trial: Trial) -> None:
    """Head and tail go to the model, with the file that holds all of it; what it reads from there is what was printed."""

    def reads(body: Body) -> Body:
        text = body["messages"][-1]["content"][0]["content"]
        assert len(text) < 64_000
        path = next(word for word in text.replace(";", " ").replace(")", " ").split() if word.endswith(".log"))
        return call("read_file", "t2", path=path, offset=500_000, limit=400)

    big = "touch made; seq -f 'number %06g of many' 1 50000"
    with MessagesServer([call("shell", "t1", command=big, why="print"), reads, DONE]) as server:
        assert trial.run(model=AnthropicModel("test", Credentials("t", "k"), server.url)).outcome is Outcome.VERIFIED
    assert "number 02" in json.dumps(server.requests[2]["messages"][-1])


def test_a_reply_of_a_megabyte_is_read_and_not_sent_back_whole(trial: Trial) -> None:
    """It is shown and kept; the next request holds its beginning and its end, and so fits the model."""
    words = "word " * 200_000
    with MessagesServer([call("shell", "t1", f"first {words} last", command="touch made", why="x"), DONE]) as server:
        assert trial.run(model=AnthropicModel("test", Credentials("t", "k"), server.url)).outcome is Outcome.VERIFIED
    said = server.requests[1]["messages"][1]["content"][0]["text"]
    assert len(said) < 20_000
    assert (said[:5], said[-4:]) == ("first", "last")
    assert "characters left out" in said


def test_a_model_that_changes_its_mind_ends_what_it_began(trial: Trial) -> None:
    """A command it no longer waits for is ended before the next one starts, and nothing is left of it."""
    script = [
        call("shell", "t1", command="sleep 33.7; touch late", why="wait", timeout_s=1),
        call("shell", "t2", "Another way.", command="touch made", why="do it otherwise"),
        DONE,
    ]
    with MessagesServer(script) as server:
        assert trial.run(model=AnthropicModel("test", Credentials("t", "k"), server.url)).outcome is Outcome.VERIFIED
    assert any(isinstance(event, Noted) and "it is ended first" in event.text for event in trial.events)
    assert not (trial.folder / "late").exists()
