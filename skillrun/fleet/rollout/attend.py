"""One machine and a model: what a canary without a plan gets, and whoever differs from the plan."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from skillrun.events import Changed, Checked, Event, Noted, Outcome, Replied, RunEnded
from skillrun.fleet.preview.view import NoView
from skillrun.fleet.reach import Host
from skillrun.fleet.rollout.asking import OneAtATime
from skillrun.fleet.rollout.machine import Machine, Stand
from skillrun.fleet.single import begin_on, close_target, made_by
from skillrun.fleet.unreachable import Unreachable
from skillrun.models.choose import choose_model
from skillrun.plans.distill import distilled, failed_steps
from skillrun.plans.plan import Plan, PlanError
from skillrun.plans.store import identity_of
from skillrun.record.journal import RunFolder, keep_skill, read_events
from skillrun.run.api import Execution
from skillrun.run.options import EffectOptions, Options
from skillrun.secrets import Vault
from skillrun.skills.skill import Skill

_PACKAGES = "command -v dpkg-query > /dev/null && dpkg-query -W -f '${Package} ${db:Status-Status}\\n'"


def attend(
    machine: Machine,
    skill: Skill,
    options: Options,
    person: OneAtATime,
    folder: RunFolder,
    vault: Vault,
    on_event: Callable[[Event], None],
    in_view: bool = False,
) -> Plan | None:
    """Let the model carry the skill out on a connected machine; how it stands is in `machine`. What was learnt, as a plan.

    `in_view`: in a view there, where the machine can show one; what it did is carried over when that was agreed to.
    """
    host = machine.host
    assert host is not None
    keep_skill(folder, skill.text, skill.path)
    try:
        before = host.run(_PACKAGES).output.decode("utf-8", "replace").splitlines()
        model = choose_model(options.model, hide=vault.hide) if isinstance(options.model, str) else options.model
        execution = _begun(host, skill, replace(options, model=model), person, folder, vault, in_view)
    except Unreachable as gone:
        machine.stand, machine.reason = Stand.UNREACHABLE, str(gone)
        return None
    try:
        for event in execution:
            if isinstance(event, Replied) and event.reply.usage is not None:
                machine.requests += 1
                machine.cost_usd += event.reply.usage.cost_usd or 0.0
            on_event(event)
        events = read_events(folder.journal)
    finally:
        with suppress(Unreachable, OSError):
            close_target(execution)
    end = next((event for event in reversed(events) if isinstance(event, RunEnded)), None)
    machine.made = tuple(dict.fromkeys((*machine.made, *made_by(execution))))
    _stand_of(machine, end, host.alive)
    with suppress(Unreachable):
        after = host.run(_PACKAGES).output.decode("utf-8", "replace").splitlines()
        came = [line.split()[0] for line in sorted(set(after) - set(before)) if line.endswith(" installed")]
        machine.packages = tuple(dict.fromkeys((*machine.packages, *came)))
    if machine.stand is not Stand.VERIFIED or end is None or end.outcome is not Outcome.VERIFIED:
        return None
    machine.changed = True
    with suppress(PlanError):
        return distilled(events, identity_of(skill), failures=False)
    return None


def _begun(
    host: Host, skill: Skill, options: Options, person: OneAtATime, folder: RunFolder, vault: Vault, in_view: bool
) -> Execution:
    """The run, in a view where one was asked for and the machine can show it. Raises Unreachable, Problem."""
    if in_view:
        try:
            return begin_on(
                host, "install", skill, replace(options, effects=EffectOptions("preview")), person, folder, vault=vault
            )
        except NoView as no:
            told = Noted(f"{no}; so this canary is live", "warning")
    execution = begin_on(host, "install", skill, options, person, folder, vault=vault)
    if in_view:
        execution.run.notes = (*execution.run.notes, told)
    return execution


def in_words(event: Changed) -> str:
    """What a view would change, in a line for whoever decides on it."""
    changes = event.changes
    counts = changes.get("counts", {})
    words = [f"{counts.get(kind, 0)} paths {kind}" for kind in ("added", "changed", "removed") if counts.get(kind)]
    packages = [f"{row['name']} {row['change']}" for row in changes.get("packages", ())]
    services = [f"{row['name']} {row['change']}" for row in changes.get("services", ())]
    accounts = [f"{row['kind']} {row['name']} {row['change']}" for row in changes.get("accounts", ())]
    alerts = [f"{row['path']} {row['text']}" for row in changes.get("alerts", ()) if row["level"] != "info"]
    return "; ".join([*words, *packages[:20], *services[:10], *accounts[:10], *alerts[:10]]) or "nothing"


def as_it_stands(folder: RunFolder, skill: Skill, waiting: bool) -> Plan | None:
    """The plan of a run that waits for its commit. `waiting`: as it will be, if the checks pass once services are started."""
    events = list(read_events(folder.journal))
    last = next((event for event in reversed(events) if isinstance(event, Checked)), None)
    if waiting and last is not None:
        events.append(Checked(tuple(replace(check, ok=True) for check in last.checks)))
    with suppress(PlanError):
        return distilled(events, identity_of(skill))
    return None


def candidates(folder: RunFolder, skill: Skill) -> list[Plan]:
    """What a run may be as a plan, the one hoped for first. Raises PlanError."""
    events = read_events(folder.journal)
    found = [distilled(events, identity_of(skill))]
    if failed_steps(events):
        found.append(distilled(events, identity_of(skill), failures=True))
    return found


def _stand_of(machine: Machine, end: RunEnded | None, alive: bool) -> None:
    if end is not None and end.outcome in (Outcome.VERIFIED, Outcome.ALREADY):
        machine.stand, machine.reason = Stand.VERIFIED, ""
    elif not alive:
        machine.stand, machine.reason = Stand.UNKNOWN, "it was lost while a model worked on it"
    elif end is not None and end.exit_code == 4:
        asked = end.outcome is Outcome.NEEDS_PERSON
        machine.stand, machine.reason = Stand.NEEDS_PERSON if asked else Stand.DENIED, end.summary
    else:
        bad = next((check for check in end.checks if not check.ok), None) if end is not None else None
        why = f"{end.summary}" if end is not None else "its run has no end"
        machine.stand, machine.reason = Stand.FAILED, f"{why}; `{bad.command}` fails" if bad is not None else why
