"""Replays a plan: looks first, runs what is not done yet, looks again after each step, and stops where reality differs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from skillrun.events import Event, Noted, Reply, Result, State, ToolCall, Turn
from skillrun.plans.conditions import SOFT, in_words, met, probe, unmet_facts, wider
from skillrun.plans.looking import guard, read_survey, survey, to_do
from skillrun.plans.plan import Condition, Plan, PlanError, Step, filled, typed, values_for
from skillrun.plans.rendering import standing
from skillrun.plans.store import identity_of
from skillrun.policy.fetched import unpack
from skillrun.ports import Brief, ModelUnavailable
from skillrun.record.guarded import guarded
from skillrun.text.patterns import later

_PATIENCE = 3
"""How often a step that makes no progress is waited for."""

STRETCH = 25
"""Where a replay has more steps than this, up to so many are one call: a record on disk for each costs more than they do."""

_STOPPED = later(r"plan: stopped at step (\d+)")

Flow = Generator[Reply | Noted, Result | None, None]
Asking = Generator[Reply | Noted, Result | None, Result | None]


class Diverged(Exception):
    """Reality differs from the plan: how."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A step (or a stretch of them) as the call that carries it out, and the look behind it where that is another call."""

    numbers: tuple[int, ...]
    step: Step
    call: ToolCall
    test: str = ""
    plain: bool = False
    """It may be put together with others: it ends well, asks nothing and needs no look of its own behind it."""
    text: str = ""
    """The command of several steps together."""


