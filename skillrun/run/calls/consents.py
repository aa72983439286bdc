"""What a person has said yes to in a run: to a call, to its like, to all that comes, for good."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from skillrun.events import Decision, ToolCall, Verdict
from skillrun.policy.approvals import NOT_AHEAD
from skillrun.policy.rules import Rule
from skillrun.ports import Approval, Person, Place, RuleReviewer

YES = ("once", "run", "rest", "always")
"""Words of an Approval that approve."""


@dataclass(slots=True)
class Consents:
    """One run's. `general` finds rules that would allow a call and its like for good, `keep` keeps them (False: it cannot)."""

    general: Callable[[ToolCall, Place], Sequence[Rule]] = lambda call, place: ()
    keep: Callable[[Sequence[Rule]], bool] = lambda rules: False
    _calls: set[str] = field(default_factory=set)
    _rest: bool = False

    def earlier(self, bound: str, decision: Decision) -> str:
        """Why this need not be asked any more; empty when it must be. `bound`: what an approval of it would be good for."""
        if bound in self._calls:
            return "approved earlier in this run"
        ahead = self._rest and not NOT_AHEAD & {effect.kind for effect in decision.effects}
        return "you said yes to the rest of this skill" if ahead else ""

    def heed(
        self, decision: Decision, word: Approval, bound: str, person: Person, kept: tuple[ToolCall, Place] | tuple[()]
    ) -> Decision:
        """The decision after the person's word. `kept`: the call that "always" may keep rules for, and where; () for none."""
        if word.how not in YES:
            return dataclasses.replace(decision, verdict=Verdict.DENY, by="person", reason=word.reason or "the person said no")
        if word.how != "once":
            self._calls.add(bound)
        self._rest = self._rest or word.how == "rest"
        rule = (self._kept(person, kept) if word.how == "always" else "") or decision.rule
        reason = word.reason or "you approved it"
        return dataclasses.replace(decision, verdict=Verdict.ALLOW, by="person", rule=rule, reason=reason)

    def _kept(self, person: Person, kept: tuple[ToolCall, Place] | tuple[()]) -> str:
        """The rules that were kept for good, in words; empty for none. Whoever can see them before decides on them."""
        rules = self.general(*kept) if kept else ()
        names = [rule.name for rule in rules]
        if isinstance(person, RuleReviewer) and not person.keep_rules(names):
            return ""
        return "; ".join(names) if rules and self.keep(rules) else ""
