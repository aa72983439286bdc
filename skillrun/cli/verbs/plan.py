"""`plan`: what a run that worked comes down to, proven, as a file or exported; and `plan check` of such a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skillrun.cli.page import Page
from skillrun.errors import Problem
from skillrun.plans.exports import FORMATS

if TYPE_CHECKING:
    from skillrun.plans.lab import Lab
    from skillrun.plans.plan import Plan


@click.command(
    "plan",
    cls=Page,
    examples=(
        "skillrun plan last --prove -o plan.toml",
        "skillrun plan last --export ansible",
        "skillrun plan check plan.toml --on debian-12",
        "skillrun plan ./SKILL.md --on debian-12 --on debian-13",
    ),
)
@click.argument("what")
@click.argument("file", required=False)
@click.option("--prove", is_flag=True, help="Run it again in fresh views, and take away what nothing needs.")
@click.option("--on", "machines", multiple=True, metavar="MACHINE", help="On fresh machines (debian-12) instead of views.")
@click.option("--minimal", is_flag=True, help="With check: leave out each step by itself too, and see what is missed.")
@click.option("--budget", type=float, metavar="S", help="Seconds of searching for a smaller plan.")
@click.option("--model", default="builtin", metavar="M", help="With a skill: who installs it first.")
@click.option("--export", type=click.Choice(["toml", "json", *FORMATS]), default="toml", show_default=True, help="As what.")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE instead of standard output.")
@click.option("--json", "as_json", is_flag=True, help="The same as --export json.")
def plan_command(
    what: str,
    file: str | None,
    prove: bool,
    machines: tuple[str, ...],
    minimal: bool,
    budget: float | None,
    model: str,
    export: str,
    output: str | None,
    as_json: bool,
) -> int:
    """The proven steps of RUN (verified), of a SKILL on fresh machines, or of a plan FILE.

    `plan check FILE` validates a plan file and proves it again. `install SKILL --locked` replays exactly its versions.
    """
    export = "json" if as_json else export
    if what == "check":
        if file is None:
            raise Problem("`plan check` needs a plan file", "for example skillrun plan check plans/debian-12.toml")
        return _check(Path(file), machines, minimal, output)
    if file is not None:
        raise Problem(f"one argument is enough, {file!r} is a second", "a run, a skill or a plan file; or `check FILE`")
    if what.endswith(".toml"):
        plan, _ = _read(Path(what))
    elif machines and not prove and not _is_run(what):
        return _produce(what, machines, model, budget, output)
    else:
        plan = _of_run(what, prove, machines, budget)
    _write(_rendered(plan, export), output)
    return 0


def _is_run(word: str) -> bool:
    from skillrun.record.journal import JournalError, find_run

    try:
        find_run(word)
    except JournalError:
        return False
    return True


def _read(path: Path) -> tuple[Plan, str]:
    from skillrun.plans.file import read_plan
    from skillrun.plans.plan import PlanError

    try:
        return read_plan(path)
    except PlanError as error:
        raise Problem(str(error), "`skillrun plan RUN -o FILE` writes one") from error


def _of_run(word: str, prove: bool, machines: Sequence[str], budget: float | None) -> Plan:
    """The plan of a run: proven before in the background, proven now, or only distilled."""
    from skillrun.events import RunStarted
    from skillrun.plans.distill import distilled, failed_steps
    from skillrun.plans.plan import PlanError
    from skillrun.plans.proof import Prover
    from skillrun.plans.store import identity_in
    from skillrun.record.journal import JournalError, find_run, read_events

    try:
        folder = find_run(word)
        events = read_events(folder.journal)
        digest = identity_in(folder.skill, next((e.digest for e in events if isinstance(e, RunStarted)), ""))
        candidates = [distilled(events, digest)]
    except (PlanError, JournalError, OSError) as error:
        raise Problem(str(error), "`skillrun runs` lists what there is") from error
    kept = folder.path / "plan.toml"
    if not prove:
        return _read(kept)[0] if kept.exists() else candidates[0]
    if failed_steps(events):
        candidates.append(distilled(events, digest, failures=True))
    lab, where = _lab(machines, candidates[0])
    try:
        with _awake(machines):
            return Prover(lab, where, budget, _tell, {}).prove(candidates)
    except PlanError as error:
        raise Problem(f"{folder.id}: {error}", _elsewhere(machines), code=3) from error


def _elsewhere(machines: Sequence[str]) -> str:
    return "the run that was made is as it was" if machines else "--on debian-12 proves it on fresh machines"


def _lab(machines: Sequence[str], plan: Plan) -> tuple[Lab, str]:
    from skillrun.plans.lab import machine_lab, view_lab
    from skillrun.sandbox.recipes import RecipeError, machine

    if not machines:
        from skillrun.sandbox.reach import reach

        return view_lab(network=reach([*(step.run for step in plan.steps), *plan.checks])), f"views of {plan.where}"
    if len(machines) > 1:
        raise Problem("one plan is proven on one machine", "name one with --on; a skill may have several")
    try:
        return machine_lab(machines[0], _tell), machine(machines[0]).title
    except RecipeError as error:
        raise Problem(str(error), "`skillrun test --list` names them") from error


def _awake(machines: Sequence[str]) -> AbstractContextManager[object]:
    """What a lab raises where this machine has none, as a person reads it."""
    return _Explained(bool(machines)) if machines is not None else nullcontext()


class _Explained(AbstractContextManager[object]):
    def __init__(self, machines: bool) -> None:
        self._machines = machines

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from skillrun.overlay.process.supervisor import ViewError
        from skillrun.sandbox.base import BuildError
        from skillrun.sandbox.network import NoNetwork

        if isinstance(error, ViewError | BuildError | NoNetwork | OSError):
            what = "a throw-away machine" if self._machines else "a copy-on-write view"
            raise Problem(f"this machine cannot make {what}: {error}", "`skillrun doctor` says why", code=7) from error


def _check(path: Path, machines: Sequence[str], minimal: bool, output: str | None) -> int:
    """Validate a plan file and run it once in a fresh place; 0 when it holds, 3 when it does not."""
    from dataclasses import replace

    from skillrun.plans.conditions import in_words, wider
    from skillrun.plans.plan import PlanError, Proof, fingerprint
    from skillrun.plans.proof import Prover
    from skillrun.plans.store import EDITED

    plan, given = _read(path)
    edited = given != fingerprint(plan)
    print(f"{path}: {plan.skill} on {plan.where}, {len(plan.steps)} steps{f'; {EDITED}' if edited else ''}", flush=True)
    lab, where = _lab(machines, plan)
    prover = Prover(lab, where, tell=_tell)
    try:
        with _awake(machines):
            reason = prover.confirm(plan)
            needless = prover.needless(plan) if minimal and not reason else []
    except PlanError as error:
        raise Problem(str(error), _elsewhere(machines), code=3) from error
    beyond = [in_words(*pair) for pair in prover.outside]
    if reason:
        print("\n".join([f"it does not hold: {reason}", *(f"outside its conditions: {words}" for words in beyond)]))
        return 3
    print(f"it holds: every step ended as it should and left what it should, every check passes ({where})")
    if minimal:
        left = [f"not needed: step {number + 1}, `{plan.steps[number].words}`" for number in needless]
        print("\n".join(left) or "each step is needed: without any one of them a step or a check fails, or a path is missing")
    offered = wider(plan, prover.outside)
    for words in beyond:
        print(f"outside its conditions: {words}")
    if offered is not None and output is None:
        print("it is proven there now: `-o FILE` writes it with the wider condition")
    if output is not None:
        import datetime

        today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
        proof = replace(plan.proof, when=today, where=where) if plan.proof else Proof(today, where, prover.runs)
        _write(_rendered(replace(offered or plan, proof=proof), "toml"), output)
    return 3 if needless else 0


def _produce(spec: str, machines: Sequence[str], model: str, budget: float | None, output: str | None) -> int:
    """Install a skill on fresh machines and keep its plans beside it, one for each."""
    from skillrun.plans.file import to_toml
    from skillrun.plans.plan import PlanError
    from skillrun.plans.store import BESIDE, file_name, identity_of
    from skillrun.sandbox.recipes import RecipeError
    from skillrun.skills.sources import find_skill
    from skillrun.trials.produce import produced

    skill = find_skill(spec)
    if output is None and skill.path is None:
        raise Problem(f"{skill.name} lies in no directory of yours, so its plans cannot lie beside it", "name a FILE with -o")
    if output is not None and len(machines) > 1:
        raise Problem("one file holds the plan for one machine", "leave -o out, and the plans are written beside the skill")
    failed = 0
    for machine in machines:
        try:
            with _awake(machines):
                plan = produced(skill, machine, model, digest=identity_of(skill), budget_s=budget, tell=_tell)
        except RecipeError as error:
            raise Problem(str(error), "`skillrun test --list` names them") from error
        except PlanError as error:
            print(f"{machine}: {error}", file=sys.stderr)
            failed = 3
            continue
        assert output is not None or skill.path is not None
        path = Path(output) if output else skill.path.parent / BESIDE / file_name(plan)  # type: ignore[union-attr]
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(to_toml(plan), str(path))
        away = f", {len(plan.proof.taken_away)} taken away" if plan.proof else ""
        print(f"{path}: {len(plan.steps)} steps{away}")
    return failed


def _rendered(plan: Plan, form: str) -> str:
    from skillrun.plans.exports import CannotSay, export

    if form == "toml":
        from skillrun.plans.file import to_toml

        return to_toml(plan)
    if form == "json":
        import json
        from dataclasses import asdict

        return json.dumps({"schema": 1, **asdict(plan)}, indent=2, ensure_ascii=False) + "\n"
    try:
        return export(form, plan)
    except CannotSay as error:
        raise Problem(f"this plan cannot be written as {form}: {error}", "`--export bash` can write any plan") from error


def _write(text: str, output: str | None) -> None:
    if output is None:
        print(text, end="")
        return
    path = Path(output)
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)  # whoever is cut off leaves no half of a plan
        _tell(f"wrote {path}")
    except OSError as error:
        raise Problem(f"cannot write {output}: {error.strerror}", "choose another file") from error


def _tell(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
