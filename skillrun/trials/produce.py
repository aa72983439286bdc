"""A skill's plan from nothing: installed once on a throw-away machine, distilled, and proven on fresh ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace

from skillrun.plans.distill import distilled, failed_steps
from skillrun.plans.lab import ground, machine_lab
from skillrun.plans.plan import Plan, PlanError
from skillrun.plans.proof import Prover
from skillrun.skills.skill import Skill


def produced(
    skill: Skill,
    machine: str,
    model: str = "builtin",
    *,
    digest: str = "",
    inputs: Mapping[str, str] | None = None,
    budget_s: float | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Plan:
    """Install a skill on a fresh machine and prove what did it. Raises PlanError, BuildError, ViewError, NoNetwork, Problem."""
    from skillrun.record.journal import TRIALS, keep_skill, new_run, read_events
    from skillrun.sandbox.machine import Machine
    from skillrun.sandbox.recipes import machine as recipe
    from skillrun.trials.compare import install_in

    tell(f"installing {skill.name} on {machine}")
    folder = new_run(f"plan-{skill.name}", TRIALS)
    keep_skill(folder, skill.text, None)
    with Machine(ground(machine, tell), user=recipe(machine).user) as made:
        end = install_in(made, skill, model, folder)
    if end.exit_code:
        raise PlanError(f"{skill.name} was not installed on {machine}: {end.summary} (its run: {folder.id})")
    events = read_events(folder.journal)
    candidates = [distilled(events, digest)]
    if failed_steps(events):
        candidates.append(distilled(events, digest, failures=True))
    plan = Prover(machine_lab(machine, tell), recipe(machine).title, budget_s, tell, inputs or {}).prove(candidates)
    shutil.rmtree(folder.path, ignore_errors=True)
    return replace(plan, run_id="", home="")  # of a run that nobody else has
