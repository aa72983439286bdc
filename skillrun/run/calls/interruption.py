"""Somebody presses Ctrl-C: what they mean by it, and what they want to say."""

from __future__ import annotations

from collections.abc import Generator

from skillrun.events import Answered, Asked, Event
from skillrun.ports import Person
from skillrun.run.calls.supervisor import RunTerminated

SAY, END_RUN = "tell it something", "end the run"
WORD = "word"
"""What the question for a person's own words is about, by which a journal knows them."""


def what_now(person: Person, question: str, go_on: str, hears: bool) -> Generator[Event, None, str]:
    """Ask what an interruption means: the person's words, empty where the run goes on without any.

    `go_on` says what that is; `hears`: whoever decides can be told something. Raises RunTerminated when the run ends, as it
    does unattended.
    """
    choices = (go_on, *((SAY,) if hears else ()), END_RUN)
    yield Asked(question, choices, about="interrupt")
    answer = person.ask(question, choices, END_RUN) if person.attended else None
    yield Answered(answer or "", by="person" if answer else "nobody")
    if answer == SAY:
        asked = "What should it know?"
        yield Asked(asked, about=WORD)
        said = (person.ask(asked) or "").strip()
        yield Answered(said)
        return said
    if answer != go_on:
        raise RunTerminated
    return ""
