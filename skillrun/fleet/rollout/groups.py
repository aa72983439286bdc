"""Machines that one plan can serve: alike in what plans look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from skillrun.fleet.rollout.machine import Machine
from skillrun.plans.file import read_plan
from skillrun.plans.plan import PlanError
from skillrun.plans.store import files_for, identity_of
from skillrun.skills.skill import Skill

ALWAYS = ("distribution", "release", "architecture", "privilege")


def looked_at(skill: Skill) -> frozenset[str]:
    """What the conditions of this skill's known plans are about, and what every plan of ours is."""
    found = set(ALWAYS)
    for file in files_for(skill, identity_of(skill)):
        try:
            found |= {condition.about for condition in read_plan(file)[0].conditions}
        except PlanError:
            continue
    return frozenset(found)


def group_of(facts: Mapping[str, Any], about: frozenset[str]) -> str:
    """The group in words: `debian 12 x86_64, sudo`."""
    system, account = facts.get("os") or {}, facts.get("user") or {}
    words = [
        str(system.get("id") or system.get("system") or "?"),
        str(system.get("version") or ""),
        str(facts.get("arch") or ""),
    ]
    sudo = facts.get("sudo") or {}
    rights = "root" if account.get("root") else "sudo" if sudo.get("present") else "no root"
    more = [rights]
    libc = str((facts.get("libc") or {}).get("name") or "")
    if "libc" in about and libc:
        more.append(libc)
    if "init" in about and facts.get("init") == "systemd":
        more.append("systemd")
    return ", ".join([" ".join(word for word in words if word), *more])


def grouped(machines: Iterable[Machine], skill: Skill) -> dict[str, list[Machine]]:
    """Groups by name, each with its best canary first: bash, and rights without a password."""
    about = looked_at(skill)
    found: dict[str, list[Machine]] = {}
    for machine in machines:
        machine.group = group_of(machine.facts, about)
        found.setdefault(machine.group, []).append(machine)
    for members in found.values():
        members.sort(key=_unfit)
    return dict(sorted(found.items(), key=lambda pair: -len(pair[1])))


def _unfit(machine: Machine) -> int:
    sudo = machine.facts.get("sudo") or {}
    free = machine.root or bool(sudo.get("passwordless"))
    return (0 if free else 1) + (0 if "bash" in (machine.facts.get("tools") or {}) else 2)


def waves(count: int, serial: str) -> list[int]:
    """How many machines at a time: `1,5,20%` of so many; the last one is repeated. Raises ValueError."""
    sizes = []
    for word in serial.split(","):
        number = float(word.strip().removesuffix("%"))
        if number <= 0:
            raise ValueError(word)
        sizes.append(max(1, round(count * number / 100) if word.strip().endswith("%") else int(number)))
    found: list[int] = []
    left = count
    while left > 0:
        size = min(left, sizes[min(len(found), len(sizes) - 1)])
        found.append(size)
        left -= size
    return found


def too_many(failed: int, count: int, limit: str) -> bool:
    """Have more failed than `2` or `10%` of so many? Raises ValueError."""
    if not limit:
        return False
    number = float(limit.strip().removesuffix("%"))
    return failed > (count * number / 100 if limit.strip().endswith("%") else number)
