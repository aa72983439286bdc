"""One model after another: who speaks when, with what in front of it."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import pytest

from skillrun.events import Event, Noted, Reply, Result, State, ToolCall, Turn
from skillrun.models.chain import ChainModel
from skillrun.models.scripted import ScriptedModel, ScriptExhausted
from skillrun.ports import Brief, ModelUnavailable
from skillrun.skills.skill import Skill

BRIEF = Brief(Skill("x", "x", "x", "skill", "x"))


class Gone:
    """A model that is not there."""

    def __init__(self, name: str = "gone") -> None:
        self.name, self.asked = name, 0

    def reply(self, brief: Brief, turns: Sequence[Turn]) -> Generator[Event, None, Reply]:
        """Never a reply."""
        self.asked += 1
        yield Noted("trying")
        raise ModelUnavailable("no power", "plug it in")


def ask(model: ChainModel, turns: Sequence[Turn] = ()) -> tuple[Reply, list[str]]:
    """One reply and the notes on the way."""
    stream, notes = model.reply(BRIEF, turns), list[str]()
    while True:
        try:
            event = next(stream)
        except StopIteration as done:
            return done.value, notes
        if isinstance(event, Noted):
            notes.append(event.text)


def finish(outcome: str) -> Reply:
    """A reply that ends."""
    return Reply("", (ToolCall("f", "finish", {"outcome": outcome, "summary": "s"}),))


def test_the_next_one_takes_over_with_everything_so_far() -> None:
    """When a model is unavailable the next one gets all turns, the change is seen, and the first is not asked again."""
    gone, seen = Gone(), []
    made = ToolCall("a", "shell", {"command": "ls", "why": "x"})
    turns = [Turn(Reply("", (made,)), ((made, Result(State.EXITED, 0)),))]

    def line(_: Brief, so_far: Sequence[Turn]) -> Reply:
        seen.append(list(so_far))
        return Reply("hello")

    model = ChainModel([gone, ScriptedModel([Reply("unused"), line, line], "second")])
    assert model.name == "gone"
    reply, notes = ask(model, turns)
    assert (reply.text, model.name) == ("hello", "second")
    assert notes == ["trying", "gone cannot go on (no power); second takes over"]
    ask(model, turns)
    assert gone.asked == 1
    assert seen == [turns, turns]


def test_a_model_that_is_stuck_hands_over_and_the_last_one_may_say_so() -> None:
    """finish(stuck) goes to the next model, with what it said, instead of ending the run; from the last it is the answer."""
    model = ChainModel([ScriptedModel([finish("stuck")], "rules"), ScriptedModel([finish("stuck")], "claude")])
    reply, notes = ask(model)
    assert reply.calls[0].input["outcome"] == "stuck"
    assert notes == ["rules cannot go on (s); claude takes over"]


@pytest.mark.parametrize("outcome", ["done", "refused", "needs_person", "unsupported"])
def test_a_refusal_is_not_shopped_around(outcome: str) -> None:
    """Any other end is the end: a refusal or a question for the person is not given to a model that may say yes."""
    model = ChainModel([ScriptedModel([finish(outcome)], "one"), ScriptedModel([Reply("yes")], "two")])
    assert ask(model)[0].calls[0].input["outcome"] == outcome
    assert model.name == "one"


def test_when_nobody_is_left_the_last_reason_is_given() -> None:
    """All gone: the last one's reason and hint."""
    with pytest.raises(ModelUnavailable, match="no power") as stop:
        ask(ChainModel([Gone("a"), Gone("b")]))
    assert stop.value.hint == "plug it in"


def test_a_script_that_ran_out_is_an_error_not_a_reply() -> None:
    """A test script that is too short fails its test loudly."""
    with pytest.raises(ScriptExhausted):
        ask(ChainModel([ScriptedModel([])]))
