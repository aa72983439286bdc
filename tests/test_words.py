"""A person who interrupts and says something: their words reach the model as theirs, now and when the run is resumed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from skillrun.events import Answered, Asked, Finished, Replied, Reply, Result, State, ToolCall, Turn
from skillrun.llm.conversation import Conversation, summary
from skillrun.record.journal import read_events, turns
from tests.messages_server import Body, MessagesServer, call
from tests.terminal import Terminal
from tests.test_model_runs import SKILL
from tests.test_shell_interrupt import RUN

WORDS = "use the other port"


def texts(body: Body) -> list[str]:
    """The text blocks of a request that are no call's result."""
    blocks = (block for each in body["messages"] if each["role"] == "user" for block in each["content"])
    return [block["text"] for block in blocks if block["type"] == "text"]


def slowly(body: Body) -> Body:
    """A reply nobody waits for."""
    time.sleep(8)
    return call("finish", "late", outcome="done", summary="too late")


def test_what_a_person_says_reaches_the_model_as_theirs(tmp_path: Path) -> None:
    """At a command and while the model thinks: Ctrl-C, "tell it something", and the next request has it, outside all marks."""
    folder = tmp_path / "made.skill"
    folder.mkdir()
    (folder / "SKILL.md").write_text(SKILL)
    work = [
        call("shell", "t1", command="touch $HOME/started; sleep 47.13", why="wait"),
        slowly,
        call("shell", "t2", command="echo yes > $HOME/made", why="as told"),
        call("finish", "t3", outcome="done", summary="made"),
    ]
    with MessagesServer(work) as server:
        args = ["install", str(folder), "--approve", "all", "--model", "test"]
        environment = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "s"), "ANTHROPIC_BASE_URL": server.url}
        terminal = Terminal(RUN.format(args=args), environment=environment)
        try:
            until = time.monotonic() + 60
            while not (tmp_path / "started").exists() and time.monotonic() < until:
                terminal.rest(0.05)
            terminal.rest(0.3)
            terminal.type("\x03")
            terminal.answer("What now?", "2\r")
            terminal.answer("should it know?", f"{WORDS}\r")
            while len(server.requests) < 2 and time.monotonic() < until:
                terminal.rest(0.05)
            terminal.rest(0.5)
            terminal.type("\x03")
            terminal.answer("test was interrupted", "2\r")
            terminal.wait_for_count("should it know?", 2)  # the first is on the screen yet
            terminal.answer("should it know?", "and be quick\r")
            while not (ended := os.waitpid(terminal.pid, os.WNOHANG))[0]:
                assert time.monotonic() < until, terminal.screen
                terminal.rest(0.2)
        finally:
            os.close(terminal.master)
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    assert [text for text in texts(server.requests[1]) if WORDS in text] == [f"The person interrupted to tell you: {WORDS}"]
    assert texts(server.requests[2])[-1] == f"The person interrupted to tell you: {WORDS}\nand be quick"
    (journal,) = tmp_path.glob("s/skillrun/runs/*/journal.jsonl")
    assert turns(read_events(journal))[0].said == f"{WORDS}\nand be quick"


SLEEP = ToolCall("a", "shell", {"command": "sleep 9", "why": "x"})


def asked(words: str) -> tuple[Asked, Answered]:
    """A person's words in a journal."""
    return Asked("What should it know?", about="word"), Answered(words)


@pytest.mark.parametrize("replied", [True, False])
def test_a_journal_gives_the_words_back(replied: bool) -> None:
    """Said after a reply they belong to its turn; said before any, they are a turn of their own."""
    before = [Replied(Reply(calls=(SLEEP,))), Finished(SLEEP, Result(State.INTERRUPTED))] if replied else []
    (turn,) = turns([*before, *asked(WORDS)])
    assert turn.said == WORDS
    messages = Conversation("brief", [turn], "m").messages()
    assert [each["role"] for each in messages] == (["user", "assistant", "user"] if replied else ["user"])
    assert messages[-1]["content"][-1]["text"] == f"The person interrupted to tell you: {WORDS}"


def test_words_survive_the_folding_of_old_turns() -> None:
    """A long run's summary still has them."""
    assert f"the person said: {WORDS}" in summary([Turn(Reply(calls=(SLEEP,)), ((SLEEP, Result(State.EXITED, 0)),), WORDS)])


def test_an_answer_to_a_question_is_the_persons_too() -> None:
    """What the person answers stands outside the marks of data, and a nobody's silence is a refusal."""
    call_ = ToolCall("q", "ask_user", {"question": "which port?"})
    blocks = Conversation("b", [Turn(Reply(calls=(call_,)), ((call_, Result(State.EXITED, 0, "8081")),))], "m").messages()
    assert blocks[-1]["content"][0]["content"] == "The person answers: 8081"
    denied = Result(State.DENIED, output="nobody is there to answer")
    blocks = Conversation("b", [Turn(Reply(calls=(call_,)), ((call_, denied),))], "m").messages()
    assert blocks[-1]["content"][0]["is_error"]
