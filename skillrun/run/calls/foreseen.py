"""One approval for all that a plan is about to do: put before the person once, as the policy reads it now."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from skillrun.events import Decision, EffectKind, ToolCall, Verdict

Touched = frozenset[tuple[EffectKind, str]]


@dataclass(slots=True)
class Foreseen:
    """What a model says it will do, and what of it was agreed to. A call is covered only while it does nothing beyond that."""

    upcoming: Callable[[], Sequence[ToolCall]] = tuple
    asked: bool = False
    _calls: frozenset[str] = field(default=frozenset())
    _effects: Touched = field(default=frozenset())

    def agreed(
        self,
        call: ToolCall,
        decision: Decision,
        judge: Callable[[ToolCall], Decision],
        approve: Callable[[ToolCall, Decision], bool],
    ) -> bool:
        """Was this very call agreed to, doing nothing else than it was seen to do then? Asks, the first time, about all.

        A no leaves each call to be asked about by itself.
        """
        if whole := self._whole(call):
            self.asked = True
            found = judge(whole)
            if found.verdict is Verdict.ASK and approve(whole, found):
                self._calls = frozenset(map(_key, self.upcoming()))
                self._effects = _touched(found)
        return _key(call) in self._calls and _touched(decision) <= self._effects

    def _whole(self, call: ToolCall) -> ToolCall | None:
        """All that is to come as one call, to be judged and asked about; None where that is this call alone, or was asked."""
        calls = self.upcoming()
        if self.asked or len(calls) < 2 or _key(call) not in map(_key, calls):
            return None
        text = "\n".join(_as_text(each) for each in calls)
        each = "both" if len(calls) == 2 else f"all {len(calls)}"
        return ToolCall(call.id, "shell", {"command": text, "why": f"{each} steps of the plan, one after another"})


def _touched(decision: Decision) -> Touched:
    return frozenset((effect.kind, effect.subject) for effect in decision.effects)


def _key(call: ToolCall) -> str:
    if call.name == "write_file":
        return f"write_file\0{call.input.get('path')}\0{call.input.get('mode')}\0{call.input.get('content')}"
    return f"{call.name}\0{call.command}"


def _as_text(call: ToolCall) -> str:
    if call.name != "write_file":
        return call.command
    return f"printf %s {shlex.quote(str(call.input['content']))} > {shlex.quote(str(call.input['path']))}"
