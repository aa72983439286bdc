"""What may run on the machines of a group: judged by the policy as at home, agreed to once for all of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from skillrun.errors import Problem
from skillrun.events import Decision, EffectKind, ToolCall, Verdict
from skillrun.fleet.rollout import program
from skillrun.fleet.rollout.machine import Machine
from skillrun.plans.plan import Plan, Step, values_for
from skillrun.plans.proof import alternatives
from skillrun.policy.modes import settle, without_wall
from skillrun.policy.rulebook import open_judge
from skillrun.policy.rules import BadRule
from skillrun.ports import Person, Place
from skillrun.record.wording import effects_by_kind
from skillrun.run.calls.consents import Consents
from skillrun.skills.skill import Check, Skill

PLAN = "plan"
"""The name of the call that is a whole plan: it can be agreed to or not, and neither edited nor allowed for good."""


class Denied(Exception):
    """What may not run there, and why."""


@dataclass(frozen=True, slots=True)
class _Agreement:
    """Steps that a person said yes to for a group, with the kinds of effects they saw."""

    steps: tuple[Step, ...]
    kinds: frozenset[EffectKind]

    def covers(self, plan: Plan, decision: Decision) -> bool:
        """Is this plan no more than what was agreed to? A proof takes steps away, and halves of them."""
        known = {_does(step) for step in self.steps}
        known |= {_does(replace(step, run=side)) for step in self.steps for side in alternatives(step.run) or ()}
        return all(_does(step) in known for step in plan.steps) and {effect.kind for effect in decision.effects} <= self.kinds


def _does(step: Step) -> tuple[object, ...]:
    """What a step does, and where: all that a person reads of it."""
    environment = tuple(sorted(step.environment.items()))
    return step.run, step.path, step.content, step.mode, step.directory, environment, step.umask, step.answers


class Consent:
    """The policy, the mode and the person, asked about many machines at once. Raises Problem for rules that cannot be read.

    `asking` is held while the person is asked.
    """

    def __init__(self, skill: Skill, approve: str, person: Person, asking: threading.Lock) -> None:
        self._skill, self._approve, self._person, self._asking = skill, approve, person, asking
        self._consents = Consents()
        self._agreements: dict[str, list[_Agreement]] = {}
        try:
            self._judge = open_judge(skill)
        except BadRule as error:
            raise Problem(str(error), "correct the rule, or take it out with `skillrun rules --revoke NAME`") from None

    def to_checks(self, checks: Sequence[Check], count: int) -> None:
        """May the checks run on all of them, before anything else? Raises Denied."""
        place = Place(cwd="/", home="/")
        open_ones = [check for check in checks if self._decided(check.command, place).verdict is not Verdict.ALLOW]
        if not open_ones:
            return
        text = "\n".join(check.command for check in open_ones)
        call = ToolCall("checks", PLAN, {"command": text, "why": f"the checks, on each of {count} machines"})
        self._agreed(call, self._decided(text, place), place)

    def to_plan(self, plan: Plan, inputs: Mapping[str, str], machines: Sequence[Machine], group: str) -> Decision:
        """May the plan run on these machines of one group? It is read with the values of each account.

        A person who agreed to it for this group, with its canary or before, is not asked again. Raises Denied, PlanError.
        """
        decision: Decision | None = None
        for text, place in self._readings(plan, inputs, machines):
            found = self._decided(text, place)
            if found.verdict is Verdict.ASK and any(one.covers(plan, found) for one in self._agreements.get(group, ())):
                found = replace(found, verdict=Verdict.ALLOW, by="person", reason="you agreed to it for this group")
            if found.verdict is not Verdict.ALLOW:
                why = f"all {len(plan.steps)} steps of the plan, on {len(machines)} machines: {names(machines)}"
                seen = found
                found = self._agreed(ToolCall("plan", PLAN, {"command": text, "why": why}), seen, place)
                self._remember(plan, group, [seen])
            decision = decision or found
        assert decision is not None
        return decision

    def proposal(self, plan: Plan, inputs: Mapping[str, str], machines: Sequence[Machine], group: str) -> list[str]:
        """What a yes to this plan means for these machines, in lines for a person. Raises PlanError."""
        decisions = [self._decided(*reading) for reading in self._readings(plan, inputs, machines)]
        effects = [effect for decision in decisions for effect in decision.effects]
        lines = [f"The plan made of that, for {len(machines)} more of {group} ({names(machines)}):"]
        for number, step in enumerate(plan.steps, 1):
            text = program.shown(plan, [number - 1], values_for(plan, inputs, machines[0].home, machines[0].user))
            first, *rest = text.splitlines() or [step.words]
            lines += [f"  {number}. {first}", *(f"     {line}" for line in rest)]
        return lines + [f"  {words}: {subjects}" for words, subjects, _ in effects_by_kind(effects)]

    def agree(self, plan: Plan, inputs: Mapping[str, str], machines: Sequence[Machine], group: str) -> None:
        """The person said yes to this plan for this group, with its canary."""
        self._remember(plan, group, [self._decided(*reading) for reading in self._readings(plan, inputs, machines)])

    def _remember(self, plan: Plan, group: str, decisions: Sequence[Decision]) -> None:
        kinds = frozenset(effect.kind for decision in decisions for effect in decision.effects)
        self._agreements.setdefault(group, []).append(_Agreement(plan.steps, kinds))

    @staticmethod
    def _readings(plan: Plan, inputs: Mapping[str, str], machines: Sequence[Machine]) -> Iterator[tuple[str, Place]]:
        """The plan as it would run, once for each kind of account."""
        seen: set[str] = set()
        for machine in machines:
            place = Place(cwd=machine.home, home=machine.home, user=machine.user)
            text = program.shown(plan, range(len(plan.steps)), values_for(plan, inputs, machine.home, machine.user))
            if text not in seen:
                seen.add(text)
                yield text, place

    def _decided(self, text: str, place: Place) -> Decision:
        decision = self._judge(ToolCall("judged", "shell", {"command": text}), place)
        return without_wall(settle(decision, self._approve, self._skill, place, self._judge.rules))

    def _agreed(self, call: ToolCall, decision: Decision, place: Place) -> Decision:
        if decision.verdict is Verdict.ASK:
            with self._asking:
                if reason := self._consents.earlier(call.command, decision):
                    return replace(decision, verdict=Verdict.ALLOW, by="person", reason=reason)
                word = self._person.approve(call, decision, place)
                decision = self._consents.heed(decision, word, call.command, self._person, ())
        if decision.verdict is Verdict.DENY:
            raise Denied(decision.reason)
        return decision


def names(machines: Sequence[Machine], most: int = 5) -> str:
    """Machines in a line."""
    told = ", ".join(machine.name for machine in machines[:most])
    return told if len(machines) <= most else f"{told} and {len(machines) - most} more"
