"""A plan as a pyinfra deploy: facts decide what is still to do, so that a second run has no operation left."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from skillrun.plans.exports import CannotSay
from skillrun.plans.exports.bash import body
from skillrun.plans.exports.operations import Operation, operations
from skillrun.plans.exports.quoting import placed
from skillrun.plans.looking import holding
from skillrun.plans.plan import PLACEHOLDER, Plan, replace_run
from skillrun.secrets import HANDLE

_HEAD = '''"""{title}: pyinfra HOSTS THIS"""

import os
import shlex

from pyinfra import host
from pyinfra.facts.server import Command, Home, User
from pyinfra.operations import apt, files, server

HOME = host.get_fact(Home)
VALUES = {{"PLAN_HOME": HOME, "PLAN_USER": host.get_fact(User), "PLAN_HERE": HOME{values}}}


def holds(test: str) -> bool:
    """Does shell text end well on the host?"""
    exports = " ".join(f"{{name}}={{shlex.quote(value)}}" for name, value in VALUES.items())
    text = f"env {{exports}} bash -c {{shlex.quote(test)}}"
    return host.get_fact(Command, command=f"{{text}} > /dev/null 2>&1 && echo yes || echo no") == "yes"


def path(text: str) -> str:
    """A path below the home directory of whoever connects."""
    return HOME + text[1:] if text.startswith("~/") else text


{conditions}
if not holds({checks}):
'''


def export(plan: Plan) -> str:
    """The deploy file. Raises CannotSay."""
    if plan.needs("distribution") not in ("debian", "ubuntu") and any(o.kind == "packages" for o in operations(plan)):
        raise CannotSay(f"its packages are {plan.needs('distribution')}'s, and this writes apt's")
    names = {name: f"PLAN_{name.upper()}" for name in ("home", "user", "here", *(entry.name for entry in plan.inputs))}
    values = "".join(f', "PLAN_{e.name.upper()}": os.environ.get({e.name!r}, {e.default or ""!r})' for e in plan.inputs)
    checks = " && ".join(f"bash -lc {shlex.quote(check)}" for check in plan.checks) or "true"
    proof = f", proven {plan.proof.when}" if plan.proof else ""
    head = _HEAD.format(
        title=f"{plan.skill} on {plan.where}{proof}", values=values, checks=repr(checks), conditions=_conditions(plan)
    )
    parts = [head]
    work = operations(plan)
    for operation in work:
        parts += [f"    {line}\n" if line else "\n" for line in _operation(operation, work, names)]
    parts.append(f"    server.shell(name={f'Check that {plan.skill} works'!r}, commands=[{checks!r}])\n")
    return "".join(parts)


def _conditions(plan: Plan) -> str:
    tests = []
    for condition in plan.conditions:
        words = " | ".join(shlex.quote(word) for word in condition.needs.split("|"))
        look = {"distribution": "$(. /etc/os-release && echo $ID)", "release": "$(. /etc/os-release && echo $VERSION_ID)"}
        look["architecture"] = "$(uname -m)"
        if condition.about in look:
            tests.append(f'case "{look[condition.about]}" in {words}) ;; *) exit 1 ;; esac')
    if not tests:
        return ""
    return f"if not holds({'; '.join(tests)!r}):\n    raise SystemExit({f'this was made for {plan.where}'!r})\n"


def _operation(operation: Operation, work: list[Operation], names: dict[str, str]) -> Iterator[str]:
    step = operation.step
    if HANDLE.search(f"{step.run}{step.content}"):
        raise CannotSay(f"step {operation.number} needs a secret, which pyinfra would write into its log")
    if "{{tmp}}" in f"{step.run}{step.path}{step.directory}":
        raise CannotSay(f"step {operation.number} works in a temporary directory that another step fills")
    rights = {"": "", "root": ", _sudo=True"}.get(operation.rights, f", _sudo=True, _sudo_user={operation.rights!r}")
    name = repr(operation.title)
    match operation.kind:
        case "refresh":
            if not any(other.kind == "packages" and other.number == operation.number + 1 for other in work):
                yield f"apt.update(name={name}{rights})"
        case "packages":
            update = any(other.kind == "refresh" and other.number == operation.number - 1 for other in work)
            more = ", update=True" if update else ""
            more += ", no_recommends=True" if not operation.recommends else ""
            yield f"apt.packages(name={name}, packages={list(operation.names)!r}{more}{rights})"
        case "directory" if not PLACEHOLDER.search(operation.path):
            yield f"files.directory(name={name}, path=path({operation.path!r}){rights})"
        case "link" if not PLACEHOLDER.search(operation.path + operation.target):
            more = f"path=path({operation.path!r}), target=path({operation.target!r}), force=True"
            yield f"files.link(name={name}, {more}{rights})"
        case "service":
            more = ", enabled=True" if operation.enabled else ""
            yield f"server.service(name={name}, service={operation.names[0]!r}, running=True{more}{rights})"
        case _:
            text = body(replace_run(step, operation.text), names).removeprefix("set +u\n")
            text = f"( {text}\n); [ $? = {step.ends} ]" if step.ends else text
            call = f"server.shell(name={name}, commands=[{f'bash -c {shlex.quote(text)}'!r}], _env=VALUES{rights})"
            if step.complete and step.leaves:
                tests = " && ".join(holding(left, lambda quoted: placed(f'"{quoted}"', names)) for left in step.leaves)
                yield f"if not holds({tests!r}):"
                yield f"    {call}"
            else:
                yield call
