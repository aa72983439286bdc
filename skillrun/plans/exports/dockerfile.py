"""A plan as a Dockerfile on the distribution it was proven on: root's, so without sudo; checked as its last instruction."""

from __future__ import annotations

import json
import shlex

from skillrun.plans.exports import CannotSay
from skillrun.plans.exports.operations import operations
from skillrun.plans.exports.rights import without_sudo
from skillrun.plans.plan import Plan, PlanError, Step, filled, values_for
from skillrun.plans.rendering import shell_of
from skillrun.secrets import HANDLE

IMAGES = {"debian": "debian:{0}", "ubuntu": "ubuntu:{0}", "fedora": "fedora:{0}", "alpine": "alpine:{0}", "arch": "archlinux"}


def export(plan: Plan) -> str:
    """The Dockerfile. Raises CannotSay for what an image's build has no words for."""
    name, release = (plan.needs(about).partition("|")[0] for about in ("distribution", "release"))
    if name not in IMAGES:
        raise CannotSay(f"it is not known which image {name or 'that system'} is")
    try:
        values = values_for(plan, {}, "/root", "root", "/root")
    except PlanError as error:
        raise CannotSay(f"{error}, and an image's build asks nobody") from error
    proof = f", proven {plan.proof.when} on {plan.proof.where}" if plan.proof else ""
    lines = [
        f"# {plan.skill}{proof}",
        f"FROM {IMAGES[name].format(release or 'latest')}",
        'SHELL ["/bin/bash", "-c"]',
        "WORKDIR /root",
    ]
    waiting = ""
    for operation in operations(plan):
        step = operation.step
        if operation.kind == "service" or any(effect.startswith("service") for effect in step.effects):
            raise CannotSay(f"step {operation.number}, `{step.words}`, starts a service, and an image being built runs none")
        _only_what_a_build_has(step, operation.number)
        text = without_sudo(shell_of(step, values))
        if operation.kind == "refresh":  # a layer of its own would be taken from the cache when it is long out of date
            waiting = f"{text} && "
            continue
        lines.append(_run(f"{waiting}{text}" if "\n" not in text else f"{waiting}{{ {text}\n}}"))
        waiting = ""
    lines += [_run(f"bash -lc {shlex.quote(filled(check, values))}") for check in plan.checks]
    return "\n".join(lines) + "\n"


def _only_what_a_build_has(step: Step, number: int) -> None:
    if HANDLE.search(f"{step.run}{step.content}"):
        raise CannotSay(f"step {number} needs a secret, which would stay in the image")
    if step.answers:
        raise CannotSay(f"step {number}, `{step.words}`, asks a question on a terminal, and an image's build has none")
    if step.ends:
        raise CannotSay(f"step {number}, `{step.words}`, is to end with {step.ends}, which ends an image's build")


def _run(text: str) -> str:
    plain = "\n" not in text and not text.startswith(("[", "--"))
    return f"RUN {text}" if plain else f"RUN {json.dumps(['/bin/bash', '-c', text])}"
