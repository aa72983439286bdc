"""The calling agent as the model of a run: it is given the brief and results, and gives one call at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from skillrun.events import Event, Noted, Reply, ToolCall, Turn
from skillrun.llm.conversation import render_finish, render_result
from skillrun.llm.prompt import render_brief
from skillrun.llm.tools import BadInput, checked, definitions
from skillrun.ports import Brief

BEAT_S = 1.0
"""Seconds between two events while the agent thinks, so that the run can be ended."""


class Gone(Exception):
    """Whoever decided does not decide any more."""


class Caller:
    """A Model whose replies come from another thread. One call at a time, each answered before the next is taken."""

    name = "caller"

    def __init__(self) -> None:
        self._replies: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()
        self._turn = threading.Condition()
        self._brief: Brief | None = None
        self._turns: tuple[Turn, ...] = ()
        self._waiting = False
        self._number = 0

    def reply(self, brief: Brief, turns: Sequence[Turn]) -> Generator[Event, None, Reply]:
        """Wait for the agent's next call. Raises Gone when it will give none any more."""
        with self._turn:
            self._brief, self._turns, self._waiting = brief, tuple(turns), True
            self._turn.notify_all()
        while True:
            try:
                reply = self._replies.get(timeout=BEAT_S)
            except queue.Empty:
                yield Noted("")
                continue
            if reply is None:
                raise Gone
            return reply

    def leave(self) -> None:
        """Give no further call: the run ends."""
        self._replies.put(None)

    def is_waiting(self) -> bool:
        """Is it the agent's turn?"""
        return self._waiting

    def told(self) -> dict[str, Any]:
        """What the agent has to read now: the brief before its first call, afterwards what the last one came to."""
        with self._turn:
            if self._brief is None:
                return {"results": []}
            if not self._turns:
                return {"brief": render_brief(self._brief), "tools": definitions()}
            results = self._turns[-1].results
            rows = [
                (call, render_finish(result) if call.name == "finish" else render_result(result)) for call, result in results
            ]
            return {"results": [{"tool": call.name, "result": text} for call, text in rows]}

    def give(self, tool: str, given: Mapping[str, Any]) -> None:
        """The agent's next call. Raises ValueError when it is not its turn, or for a call no tool takes."""
        with self._turn:
            if not self._waiting:
                raise ValueError("the run is not waiting for a call: ask `status` what it does")
            try:
                data = checked(tool, given)
            except BadInput as error:
                raise ValueError(str(error)) from None
            self._number += 1
            self._waiting = False
        self._replies.put(Reply(calls=(ToolCall(f"c{self._number}", tool, data),), model=self.name))
