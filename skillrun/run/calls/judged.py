"""A call on its way to being carried out: as it stands, with what was decided of it."""

from __future__ import annotations

from dataclasses import dataclass

from skillrun.events import Decision, ToolCall
from skillrun.run.calls.supervisor import CHECK


@dataclass(frozen=True, slots=True)
class Judged:
    """A call, as it was made, edited or unpacked, and the decision on it."""

    call: ToolCall
    decision: Decision


@dataclass(frozen=True, slots=True)
class Edited:
    """The person wants another command instead."""

    command: str


def describe(call: ToolCall) -> str:
    """A call in one line, for a sentence."""
    if call.name in ("shell", CHECK):
        return f"`{call.command}`"
    return f"{call.name} {call.input.get('path', '')}".strip()
