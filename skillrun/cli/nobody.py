"""Who may be asked: the person at this process's terminal, or nobody."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from skillrun.events import Decision, Result, ToolCall
from skillrun.ports import Approval, Place, Target

if TYPE_CHECKING:
    from skillrun.cli.person import TerminalPerson


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


def find_person(no_input: bool) -> TerminalPerson | Nobody:
    """The person at this process's terminal, or nobody: none there, told not to ask, or in the background."""
    if no_input or not (os.isatty(0) or os.isatty(2)):
        return Nobody()
    from skillrun.cli.person import TerminalPerson

    try:
        person = TerminalPerson()
    except OSError:
        return Nobody()
    if os.tcgetpgrp(person._fd) != os.getpgrp():
        person.close()
        return Nobody()
    return person
