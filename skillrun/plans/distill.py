"""From the events of a run that worked to a candidate plan: what did something, in order, each step standing on its own.

Here nothing is run. What only looked is left out by its effects, what failed is left out or (for a proof to decide) kept;
`skillrun.plans.proof` then takes away what nothing needs.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from skillrun.events import (
    Answered,
    Asked,
    Checked,
    Decided,
    Effect,
    EffectKind,
    Event,
    Finished,
    Outcome,
    Result,
    RunEnded,
    RunStarted,
    Started,
    State,
    ToolCall,
)
from skillrun.plans.conditions import conditions_of
from skillrun.plans.parameters import Parameters
from skillrun.plans.plan import Answer, Plan, PlanError, PlanInput, Step

HARMLESS = frozenset({EffectKind.READ, EffectKind.NETWORK, EffectKind.PRIVILEGE, EffectKind.UNPROVEN})
"""Kinds of effects that leave nothing behind by themselves."""
_UMASK = re.compile(r"(?:^|[;&\n])\s*umask\s+([0-7]{3,4}|[ugoa]*[=+-][rwxugo,=+-]*)\s*(?:$|[;&\n])")


@dataclass(slots=True)
class _Doing:
    """One call while it is followed through the events: what was decided, where it stood, what it came to."""

    call: ToolCall
    cwd: str
    environment: dict[str, str]
    umask: str
    effects: tuple[Effect, ...] = ()
    answers: list[Answer] = field(default_factory=list)
    result: Result | None = None


def distilled(events: Sequence[Event], digest: str = "", failures: bool = False) -> Plan:
    """The candidate plan of an install whose checks passed. Raises PlanError for a run that proves nothing.

    `digest`: the skill's, where the journal's covers its plans too. `failures`: also keep what failed, expected to fail again.
    """
    started = next((event for event in events if isinstance(event, RunStarted)), None)
    if started is None or started.verb != "install" or not (checks := _passed(events)):
        raise PlanError("only an install that ended verified proves a plan")
    told = Parameters.of(started, events)
    doings = _followed(events, told)
    steps = tuple(_step(doing, told) for doing in doings if _counts(doing, failures, checks))
    if not steps:
        raise PlanError("nothing in this run changed the machine")
    return Plan(
        skill=started.skill,
        digest=digest or started.digest,
        conditions=conditions_of(started.facts, steps),
        steps=steps,
        checks=checks,
        inputs=told.inputs_used(steps),
        made="",
        run_id=started.run_id,
        home=told.home,
    )


def failed_steps(events: Sequence[Event]) -> bool:
    """Did anything that could have changed something fail in this run?"""
    finished = (event for event in events if isinstance(event, Finished))
    return any(event.call.name == "shell" and not event.result.ok and event.result.state is State.EXITED for event in finished)


def _passed(events: Sequence[Event]) -> tuple[str, ...]:
    """The checks that the run ended with; none unless it is verified, or stands before the commit of what was."""
    ended = next((event for event in reversed(events) if isinstance(event, RunEnded)), None)
    if ended is not None:
        good = (Outcome.VERIFIED, Outcome.DRY_RUN_OK)
        return tuple(check.command for check in ended.checks) if ended.outcome in good else ()
    last = next((event for event in reversed(events) if isinstance(event, Checked)), None)
    return tuple(check.command for check in last.checks) if last and all(check.ok for check in last.checks) else ()


def _followed(events: Sequence[Event], told: Parameters) -> list[_Doing]:
    """Every call that was carried out, whole: a command that asked, with its answers, is one."""
    doings: list[_Doing] = []
    effects: dict[str, tuple[Effect, ...]] = {}
    starts: dict[str, str] = {}
    environment: dict[str, str] = {}
    umask, alive = "", None
    question = ""
    for event in events:
        if isinstance(event, Decided):
            # what ran where nothing can be changed is seen to have changed nothing, whatever it may look like
            effects[event.call.id] = () if event.decision.confined else event.decision.effects
        elif isinstance(event, Started):
            starts[event.call.id] = event.cwd
        elif isinstance(event, Asked) and event.about == "prompt":
            question = event.question
        elif isinstance(event, Answered) and question and alive is None:
            # the skill's own answer, while the call is still followed: it is in the skill, and needs no repeating
            question = ""
        if not isinstance(event, Finished) or "fetches" in event.call.input:
            continue
        call, result = event.call, event.result
        if call.name == "shell_input":
            if alive is None:
                continue
            if call.input.get("action") == "type":
                screen = alive.result.screen or alive.result.output if alive.result else ""
                alive.answers.append(told.answer(_question(screen), str(call.input.get("text", ""))))
            alive.result = result
            doing = alive
        elif call.name in ("shell", "write_file"):
            here = told.here if not doings else starts.get(call.id, "")
            doing = _Doing(call, here, dict(environment), umask, effects.get(call.id, ()), [], result)
            doings.append(doing)
        else:
            continue
        alive = doing if result.state in (State.WAITING, State.QUIET) else None
        if result.ok and (found := _UMASK.search(call.command)):
            umask = found[1]
        for name, value in result.exports.items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = told.exported(name, value, doing.environment)
    return doings


def _question(screen: str) -> str:
    lines = [line.strip() for line in screen.splitlines() if line.strip()]
    return lines[-1][-200:] if lines else ""


def _counts(doing: _Doing, failures: bool, checks: Sequence[str]) -> bool:
    """Is it worth being a step: it did something, or could have, and is no check that was tried by hand."""
    result = doing.result
    if result is None or doing.call.command.strip() in checks:
        return False
    if not result.ok and not (failures and result.state is State.EXITED):
        return False
    if doing.call.name == "write_file":
        return result.ok
    kinds = frozenset(effect.kind for effect in doing.effects)
    return bool(kinds - HARMLESS) or bool(result.created)


def _step(doing: _Doing, told: Parameters) -> Step:
    call, result = doing.call, doing.result
    assert result is not None
    common: dict[str, Any] = {
        "why": told.parametrised(call.why),
        "effects": tuple(
            dict.fromkeys(told.parametrised(f"{effect.kind} {effect.subject}".strip()) for effect in doing.effects)
        ),
        "number": call.step,
        "umask": doing.umask,
    }
    if call.name == "write_file":
        path = told.parametrised(str(call.input["path"]))
        mode = str(call.input.get("mode") or "")
        return Step(path=path, content=told.parametrised(str(call.input["content"])), mode=mode, **common)
    return Step(
        run=told.parametrised(_as_wished(call)),
        ends=result.exit_code or 0,
        directory=told.directory(doing.cwd),
        environment=_used(doing.environment),
        answers=tuple(doing.answers),
        **common,
    )


def _used(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Without what a shell keeps for itself."""
    return {name: value for name, value in environment.items() if name not in ("OLDPWD", "PWD", "SHLVL", "_")}


def _as_wished(call: ToolCall) -> str:
    """A command as the model gave it: what was unpacked into a file of that run is whole again."""
    return str(call.input.get("unpacked") or call.input["command"])


def expecting(plan: Plan, ends: Mapping[int, int]) -> Plan:
    """The plan with other expected exit codes, by the number of the step (from 0)."""
    steps = tuple(dataclasses.replace(step, ends=ends.get(i, step.ends)) for i, step in enumerate(plan.steps))
    return dataclasses.replace(plan, steps=steps)


__all__ = ["PlanInput", "distilled", "expecting", "failed_steps"]
