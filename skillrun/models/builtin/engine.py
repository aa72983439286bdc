"""The Model itself: keeps the work going between replies, and starts afresh when the turns are not its own."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from skillrun.events import Event, Reply, Result, State, ToolCall, Turn
from skillrun.ports import Brief

if TYPE_CHECKING:
    from skillrun.models.builtin.bench import Bench, Work


class BuiltinModel:
    """Rules instead of a language model. One call at a time; deterministic for the same results."""

    name = "builtin"

    def __init__(self) -> None:
        self._work: Work[None] | None = None
        self._bench: Bench | None = None
        self._sent: ToolCall | None = None

    def reply(self, brief: Brief, turns: Sequence[Turn]) -> Generator[Event, None, Reply]:
        """The next call of the work under way, or the first of a new one that looks at the machine afresh."""
        yield from ()
        result = self._result_of_mine(turns)
        if result is None or self._work is None:
            # here, for a run in which only checks or a plan speak never asks
            from skillrun.models.builtin.bench import Bench
            from skillrun.models.builtin.work import carry_out

            self._bench = Bench(brief, first_id=len(turns) + 1)
            self._work = carry_out(self._bench, afresh=bool(turns))
            result = None
        assert self._bench is not None
        try:
            self._sent = next(self._work) if result is None else self._work.send(result)
        except StopIteration:
            self._sent = self._work = None
            return Reply(text=_text(self._bench), model=self.name, stop_reason="end_turn")
        return Reply(text=_text(self._bench), calls=(self._sent,), model=self.name, stop_reason="tool_use")

    def upcoming(self) -> Sequence[ToolCall]:
        """The calls of the way being taken, and the checks that follow it, as far as they are known."""
        if self._bench is None or not self._bench.upcoming:
            return ()
        commands = [ToolCall("upcoming", "shell", {"command": text}) for text in self._bench.upcoming]
        return (*commands, *(ToolCall("upcoming", "check", {"command": text}) for text in self._bench.brief.checks))

    def _result_of_mine(self, turns: Sequence[Turn]) -> Result | None:
        """The result of the call that was sent last, when it is the last thing that happened."""
        if not turns or self._sent is None or not turns[-1].results:
            return None
        call, result = turns[-1].results[-1]
        return result if call.id == self._sent.id and result.state is not State.UNKNOWN else None


def _text(bench: Bench) -> str:
    text = " ".join(bench.said)
    bench.said.clear()
    return text
