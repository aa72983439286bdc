"""A call that is tried more than once: carried out by the executor, shown as tries, never text around a command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.events import Finished, Noted, Result, Retry, Started, ToolCall
from skillrun.host.causes import TOOL, question, read
from skillrun.targets.local import LocalTarget
from tests.test_executor import Hands, Someone


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[Hands]:
    """An executor over a real shell; whoever is asked says yes."""
    target = LocalTarget(tmp_path / "outputs", cwd=str(tmp_path))
    yield Hands(target, tmp_path, Someone())
    target.close()


def tried(hands: Hands, command: str, retry: Retry | None) -> Result:
    """One call with its retry; the events are in `hands.events`."""
    stream = hands.executor.carry_out(ToolCall("c", "shell", {"command": command, "why": "w"}, retry=retry))
    while True:
        try:
            hands.events.append(next(stream))
        except StopIteration as stop:
            result: Result = stop.value
            return result


def tries(hands: Hands) -> list[str]:
    """What was said of the tries."""
    return [event.text for event in hands.events if isinstance(event, Noted)]


COUNTING = "echo x >> tries; [ $(wc -l < tries) -ge 3 ] || { echo busy; false; }"


def test_it_is_tried_until_it_goes_well(hands: Hands, tmp_path: Path) -> None:
    """Each further try is announced with its number, and the call stays one call with one result."""
    assert tried(hands, COUNTING, Retry(4, 0.01)).ok
    assert tries(hands) == ["try 2 of 4, in 0.01 s", "try 3 of 4, in 0.01 s"]
    assert (tmp_path / "tries").read_text() == "x\n" * 3
    assert [sum(isinstance(event, kind) for event in hands.events) for kind in (Started, Finished)] == [1, 1]


def test_the_last_failure_is_the_result(hands: Hands, tmp_path: Path) -> None:
    """When all tries are used up the call has failed, after exactly so many."""
    assert not tried(hands, "echo x >> tries; false", Retry(3, 0.01)).ok
    assert (tmp_path / "tries").read_text() == "x\n" * 3


def test_another_failure_is_not_tried_again(hands: Hands, tmp_path: Path) -> None:
    """A retry names what it is for; a command that fails otherwise is over at once."""
    assert not tried(hands, "echo x >> tries; echo no such thing; false", Retry(5, 0.01, on="busy|locked")).ok
    assert (tmp_path / "tries").read_text() == "x\n"


def test_what_explains_a_failure_is_looked_for_unasked(hands: Hands, tmp_path: Path) -> None:
    """Looks are skillrun's own read-only script: nobody is asked, and what they name is typed."""
    (tmp_path / "tool").symlink_to("/no-such-disk/tool")
    asked = question(f"{tmp_path}/tool: No such file or directory", f"{tmp_path}/tool --version", 127)
    result = hands.call(TOOL, **asked)
    assert [cause.sentence for cause in read(result.output) if cause.word == "dangling"] == [
        f"{tmp_path}/tool is a link to /no-such-disk/tool, which is not there."
    ]


def test_a_question_is_no_way_to_run_anything(hands: Hands, tmp_path: Path) -> None:
    """What a failure says reaches the looks as plain words only, whatever shell text it holds."""
    evil = f"'; touch {tmp_path}/owned; '`touch {tmp_path}/owned`$(touch {tmp_path}/owned)"
    hands.call(TOOL, looks=f"room; touch {tmp_path}/owned", paths=evil, hosts=evil, words=evil, numbers=evil)
    assert not (tmp_path / "owned").exists()
