"""A canary's plan is proven in throw-away machines like it, where this machine can make them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from skillrun.plans.plan import Plan, PlanError

BUDGET_S = 120.0
"""Seconds of looking for a smaller plan; what was found until then counts."""


def proven(
    found: Sequence[Plan], inputs: Mapping[str, str], tell: Callable[[str], None], budget_s: float = BUDGET_S
) -> tuple[Plan, str]:
    """The plan with its proof, or as it was distilled and why there is none: then the first wave is its trial."""
    plan = found[0]
    base = f"{plan.needs('distribution')}-{plan.needs('release')}"
    from skillrun.plans.lab import machine_lab
    from skillrun.plans.proof import Prover
    from skillrun.sandbox.recipes import RecipeError, machine, names

    if base not in names("machines") or plan.needs("architecture") != os.uname().machine:
        return plan, f"there is no throw-away machine of {plan.where} here"
    if plan.needs("privilege") == "root":
        return plan, "throw-away machines prove what a user with sudo does"
    if os.geteuid() != 0:
        return plan, "throw-away machines need root here"
    try:
        where = machine(base).title
        return Prover(machine_lab(base, tell), where, budget_s, tell, inputs).prove(found), ""
    except (PlanError, RecipeError, OSError) as error:
        return plan, str(error)
    except Exception as error:  # noqa: BLE001 - BuildError, NoNetwork, ViewError: whatever a lab lacks here
        return plan, f"{type(error).__name__}: {error}"
