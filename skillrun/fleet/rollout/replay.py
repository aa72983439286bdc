"""A plan on one machine, in as few commands as can be: a look, then the steps that are left with the checks behind them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from skillrun import __version__
from skillrun.events import (
    Checked,
    CheckResult,
    Decided,
    Decision,
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
from skillrun.fleet.reach import Host
from skillrun.fleet.rollout import program
from skillrun.fleet.rollout.machine import Machine, Stand
from skillrun.fleet.unreachable import Unreachable
from skillrun.fleet.wires import Ran
from skillrun.plans.conditions import in_words, met, probe, unmet_facts
from skillrun.plans.looking import read_survey, survey, to_do
from skillrun.plans.plan import Plan, PlanError, filled, values_for
from skillrun.pty.secret_handles import MisplacedSecret
from skillrun.record.journal import Journal, RunFolder
from skillrun.secrets import Vault
from skillrun.skills.skill import Check, Skill

_GIVE = "--secret SUDO_PASSWORD"
LONGEST_S = 3600.0
"""How long one machine may take for a plan."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be replayed, the same for every machine of a group."""

    skill: Skill
    plan: Plan
    checks: tuple[Check, ...]
    inputs: Mapping[str, str]
    decision: Decision
    """What the policy and the person said of the whole plan."""
    approve: str = "ask"


class Differs(Exception):
    """The machine is not as the plan expects: how."""


def replay(
    machine: Machine,
    order: Order,
    folder: RunFolder,
    on_event: Callable[[Event], None],
    vault: Vault,
    password: str | None = None,
) -> None:
    """Carry the plan out on a connected machine and say in `machine` how it stands. Never raises for what is true there.

    `on_event` is told every event after it is on record.
    """
    host = machine.host
    assert host is not None
    kept = Journal(folder)

    def journal(event: Event) -> None:
        kept(event)
        on_event(event)

    began = time.monotonic()
    outcome = Outcome.ERROR
    checks: tuple[CheckResult, ...] = ()
    try:
        journal(_started(machine, order, folder))
        numbers, values = _look(machine, host, order)
        checks = _carry_out(machine, host, order, numbers, values, journal, vault, password)
        machine.stand, machine.reason = Stand.VERIFIED, ""
        outcome = Outcome.VERIFIED if machine.changed else Outcome.ALREADY
    except (Differs, PlanError, MisplacedSecret) as differs:
        machine.stand, machine.reason = Stand.ASIDE, vault.mask(str(differs))
        outcome = Outcome.CHECKS_FAILED
    except Unreachable as gone:
        begun = any(isinstance(event, Started) for event in kept.written)
        machine.stand, machine.reason = (Stand.UNKNOWN if begun else Stand.UNREACHABLE), vault.mask(str(gone))
    finally:
        spent = time.monotonic() - began
        code = 0 if outcome in (Outcome.VERIFIED, Outcome.ALREADY) else 3
        if machine.stand is not Stand.UNKNOWN:  # what was begun and not seen to end stays open on record
            summary = machine.reason or f"the plan: {len(machine.steps)} of its {len(order.plan.steps)} steps"
            journal(
                RunEnded(outcome, code, summary, tuple(checks), commands=len(machine.steps), duration_s=spent, run_id=folder.id)
            )
        kept.close()


def _started(machine: Machine, order: Order, folder: RunFolder) -> RunStarted:
    skill = order.skill
    return RunStarted(
        folder.id, "install", skill.name, skill.source, skill.digest, f"plan:{skill.name}", machine.name, "live", "remote",
        order.approve, machine.facts, dict(order.inputs), __version__,
    )  # fmt: skip


def _look(machine: Machine, host: Host, order: Order) -> tuple[list[int], dict[str, str]]:
    """The steps that are left, and the values of the plan's placeholders there. Raises Differs."""
    plan = order.plan
    if unmet := unmet_facts(plan, machine.facts):
        raise Differs("; ".join(in_words(*pair) for pair in unmet))
    values = values_for(plan, order.inputs, machine.home, machine.user)
    done = host.run(program.RUNNER, survey(plan, values).encode(), seconds=120)
    if done.code:
        raise Differs(f"looking at the machine ended with {done.code}: {_last(done)}")
    there, finished, strange = read_survey(done.output.decode("utf-8", "replace"))
    values["here"] = there.get(-1, values["here"])
    asked = [(condition, there.get(i, "")) for i, condition in enumerate(plan.conditions) if probe(condition)]
    if unmet := [(condition, found) for condition, found in asked if not met(condition, found)]:
        raise Differs("; ".join(in_words(*pair) for pair in unmet))
    wanted = to_do(plan.steps, finished)
    for number in wanted:
        for index in strange.get(number, []):
            path = filled(plan.steps[number].leaves[index].subject, values)
            raise Differs(f"{path} is there with other content than step {number + 1} of the plan gives it")
        if plan.steps[number].answers:
            raise Differs(f"step {number + 1} asks questions, which takes a terminal")
    return wanted, values


