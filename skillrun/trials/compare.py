"""skillrun's own loop on throw-away machines: the loop outside, its commands inside, the verifier independent of both."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from skillrun.events import Asked, Event, RunEnded, Started

if TYPE_CHECKING:
    from skillrun.plans.plan import Plan
    from skillrun.ports import Person
    from skillrun.record.journal import RunFolder
    from skillrun.sandbox.machine import Machine
    from skillrun.sandbox.recipes import Scenario
    from skillrun.skills.skill import Skill
    from skillrun.trials.trial import Conditions, TrialResult

BUILTIN = "builtin"
PLAN = "plan"
"""The `what` of a trial that replays what an earlier one has proven."""


def install_in(machine: Machine, skill: Skill, model: str, folder: RunFolder, person: Person | None = None) -> RunEnded:
    """Install a skill in a machine with every command approved; without a person unattended. Raises Problem, ViewError."""
    from skillrun.run.api import begin
    from skillrun.run.options import Options
    from skillrun.run.stream import pull
    from skillrun.run.unattended import Nobody
    from skillrun.targets.machine import MachineTarget

    target = MachineTarget(machine, folder.outputs)
    try:
        execution = begin("install", skill, Options("all", model), person or Nobody(), target, folder=folder)
        return pull(execution.events, (), lambda error: None)
    finally:
        target.close()


def compared(scenario: Scenario, model: str, under: Conditions) -> Iterator[TrialResult]:
    """A benchmark of one scenario: the literal commands, the built-in engine, the plan it proves, a model if it is another.

    The reference fix is carried out too, to count what the others write beyond it.
    """
    from skillrun.sandbox.recipes import fault
    from skillrun.trials import trial

    terminal = any(fault(name).tty for name in scenario.faults)
    yield trial.run(scenario, "literal", trial.script(scenario.naive, terminal), under)
    fix = trial.run(scenario, "fix", trial.script(scenario.fix, terminal), under) if scenario.fix else None
    outcome, plan = attempt(scenario, BUILTIN, under)
    yield _beyond(outcome, fix)
    if plan is not None:
        yield _beyond(attempt(scenario, PLAN, under, plan)[0], fix)
    if model != BUILTIN:
        yield _beyond(attempt(scenario, model, under)[0], fix)


def attempt(
    scenario: Scenario, model: str, under: Conditions | None = None, plan: Plan | None = None
) -> tuple[TrialResult, Plan | None]:
    """One trial with a model (or a plan), and the plan it proves; the run folder of what did not come out right is kept.

    Raises what `trial.run` raises.
    """
    from skillrun.plans.distill import distilled
    from skillrun.plans.file import to_toml
    from skillrun.plans.plan import PlanError
    from skillrun.record.journal import TRIALS, keep_skill, new_run
    from skillrun.skills.parser.read import read_skill
    from skillrun.trials import trial
    from skillrun.trials.attentive import Attentive
    from skillrun.trials.matrix import Row

    person = Attentive(scenario.agrees, scenario.says) if scenario.attended else None
    skill = read_skill(scenario.skill, f"scenario {scenario.name}")
    folder = new_run("test", TRIALS)  # paths in it are told to a model, which is not to read there what is broken
    keep_skill(folder, skill.text, None)
    spoken = model
    if plan is not None:
        file = folder.path / "plan.toml"
        file.write_text(to_toml(plan), encoding="utf-8")
        spoken = f"plan:{file}"

    def deed(machine: Machine) -> tuple[int, str]:
        from skillrun.errors import Problem

        try:
            end = install_in(machine, skill, spoken, folder, person)
        except Problem:
            raise
        except Exception as error:  # noqa: BLE001 - a crash of what is tried is a result, and the other trials go on
            (folder.path / "internal-error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            return 1, f"internal error: {type(error).__name__}: {error}"
        return end.exit_code, end.summary

    try:
        outcome = trial.run(scenario, model, deed, under or trial.PLAIN, lambda: person is not None and person.agreed)
    except BaseException:
        if not folder.began:
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
    events = _events(folder)
    outcome = replace(
        outcome,
        commands=sum(isinstance(event, Started) and event.call.name != "check" for event in events),
        questions=sum(isinstance(event, Asked) for event in events),
    )
    if not Row(scenario, outcome).right or (scenario.cause and outcome.exit_code):
        return replace(outcome, run_folder=str(folder.path)), None
    try:
        proven = distilled(events)
    except PlanError:
        proven = None
    shutil.rmtree(folder.path, ignore_errors=True)
    return outcome, proven


def _events(folder: RunFolder) -> list[Event]:
    from skillrun.record.journal import read_events

    return read_events(folder.journal) if folder.journal.exists() else []


def _beyond(outcome: TrialResult, fix: TrialResult | None) -> TrialResult:
    return replace(outcome, beyond=max(0, outcome.changed - fix.changed)) if fix is not None and fix.passed else outcome
