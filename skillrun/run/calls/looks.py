"""The looks of a run: one after the other, or those of one reply at the same time, each behind a wall of its own."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

from skillrun.events import BY_PERSON, Decision, Event, Result, State, ToolCall
from skillrun.ports import Place
from skillrun.run.calls.judged import Judged
from skillrun.run.calls.look import Looked, look

if TYPE_CHECKING:
    from skillrun.looking.shell import LookingShell

AT_ONCE = 4
"""So many looks are carried out at the same time; each has a shell and a keeper of its own."""


class _Begun:
    """A look at work in a thread. Nothing it does counts until it is asked for."""

    def __init__(self, shell: LookingShell, call: ToolCall, decision: Decision, place: Place) -> None:
        self.asked = (call, decision, place)
        self.looked: Looked | None = None
        self._look = look(shell, call, decision, place)
        self.thread = threading.Thread(target=self._run, name=f"look {call.id}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            while True:
                next(self._look)
        except StopIteration as stop:
            self.looked = stop.value


class Looks:
    """Shells that only look. `make` makes one; its outputs lie in a folder of the name it is given."""

    def __init__(self, make: Callable[[str], LookingShell]) -> None:
        self._make = make
        self._shells = [make("looks")]
        self._begun: dict[str, _Begun] = {}

    def begin(self, calls: Sequence[ToolCall], judged: Callable[[ToolCall], Judged | None], place: Place) -> None:
        """Start the looks among the first `AT_ONCE` calls, up to one that is none: they change nothing, so their order is free.

        `judged`: a call with its decision, None for one that does not only look.
        """
        self._wait()
        self._begun = {}
        wishes = list(itertools.takewhile(bool, map(judged, calls[:AT_ONCE])))
        for number, wish in enumerate(wishes if len(wishes) > 1 else ()):
            assert wish is not None
            if number == len(self._shells):
                self._shells.append(self._make(f"looks-{number + 1}"))
            self._begun[wish.call.id] = _Begun(self._shells[number], wish.call, wish.decision, place)

    def has_begun(self, call: ToolCall) -> bool:
        """Is it one of those that were started together?"""
        return call.id in self._begun

    def look(self, call: ToolCall, decision: Decision, place: Place) -> Generator[Event, None, Looked]:
        """Carry a call out where it can only look, unless it has been begun and nothing is different since.

        Ctrl-C ends all looks that are at work.
        """
        begun = self._begun.pop(call.id, None)
        try:
            self._wait(*([begun] if begun else ()))
            if begun is not None and begun.looked is not None and begun.asked == (call, decision, place):
                return begun.looked
            return (yield from look(self._shells[0], call, decision, place))
        except KeyboardInterrupt:
            self.close()
            self._shells = [self._make("looks")]
            raise

    def acted(self, text: str) -> None:
        """The acting shell has run this, so that what was begun before is out of date."""
        self._wait()
        self._begun = {}
        for shell in self._shells:
            shell.acted(text)

    def go_along(self, result: Result) -> None:
        """The acting shell goes where a look that ended well went."""
        self._shells[0].go_along(result.cwd)

    def _wait(self, *more: _Begun) -> None:
        for begun in (*self._begun.values(), *more):
            begun.thread.join()

    def close(self) -> None:
        """End everything that was started here."""
        for shell in self._shells:
            shell.wall.close()  # which ends what runs behind it, and so the threads that wait for that
        self._wait()
        self._begun = {}
        for shell in self._shells:
            shell.close()


def interrupted() -> Looked:
    """What is known of a look that the person ended."""
    return Looked(Result(State.INTERRUPTED, note=BY_PERSON))
