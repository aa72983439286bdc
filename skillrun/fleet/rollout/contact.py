"""The first word with a machine: connect, learn what it is, ask its checks, and finish a commit that was cut there."""

from __future__ import annotations

from skillrun.fleet.preview.record import NotCommitted, finish_cut
from skillrun.fleet.preview.rights import Rights
from skillrun.fleet.reach import Host
from skillrun.fleet.rollout import program
from skillrun.fleet.rollout.handles import Handles
from skillrun.fleet.rollout.machine import Machine, Stand
from skillrun.fleet.rollout.replay import checked
from skillrun.fleet.unreachable import Unreachable
from skillrun.host.facts import split, understand
from skillrun.run.assemble import checks_of
from skillrun.skills.skill import Skill

_SINCE = "; since then: "


def contact(machine: Machine, skill: Skill, secrets: Handles) -> None:
    """How a machine stands: verified, waiting, unreachable or failed. Who was lost stays unknown until its checks say."""
    unknown = machine.stand is Stand.UNKNOWN
    try:
        if machine.host is None or not machine.host.alive:
            machine.host = Host(machine.name, machine.member.data)
        told = _asked(machine, machine.host, skill)
        if machine.runs and "user" in machine.facts and _finished(machine, machine.host, secrets):
            told = _asked(machine, machine.host, skill)
    except Unreachable as gone:
        if not unknown:
            machine.stand = Stand.UNREACHABLE
        machine.reason = f"{machine.reason.partition(_SINCE)[0]}{_SINCE}{gone}" if unknown else str(gone)
        return
    except NotCommitted as error:
        machine.stand, machine.reason = Stand.FAILED, f"a commit there was cut and cannot be finished: {error}"
        return
    if "user" not in machine.facts:
        machine.stand, machine.reason = Stand.FAILED, f"no shell answers there: {told.head.strip()[-200:]}"
        return
    results = checked(checks_of(skill), told, secrets.vault(machine))
    if results and all(result.ok for result in results):
        machine.stand, machine.reason, machine.step = Stand.VERIFIED, "", ""
    else:
        machine.stand, machine.reason = Stand.WAITING, ""


def _asked(machine: Machine, host: Host, skill: Skill) -> program.Told:
    """In one command: what the machine is, and whether everything is there already."""
    token, checks = program.new_token(), checks_of(skill)
    text = program.contact(token, [check.command for check in checks])
    done = host.run(program.RUNNER, text.encode(), seconds=program.CHECK_S * (1 + len(checks)))
    told = program.read_told(token, done.output.decode("utf-8", "replace"))
    machine.facts = understand(split(told.head))
    return told if "user" in machine.facts else program.Told(head=done.errors or told.head)


def _finished(machine: Machine, host: Host, secrets: Handles) -> bool:
    """Was there half a commit of an earlier run, which is whole now?"""
    return bool(finish_cut(Rights(host, lambda: secrets.sudo(machine))))
