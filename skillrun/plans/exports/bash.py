"""A plan as one bash script: conditions and checks first, only what is not done yet, checks last; `--dry-run` only says."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from skillrun.plans.exports.quoting import content, placed, variables
from skillrun.plans.looking import holding
from skillrun.plans.plan import Plan, Step

_HEAD = """#!/usr/bin/env bash
# Installs {skill} on {where}.{proof}
# Usage: {usage}bash THIS [--dry-run]      exit codes: 0 it works, 2 usage, 3 it does not
set -u
case "${{1-}}" in --dry-run) dry=yes ;; '') dry= ;; *) echo "usage: bash $0 [--dry-run]" >&2; exit 2 ;; esac
say() {{ printf '%s\\n' "$*"; }}
fail() {{ say "$*" >&2; exit 3; }}
PLAN_USER=$(id -un); PLAN_HERE=$PWD
"""
# Of a service many a one says that it runs a moment after its start has ended, so nothing is missed at once.
_DRIVER = """
soon() {{ "$1" || {{ sleep 1; "$1"; }} || {{ sleep 2; "$1"; }}; }}
wanted=
for ((n = {total}; n > 0; n--)); do
  if declare -F "left_$n" > /dev/null && "left_$n" > /dev/null 2>&1; then continue; fi
  case " {serving} " in *" $n "*) [ -n "$wanted" ] || continue ;; esac
  wanted="$n $wanted"
done
for n in $wanted; do
  say "step $n of {total}: ${{title[n]}}"
  [ -z "$dry" ] || continue
  code=0; "step_$n" || code=$?
  [ "$code" = "${{ends[n]}}" ] || fail "step $n ended with $code, and not with ${{ends[n]}}"
  ! declare -F "left_$n" > /dev/null || soon "left_$n" || fail "step $n did not leave what it should"
done
[ -z "$dry" ] || {{ say 'dry run: nothing was changed'; exit 0; }}
soon checks || fail 'the checks do not pass'
say 'it works: every check passes'
"""


def export(plan: Plan) -> str:
    """The script. Raises CannotSay."""
    names = variables(plan)
    proof = (
        f"\n# Proven {plan.proof.when} on {plan.proof.where}, {plan.proof.runs} runs."
        if plan.proof
        else "\n# Not proven again."
    )
    usage = "".join(f"{entry.name}=... " for entry in plan.inputs if entry.default is None)
    parts = [_HEAD.format(skill=plan.skill, where=plan.where, proof=proof, usage=usage)]
    parts += [_input(entry.name, entry.default) for entry in plan.inputs]
    if any("{{tmp}}" in f"{step.run}{step.path}{step.directory}" for step in plan.steps):
        parts.append("PLAN_TMP=$(mktemp -d)\n")
    parts.append(_conditions(plan))
    parts.append(f"checks() {{\n{_checks(plan)}}}\n")
    parts.append("if checks > /dev/null 2>&1; then say 'it works already: nothing was changed'; exit 0; fi\n")
    for number, step in enumerate(plan.steps, 1):
        parts.append(_step(number, step, names))
    serving = " ".join(str(i) for i, step in enumerate(plan.steps, 1) if step.complete and not step.leaves)
    parts.append(_DRIVER.format(total=len(plan.steps), serving=serving))
    return "".join(parts)


def _input(name: str, default: str | None) -> str:
    if default is None:
        return f': "${{{name}:?set {name}}}"\n'
    return f': "${{{name}:={default}}}"\n' if default.isalnum() else f"{name}=${{{name}-{shlex.quote(default)}}}\n"


def _conditions(plan: Plan) -> str:
    """What the script can see for itself without running much."""
    lines = []
    for condition in plan.conditions:
        words = " | ".join(shlex.quote(word) for word in condition.needs.split("|"))
        why = shlex.quote(f"this needs {condition.about} {condition.needs}: {condition.why}")
        match condition.about:
            case "distribution":
                lines.append(f'case "$(. /etc/os-release && echo "$ID")" in {words}) ;; *) fail {why} ;; esac')
            case "release":
                lines.append(f'case "$(. /etc/os-release && echo "${{VERSION_ID-}}")" in {words}) ;; *) fail {why} ;; esac')
            case "architecture":
                lines.append(f'case "$(uname -m)" in {words}) ;; *) fail {why} ;; esac')
            case "manager":
                lines.append(f"command -v {shlex.quote(condition.needs)} > /dev/null || fail {why}")
            case "privilege" if condition.needs == "sudo":
                lines.append(f"command -v sudo > /dev/null || fail {why}")
            case "privilege":
                lines.append(f'[ "$(id -u)" = 0 ] || fail {why}')
    return "".join(f"{line}\n" for line in lines)


def _checks(plan: Plan) -> str:
    return "".join(f"  bash -lc {shlex.quote(check)} || return\n" for check in plan.checks) or "  true\n"


def _step(number: int, step: Step, names: Mapping[str, str]) -> str:
    title = shlex.quote(step.words)
    lines = [f"\ntitle[{number}]={title}; ends[{number}]={step.ends}\nstep_{number}() (\n", body(step, names), "\n)\n"]
    if step.complete and step.leaves:
        tests = " && ".join(holding(left, lambda text: placed(f'"{text}"', names)) for left in step.leaves)
        lines.append(f"left_{number}() {{ {tests}; }}\n")
    return "".join(lines)


def body(step: Step, names: Mapping[str, str]) -> str:
    """A step as shell text that stands on its own."""
    lines = ["set +u"]
    if step.directory:
        lines.append(f"cd {placed(_quoted(step.directory), names)} || exit")
    if step.umask:
        lines.append(f"umask {step.umask}")
    lines += [f"export {name}={placed(f'{chr(34)}{value}{chr(34)}', names)}" for name, value in step.environment.items()]
    if step.writes_file:
        path = placed(_quoted(step.path), names)
        lines.append(f"printf %s {content(step.content, names)} > {path}")
        lines += [f"chmod {step.mode} {path}"] if step.mode else []
        return "\n".join(lines)
    text = placed(step.run, names)
    if step.answers:
        typed = "".join(f"printf '%s\\n' {content(answer.text, names)}; " for answer in step.answers)
        text = f"{{ {typed}}} | {{ {text}\n}}"
    return "\n".join([*lines, text])


def _quoted(text: str) -> str:
    return f'"{text}"'
