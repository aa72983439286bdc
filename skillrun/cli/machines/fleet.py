"""`fleet`: a skill on many machines, and what became of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skillrun.cli.page import Page
from skillrun.cli.verbs.install import common, options_of
from skillrun.errors import Problem

if TYPE_CHECKING:
    from skillrun.fleet.rollout.ledger import Ledger
    from skillrun.fleet.rollout.machine import Machine
    from skillrun.fleet.rollout.rollout import Terms
    from skillrun.run.options import Options

AFTER = ("status", "verify", "undo", "resume")


@click.command(
    "fleet",
    cls=Page,
    examples=("skillrun fleet jq --inventory hosts.txt --approve declared", "skillrun fleet status|verify|undo|resume [FLEET]"),
)
@click.argument("word", metavar="SKILL")
@click.argument("which", required=False, metavar="[FLEET]")
@click.option("--inventory", "-i", metavar="FILE", help="pyinfra's, hosts a line, @ansible/FILE, or a,b,c.")
@click.option("--serial", default="1,100%", show_default=True, metavar="N,N%", help="How many of a group at a time.")
@click.option("--max-fail", default="", metavar="N|N%", help="Stop a group when more than that differ.")
@click.option("--parallel", default=30, show_default=True, type=click.IntRange(1), metavar="N", help="Machines at once.")
@click.option(
    "--agents", default=2, show_default=True, type=click.IntRange(1), metavar="N", help="Attended by a model at once."
)
@click.option("--max-cost-all", type=float, metavar="USD", hidden=True, help="For all machines; --max-cost is for each.")
@click.option("--no-prove", is_flag=True, hidden=True, help="Do not prove a canary's plan in throw-away machines.")
@click.option("--live", is_flag=True, hidden=True, help="Let canaries work at once, and not in a view of their machine.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when all is verified and something changed.")
@common
@click.option("--html", metavar="FILE", help="One page: machines and steps, a report behind each.")
@click.option("--junit", metavar="FILE", hidden=True, help="JUnit XML with the suites of each machine.")
def fleet_command(word: str, which: str | None, **values: Any) -> int:
    """Carry SKILL out on many machines: a canary, then its plan, a model only where a machine differs."""
    if word in AFTER:
        return _after(word, which or "last", values)
    if which is not None:
        raise Problem(f"{which!r} is one word too many", "one skill at a time; machines are named by --inventory")
    if not values["inventory"]:
        raise Problem("which machines?", "--inventory FILE, or --inventory web1,web2")
    from skillrun.fleet.inventories.inventory import read_inventory
    from skillrun.fleet.rollout.ledger import new_ledger
    from skillrun.record.journal import RunFolder, keep_skill
    from skillrun.skills.sources import find_skill

    for name in ("html", "junit"):
        if values[name] and not Path(values[name]).absolute().parent.is_dir():
            raise Problem(f"{values[name]} cannot be written: there is no such folder", "make it, or name another file")
    terms, options = _terms(values), options_of(values)
    skill = find_skill(word)
    members = read_inventory(values["inventory"])
    asked = {
        "source": word, "digest": skill.digest, "inventory": str(values["inventory"]), "approve": options.approve,
        "model": options.model, "inputs": dict(options.inputs), "secrets": list(options.secrets),
        "terms": dataclasses.asdict(terms), "budget": _limits(options),
    }  # fmt: skip
    ledger = new_ledger(skill.name, members, asked)
    folder = RunFolder(ledger.folder)
    folder.skill.mkdir(mode=0o700)
    keep_skill(folder, skill.text, skill.path)
    from skillrun.fleet.rollout.machine import Machine

    return _carry_out(ledger, skill, options, terms, [Machine(member) for member in members], values)


def _terms(values: dict[str, Any]) -> Terms:
    from skillrun.fleet.rollout.groups import too_many, waves
    from skillrun.fleet.rollout.rollout import Terms

    for name, read in (("serial", lambda word: waves(10, word)), ("max_fail", lambda word: too_many(0, 10, word))):
        try:
            read(values[name])
        except (ValueError, OverflowError):
            told = f"--{name.replace('_', '-')} {values[name]!r} is no number of machines"
            raise Problem(told, "for example --serial 1,5,20% --max-fail 10%") from None
    names = ("serial", "max_fail", "parallel", "agents", "max_cost_all")
    return Terms(**{name: values[name] for name in names}, prove=not values["no_prove"], preview=not values["live"])


def _carry_out(
    ledger: Ledger,
    skill: Any,
    options: Options,
    terms: Terms,
    machines: list[Machine],
    values: dict[str, Any],
    again: bool = False,
) -> int:
    from skillrun.cli.carry import keep_to_oneself
    from skillrun.cli.machines.screen import Board, JsonRows, open_screen
    from skillrun.cli.terminal import find_person
    from skillrun.fleet.rollout.rollout import Rollout
    from skillrun.run.unattended import Nobody

    keep_to_oneself()
    person = find_person(values["no_input"])
    screen = open_screen(values["as_json"])
    if not isinstance(person, Nobody):
        person.pause = screen.paused
    sinks = [JsonRows(), screen] if values["as_json"] else [screen]
    try:
        code = Rollout(skill, options, terms, person, ledger, machines, sinks, again).run()
    except KeyboardInterrupt:
        print(f"\nskillrun: interrupted; go on with `skillrun fleet resume {ledger.id}`", file=sys.stderr)
        return 130
    finally:
        if isinstance(screen, Board):
            screen.close()
    _tell(ledger, machines, sys.stderr if values["as_json"] else sys.stdout)
    _files(ledger, machines, values)
    return 2 if values["detailed_exitcode"] and code == 0 and any(machine.changed for machine in machines) else code


def _tell(ledger: Ledger, machines: list[Machine], stream: Any) -> None:
    """Every machine that is not verified with its reason, and the sums."""
    from skillrun.fleet.rollout.machine import Stand
    from skillrun.text.escape import settled, shown

    left = [machine for machine in machines if machine.stand is not Stand.VERIFIED]
    lines = [f"{shown(machine.name)}: {machine.stand}: {' '.join(settled(machine.reason).split())}" for machine in left]
    changed = sum(machine.changed for machine in machines)
    requests = sum(machine.requests for machine in machines)
    lines.append(f"{len(machines) - len(left)} of {len(machines)} verified, {changed} changed, {requests} model requests")
    lines.append(f"fleet {ledger.id}: `skillrun fleet status {ledger.id}`")
    with contextlib.suppress(BrokenPipeError):  # whoever listened is gone, and the exit code tells how it went
        print("\n".join(lines), file=stream, flush=True)


def _files(ledger: Ledger, machines: list[Machine], values: dict[str, Any]) -> None:
    from skillrun.fleet.rollout.pages import write_html, write_junit

    for name, write in (("html", write_html), ("junit", write_junit)):
        if values[name]:
            write(ledger, machines, Path(values[name]))
            print(f"wrote {values[name]}", file=sys.stderr)


def _after(word: str, which: str, values: dict[str, Any]) -> int:
    from skillrun.fleet.rollout.ledger import find_fleet

    ledger = find_fleet(which)
    if word == "status":
        return _status(ledger, values)
    from skillrun.skills.sources import find_skill

    skill = find_skill(str(_kept_skill(ledger)))
    asked = ledger.asked
    as_it_was = {
        "model": asked["model"] if values["model"] == "auto" else values["model"],
        "secrets": values["secrets"] or tuple(asked["secrets"]),
        "approve": values["approve"] or asked["approve"],
        "inputs": values["inputs"] or [f"{name}={value}" for name, value in asked["inputs"].items()],
    }
    options = options_of({**values, **as_it_was})
    if word == "undo":
        from skillrun.cli.machines.afterwards import undo

        return undo(ledger, skill, options, values)
    from skillrun.fleet.rollout.ledger import resumed
    from skillrun.fleet.rollout.rollout import Terms
    from skillrun.run.budget import Budget

    machines = _with_inventory(ledger, resumed(ledger))
    if word == "verify":
        from skillrun.cli.machines.afterwards import verify

        return verify(ledger, skill, options, machines, values)
    terms = Terms(**asked["terms"])
    if values["max_cost_all"] is not None:
        terms = dataclasses.replace(terms, max_cost_all=values["max_cost_all"])
    options = dataclasses.replace(options, budget=Budget(**{**asked["budget"], **_limits(options)}))
    return _carry_out(ledger, skill, options, terms, machines, values, again=True)


def _limits(options: Options) -> dict[str, Any]:
    """What each machine may use up, as far as it is limited."""
    found = dataclasses.asdict(options.budget) if options.budget is not None else {}
    return {name: value for name, value in found.items() if value is not None}


def _with_inventory(ledger: Ledger, machines: list[Machine]) -> list[Machine]:
    """What is never kept on disk (passwords) is read from the inventory again, where it is still there."""
    from skillrun.fleet.inventories.inventory import read_inventory

    try:
        known = {member.name: member for member in read_inventory(str(ledger.asked["inventory"]))}
    except Problem:
        return machines
    for machine in machines:
        machine.member = known.get(machine.name, machine.member)
    return machines


def _kept_skill(ledger: Ledger) -> Path:
    """The skill exactly as it was: its directory where it had one, else its document."""
    folder = ledger.folder / "skill"
    if (folder / "SKILL.md").exists() and len(list(folder.iterdir())) > 1:
        return folder
    return next(iter(sorted(folder.iterdir())))


def _status(ledger: Ledger, values: dict[str, Any]) -> int:
    from skillrun.events import SCHEMA
    from skillrun.fleet.rollout.machine import Stand

    machines = ledger.machines()
    end = ledger.end
    if values["as_json"]:
        rows = [machine.kept() for machine in machines]
        whole = {"fleet": ledger.id, "skill": ledger.asked["skill"], "ended": end is not None}
        print(json.dumps({"schema": SCHEMA, **whole, "exit_code": end["exit_code"] if end else None, "machines": rows}))
    else:
        if end is None:
            print(f"this rollout was not seen to end; go on with `skillrun fleet resume {ledger.id}`")
        for machine in machines:
            print(f"{machine.name}: {machine.stand}{', changed' if machine.changed else ''}  {machine.group}")
        _tell(ledger, machines, sys.stdout)
    _files(ledger, machines, values)
    return 0 if all(machine.stand is Stand.VERIFIED for machine in machines) else 3
