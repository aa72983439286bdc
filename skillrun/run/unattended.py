"""Nobody: what an unattended run has in place of a person."""

from __future__ import annotations

from collections.abc import Sequence

from skillrun.events import Decision, Result, ToolCall
from skillrun.ports import Approval, Place, Target


class Nobody:
    """No one is there: every question is answered with no. What runs unattended runs by policy and mode alone."""

    attended = False

    def approve(self, call: ToolCall, decision: Decision, place: Place) -> Approval:
        """No, and why."""
        return Approval("no", reason=f"nobody is here to ask: {decision.reason}")

    def ask(self, question: str, choices: Sequence[str] = (), default: str = "") -> str | None:
        """No answer."""
        return None

    def secret(self, name: str, why: str = "") -> str | None:
        """No secret."""
        return None

    def hand_over(self, target: Target) -> Result | None:
        """No terminal to hand anything to."""
        return None
