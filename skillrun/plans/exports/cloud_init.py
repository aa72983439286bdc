"""A plan as cloud-config, for machines that are set up at their first boot: by root, for everybody on them."""

from __future__ import annotations

import json

from skillrun.plans.exports import CannotSay
from skillrun.plans.exports.operations import Operation, operations
from skillrun.plans.exports.rights import without_sudo
from skillrun.plans.plan import Plan, PlanError, filled, values_for
from skillrun.plans.rendering import shell_of
from skillrun.secrets import HANDLE


def export(plan: Plan) -> str:
    """The user data. Raises CannotSay for what is one person's, or asks."""
    try:
        values = values_for(plan, {}, "/root", "root", "/root")
    except PlanError as error:
        raise CannotSay(f"{error}, and nobody is asked at a first boot") from error
    work = operations(plan)
    for operation in work:
        _only_what_a_boot_has(operation, plan)
    lines = ["#cloud-config", f"# {plan.skill} on {plan.where}"]
    early = _leading_packages(work)
    if early:
        lines += ["package_update: true", "packages:"]
        lines += [f"  - {json.dumps(name)}" for operation in early for name in operation.names]
        work = [operation for operation in work if operation not in early and operation.kind != "refresh"]
    lines.append("runcmd:")
    for operation in work:
        lines.append(f"  - {json.dumps(['bash', '-c', without_sudo(shell_of(operation.step, values))], ensure_ascii=False)}")
    said = f"{plan.skill}: every check passes"
    checks = " && ".join(f"{{ {filled(check, values)}\n}}" for check in plan.checks) or "true"
    verdict = f"{checks} && echo {json.dumps(said)} || echo {json.dumps(f'{plan.skill}: a check does not pass')} >&2"
    lines.append(f"  - {json.dumps(['bash', '-lc', verdict], ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _leading_packages(work: list[Operation]) -> list[Operation]:
    """Packages that come before anything else, which cloud-init installs before it runs a command."""
    found: list[Operation] = []
    for operation in work:
        if operation.kind == "packages" and operation.recommends:
            found.append(operation)
        elif operation.kind != "refresh":
            break
    return found


def _only_what_a_boot_has(operation: Operation, plan: Plan) -> None:
    step, number = operation.step, operation.number
    if HANDLE.search(f"{step.run}{step.content}"):
        raise CannotSay(f"step {number} needs a secret, which would stay in the machine's user data")
    if step.answers:
        raise CannotSay(f"step {number}, `{step.words}`, asks a question on a terminal, and a first boot has none")
    if not operation.rights and plan.needs("privilege") != "root":
        raise CannotSay(f"step {number}, `{step.words}`, is done for one person, and cloud-init does it for root")
