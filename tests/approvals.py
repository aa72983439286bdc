"""A person who says yes or no to everything, and remembers what was asked."""

from __future__ import annotations

from collections.abc import Sequence

from skillrun.events import Decision, Result, ToolCall
from skillrun.ports import Approval, Place, Target


class Watching:
    """Attended, and quick to answer."""

    attended = True

    def __init__(self, yes: bool = True) -> None:
        self.yes = yes
        self.asked: list[ToolCall] = []

    def approve(self, call: ToolCall, decision: Decision, place: Place) -> Approval:
        """The same answer to every call."""
        self.asked.append(call)
        return Approval("once" if self.yes else "no")

    def ask(self, question: str, choices: Sequence[str] = (), default: str = "") -> str | None:
        """Whatever is offered first."""
        return choices[0] if choices else default

    def secret(self, name: str, why: str) -> str | None:
        """Has none."""
        return None

    def hand_over(self, target: Target) -> Result | None:
        """Types nothing."""
        return None
