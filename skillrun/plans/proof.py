"""Proving a plan: from the same start its steps are run again, and taken away one by one while nothing is missed.

A step is not needed when, without it, every other step still ends as expected, the checks pass, and the same paths are
changed (logs and caches apart, and what differs between two runs of the whole plan anyway). What a place cannot decide,
because it starts no services, is kept and marked.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from skillrun.bash.nodes import AndOr
from skillrun.bash.syntax import parse
from skillrun.events import Result
from skillrun.host.facts import essentials, split, understand
from skillrun.plans.conditions import outside, wider
from skillrun.plans.lab import Lab, Room
from skillrun.plans.looking import behind
from skillrun.plans.observed import Seen, described, look_at
from skillrun.plans.plan import Condition, Plan, PlanError, Proof, Step, typed, values_for
from skillrun.plans.rendering import shell_of

Changes = Mapping[str, tuple[int, int, int]]
Tell = Callable[[str], None]


@dataclass(slots=True)
class _Trial:
    """One run of some steps in a fresh place."""

    ok: bool
    reason: str = ""
    changes: list[Changes] = field(default_factory=list)
    """What was changed up to the end of each step."""
    seen: Seen | None = None
    missed: list[tuple[int, int]] = field(default_factory=list)
    """What a step was to leave and a look at it did not find: the step's number and the postcondition's."""

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(self.changes[-1]) if self.changes else frozenset()


@dataclass(slots=True)
class Prover:
    """Proves plans in one lab, for at most `budget_s` seconds of searching; what was found until then counts."""

    lab: Lab
    where: str
    budget_s: float | None = None
    tell: Tell = lambda text: None
    inputs: Mapping[str, str] = field(default_factory=dict)
    runs: int = 0
    outside: list[tuple[Condition, str]] = field(default_factory=list)
    """Conditions that the place a plan was confirmed in does not meet, and what there is instead."""
    _begun: float = field(default_factory=time.monotonic)

    def prove(self, candidates: Sequence[Plan]) -> Plan:
        """The smallest plan found of the first candidate that works, with its proof. Raises PlanError when none does.

        Candidates are given from the one hoped for to the one that does all the run did. Raises what the lab raises.
        """
        reasons = []
        for plan in candidates:
            first = self._try(plan, observe=True)
            if first.ok:
                return self._proven(plan, first)
            reasons.append(first.reason)
        raise PlanError(f"it could not be proven again: {reasons[-1] if reasons else 'there is nothing to try'}")

    def confirm(self, plan: Plan) -> str:
        """Run a plan once in a fresh place: empty when it holds, with all it says it leaves, else what differs."""
        trial = self._try(plan, whole=True)
        if trial.reason or not trial.missed:
            return trial.reason
        number, index = trial.missed[0]
        left = plan.steps[number].leaves[index]
        words = f"{left.kind} {left.subject}"
        return f"step {number + 1}, `{plan.steps[number].words}`, did not leave what it should ({words})"

    def needless(self, plan: Plan) -> list[int]:
        """The numbers (from 0) of steps that can be left out by themselves: without one of them every other ends as it should,
        the checks pass, and the same paths are changed. None in a minimal plan. Raises PlanError where the plan does not hold.
        """
        first, second = self._try(plan), self._try(plan)
        if reason := first.reason or second.reason:
            raise PlanError(reason)
        unsteady = first.paths ^ second.paths
        found = []
        for number, step in enumerate(plan.steps):
            self.tell(f"without {step.words}")
            trial = self._try(dataclasses.replace(plan, steps=(*plan.steps[:number], *plan.steps[number + 1 :])))
            undecided = self._is_service(step) and not self._services
            if trial.ok and not undecided and trial.paths - unsteady == second.paths - unsteady:
                found.append(number)
        return found

    def _seen_again(self, plan: Plan) -> Plan:
        """The plan carried out once more with the looks that a replay makes, by whom it is for: what these do not find (it lies
        where only root may look) is not promised, and its step is then never taken for done. Raises PlanError where it fails.
        """
        self.tell("once more, with a look at all that it leaves")
        trial = self._try(plan, whole=True)
        if trial.reason:
            raise PlanError(f"it does not work with a look behind each step: {trial.reason}")
        steps = []
        for number, step in enumerate(plan.steps):
            kept = tuple(left for index, left in enumerate(step.leaves) if (number, index) not in trial.missed)
            steps.append(dataclasses.replace(step, leaves=kept, complete=step.complete and len(kept) == len(step.leaves)))
        plan = dataclasses.replace(plan, steps=tuple(steps))
        return wider(plan, self.outside) or plan

    def _proven(self, plan: Plan, first: _Trial) -> Plan:
        second = self._try(plan, observe=True, last=True)
        if not second.ok:
            raise PlanError(f"it worked once and not a second time: {second.reason}")
        unsteady = first.paths ^ second.paths
        steady = second.paths - unsteady
        kept, away, undecided = self._fewest(plan, second, steady, unsteady)
        last, before = second, first
        if kept:
            fewer = dataclasses.replace(plan, steps=tuple(plan.steps[i] for i in kept))
            fewer, told = self._one_side(fewer, steady, unsteady)
            away += told
        if away:
            plan = fewer
            last, before = self._try(plan, observe=True, last=True), second
            if not last.ok:
                raise PlanError(f"it does not work without the steps that seemed not to be needed: {last.reason}")
        assert last.seen is not None
        plan = self._seen_again(described(plan, last.changes, last.seen, before.seen, steady))
        proof = Proof(
            when=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
            where=self.where,
            runs=self.runs,
            taken_away=tuple(away),
            seconds=round(time.monotonic() - self._begun, 1),
            files=len(steady),
            undecided=tuple(undecided),
        )
        return dataclasses.replace(plan, proof=proof, made=proof.when)

    def _fewest(
        self, plan: Plan, whole: _Trial, steady: frozenset[str], unsteady: frozenset[str]
    ) -> tuple[list[int], list[str], list[str]]:
        """The numbers of the steps that are needed, the words of those that are not, and what could not be decided.

        Delta debugging, cheapest first: all that changed nothing together, then each alone, from the last to the first.
        """
        kept = list(range(len(plan.steps)))
        undecided = [i for i in kept if self._is_service(plan.steps[i]) and not self._services]
        idle = [i for i in kept if i not in undecided and not _own(whole.changes, i)]
        tries: list[list[int]] = [idle] if len(idle) > 1 else []
        tries += [[i] for i in sorted(idle, reverse=True)]
        tries += [[i] for i in reversed(kept) if i not in undecided and i not in idle]
        words: list[str] = []
        unsure = [f"{plan.steps[i].words} (services are not started there)" for i in undecided]
        for number, group in enumerate(tries):
            if not set(group) <= set(kept) or len(kept) == len(group):
                continue
            if self._over():
                unsure += [plan.steps[i].words for rest in tries[number:] for i in rest if i in kept and len(rest) == 1]
                break
            self.tell(f"without {', '.join(plan.steps[i].words for i in group)}")
            smaller = [i for i in kept if i not in group]
            trial = self._try(dataclasses.replace(plan, steps=tuple(plan.steps[i] for i in smaller)))
            if trial.ok and (trial.paths - unsteady) == steady:
                kept = smaller
                words += [plan.steps[i].words for i in group]
        return kept, words, list(dict.fromkeys(unsure))

    def _one_side(self, plan: Plan, steady: frozenset[str], unsteady: frozenset[str]) -> tuple[Plan, list[str]]:
        """`A || B` as the side that does the work, and in words what the other one was: that `A` failed shows nowhere else."""
        told: list[str] = []
        for number, step in enumerate(plan.steps):
            if self._is_service(step) and not self._services:
                continue  # which side did the work is seen only where services are started
            sides = alternatives(step.run)
            for side, other, words in ((0, 1, "was not needed"), (1, 0, "failed, and what is behind it did the work")):
                if sides is None or self._over():
                    break
                tried = dataclasses.replace(step, run=sides[side])
                smaller = dataclasses.replace(plan, steps=(*plan.steps[:number], tried, *plan.steps[number + 1 :]))
                trial = self._try(smaller)
                if trial.ok and (trial.paths - unsteady) == steady:
                    told.append(f"`{' '.join(sides[other].split())}` of step {number + 1} {words}")
                    plan = smaller
                    break
        return plan, told

    _services: bool = True

    def _is_service(self, step: Step) -> bool:
        return any(effect.startswith("service") for effect in step.effects)

    def _over(self) -> bool:
        return self.budget_s is not None and time.monotonic() - self._begun > self.budget_s

    def _try(self, plan: Plan, observe: bool = False, whole: bool = False, last: bool = False) -> _Trial:
        """Run the steps and the checks in a fresh place.

        `observe`: find out what they leave; `last`: with what lock files hold of it. `whole`: look whether all of it is there.
        """
        self.runs += 1
        with self.lab() as room:
            self._services = room.services
            if not any(self._fails(room, check) for check in plan.checks):
                raise PlanError("the checks pass there before anything is done, so they prove nothing")
            try:
                values = values_for(plan, self.inputs, room.home, room.user, room.home)
                if whole:
                    self.outside = unmet_in(room, plan)
                trial, before = _Trial(ok=False), look_at(room) if observe else None
                for number, step in enumerate(plan.steps, 1):
                    trial.reason = self._step(room, step, values, plan.steps[number - 2] if number > 1 else None, number)
                    if trial.reason:
                        return trial
                    for index, left in enumerate(step.leaves if whole else ()):
                        if (room.services or left.kind != "service") and not room.run(behind(left, values)).ok:
                            trial.missed.append((number - 1, index))
                    if observe:
                        trial.changes.append(room.changed())
            except PlanError as error:
                return _Trial(ok=False, reason=str(error))
            if not observe:
                trial.changes.append(room.changed())
            trial.reason = self._checked(room, plan)
            trial.ok = not trial.reason
            if observe and trial.ok:
                trial.seen = look_at(room, before, [*trial.changes[-1]], digests=last)
            return trial

    def _step(self, room: Room, step: Step, values: Mapping[str, str], before: Step | None, number: int) -> str:
        """Carry one step out; what went wrong, or nothing."""
        answers = [(answer.question, typed(answer, values)) for answer in step.answers]
        result = room.run(shell_of(step, values, before), answers)
        if result.exit_code != step.ends:
            return f"step {number}, `{step.words}`, ended with {_end(result)}, and not with {step.ends}: {_last(result)}"
        return ""

    def _checked(self, room: Room, plan: Plan) -> str:
        needs_service = not room.services and any(self._is_service(step) for step in plan.steps)
        for check in plan.checks:
            result = room.check(check)
            if not result.ok and not needs_service:
                return f"the check `{check}` ended with {_end(result)}: {_last(result)}"
        return ""

    def _fails(self, room: Room, check: str) -> bool:
        return not room.check(check).ok


def unmet_in(room: Room, plan: Plan) -> list[tuple[Condition, str]]:
    """The conditions of a plan that a room does not meet, and what there is instead."""

    def ask(text: str) -> str:
        return room.run(f"{{ {text}\n}} 2> /dev/null").output

    return outside(plan, understand(split(ask(essentials()))), ask)


def alternatives(text: str) -> tuple[str, str] | None:
    """The two sides of a command that is `A || B` as a whole; None for any other."""
    script = parse(text)
    node = script.body.items[0] if len(script.body.items) == 1 and not script.error else None
    if not isinstance(node, AndOr) or node.op != "||" or script.body.background:
        return None
    for match in reversed(list(re.finditer(r"\|\|", text))):
        left, right = text[: match.start()].strip(), text[match.end() :].strip()
        if [parse(side).body.items for side in (left, right)] == [[node.left], [node.right]]:
            return left, right
    return None


def _own(changes: Sequence[Changes], number: int) -> bool:
    """Did a step change anything that is more than noise?"""
    return changes[number] != (changes[number - 1] if number else {})


def _end(result: Result) -> str:
    return str(result.exit_code) if result.exit_code is not None else str(result.state)


def _last(result: Result) -> str:
    lines = [line.strip() for line in result.output.splitlines() if line.strip()]
    return " / ".join(lines[-2:])[-300:]