class PlanModel:
    """Speaks the plan. What differs is said, and is for the next model of the chain; it never guesses.

    `named`: the person named this very plan, so it is also tried on a release it was not proven on. `locked`: packages have
    to come at exactly the plan's versions. `doubt`: why nothing is proven of it; it is then not run unasked.
    """

    def __init__(self, plan: Plan, *, named: bool = False, locked: bool = False, doubt: str = "") -> None:
        self.plan, self.named, self.locked, self.doubt = plan, named, locked, doubt
        self.name = f"plan:{plan.skill}"
        self.changed = 0
        """Steps that were carried out."""
        self.outside: list[tuple[Condition, str]] = []
        """Conditions that are not met here and were tried all the same, and what there is instead."""
        self._ahead: list[_Work] = []
        self._last = "the plan is through and the checks do not pass"
        self._flow: Flow | None = None
        self._calls = 0

    def reply(self, brief: Brief, turns: Sequence[Turn]) -> Generator[Event, None, Reply]:
        """The next call; `finish` when it is through, or (outcome `stuck`) where reality differs.

        Raises ModelUnavailable when it is no plan for this skill and these inputs at all.
        """
        if self._flow is None:
            self._flow = self._begin(brief, turns)
        result = turns[-1].results[-1][1] if self._calls and turns and turns[-1].results else None
        try:
            said = self._flow.send(result)
            while isinstance(said, Noted):
                yield said
                said = self._flow.send(None)
            return said
        except Diverged as differs:
            self._last = f"reality differs from the plan: {differs}"
            return self._finish("stuck", self._last)
        except PlanError as error:
            raise ModelUnavailable(str(error), "a model can go on from here") from error
        except StopIteration:
            return self._finish("stuck", self._last)

    def _begin(self, brief: Brief, turns: Sequence[Turn]) -> Flow:
        if identity_of(brief.skill) != self.plan.digest:
            raise ModelUnavailable("the plan was proven for another version of the skill", "run it with a model once more")
        if any(not turn.reply.model.startswith("plan:") for turn in turns):
            raise ModelUnavailable("another model has begun here", "it can go on")
        return self._speak(brief)

    # --- the conversation ------------------------------------------------------------------------

    def _speak(self, brief: Brief) -> Flow:
        plan = self.plan
        if self.doubt:
            yield from self._may_run_all_the_same()
        yield from self._judged(unmet_facts(plan, brief.facts))
        account = brief.facts.get("user") or {}
        values = values_for(plan, brief.inputs, str(account.get("home") or ""), str(account.get("name") or ""))
        for entry in plan.inputs:
            if entry.question and entry.name not in brief.inputs and not entry.secret:
                yield Noted(f"{entry.question} The plan says {entry.default} (--set {entry.name}=VALUE says otherwise)")
        told = yield self._shell(survey(plan, values, self.locked), "what is there already, and what the plan depends on")
        if told is None or told.state is not State.EXITED:
            raise Diverged("looking at the machine did not end")
        there, done, strange = read_survey(told.output)
        values["here"] = there.get(-1, values["here"])
        asked = [(condition, there.get(i, "")) for i, condition in enumerate(plan.conditions) if probe(condition)]
        yield from self._judged([(condition, found) for condition, found in asked if not met(condition, found)])
        wanted = to_do(plan.steps, done)
        for number in wanted:
            for index in strange.get(number, []):
                path = filled(plan.steps[number].leaves[index].subject, values)
                raise Diverged(f"{path} is there with other content than step {number + 1} of the plan gives it")
        self._ahead = self._planned(wanted, values)
        if len(self._ahead) > STRETCH:
            self._ahead = self._in_stretches(self._ahead)
        for work in list(self._ahead):
            yield from self._carry_out(work, values)
            self._ahead = self._ahead[1:]
            self.changed += len(work.numbers)
        if self.changed == len(plan.steps):
            words = "Every step of the plan was carried out."
        else:
            words = f"Of the plan's {len(plan.steps)} steps {self.changed or 'none'} had to be carried out."
        if not self.changed:
            words += " changed: no"
        yield self._finish("done", words)

    def widened(self) -> Plan | None:
        """The plan with what it was just tried on among its conditions; None where that is nothing new."""
        return wider(self.plan, self.outside)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the plan's inputs."""
        return tuple(entry.name for entry in self.plan.inputs)

    def upcoming(self) -> tuple[ToolCall, ...]:
        """The calls of the plan that are still to come, once that is known: they can be approved together."""
        return tuple(work.call for work in self._ahead)

    def _planned(self, wanted: Sequence[int], values: dict[str, str]) -> list[_Work]:
        works: list[_Work] = []
        before: Step | None = None
        for number in wanted:
            step = self.plan.steps[number]
            place = f"step {number + 1} of {len(self.plan.steps)}"
            if step.writes_file:
                given = {"path": filled(step.path, values), "content": filled(step.content, values), "why": step.why or place}
                call = self._call("write_file", {**given, **({"mode": step.mode} if step.mode else {})}, step)
                works.append(_Work((number,), step, call.calls[0]))
                continue
            test = guard(step, values, self.locked)
            text = self._text(step, values)
            apart = bool(test) and (step.ends != 0 or bool(step.answers) or unpack(text) is not None)
            whole = standing(step, text, values, before)
            call = self._shell(guarded(whole, test) if test and not apart else whole, step.why or place, step)
            plain = step.ends == 0 and not step.answers and not (apart and test) and unpack(text) is None
            works.append(_Work((number,), step, call.calls[0], test if apart else "", plain))
            before = step
        return works

    def _in_stretches(self, works: Sequence[_Work]) -> list[_Work]:
        """Many small steps as few calls: each is a command that stops at the first step that fails, and says which."""
        merged: list[_Work] = []
        for work in works:
            last = merged[-1] if merged else None
            if last is not None and last.plain and work.plain and len(last.numbers) < STRETCH:
                text = last.text or _told(last)
                numbers = (*last.numbers, *work.numbers)
                merged[-1] = replace(last, numbers=numbers, text=f"{text} && {_told(work)}")
            else:
                merged.append(work)
        return [replace(work, call=self._stretch(work)) if work.text else work for work in merged]

    def _stretch(self, work: _Work) -> ToolCall:
        why = f"steps {work.numbers[0] + 1} to {work.numbers[-1] + 1} of {len(self.plan.steps)}"
        return self._shell(work.text, why, work.step).calls[0]

    def _may_run_all_the_same(self) -> Flow:
        yield Noted(f"this plan: {self.doubt}", "warning")
        question = f"This plan is not as it was made: {self.doubt}. Run it all the same?"
        answer = yield self._call("ask_user", {"question": question, "choices": ["no", "run it"]})
        if answer is None or not answer.ok or answer.output.strip() != "run it":
            raise Diverged(f"{self.doubt}; it is not run unasked (`skillrun plan check FILE` proves it again)")

    def _judged(self, unmet: Sequence[tuple[Condition, str]]) -> Flow:
        hard = [pair for pair in unmet if not (self.named and pair[0].about in SOFT)]
        if hard:
            raise Diverged("; ".join(in_words(*pair) for pair in hard))
        for pair in unmet:
            self.outside.append(pair)
            yield Noted(f"{in_words(*pair)}; it is tried all the same, since you named the plan", "warning")

    def _carry_out(self, work: _Work, values: dict[str, str]) -> Flow:
        place, step = f"step {work.numbers[0] + 1} of {len(self.plan.steps)}", work.step
        result = yield Reply(calls=(work.call,), model=self.name)
        if step.writes_file:
            if result is None or not result.ok:
                raise Diverged(f"{place} could not write {step.path}: {result.output[-200:] if result else ''}")
            return
        result = yield from self._answered(place, step, values, result)
        if work.text and result is not None and (match := _STOPPED.search(result.output)):
            number = int(match[1])
            place, step = f"step {number} of {len(self.plan.steps)}", self.plan.steps[number - 1]
        if result is None or result.state is not State.EXITED or result.exit_code != step.ends:
            self._tell_apart(place, step, result)
        if work.test:
            looked = yield self._shell(work.test, f"what {place} was to leave")
            if looked is None or not looked.ok:
                raise Diverged(f"{place}, `{step.words}`, did not leave what it left when the plan was proven")

    def _text(self, step: Step, values: dict[str, str]) -> str:
        if not self.locked:
            return filled(step.run, values)
        from skillrun.plans.locked import locked_command

        return locked_command(step, self.plan, values)

    def _tell_apart(self, place: str, step: Step, result: Result | None) -> None:
        """Raises Diverged, saying whether a version is gone or the step ended otherwise."""
        from skillrun.plans.locked import gone

        missing = gone(result.output, self.plan) if result is not None else ""
        raise Diverged(
            f"{place}: {missing}" if missing else f"{place}, `{step.words}`, {_ended(result)} and not with {step.ends}"
        )

    def _answered(self, place: str, step: Step, values: dict[str, str], result: Result | None) -> Asking:
        """Type the plan's answers at the questions it knows, and wait for what is slow."""
        left, waited = list(step.answers), 0
        while result is not None and result.state in (State.WAITING, State.QUIET):
            if result.state is State.QUIET and waited < _PATIENCE:
                waited += 1
                result = yield self._call("shell_input", {"action": "wait"}, step)
                continue
            screen = f"{result.output}\n{result.screen}"
            answer = next((answer for answer in left if answer.question and answer.question in screen), None)
            if answer is None:
                lines = [line.strip() for line in screen.splitlines() if line.strip()]
                yield self._call("shell_input", {"action": "interrupt"}, step)
                raise Diverged(f"{place}, `{step.words}`, asks something new: {lines[-1][-200:] if lines else 'it waits'}")
            left.remove(answer)
            result = yield self._call("shell_input", {"action": "type", "text": typed(answer, values)}, step)
        return result

    # --- calls ------------------------------------------------------------------------------------

    def _shell(self, command: str, why: str, step: Step | None = None) -> Reply:
        return self._call("shell", {"command": command, "why": why}, step)

    def _call(self, name: str, given: dict[str, Any], step: Step | None = None) -> Reply:
        self._calls += 1
        return Reply(calls=(ToolCall(f"plan-{self._calls}", name, given, step.number if step else None),), model=self.name)

    def _finish(self, outcome: str, summary: str) -> Reply:
        self._calls += 1
        call = ToolCall(f"plan-{self._calls}", "finish", {"outcome": outcome, "summary": summary})
        return Reply(calls=(call,), model=self.name)


def _told(work: _Work) -> str:
    """A step within a stretch: where it fails, its number is said."""
    number = work.numbers[-1] + 1
    return f"{{ {{ {work.call.command}\n}} || {{ echo 'plan: stopped at step {number}' >&2; false; }}; }}"


def _ended(result: Result | None) -> str:
    if result is None:
        return "did not end"
    lines = [line.strip() for line in result.output.splitlines() if line.strip()]
    end = f"ended with {result.exit_code}" if result.exit_code is not None else f"ended as {result.state}"
    return f"{end} ({lines[-1][-200:]})" if lines else end
