"""The versions a skill's text promises (title, description, commands), and whether what came is one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skillrun.skills.skill import Skill


@dataclass(frozen=True, slots=True)
class Promise:
    """A version that the text names. `manager` is npm | pip | apt | cargo, or empty where prose names the software."""

    name: str
    version: str
    manager: str = ""
    line: int = 0

    def kept_by(self, version: str) -> bool:
        """Is a version the promised one, as exactly as the text says it: `22` is kept by 22.3.1, `1.4` is not by 1.5?"""
        wanted, came = _numbers(self.version), _numbers(re.sub(r"^\d+:", "", version))
        if self.manager in ("npm", "pip", "cargo"):
            exact = re.sub(r"^v", "", self.version)
            return came[: len(wanted)] == wanted if exact.count(".") < 2 else _base(version) == _base(exact)
        return came[: len(wanted)] == wanted


_COMMANDS = {
    "npm": re.compile(
        r"\b(?:npm|pnpm|yarn|npx)\b[^\n;&|]*?\s(?P<name>(?:@[\w.-]+/)?[\w.-]+)@v?(?P<version>\d+(?:\.\d+)*(?:-[\w.]+)?)(?![\w.^~*-])"
    ),
    "pip": re.compile(
        r"\b(?:pip3?|pipx|uv)\b[^\n;&|]*?[\s'\"](?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==(?P<version>\d[\w.]*)(?!\.?\*)"
    ),
    "apt": re.compile(
        r"\bapt(?:-get)?\b[^\n;&|]*?\binstall\b[^\n;&|]*?\s(?P<name>[a-z0-9][a-z0-9.+-]+)=(?P<version>\d[\w.:~+-]*)"
    ),
    "cargo": re.compile(r"\bcargo\s+(?:b?install)\b[^\n;&|]*?\s(?P<name>[\w-]+)\s+--version\s+=?(?P<version>\d[\w.-]*)"),
}
_PROSE = re.compile(r"(?P<name>[A-Za-z][\w.+-]*)\s+(?:version\s+)?v?(?P<version>\d+(?:\.\d+){0,3})(?P<after>[^\n]{0,24})")
_BOUND = re.compile(
    r"\s*(?:\+|or\s+(?:newer|later|higher|above|greater|up|more)|and\s+(?:newer|later|up)|\.x\s*or)", re.IGNORECASE
)


def promised(skill: Skill) -> tuple[Promise, ...]:
    """Every version the text names as the one that comes. A lower bound ("22 or newer") is a requirement, and no promise."""
    found: dict[tuple[str, str], Promise] = {}
    for step in skill.steps:
        for command in step.commands:
            for manager, pattern in _COMMANDS.items():
                for match in pattern.finditer(command.text):
                    promise = Promise(match["name"], match["version"], manager, command.line)
                    found.setdefault((promise.name, manager), promise)
    for text in (skill.title, skill.description):
        for match in _PROSE.finditer(text):
            name = _plain(match["name"])
            if not _BOUND.match(match["after"]) and name in (_plain(skill.name), *map(_plain, _packages(skill))):
                found.setdefault((name, ""), Promise(match["name"], match["version"], line=1))
    return tuple(found.values())


def _packages(skill: Skill) -> Iterable[str]:
    """Names that commands install, so that prose which names one means it."""
    for step in skill.steps:
        for command in step.commands:
            if re.search(r"\b(?:install|add|i)\b", command.text):
                yield from re.findall(r"(?<=\s)[a-z][\w.+-]+", command.text)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[-+~]", version.removeprefix("v"))[0]))


def _base(version: str) -> str:
    return version.removeprefix("v")


def other_versions(skill: Skill, packages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What came at another version than the text names, in sentences. `packages` as a Changed event has them."""
    said = []
    for promise in promised(skill) if _names_a_version(skill.text, packages) else ():
        names = {_plain(promise.name), *([f"{_plain(promise.name)}server"] if not promise.manager else [])}
        came = [entry for entry in packages if entry.get("change") != "removed" and _plain(str(entry.get("name", ""))) in names]
        came = [entry for entry in came if not promise.manager or _same_manager(promise.manager, str(entry.get("manager", "")))]
        versions = list(dict.fromkeys(str(entry.get("version", "")) for entry in came if entry.get("version")))
        if versions and not any(promise.kept_by(version) for version in versions):
            where = f" (line {promise.line})" if promise.line > 1 else ""
            said.append(f"the text names {promise.name} {promise.version}{where}, and {' and '.join(versions)} came")
    return said


_SIGN = re.compile(
    r"(?P<name>[\w@/.+-]+)(?:[\])'\"`*]|[(\[][^)\]\n]*[)\]]|<[^>\n]*>)*(?:@|==?|[\s\\]+(?:-*version[\s\\]+=?)?)v?\d",
    re.IGNORECASE,
)
"""A name with a version behind it, in prose or in a command, whatever marks it up."""


def _names_a_version(text: str, packages: Sequence[Mapping[str, Any]]) -> bool:
    """Could the text name a version of what came? Only then is its body read, which takes longer than a small install."""
    came = tuple({_plain(str(entry.get("name", ""))).removesuffix("server") for entry in packages} - {""})
    return any(_plain(match["name"]).endswith(came) for match in _SIGN.finditer(text))


def _same_manager(promised_by: str, came_by: str) -> bool:
    return came_by == {"apt": "dpkg"}.get(promised_by, promised_by)


def pinned(skill: Skill, promise: Promise) -> bool:
    """Does a check look at the promised version?"""
    short = re.escape(promise.version)
    loose = re.sub(r"(?:\\\.|\.)", r"\\W{1,4}", short)
    return any(re.search(rf"(?<![\d]){loose}(?![\d])", check.command + check.expect) for check in skill.checks)
