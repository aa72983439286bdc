"""A model that says what it was told to say: for tests and demonstrations."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence

from skillrun.events import Event, Reply, Turn
from skillrun.ports import Brief

Line = Reply | Callable[[Brief, Sequence[Turn]], Reply]


class ScriptExhausted(AssertionError):
    """The run asked for more replies than the script holds."""


class ScriptedModel:
    """Replies in order; a line may be a function of what happened so far. Raises ScriptExhausted at the end.

    The place in the script is the number of turns so far, so a resumed run goes on where it stopped.
    """

    name = "scripted"

    def __init__(self, script: Iterable[Line], name: str = "scripted") -> None:
        self.script = tuple(script)
        self.name = name

    def reply(self, brief: Brief, turns: Sequence[Turn]) -> Generator[Event, None, Reply]:
        """The line for this turn."""
        yield from ()
        if len(turns) >= len(self.script):
            raise ScriptExhausted(f"the script holds {len(self.script)} replies and another was asked for")
        line = self.script[len(turns)]
        return line(brief, turns) if callable(line) else line
