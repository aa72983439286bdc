"""A step as shell text: with the directory, the variables and the umask it stands in, where these are not there already."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from skillrun.plans.plan import Step, filled


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
    if any("{{tmp}}" in text for text in (step.run, step.path, step.directory)):
        lines.insert(0, f"mkdir -p {values['tmp']}")
    lines += [f"unset {name}" for name in was.environment if name not in step.environment]
    return lines


def _inside(value: str, values: Mapping[str, str]) -> str:
    """A value between double quotes: its own `$NAME` and escapes stay, and a placeholder's value is plain."""
    return filled(value, values)


def command_of(step: Step, values: Mapping[str, str], before: Step | None = None) -> str:
    """The shell text that carries a command out where it stands. Raises PlanError."""
    return standing(step, filled(step.run, values), values, before)


def standing(step: Step, text: str, values: Mapping[str, str], before: Step | None = None) -> str:
    """Shell text where a step stands, and nowhere else: where its directory is not there it is not carried out."""
    lines = setting(step, values, before)
    return f"{' && '.join(lines)} && {{ {text}\n}}" if lines else text


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
    return standing(step, write_command(step, values), values, before)


def joined(words: Sequence[str]) -> str:
    """Words as a command line; a leading tilde is left for the shell."""
    return " ".join(f"~/{shlex.quote(word[2:])}" if word.startswith("~/") else shlex.quote(word) for word in words)