def _carry_out(
    machine: Machine,
    host: Host,
    order: Order,
    numbers: Sequence[int],
    values: Mapping[str, str],
    journal: Callable[[Event], None],
    vault: Vault,
    password: str | None,
) -> tuple[CheckResult, ...]:
    """Run what is left and the checks. Raises Differs, Unreachable, PlanError."""
    plan, token = order.plan, program.new_token()
    secrets = {name: vault.value(name) for name in vault.names}
    commands = [check.command for check in order.checks]
    text = program.carrying_out(token, plan, numbers, values, commands, secrets, password)
    names = ", ".join(str(number + 1) for number in numbers) or "none"
    given = {
        "command": program.shown(plan, numbers, values),
        "why": f"steps {names} of {len(plan.steps)} of the plan, together",
    }
    call = ToolCall("plan-1", "shell", given)
    journal(Decided(call, order.decision))
    journal(Started(call))
    began = time.monotonic()
    machine.changed = machine.changed or bool(numbers)
    done = host.run(program.RUNNER, text.encode("utf-8", "surrogateescape"), seconds=LONGEST_S)
    told = program.read_told(token, done.output.decode("utf-8", "replace"))
    steps = told.of("step")
    machine.steps = tuple((part.number, -1 if part.code is None else part.code) for part in steps)
    machine.made = tuple(dict.fromkeys((*machine.made, *told.made)))
    machine.packages = tuple(dict.fromkeys((*machine.packages, *told.brought)))
    differs = _differs(plan, numbers, told, done)
    output = vault.mask("\n".join(f"step {part.number + 1}: {part.output[-4000:]}" for part in steps))
    last = steps[-1].code if steps else 0
    result = Result(State.EXITED, last, output, len(output), duration_s=round(time.monotonic() - began, 4))
    journal(Finished(call, result))
    if differs:
        sudo = machine.facts.get("sudo") or {}
        unasked = password is None and not machine.root and sudo.get("present") and not sudo.get("passwordless")
        raise Differs(f"{differs}; sudo there wants a password, and none was given ({_GIVE})" if unasked else differs)
    checks = checked(order.checks, told, vault)
    journal(Checked(checks))
    if bad := next((check for check in checks if not check.ok), None):
        lines = bad.output.strip().splitlines()
        raise Differs(
            f"the plan is through and `{bad.command}` ended with {bad.exit_code}{f': {lines[-1][-200:]}' if lines else ''}"
        )
    return checks


def checked(checks: Sequence[Check], told: program.Told, vault: Vault) -> tuple[CheckResult, ...]:
    """How the checks came out, in their order; one whose end was not seen has failed."""
    found = {part.number: part for part in told.of("check")}
    results = []
    for number, check in enumerate(checks):
        part = found.get(number) or program.Part("check", number)
        results.append(
            CheckResult(check.command, part.code == 0, part.code, vault.mask(part.output[-4000:].strip()), check.origin)
        )
    return tuple(results)


def _differs(plan: Plan, numbers: Sequence[int], told: program.Told, done: Ran) -> str:
    """Where the machine and the plan part; empty where they do not."""
    parts = {part.number: part for part in told.of("step")}
    for number in numbers:
        step, part = plan.steps[number], parts.get(number)
        place = f"step {number + 1} of {len(plan.steps)}, `{step.words}`,"
        if part is None or part.code is None:
            return f"{place} was not carried out ({_last(done)})"
        if part.code != step.ends:
            lines = [line.strip() for line in part.output.splitlines() if line.strip()]
            return f"{place} ended with {part.code}{f' ({lines[-1][-200:]})' if lines else ''} and not with {step.ends}"
        if number in told.left_out:
            return f"{place} did not leave what it left when the plan was proven"
    return ""


def _last(done: Ran) -> str:
    lines = [line.strip() for line in f"{done.output.decode('utf-8', 'replace')}\n{done.errors}".splitlines() if line.strip()]
    return lines[-1][-200:] if lines else f"it ended with {done.code}"
