"""Which of a document's ways to take on this machine: ranked by what is there, what it costs, and what the document prefers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from skillrun.host.facts import can_be_root
from skillrun.models.builtin.script import fits
from skillrun.skills.parser.understanding.acts import FOREIGN
from skillrun.skills.parser.understanding.names import NO_VERSION
from skillrun.skills.skill import Way

PYTHON = ("pip", "pipx", "uv tool", "uv")
NODE = ("npm", "pnpm", "yarn", "bun", "volta")
SYSTEM = ("apt", "dnf", "yum", "pacman", "apk", "zypper")
FROM = {
    **dict.fromkeys(PYTHON, "the Python package index"),
    **dict.fromkeys(NODE, "the npm registry"),
    **dict.fromkeys(SYSTEM, "this machine's package sources"),
}
"""Where managers get packages from, as a person is told."""
_LIKE_DEBIAN = {"debian", "ubuntu", "linuxmint", "pop", "elementary", "kali", "raspbian"}
FROM_THE_DISTRIBUTION = {
    "cargo": "cargo",
    "go": "golang-go",
    "gem": "ruby-rubygems",
    "conda": "",
    "luarocks": "luarocks",
    "composer": "composer",
}
"""Managers of a language -> the distribution's package that has them, where that is a reasonable way."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A way and what speaks for it: `cost` 0 runs now with what is there, more asks for more. `no`: why it cannot be taken."""

    way: Way
    cost: int = 0
    no: str = ""

    @property
    def words(self) -> str:
        """The way in a few words: what is got, with what."""
        return describe(self.way)


def describe(way: Way, version: str = "") -> str:
    """A way in a few words, with the version where it is known."""
    if way.manager == "script":
        return f"the script at {' '.join(way.packages)}"
    if way.manager == "source":
        return f"{' '.join(way.packages)} built from its source"
    if way.manager == "container":
        return f"the container {' '.join(way.packages)}"
    return f"{' '.join([*way.packages, *filter(None, [version])])} with {way.manager}"


def ranked(ways: Sequence[Way], facts: Mapping[str, Any]) -> list[Choice]:
    """The ways in the order they are worth trying; those that cannot be taken here last, each with its reason."""
    choices = [weigh(way, facts) for way in _apart(ways)]
    order = {id(choice): number for number, choice in enumerate(choices)}
    return sorted(choices, key=lambda choice: (bool(choice.no), choice.cost, order[id(choice)]))


def _apart(ways: Sequence[Way]) -> list[Way]:
    """The ways without those that come to the same here: pip and pipx, npm and yarn, of one package."""
    found: dict[tuple[object, ...], Way] = {}
    for way in ways:
        family = "python" if way.manager in PYTHON else "node" if way.manager in NODE else way.manager
        names = tuple(package.lower().removesuffix("@latest") for package in way.packages)
        found.setdefault((family, names if family in ("python", "node") else id(way)), way)
    return list(found.values())


def weigh(way: Way, facts: Mapping[str, Any]) -> Choice:
    """What taking one way would cost on this machine."""
    tools = facts.get("tools", {})
    no = _elsewhere(way, facts)
    if not no and way.special == NO_VERSION and way.manager not in (*PYTHON, *NODE):
        no = "its command leaves the version to its reader"
    if no:
        return Choice(way, no=no)
    cost = _cost(way, tools, facts)
    if isinstance(cost, str):
        return Choice(way, no=cost)
    return Choice(way, cost + (20 if way.special else 0) + (1 if way.scope == "project" else 0))


def _elsewhere(way: Way, facts: Mapping[str, Any]) -> str:
    when = replace(way.when, manager=(), root=None)
    if way.manager in facts.get("tools", {}) and (way.manager != "apt" or set(when.distro) & _LIKE_DEBIAN):
        when = replace(when, distro=())  # the distribution's cousins share their package names more often than not
    if not fits(when, facts):
        return f"it is for {', '.join([*when.os, *when.distro, *when.arch])}"
    return ""


def _cost(way: Way, tools: Mapping[str, Any], facts: Mapping[str, Any]) -> int | str:
    manager = way.manager
    if manager in PYTHON:
        return (
            0
            if {"uv", "pipx"} & set(tools)
            else 4
            if can_be_root(facts) or "python3" in tools or "pip" in tools
            else "there is no Python here"
        )
    if manager in NODE:
        return 0 if "npm" in tools else 4 if can_be_root(facts) else "there is no npm here"
    if manager in tools:
        if manager in SYSTEM and not can_be_root(facts) and facts.get("user", {}).get("root") is False:
            return 6 if manager == "apt" else f"{manager} needs root rights"
        return 0 if manager != "snap" or facts.get("init") == "systemd" else "snap needs its service"
    if FROM_THE_DISTRIBUTION.get(manager):
        return 8 if can_be_root(facts) else f"there is no {manager} here"
    if manager == "script":
        return 2
    if manager == "source":
        return 10 if not way.special else "its source is not at hand"
    if manager in SYSTEM or manager in FOREIGN or manager in ("conda", "volta", "mise", "asdf"):
        return f"there is no {manager} here"
    return f"{manager} is not a way on this machine"
