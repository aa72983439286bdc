"""What the network of a view leads to: the registries of this machine's package clients, what a skill declares and its
commands name, and what a person adds. Code that nobody has read gets no other host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from skillrun.events import EffectKind
from skillrun.overlay.process.egress_proxy import is_here
from skillrun.policy.judge import Judge
from skillrun.ports import Place
from skillrun.sandbox.registries import client_hosts, configured_hosts, hosts_in, registry_hosts
from skillrun.skills.skill import Skill

EVERYTHING = "*"
"""Whatever this machine can contact, its own services too, by any protocol: what a person may give instead of names."""

_HOST = re.compile(r"(?=[^.]*\.)[a-z0-9.-]{4,253}(?::\d{1,5})?")
_SOURCES = re.compile(r"\bdeb(?:-src)?\s|\bURIs:|\b(?:baseurl|metalink|mirrorlist)\s*=|--add-repo\b|\badd-apt-repository\b")
"""A line that names a package source: in either format of apt, in that of yum, or by the command that adds one."""
_SOMEBODY = Place("/home/somebody", "/home/somebody", "somebody")


def commands_of(skill: Skill) -> tuple[str, ...]:
    """Every command that the document has its reader type, whatever it is for."""
    steps = (command for step in (*skill.steps, *skill.uninstall) for command in step.commands)
    ways = (command for wanted in (skill.understood.wanted if skill.understood else ()) for way in wanted.ways
            for command in way.commands)  # fmt: skip
    asides = (aside.text for aside in (skill.understood.asides if skill.understood else ()))
    return (*(command.text for command in (*steps, *ways)), *asides, *(check.command for check in skill.checks))


def named_in(commands: Iterable[str]) -> tuple[str, ...]:
    """The hosts that commands fetch from or name as package sources, with the port where an address has one, each once.

    What is sent somewhere, or named in code that is only run, names no source.
    """
    judge, found = Judge(), dict[str, None]()
    for text in commands:
        network = [e for e in judge.command(text[:50_000], _SOMEBODY).decision.effects if e.kind is EffectKind.NETWORK]
        sent = {effect.subject.lower() for effect in network if "send" in effect.detail}
        asked = {effect.subject.lower() for effect in network} - sent
        sources = hosts_in("\n".join(line for line in text.splitlines() if _SOURCES.search(line)))
        ports = (host for host in hosts_in(text) if host.rpartition(":")[0] in asked)
        found.update(dict.fromkeys(host for host in (*sorted(asked), *ports, *sources) if _HOST.fullmatch(host)))
    return tuple(found)


def reach(
    commands: Iterable[str], declared: Sequence[str] = (), given: Sequence[str] = ()
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Patterns of the hosts a view may contact: this machine's and a person's (None: whatever it can), and the skill's.

    This machine's own addresses count only where a person gives them.
    `given`: a person's own list, `declared` in it for what the skill declares. Empty: that, and what its commands name.
    """
    if EVERYTHING in given:
        return None, ()
    texts = tuple(dict.fromkeys(commands))
    own = (*declared, *named_in(texts)) if not given else declared if "declared" in given else ()
    words = {word for text in texts for word in text.split()}
    registries = (*registry_hosts([Path("/")]), *client_hosts(words), *configured_hosts())
    own = tuple(host for host in own if not is_here(host.rpartition(":")[0] or host))
    return tuple(dict.fromkeys((*registries, *(host for host in given if host != "declared")))), own
