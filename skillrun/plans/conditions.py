"""What a plan depends on: concluded from its steps and the machine it was made on, each condition with its reason."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from skillrun.plans.plan import Condition, Plan, Step

MANAGERS = {
    "apt-get": "apt-get", "apt": "apt-get", "dpkg": "dpkg", "dnf": "dnf", "yum": "dnf", "apk": "apk",
    "pacman": "pacman", "zypper": "zypper", "brew": "brew", "pipx": "pipx", "npm": "npm", "cargo": "cargo",
    "gem": "gem", "go": "go", "snap": "snap",
}  # fmt: skip
"""Programs that install packages -> the one that has to be there."""
SYSTEM = frozenset(("apt-get", "dpkg", "dnf", "apk", "pacman", "zypper"))
"""Managers whose package names are a distribution's."""
RUNTIMES = ("python3", "node", "ruby", "java", "go", "gcc", "make")
SOFT = frozenset({"release"})
"""Conditions of which a person who names a plan themselves may want to see whether it holds without them."""

_WORD = r"(?<![\w.-]){}(?![\w./-])"


def conditions_of(facts: Mapping[str, Any], steps: Sequence[Step]) -> tuple[Condition, ...]:
    """The conditions of steps that worked on a machine with these facts."""
    system = facts.get("os") or {}
    account = facts.get("user") or {}
    found = [Condition("distribution", str(system.get("id") or system.get("system") or ""), _why_distribution(steps))]
    if system.get("version"):
        found.append(Condition("release", str(system["version"]), "the release it was proven on"))
    if arch := facts.get("arch"):
        found.append(Condition("architecture", str(arch), "the architecture it was proven on"))
    libc = facts.get("libc") or {}
    if libc.get("name") and (foreign := _which(steps, ("pip", "pip3", "npm", "curl", "wget", "pipx"))):
        found.append(Condition("libc", str(libc["name"]), f"{foreign} brings programs built for it"))
    if step := _which(steps, ("systemctl",)):
        found.append(Condition("init", "systemd", f"{step} uses systemctl"))
    if account.get("root"):
        found.append(Condition("privilege", "root", "the run was root's"))
    elif step := _which(steps, ("sudo",)):
        found.append(Condition("privilege", "sudo", f"{step} uses sudo"))
    for manager in dict.fromkeys(MANAGERS.values()):
        names = [name for name, needed in MANAGERS.items() if needed == manager]
        if step := _which(steps, names):
            found.append(Condition("manager", manager, f"{step} installs with it"))
    versions = facts.get("versions") or {}
    for name in RUNTIMES:
        if step := _which(steps, (name,)):
            known = re.match(r"\d+(?:\.\d+)?", str(versions.get(name, "")))
            found.append(Condition("runtime", f"{name} >={known[0]}" if known else name, f"{step} runs it"))
    return tuple(condition for condition in found if condition.needs)


def _why_distribution(steps: Sequence[Step]) -> str:
    names = [name for name, needed in MANAGERS.items() if needed in SYSTEM]
    step = _which(steps, names)
    return f"{step} names its packages" if step else "the distribution it was proven on"


def _which(steps: Sequence[Step], programs: Iterable[str]) -> str:
    """`step 2`, the first step that runs one of these programs; empty: none does."""
    patterns = [re.compile(_WORD.format(re.escape(program))) for program in programs]
    for number, step in enumerate(steps, 1):
        if any(pattern.search(step.run) for pattern in patterns):
            return f"step {number}"
    return ""


def unmet_facts(plan: Plan, facts: Mapping[str, Any]) -> list[tuple[Condition, str]]:
    """The conditions that a machine's essential facts (`os`, `arch`, `user`) show to be unmet, and what there is instead."""
    system, account = facts.get("os") or {}, facts.get("user") or {}
    has = {
        "distribution": str(system.get("id") or system.get("system") or ""),
        "release": str(system.get("version") or ""),
        "architecture": str(facts.get("arch") or ""),
        "privilege": "root" if account.get("root") else "sudo",
    }
    found = []
    for condition in plan.conditions:
        there = has.get(condition.about)
        may_sudo = condition.about == "privilege" and condition.needs == "sudo"  # root may too; that it is there is probed
        if there is not None and there not in condition.needs.split("|") and not may_sudo:
            found.append((condition, "root" if there == "root" else there if condition.about != "privilege" else "no root"))
    return found


def probe(condition: Condition) -> str:
    """Shell text that looks and prints what there is; empty where the essential facts say it. It only reads."""
    name = shlex.quote(condition.needs.split(" ")[0])
    match condition.about:
        case "manager":
            return f"command -v {name}"
        case "runtime":
            return f"{name} version" if name == "go" else f"{name} --version"
        case "libc":
            return "getconf GNU_LIBC_VERSION || ls /lib/ld-musl-*"
        case "init":
            return "ls -d /run/systemd/system"
        case "privilege" if condition.needs == "sudo":
            return "command -v sudo"
        case "space":
            return "df -Pk ~"
    return ""


def met(condition: Condition, told: str) -> bool:
    """Does what the probe printed meet the condition?"""
    name, _, bound = condition.needs.partition(" ")
    match condition.about:
        case "libc":
            return ("musl" if "musl" in told else "glibc" if "glibc" in told.lower() else "") == name
        case "runtime":
            found = re.search(r"\d+(?:\.\d+)*", told)
            return found is not None and (not bound or numbers(found[0]) >= numbers(bound.lstrip(">=")))
        case "space":
            free = re.search(r"(\d+)\s+\d+%", told)  # df(1) -P: available blocks of 1024 bytes, then the share that is used
            return free is None or int(free[1]) // 1024 >= int(re.sub(r"\D", "", condition.needs) or 0)
    return bool(told.strip())


def numbers(version: str) -> tuple[int, ...]:
    """A version's numbers, for comparing."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def in_words(condition: Condition, there: str) -> str:
    """An unmet condition as a person is told: `release is 13, the plan needs 12 (the release it was proven on)`."""
    told = " ".join(there.split())[:80] or "not there"
    return f"{condition.about} is {told}, and the plan needs {condition.needs} ({condition.why})"


def widened(condition: Condition, there: str) -> Condition:
    """The condition with one more value that has been shown to work."""
    return Condition(condition.about, f"{condition.needs}|{there}", condition.why)


def outside(plan: Plan, facts: Mapping[str, Any], ask: Callable[[str], str]) -> list[tuple[Condition, str]]:
    """All the conditions that a machine does not meet, and what there is instead. `ask` runs text there for its output."""
    probed = [(condition, ask(probe(condition))) for condition in plan.conditions if probe(condition)]
    return unmet_facts(plan, facts) + [pair for pair in probed if not met(*pair)]


def wider(plan: Plan, beyond: Sequence[tuple[Condition, str]]) -> Plan | None:
    """The plan with conditions that are true of a place too in which it was shown to hold: another release is added, and a
    program that was not there is none it depends on (its own steps bring it). None where that is nothing new.
    """
    releases = {condition: widened(condition, there) for condition, there in beyond if condition.about in SOFT and there}
    brought = {condition for condition, _ in beyond if condition.about in ("manager", "runtime")}
    if not releases and not brought:
        return None
    kept = tuple(releases.get(each, each) for each in plan.conditions if each not in brought)
    return dataclasses.replace(plan, conditions=kept)
