"""A skill's commands made ready for this machine: which apply, one at a time, with the blanks filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from skillrun.bash.syntax import parse
from skillrun.host.facts import can_be_root
from skillrun.skills.parser.snippets import SHELL_LANGUAGES
from skillrun.skills.skill import Skill, SkillCommand, Step, When

POINTLESS = re.compile(
    r"^\s*(set\s+[-+][a-z]+(\s+pipefail)?|exec\s+(\$SHELL|bash|zsh|sh|-?l)\b.*|exit(\s+\d+)?|newgrp\b.*|(bash|zsh|sh|\$SHELL)(\s+-l)?)\s*$"
)
"""Lines that would end or replace the shell the run lives in; they do nothing for an installation."""

APT = re.compile(
    r"\bapt(?:-get)?\b(?P<options>(?:\s+-\S+|\s+-o\s+\S+)*)\s+(?P<verb>install|upgrade|dist-upgrade|full-upgrade|remove|purge)\b"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """One command to run: its text, the number of its step, the line it stands on."""

    text: str
    step: int
    line: int


def fits(when: When, facts: Mapping[str, Any]) -> bool:
    """True when commands for `when` are meant for this machine."""
    system = facts.get("os", {})
    tools = facts.get("tools", {})
    names = {system.get("id"), system.get("family"), system.get("codename")} - {None, ""}
    arch = str(facts.get("arch", ""))
    same_arch = {arch, {"x86_64": "amd64", "aarch64": "arm64", "arm64": "aarch64", "amd64": "x86_64"}.get(arch, arch)}
    return (
        (not when.os or system.get("system") in when.os)
        and (not when.distro or bool(names & {name.lower() for name in when.distro}))
        and (not when.manager or any(manager in tools for manager in when.manager))
        and (not when.arch or bool(same_arch & set(when.arch)))
        and (when.root is None or when.root == can_be_root(facts))
    )


_SYSTEMS = {"linux": "linux", "macos": "macos", "darwin": "macos", "windows": "windows", "win32": "windows"}


def ruled_out(platforms: Sequence[str] | None, facts: Mapping[str, Any]) -> bool:
    """True when this machine is none of the platforms a skill names (`os`, `os/arch`); an unknown word rules nothing out."""
    named = [word.lower().partition("/") for word in platforms or ()]
    if not named or not facts.get("os", {}).get("system") or any(name not in _SYSTEMS for name, _, _ in named):
        return False
    return not any(fits(When(os=(_SYSTEMS[name],), arch=(arch,) if arch else ()), facts) for name, _, arch in named)


OF_A_LANGUAGE = frozenset({"pip", "pip3", "pipx", "uv", "npm", "pnpm", "yarn", "bun", "cargo", "go", "gem"})


def choose(steps: tuple[Step, ...], facts: Mapping[str, Any]) -> Iterator[tuple[Step, list[SkillCommand]]]:
    """The steps that fit this machine, each with the commands to run, one way of every set of alternatives."""
    chosen = {alternative: _best(known, facts) for alternative, known in _ways(steps, facts).items()}
    for step in (step for step in steps if fits(step.when, facts)):
        found = [command for command in step.commands if command.lang.lower() in SHELL_LANGUAGES]
        yield (
            step,
            [c for c in found if (c.way == chosen[c.alternative] if c.alternative else fits(c.when, facts))],
        )


def taken_without_root(steps: tuple[Step, ...], facts: Mapping[str, Any]) -> list[str]:
    """The ways that are taken only because commands cannot run as root here without a person, as the document words them."""
    if can_be_root(facts):
        return []
    root = {**facts, "sudo": {"present": True, "passwordless": True}}
    pairs = [(_best(known, facts), _best(known, root)) for known in _ways(steps, facts).values()]
    return [here for here, there in pairs if here and here != there]


def _ways(steps: tuple[Step, ...], facts: Mapping[str, Any]) -> dict[str, dict[str, list[SkillCommand]]]:
    """The sets of alternatives in what fits this machine: set -> way -> its commands."""
    ways: dict[str, dict[str, list[SkillCommand]]] = {}
    for command in (command for step in steps if fits(step.when, facts) for command in step.commands):
        if command.alternative and command.lang.lower() in SHELL_LANGUAGES:
            ways.setdefault(command.alternative, {}).setdefault(command.way, []).append(command)
    return ways


def _best(ways: Mapping[str, list[SkillCommand]], facts: Mapping[str, Any]) -> str | None:
    """The first way all of whose commands fit, one that needs root only where root can be had; None when none fits.

    A language's own package manager (pip, npm) may still come with the way, so it is missed only as a tie-break.
    """
    for strict in (True, False):
        fitting = [way for way, commands in ways.items() if all(_may(c.when, facts, strict) for c in commands)]
        for way in fitting:
            if can_be_root(facts) or not any(re.search(r"\bsudo\b", command.text) for command in ways[way]):
                return way
        if fitting:
            return fitting[0]
    return None


def _may(when: When, facts: Mapping[str, Any], strict: bool) -> bool:
    if not strict and when.manager and set(when.manager) <= OF_A_LANGUAGE:
        when = replace(when, manager=())
    return fits(when, facts)


def pieces(command: SkillCommand, step: int) -> list[Piece]:
    """A block's commands, one complete command each, prompts and comments taken off."""
    lines = command.text.replace("\r\n", "\n").split("\n")
    marked = [line for line in lines if line.strip()]
    if marked and all(re.match(r"\s*[$#%>] ", line) or not line.strip() for line in marked[:1]):
        # a transcript: what has a prompt is a command, the rest is its output
        prompted = [re.sub(r"^\s*[$%>] ", "", line) for line in lines if re.match(r"\s*[$%>] ", line)]
        lines = prompted or lines
    found: list[Piece] = []
    held: list[str] = []
    for offset, line in enumerate(lines):
        if not held and (not line.strip() or line.lstrip().startswith("#") or POINTLESS.match(line)):
            continue
        held.append(line)
        text = "\n".join(held)
        if not parse(text).unfinished:
            found.append(Piece(text.strip(), step, command.line + offset))
            held = []
    if held:
        found.append(Piece("\n".join(held).strip(), step, command.line))
    return found


