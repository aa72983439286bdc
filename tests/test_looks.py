"""Several looks in one reply are carried out at the same time, and come out as if they had been made one after the other."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.events import Result, State, ToolCall
from skillrun.looking.shell import LookingShell
from skillrun.looking.wall import means
from skillrun.ports import Approval
from skillrun.run.calls.looks import Looks
from skillrun.run.calls.supervisor import RunTerminated
from skillrun.targets.local import LocalTarget
from tests.messages_server import message
from tests.test_executor import Hands, Someone
from tests.test_model_runs import install

pytestmark = pytest.mark.skipif(not means()[0], reason=f"no wall on this machine: {means()[1]}")

CLOCK = "date +%s.%N; sleep {}; date +%s.%N"


class Replies(Hands):
    """Carries out several calls as those of one reply."""

    def reply(self, *commands: str) -> list[Result]:
        """The results of these commands, asked for at once."""
        calls = [ToolCall(f"t{number}", "shell", {"command": text, "why": "see"}) for number, text in enumerate(commands)]
        results = []
        for number, call in enumerate(calls):
            self.executor.look_ahead(calls[number:])
            stream = self.executor.carry_out(call)
            try:
                while True:
                    self.events.append(next(stream))
            except StopIteration as stop:
                results.append(stop.value)
        return results


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[Replies]:
    """An executor with looks; its person says yes once."""
    work = tmp_path / "work"
    work.mkdir()
    target = LocalTarget(tmp_path / "outputs", cwd=str(work))
    made = Replies(target, work, Someone(Approval("once")))
    made.executor.looks = Looks(lambda name: LookingShell(target, str(tmp_path), name=name))
    yield made
    made.executor.looks.close()
    target.close()


def overlap(outputs: list[str]) -> bool:
    """Did all of them begin before any of them ended?"""
    spans = [tuple(float(line) for line in text.splitlines() if line[:1].isdigit()) for text in outputs]
    return max(span[0] for span in spans) < min(span[1] for span in spans)


@pytest.mark.parametrize("approve", ["ask", "all"])
def test_three_looks_of_one_reply_are_made_at_the_same_time(approve: str, tmp_path: Path) -> None:
    """Through the real client: their times overlap, and each result goes back under its own call's id, in order."""
    calls = [
        {"type": "tool_use", "id": f"toolu_{n}", "name": "shell", "input": {"command": CLOCK.format(2), "why": f"look {n}"}}
        for n in (1, 2, 3)
    ]
    end = {"type": "tool_use", "id": "f", "name": "finish", "input": {"outcome": "stuck", "summary": "that was all"}}
    script = [message(calls, "tool_use"), message([end], "tool_use")]
    _, server = install(tmp_path, script, "--model", "test", "--json", approve=approve)
    blocks = server.requests[1]["messages"][2]["content"]
    assert [block["tool_use_id"] for block in blocks] == ["toolu_1", "toolu_2", "toolu_3"]
    assert overlap([block["content"] for block in blocks]), json.dumps(blocks, indent=1)


def test_a_look_that_goes_elsewhere_counts_for_the_next_one(hands: Replies) -> None:
    """What was begun in another directory is not believed: it is made again where the shell stands now."""
    first, second, third = hands.reply("cd /usr && ls -d .", "pwd", "pwd")
    assert [each.output.strip() for each in (first, second, third)] == [".", "/usr", "/usr"]


def test_what_a_look_was_kept_from_is_asked_and_seen_by_the_next_one(hands: Replies) -> None:
    """After a real change, nothing that was looked at before it counts."""
    write = "python3 -c \"open('made', 'w').write('x')\""
    ls, made, after = hands.reply("ls -A | grep -c made", write, "ls made")
    assert (ls.output.strip(), made.exit_code, after.output.strip()) == ("0", 0, "made")


def test_looks_stop_at_what_acts(hands: Replies) -> None:
    """Only those before a call that changes something are made ahead of it."""
    (Path(hands.executor.target.cwd) / "old").touch()
    hands.executor.person.words = [Approval("once")] * 2  # type: ignore[attr-defined]
    one, two, gone, last = hands.reply("ls old", "cat old", "rm old", "ls old")
    assert (one.ok, two.ok, gone.ok, last.exit_code) == (True, True, True, 2)


def test_functions_and_variables_are_there_in_each(hands: Replies) -> None:
    """All shells that look know what the acting one knows."""
    hands.executor.person.words = [Approval("once")]  # type: ignore[attr-defined]
    assert hands.shell("twice() { echo $1$1; }; export SEEN=yes; touch x").ok
    assert [each.output.strip() for each in hands.reply("echo $SEEN", "echo $SEEN", "echo $SEEN")] == ["yes"] * 3
    told = hands.reply(*("declare -F twice; echo $SEEN" for _ in range(3)))
    assert [each.output.split() for each in told] == [["twice", "yes"]] * 3


def test_ctrl_c_ends_all_of_them(hands: Replies) -> None:
    """None goes on, the next looks start anew, and nobody there means that the run ends."""
    hands.executor.person.attended = False
    threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(RunTerminated):
        hands.reply("sleep 18", "sleep 18", "sleep 18")
    assert time.monotonic() - began < 12
    results = hands.reply("echo one", "echo two")
    assert [(each.state, each.output.strip()) for each in results] == [(State.EXITED, "one"), (State.EXITED, "two")]
