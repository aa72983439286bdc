"""Exactly the plan's versions: a step's command with every package it names pinned, and what of them is gone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from skillrun.bash.nodes import Lit, Node, Seq, Simple
from skillrun.bash.syntax import parse
from skillrun.plans import npm
from skillrun.plans.plan import Installed, Plan, PlanError, Step, filled
from skillrun.plans.rendering import joined

_APT = frozenset(("apt", "apt-get"))
_WRAPPERS = frozenset(("sudo", "env", "nice", "command", "doas"))


def locked_command(step: Step, plan: Plan, values: Mapping[str, str]) -> str:
    """The command with versions. Raises PlanError for one that installs packages in a way that cannot be pinned."""
    text = filled(step.run, values)
    node = _single(text)
    words = _words(node)
    if words is None:
        if _touches(text):
            raise PlanError(f"`{step.words}` installs packages in a way that no version can be put into")
        return text
    start = next(
        (i for i, word in enumerate(words) if word not in _WRAPPERS and "=" not in word and not word.startswith("-")), 0
    )
    program, rest = words[start].rpartition("/")[2], words[start + 1 :]
    if program in _APT and "install" in rest:
        return _apt(words, start, plan)
    if program in ("pip", "pip3") and rest[:1] == ["install"]:
        return _pip(words[: start + 1], rest[1:], plan, values)
    if program in ("python", "python3") and rest[:3] == ["-m", "pip", "install"]:
        return _pip(words[: start + 4][:-1], rest[3:], plan, values)
    if program == "npm" and rest and rest[0] in ("i", "install", "add"):
        return npm.locked(words[:start], words[start], rest[1:], plan, values)
    return text


def _single(text: str) -> Node | None:
    script = parse(text)
    body: Seq = script.body
    return body.items[0] if not script.error and len(body.items) == 1 and not body.background else None


def _words(node: Node | None) -> list[str] | None:
    """The words of one simple command without expansions or redirections; None for anything else."""
    if not isinstance(node, Simple) or node.redirects or node.declares:
        return None
    words = []
    for given in node.assigns:
        if given.append or given.index or given.values or not all(isinstance(part, Lit) for part in given.value):
            return None
        words.append(f"{given.name}={''.join(part.text for part in given.value if isinstance(part, Lit))}")
    for word in node.words:
        if not all(isinstance(part, Lit) for part in word):
            return None
        words.append("".join(part.text for part in word if isinstance(part, Lit)))
    # a tilde stays the shell's to expand, so such a command is written as it was
    return words or None


def _touches(text: str) -> bool:
    return re.search(r"\b(?:apt-get|apt|pip3?|npm)\b[^\n;&|]*\b(?:install|i|add)\b", text) is not None


def _apt(words: list[str], start: int, plan: Plan) -> str:
    known = {entry.name: entry.version for entry in plan.installed if entry.manager == "apt"}
    named = {word.partition("=")[0] for word in words[start:]}
    pinned = [f"{word}={known[word]}" if i > start and word in known else word for i, word in enumerate(words)]
    others = [f"{name}={version}" for name, version in known.items() if name not in named]
    return joined([*pinned, *others])


def _pip(head: Sequence[str], rest: Sequence[str], plan: Plan, values: Mapping[str, str]) -> str:
    """One requirements file with hashes for all that pip brought where this pip installs."""
    prefix = head[-1].rpartition("/bin/")[0] if "/bin/" in head[-1] else ""
    prefix = re.sub(r"^~(?=/|$)", values["home"], prefix)
    entries = [entry for entry in plan.installed if entry.manager == "pip" and (not prefix or _in(entry, prefix, values))]
    entries = [entry for entry in entries if entry.digest]
    if not entries:
        raise PlanError("the plan has no hashes for what pip installs here")
    options = [word for word in rest if word.startswith("-")]
    lines = "".join(f"{entry.name}=={entry.version} --hash={entry.digest}\n" for entry in entries)
    command = joined([*head, "install", *options, "--no-deps", "--require-hashes", "-r", "/dev/stdin"])
    return f"{command} <<'LOCK'\n{lines}LOCK"


def _in(entry: Installed, prefix: str, values: Mapping[str, str]) -> bool:
    return filled(entry.place, values).startswith(f"{prefix}/")


_GONE = (
    re.compile(r"E: Version [‘'`\"](?P<version>[^’'\"]+)[’'\"] for [‘'`\"](?P<name>[^’'\"]+)[’'\"] was not found"),
    re.compile(r"No matching distribution found for (?P<name>[\w.-]+)==(?P<version>\S+)"),
    re.compile(r"No matching version found for (?P<name>@?[^@\s]+)@(?P<version>[\w.+-]+)"),
    re.compile(r"E: Unable to locate package (?P<name>\S+)(?P<version>)"),
)
"""What apt-get, pip and npm say of a version that is not to be had."""


def gone(output: str, plan: Plan) -> str:
    """Which of the plan's versions a manager says it no longer has; empty when it says nothing of the kind."""
    found = [f"{match['name']} {match['version']}".strip() for pattern in _GONE for match in pattern.finditer(output)]
    return f"no longer to be had: {', '.join(dict.fromkeys(found))}" if found else ""