def without_sudo(text: str) -> str:
    """The command with `sudo` and its plain options taken off, for a shell that is root already."""
    return re.sub(
        r"(?<![\w./-])sudo\s+(?:-[nEHSk]+\s+|--(?:preserve-env|set-home|non-interactive)\s+)*(?=[\w./$\"'-])", "", text
    )


def with_words(text: str, words: str) -> str:
    """The command with words put after each `sudo` (an `env ...` that keeps variables), in place of earlier ones."""
    text = re.sub(r'(?<![\w./-])(sudo\s+(?:-[nEHSk]+\s+)*)env (?:\w+="\$\w+" )+', r"\g<1>", text)
    return re.sub(r"(?<![\w./-])(sudo\s+(?:-[nEHSk]+\s+)*)(?!env\b)(?=[\w./$\"'-])", rf"\g<1>{words}", text) if words else text


def assume_yes(text: str) -> str:
    """apt commands with `-y`, since nobody sits at the keyboard to confirm what was approved already."""

    def add(match: re.Match[str]) -> str:
        return match[0] if re.search(r"\s(-y|-qy|-yq|--yes|--assume-yes)\b", text) else f"{match[0]} -y"

    return APT.sub(add, text)


def blanks(text: str) -> list[str]:
    """Placeholders a person is meant to replace: `<your-token>`, `{{NAME}}`, `YOUR_API_KEY`."""
    found = re.findall(
        r"<((?:your|my|the)[ _-][\w -]+)>|\{\{(?!secret:)\s*([A-Z][A-Z0-9_]+)\s*\}\}|\b((?:YOUR|MY)_[A-Z0-9_]+)\b", text
    )
    names = [name for group in found for name in group if name]
    bare = re.sub(r"<<-?\s*['\"]?(\w+)['\"]?[^\n]*\n.*?^\s*\1\s*$", "", text, flags=re.DOTALL | re.MULTILINE)
    if "</" not in bare:
        # to the shell `<version>` would be a file to read and one to write; nobody means that
        names += re.findall(r"(?<![<\d&])<([A-Za-z][\w-]*)>(?!>)", bare)
    return list(dict.fromkeys(names))


def stated(name: str, text: str) -> str:
    """The value that prose gives a placeholder ("the current version is 1.4.2"), or empty."""
    word = re.escape(re.sub(r"[-_ ]+", " ", name)).replace("\\ ", "[-_ ]")
    match = re.search(
        rf"<?\b{word}\b>?[`\"]?(?:\s+(?:number|name|to use|here))?\s*(?:is|:|=|with|by)\s*[`\"]?(?P<value>[\w.+/:-]*\w)",
        text,
        re.IGNORECASE,
    )
    value = match["value"] if match else ""
    return "" if "version" in name.lower() and not re.match(r"v?\d", value) else value


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with its placeholders replaced."""
    for name, value in values.items():
        for form in (f"<{name}>", f"{{{{{name}}}}}", f"{{{{ {name} }}}}"):
            text = text.replace(form, value)
        if re.match(r"(YOUR|MY)_", name):
            text = re.sub(rf"\b{re.escape(name)}\b", lambda _: value, text)  # noqa: B023
    return text


def prose(skill: Skill) -> str:
    """The skill's text without its front matter and fenced blocks: what is said rather than run."""
    text = re.sub(r"\A\s*---\n.*?\n---[ ]*\n", "", skill.text, count=1, flags=re.DOTALL)
    return re.sub(r"(?ms)^[ ]{0,3}(`{3,}|~{3,}).*?^[ ]{0,3}\1`*[ ]*$", "", text)
