"""What plans come to: commands of a real run, steps distilled, steps left, and what a person would write, side by side.

    sudo python benchmarks/plans.py [--docs] [--skills [NAME[/MACHINE] ...]] [--scenarios [NAME ...]]

For each bundled skill and each Debian it is made for, on fresh machines without package lists: the built-in engine installs it
once (`run`: its commands, without checks and skillrun's own looks), its journal is distilled, and of the plan that is shipped
(`left`) each step is left out by itself once (`each needed`). Then the plan is carried out with all looks once more from the
same start, and once on the other Debian. `by hand`: the commands of the skill's own text that the run took.

For each broken machine (sandbox/scenarios): the run, the distilled steps, the plan that the proof came to, and the same for it;
the other Debian gets the same fault. `by hand`: the commands of the reference fix, which a person wrote.

`--docs` writes each row into the tables of docs/plans.md as soon as it is there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from skillrun.bash.syntax import parse  # noqa: E402
from skillrun.events import Event, Started  # noqa: E402
from skillrun.plans.distill import distilled, failed_steps  # noqa: E402
from skillrun.plans.file import read_plan  # noqa: E402
from skillrun.plans.lab import Lab, Room, ground, machine_lab, room_in  # noqa: E402
from skillrun.plans.plan import Plan, PlanError  # noqa: E402
from skillrun.plans.proof import Prover  # noqa: E402
from skillrun.plans.store import identity_of  # noqa: E402
from skillrun.record.journal import TRIALS, keep_skill, new_run, read_events  # noqa: E402
from skillrun.sandbox.base import BuildError  # noqa: E402
from skillrun.sandbox.machine import Machine  # noqa: E402
from skillrun.sandbox.recipes import Scenario, scenario  # noqa: E402
from skillrun.sandbox.recipes import machine as recipe  # noqa: E402
from skillrun.skills.parser.read import read_skill  # noqa: E402
from skillrun.skills.skill import Skill  # noqa: E402
from skillrun.trials import trial  # noqa: E402
from skillrun.trials.compare import install_in  # noqa: E402

BROKEN = (
    "lists-empty", "npm-prefix-root", "unzip-missing", "curl-missing", "git-missing", "compiler-missing", "pip-missing",
    "venv-missing", "zstd-missing", "pip-managed", "lists-stale", "renamed", "local-bin-root", "npm-cache-root",
)  # fmt: skip


def run_of(machine: Machine, skill: Skill) -> tuple[list[Event], str]:
    """The events of one install by the built-in engine, and why it did not work, if it did not."""
    folder = new_run(f"plans-{skill.name}", TRIALS)
    keep_skill(folder, skill.text, None)
    end = install_in(machine, skill, "builtin", folder)
    return read_events(folder.journal), end.summary if end.exit_code else ""


def commands(events: Sequence[Event]) -> list[Started]:
    """What the engine had carried out: no checks, and none of skillrun's own questions."""
    return [event for event in events if isinstance(event, Started) and event.call.name in ("shell", "write_file")]


def holds(lab: Lab, plan: Plan) -> str:
    """`yes`, or what differs where a plan is carried out."""
    try:
        return Prover(lab, "").confirm(plan)[:150] or "yes"
    except PlanError as error:
        return str(error)[:150]
    except BuildError as error:
        return f"such a machine cannot be made: {str(error).splitlines()[-1]}"[:150]


SKILLS = ["skill", "made on", "run", "distilled", "left", "by hand", "each needed", "same start", "other Debian"]
SCENARIOS = ["scenario", "machine", *SKILLS[2:]]


def needed(lab: Lab, plan: Plan) -> str:
    """`yes`, or the numbers of the steps that can be left out by themselves."""
    try:
        return ", ".join(f"not {number + 1}" for number in Prover(lab, "").needless(plan)) or "yes"
    except PlanError as error:
        return str(error)[:150]


