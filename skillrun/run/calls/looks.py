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
    """Shells that only look. `make` makes one; its outputs lie in a folder of the name it is given.

    `together`: only several looks of one reply are worth a shell here, which is then made; says whether it can be.
    """

    def __init__(self, make: Callable[[str], LookingShell], together: Callable[[], bool] | None = None) -> None:
        self._make, self._together = make, together
        self._past: list[str] = []
        self._shells: list[LookingShell] = []
        self._begun: dict[str, _Begun] = {}
        self._renew()

    def _renew(self) -> None:
        """Begin with one shell, where one look is worth it."""
        self._shells = [] if self._together else [self._new("looks")]

    def _new(self, name: str) -> LookingShell:
        """A shell that knows what the acting one has been told so far."""
        shell = self._make(name)
        for text in self._past:
            shell.acted(text)
        return shell

    def takes(self, call: ToolCall) -> bool:
        """Is this call looked at here, as it comes?"""
        return self._together is None or self.has_begun(call)

    def begin(self, calls: Sequence[ToolCall], judged: Callable[[ToolCall], Judged | None], place: Place) -> None:
        """Start the looks among the first `AT_ONCE` calls, up to one that is none: they change nothing, so their order is free.

        `judged`: a call with its decision, None for one that does not only look.
        """
        self._wait()
        self._begun = {}
        several = calls[:AT_ONCE] if len(calls) > 1 else ()  # one call alone is not judged twice
        wishes = [wish for wish in itertools.takewhile(bool, map(judged, several)) if wish is not None]
        if len(wishes) < 2 or (self._together is not None and not self._together()):
            return
        while len(self._shells) < len(wishes):
            self._shells.append(self._new(f"looks-{len(self._shells) + 1}" if self._shells else "looks"))
        used = self._shells[: len(wishes)]
        for shell in used:
            shell.learn()
        for shell, wish in zip(used, wishes, strict=True):
            self._begun[wish.call.id] = _Begun(shell, wish.call, wish.decision, place)

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
            self._renew()
            raise

    def acted(self, text: str) -> None:
        """The acting shell has run this, so that what was begun before is out of date."""
        self._wait()
        self._begun = {}
        self._past.append(text)
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
