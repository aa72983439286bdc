"""What a skill's commands would do, read and not run, against what an earlier version or report says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from skillrun.lint.finding import Finding, catalogue
from skillrun.lint.trust import PLACE
from skillrun.skills.skill import Skill

_SHELL = re.compile(rb"#!\s*\S*/(?:env\s+)?(?:ba|da|z|k)?sh\b")


@dataclass(slots=True)
class SkillEffects:
    """Effects of all commands of a skill: kind -> what it touches, and the line each was first seen on."""

    kinds: dict[str, list[str]] = field(default_factory=dict)
    lines: dict[tuple[str, str], int] = field(default_factory=dict)


def effects_of_skill(skill: Skill, scripts: Mapping[str, bytes] | None = None) -> SkillEffects:
    """The effects the policy sees in the steps, the checks and the uninstall part, for someone with a home of their own.

    `scripts`: further files; those that are shell scripts count like commands.
    """
    from skillrun.policy.judge import Judge

    judge, found = Judge(skill=skill), SkillEffects()
    commands = [(command.text, command.line) for step in (*skill.steps, *skill.uninstall) for command in step.commands]
    commands += [(check.command, check.line or 1) for check in skill.checks]
    shells = (data for data in (scripts or {}).values() if _SHELL.match(data))
    commands += [(data.decode("utf-8", "replace"), 1) for data in shells]
    for text, line in commands:
        for effect in judge.command(text[:50_000], PLACE).decision.effects:
            subjects = found.kinds.setdefault(str(effect.kind), [])
            if effect.subject not in subjects:
                subjects.append(effect.subject)
            found.lines.setdefault((str(effect.kind), effect.subject), line)
    return found


def drifted(skill: Skill, before: Mapping[str, Sequence[str]], path: str) -> list[Finding]:
    """A finding for everything the skill does now and did not before; a kind that is new and undeclared is an error."""
    from skillrun.record.drift import compare

    now = effects_of_skill(skill)
    drift = compare(before, now.kinds, skill.declared)
    found = []
    for kind, subject in drift.new_subjects:
        rule = "effect-new-kind" if kind in drift.undeclared else "effect-new"
        message = f"now also: {kind} {subject}".rstrip()
        found.append(Finding(rule, message, path, now.lines.get((kind, subject), 1), 1, catalogue()[rule].level))
    return found
