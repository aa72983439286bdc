"""What may run on the machines of a group: judged by the policy as at home, agreed to once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from skillrun.errors import Problem
from skillrun.events import Decision, ToolCall, Verdict
from skillrun.fleet.rollout import program
from skillrun.fleet.rollout.machine import Machine
from skillrun.plans.plan import Plan, values_for
from skillrun.policy.modes import settle, without_wall
from skillrun.policy.rulebook import open_judge
from skillrun.policy.rules import BadRule
from skillrun.ports import Person, Place
from skillrun.skills.skill import Check, Skill


class Denied(Exception):
    """What may not run there, and why."""


class Consent:
    """The policy, the mode and the person, asked about many machines at once. Raises Problem for rules that cannot be read."""

    def __init__(self, skill: Skill, approve: str, person: Person) -> None:
        self._skill, self._approve, self._person = skill, approve, person
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
        self._agreed(ToolCall("checks", "shell", {"command": text, "why": f"the checks, on each of {count} machines"}), place)

    def to_plan(self, plan: Plan, inputs: dict[str, str], machines: Sequence[Machine]) -> Decision:
        """May the plan run on these machines of one group? It is read with the values of each account. Raises Denied."""
        decision: Decision | None = None
        seen: set[str] = set()
        for machine in machines:
            place = Place(cwd=machine.home, home=machine.home, user=machine.user)
            text = program.shown(plan, range(len(plan.steps)), values_for(plan, inputs, machine.home, machine.user))
            if text in seen:
                continue
            seen.add(text)
            why = f"all {len(plan.steps)} steps of the plan, on {len(machines)} machines: {names(machines)}"
            found = self._agreed(ToolCall("plan", "shell", {"command": text, "why": why}), place)
            decision = decision or found
        assert decision is not None
        return decision

    def _decided(self, text: str, place: Place) -> Decision:
        decision = self._judge(ToolCall("judged", "shell", {"command": text}), place)
        return without_wall(settle(decision, self._approve, self._skill, place, self._judge.rules))

    def _agreed(self, call: ToolCall, place: Place) -> Decision:
        decision = self._decided(call.command, place)
        if decision.verdict is Verdict.ASK:
            word = self._person.approve(call, decision, place)
            if word.how in ("once", "run", "rest", "always"):
                return decision
            raise Denied(word.reason or "the person said no")
        if decision.verdict is Verdict.DENY:
            raise Denied(decision.reason)
        return decision


def names(machines: Sequence[Machine], most: int = 5) -> str:
    """Machines in a line."""
    told = ", ".join(machine.name for machine in machines[:most])
    return told if len(machines) <= most else f"{told} and {len(machines) - most} more"
