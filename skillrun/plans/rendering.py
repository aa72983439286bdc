"""A step as shell text: with the directory, the variables and the umask it stands in, where these are not there already."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from skillrun.plans.plan import Plan, Step, filled


def setting(step: Step, values: Mapping[str, str], before: Step | None = None) -> list[str]:
    """The commands that put a shell where a step stands, after the step `before` it (None: a shell just started)."""
    lines = []
    was = before or Step()
    if step.directory != was.directory:
        lines.append(f"cd {shlex.quote(filled(step.directory or '{{here}}', values))}")
    if step.umask and step.umask != was.umask:
        lines.append(f"umask {step.umask}")
    for name, value in step.environment.items():
        if was.environment.get(name) != value:
            lines.append(f'export {name}="{_inside(value, values)}"')
    lines += [f"unset {name}" for name in was.environment if name not in step.environment]
    return lines


def _inside(value: str, values: Mapping[str, str]) -> str:
    """A value between double quotes: its own `$NAME` and escapes stay, and a placeholder's value is plain."""
    return filled(value, values)


def command_of(step: Step, values: Mapping[str, str], before: Step | None = None) -> str:
    """The shell text that carries a command out where it stands. Raises PlanError."""
    return "\n".join([*setting(step, values, before), filled(step.run, values)])


def write_command(step: Step, values: Mapping[str, str]) -> str:
    """Shell text that writes the file of a step, whole, with its mode."""
    path = shlex.quote(filled(step.path, values))
    content = _content(step, values)
    mark = "PLAN"
    while re.search(rf"^{mark}$", content, re.MULTILINE):
        mark += "_"
    if content.endswith("\n"):
        text = f"cat > {path} <<'{mark}'\n{content}{mark}"
    else:
        text = f"printf %s {shlex.quote(content)} > {path}"
    return f"{text}\nchmod {step.mode} {path}" if step.mode else text


def _content(step: Step, values: Mapping[str, str]) -> str:
    return filled(step.content, values)


def shell_of(step: Step, values: Mapping[str, str], before: Step | None = None) -> str:
    """Any step as shell text."""
    if not step.writes_file:
        return command_of(step, values, before)
    return "\n".join([*setting(step, values, before), write_command(step, values)])


def script_values(plan: Plan) -> dict[str, str]:
    """Values for a text that is carried out elsewhere, by a shell: `$HOME` and the like stand for themselves."""
    return {entry.name: entry.default for entry in plan.inputs if entry.default is not None}
