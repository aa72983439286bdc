"""What skillrun understood of a skill, as lines of text for a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from skillrun.skills.skill import Skill, SkillCommand, Step, Understood, When


def conditions(when: When) -> str:
    """The machines meant, in a few words; empty for any."""
    words = [*when.os, *when.distro, *(f"with {name}" for name in when.manager), *when.arch]
    if when.root is not None:
        words.append("as root" if when.root else "without root")
    return ", ".join(words)


def understood(skill: Skill) -> Iterator[str]:
    """Name, digest, steps with their conditions and alternatives, checks, inputs, secrets, uninstall."""
    yield f"# {skill.name} ({skill.kind}) from {skill.source}"
    yield f"  digest  {skill.digest}"
    declared = skill.declared
    for label in ("platforms", "requires", "hosts", "writes", "privilege", "effects"):
        value = getattr(declared, label)
        if value is not None:
            yield f"  {label:<9} {value if isinstance(value, str) else ' '.join(value) or 'none'}"
    if skill.understood and skill.understood.wanted:
        yield from _wanted(skill.understood)
    elif skill.understood and not skill.understood.tells_steps:
        yield "nothing to carry out"
        yield from _beside(skill.understood)
    else:
        yield "steps" if skill.steps else "steps: none understood"
        for step in skill.steps:
            yield from _step(step)
    yield "checks" if skill.checks else "checks: none declared, stated or derivable"
    for check in skill.checks:
        expect = f"   (prints `{check.expect}`)" if check.expect else ""
        yield f"  [{check.origin}] {_indent(check.command, 13)}{expect}"
    for value in skill.inputs:
        choice = "|".join(value.choices) or (value.default if value.default is not None else "must be given")
        yield f"input  {value.name}: {choice}"
    for secret in skill.secrets:
        yield f"secret {secret.name}{' (optional)' if secret.optional else ''}"
    for prompt, answer in skill.answers.items():
        yield f"answer {prompt!r}: {answer}"
    if skill.uninstall:
        yield "uninstall"
        for step in skill.uninstall:
            yield from _step(step)


def _wanted(understood: Understood) -> Iterator[str]:
    """What a document is about: its program with the signs for it, the ways to it, and what is read and not done."""
    program = understood.programs[0] if understood.programs else None
    yield f"about  {understood.wanted[0].name}" + (
        f", the program `{program.name}` ({'; '.join(program.signs)})" if program else ""
    )
    for wanted in understood.wanted:
        yield f"ways to {wanted.name}{' (optional)' if wanted.optional else ''}"
        for way in wanted.ways:
            words = conditions(replace(way.when, manager=()))
            marks = [mark for mark in (way.scope, way.special, words) if mark]
            said = f"   [{'; '.join(marks)}]" if marks else ""
            yield f"  {way.manager:<9} {_indent(' && '.join(command.text for command in way.commands), 12)}{said}"
    yield from _beside(understood)


def _beside(understood: Understood) -> Iterator[str]:
    """What is needed before, what is read and not done, and what was not clear."""
    if understood.prerequisites:
        yield f"needs  {' '.join(understood.prerequisites)}"
    for kind, words in (
        ("after", "afterwards, offered and not done"),
        ("usage", "usage, not run"),
        ("development", "development, not run"),
    ):
        asides = understood.kind(kind)
        if asides:
            first = asides[0]
            more = f" and {len(asides) - 1} more" if len(asides) > 1 else ""
            yield f"{words}: `{first.text.splitlines()[0][:80]}` (line {first.line}){more}"
    for sentence in understood.unsure:
        yield f"not sure: {sentence}"


def _step(step: Step) -> Iterator[str]:
    marks = [word for word, on in (("optional", step.optional), ("only a person can do it", step.human)) if on]
    if step.skip_if:
        marks.append(f"skipped if `{step.skip_if}`")
    said = f"  ({', '.join(marks)})" if marks else ""
    yield f"  {step.number}. {step.title}{said}"
    way = ""
    for command in step.commands:
        if command.way != way:
            way = command.way
            if way:
                yield f"     {command.alternative}: {way}"
        yield f"     {'  ' if way else ''}{_indent(command.text, 7 if way else 5)}{_condition(command)}"


def _condition(command: SkillCommand) -> str:
    words = conditions(command.when)
    return f"   [{words}]" if words else ""


def _indent(text: str, columns: int) -> str:
    return text.replace("\n", "\n" + " " * columns)
