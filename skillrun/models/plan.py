"""Replays a proven plan, one call a turn, until it is through or reality differs."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from skillrun.events import Event, Reply, ToolCall, Turn
from skillrun.ports import Brief, ModelUnavailable
from skillrun.record.plan import Plan, fit_of


class PlanModel:
    """Speaks the plan. What is no longer true of the machine is for the next model of the chain."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.name = f"plan:{plan.skill}"

    def reply(self, brief: Brief, turns: Sequence[Turn]) -> Generator[Event, None, Reply]:
        """The next call of the plan, `finish` after the last one. Raises ModelUnavailable when reality differs."""
        yield from ()
        if brief.skill.digest != self.plan.digest:
            raise ModelUnavailable("the plan was proven for another version of the skill", "run it with a model once more")
        if fit_of(brief.facts) != dict(self.plan.fits):
            raise ModelUnavailable("the plan was proven on another kind of machine", "run it with a model once more")
        if len(turns) > len(self.plan.calls) or any(turn.reply.model != self.name for turn in turns):
            raise ModelUnavailable("the plan is through and the checks do not pass", "run it with a model once more")
        failed = [call for turn in turns for call, result in turn.results if not result.ok]
        if failed:
            raise ModelUnavailable(
                f"reality differs from the plan at `{failed[0].command or failed[0].name}`", "a model can go on from here"
            )
        number = len(turns)
        if number == len(self.plan.calls):
            call = ToolCall(f"plan-{number}", "finish", {"outcome": "done", "summary": "the proven plan was carried out"})
        else:
            planned = self.plan.calls[number]
            call = ToolCall(f"plan-{number}", planned.name, dict(planned.input), planned.step)
        return Reply(calls=(call,), model=self.name)
