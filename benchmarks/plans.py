"""What plans come to: commands of a real run, steps distilled, steps left, and what a person would write, side by side.

    sudo python benchmarks/plans.py [--skills [NAME ...]] [--scenarios [NAME ...]]

For each bundled skill and each Debian it is made for, on fresh machines without package lists: the built-in engine installs it
once (commands, without checks and skillrun's own looks), its journal is distilled, and the plan that is shipped is carried out
once more from the same start, and once on the other Debian. `text`: how many of the run's commands are the skill's own.

For each broken machine (sandbox/scenarios): the run, the distilled steps, and the proof, which takes every single step away and
sees a check fail or a path missing; then the same plan from the same start once more, and with the same fault on the other
Debian. `fix`: the commands of the reference fix, which a person wrote.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
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
        return Prover(lab, "").confirm(plan)[:110] or "yes"
    except PlanError as error:
        return str(error)[:110]


def of_skill(name: str) -> Iterator[str]:
    """Rows of a bundled skill."""
    skill = read_skill(ROOT / "skills" / name / "SKILL.md")
    for machine, other in (("debian-12", "debian-13"), ("debian-13", "debian-12")):
        file = ROOT / "skills" / name / "plans" / f"{machine}.toml"
        if not file.exists():
            continue
        begun = time.monotonic()
        with Machine(ground(machine), user=recipe(machine).user) as made:
            events, why = run_of(made, skill)
        if why:
            yield f"| {name} | {machine} | it was not installed: {why} |"
            continue
        plan = read_plan(file)[0]
        done = commands(events)
        text = len({event.call.step for event in done if event.call.step is not None})
        row = [name, machine, len(done), len(distilled(events, identity_of(skill)).steps), len(plan.steps), text]
        took = time.monotonic() - begun
        yield _row([*row, holds(machine_lab(machine), plan), holds(machine_lab(other), plan), f"{took:.0f} s"])


def of_scenario(name: str) -> str:
    """The row of a broken machine."""
    chosen = scenario(name)
    skill = read_skill(chosen.skill, f"scenario {name}")
    begun = time.monotonic()
    with trial.prepared(chosen) as made:
        events, why = run_of(made, skill)
    if why:
        return f"| {name} | it was not installed: {why[:110]} |"
    candidates = [distilled(events, identity_of(skill))]
    if failed_steps(events):
        candidates.append(distilled(events, identity_of(skill), failures=True))
    try:
        proven = Prover(_lab(chosen), recipe(chosen.machine).title).prove(candidates)
    except PlanError as error:
        return f"| {name} | {len(commands(events))} / {len(candidates[0].steps)} | not proven: {str(error)[:110]} |"
    assert proven.proof is not None
    commands_of = [item for item in parse(chosen.fix).body.items if item != parse("set -e").body.items[0]]
    fix = len(commands_of)
    other = replace(chosen, machine=chosen.machine.replace("debian-12", "debian-13").removesuffix("-node"))
    row = [name, chosen.machine, len(commands(events)), len(candidates[0].steps), len(proven.steps), fix, proven.proof.runs]
    took = time.monotonic() - begun
    return _row([*row, holds(_lab(chosen), proven), holds(_lab(other), proven), f"{took:.0f} s"])


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
    reader.add_argument("--skills", nargs="*")
    reader.add_argument("--scenarios", nargs="*")
    given = reader.parse_args()
    both = given.skills is None and given.scenarios is None
    print(__doc__)
    if both or given.skills is not None:
        print(_row(["skill", "machine", "run", "distilled", "plan", "text", "same start", "other Debian", "run and wait"]))
        for name in given.skills or sorted({path.parent.parent.name for path in (ROOT / "skills").glob("*/plans/*.toml")}):
            for row in of_skill(name):
                print(row, flush=True)
    if both or given.scenarios is not None:
        print(_row(["scenario", "machine", "run", "distilled", "plan", "fix", "runs", "same start", "other Debian", "took"]))
        for name in given.scenarios or BROKEN:
            print(of_scenario(name), flush=True)


if __name__ == "__main__":
    main()