def of_skill(name: str, machine: str) -> list[object]:
    """The row of a bundled skill's plan for one machine."""
    skill = read_skill(ROOT / "skills" / name / "SKILL.md")
    plan = read_plan(ROOT / "skills" / name / "plans" / f"{machine}.toml")[0]
    with Machine(ground(machine), user=recipe(machine).user) as made:
        events, why = run_of(made, skill)
    if why:
        return [name, machine, f"not installed: {why[:150]}"]
    done = commands(events)
    spoken = {event.call.command.replace("DEBIAN_FRONTEND=noninteractive ", "") for event in done}
    text = len([command for command in spoken if command in skill.text])
    lab, other = machine_lab(machine), machine_lab({"debian-12": "debian-13"}.get(machine, "debian-12"))
    counts = [len(done), len(distilled(events, identity_of(skill)).steps), len(plan.steps), text]
    return [name, machine, *counts, needed(lab, plan), holds(lab, plan), holds(other, plan)]


def of_scenario(name: str) -> list[object]:
    """The row of a broken machine."""
    chosen = scenario(name)
    skill = read_skill(chosen.skill, f"scenario {name}")
    with trial.prepared(chosen) as made:
        events, why = run_of(made, skill)
    if why:
        return [name, chosen.machine, f"not installed: {why[:150]}"]
    candidates = [distilled(events, identity_of(skill))]
    if failed_steps(events):
        candidates.append(distilled(events, identity_of(skill), failures=True))
    lab = _lab(chosen)
    other = _lab(replace(chosen, machine=chosen.machine.replace("debian-12", "debian-13").removesuffix("-node")))
    fix = len([item for item in parse(chosen.fix).body.items if item != parse("set -e").body.items[0]])
    counts = [len(commands(events)), len(candidates[0].steps)]
    try:
        plan = Prover(lab, recipe(chosen.machine).title).prove(candidates)
    except PlanError as error:
        return [name, chosen.machine, *counts, "not proven", fix, str(error)[:150]]
    return [name, chosen.machine, *counts, len(plan.steps), fix, needed(lab, plan), holds(lab, plan), holds(other, plan)]


def written(head: Sequence[object], row: Sequence[object]) -> None:
    """Put a row into its table in docs/plans.md, in the place of the one with the same first two cells."""
    file = ROOT / "docs/plans.md"
    lines = file.read_text(encoding="utf-8").splitlines()
    begin = lines.index(_row(head)) + 2
    end = next((i for i in range(begin, len(lines)) if not lines[i].startswith("|")), len(lines))
    others = [line for line in lines[begin:end] if not line.startswith(_row(row[:2]))]
    lines[begin:end] = sorted([*others, _row(row)])
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _lab(chosen: Scenario) -> Lab:
    @contextmanager
    def fresh() -> Iterator[Room]:
        with trial.prepared(chosen) as made, room_in(made) as room:
            yield room

    return fresh


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--docs", action="store_true")
    reader.add_argument("--skills", nargs="*")
    reader.add_argument("--scenarios", nargs="*")
    given = reader.parse_args()
    both = given.skills is None and given.scenarios is None
    print(__doc__)
    shipped = sorted(f"{path.parent.parent.name}/{path.stem}" for path in (ROOT / "skills").glob("*/plans/*.toml"))
    names = [each for each in shipped if not given.skills or {each, each.partition("/")[0]} & {*given.skills}]
    tables = [
        (SKILLS, [partial(of_skill, *name.split("/")) for name in names] if both or given.skills is not None else []),
        (SCENARIOS, [partial(of_scenario, name) for name in given.scenarios or (() if given.skills is not None else BROKEN)]),
    ]
    for head, rows in tables:
        print(_row(head) if rows else "")
        for make in rows:
            begun, row = time.monotonic(), make()
            print(_row(row), f"{time.monotonic() - begun:.0f} s", flush=True)
            if given.docs:
                written(head, row)


if __name__ == "__main__":
    main()
