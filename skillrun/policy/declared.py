"""What a skill declares that it does, held against what a command would do."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import replace

from skillrun.events import Decision, Effect, EffectKind, Verdict
from skillrun.policy.wording import EFFECTS
from skillrun.skills.skill import Declared, Skill

DECLARED_AS: dict[str, frozenset[str]] = {
    EffectKind.INSTALL: frozenset({"packages", "package"}),
    EffectKind.REMOVE: frozenset({"packages", "package"}),
    EffectKind.SERVICE: frozenset({"service", "services"}),
    EffectKind.PERSISTENCE: frozenset({"persistence", "path-edit"}),
    EffectKind.ACCOUNT: frozenset({"accounts", "users"}),
    EffectKind.CONTAINER: frozenset({"containers"}),
}
"""The words of `skillrun-effects` for a kind, besides the kind's own name."""


TELLING = frozenset(
    {
        EffectKind.PERSISTENCE,
        EffectKind.AGENT_CONTROL,
        EffectKind.DEFENCE_OFF,
        EffectKind.SECRET_READ,
        EffectKind.DEVICE,
        EffectKind.ACCOUNT,
        EffectKind.SERVICE,
        EffectKind.CONTAINER,
        EffectKind.INSTALL,
        EffectKind.REMOVE,
    }
)
"""Kinds of effect a skill has to declare; the others follow from these or are a matter of paths and hosts."""


NEVER_DECLARED = frozenset(
    {
        EffectKind.SECRET_READ,
        EffectKind.PERSISTENCE,
        EffectKind.AGENT_CONTROL,
        EffectKind.DEFENCE_OFF,
        EffectKind.DEVICE,
    }
)
"""Kinds that no declaration covers, since whoever writes a skill would only have to write the word: always asked."""

AT_BOOT = frozenset({"units started at boot", "what starts at boot"})
"""Enabling a service is part of having one, and declared with it."""

_UNREAD = frozenset({EffectKind.RUN_CODE, EffectKind.RUN_FETCHED, EffectKind.UNKNOWN, EffectKind.UNPROVEN})


def is_unread(effect: Effect) -> bool:
    """Does it run code that nobody has read, other than what a package manager runs by itself?"""
    return effect.kind in _UNREAD and ", by " not in f", {effect.detail}"


def coverable(effect: Effect, effects: Sequence[Effect], as_root: bool = False) -> bool:
    """May a declaration cover this effect of a command with these effects at all? `as_root`: whoever runs it is root.

    Ending programs is, ending the machine is not. Root's rights are covered for package managers and for what is bounded by
    other declarations, never for code that nobody has read: it could do anything with them.
    """
    if effect.kind is EffectKind.PERSISTENCE:
        return effect.subject in AT_BOOT
    if effect.kind is EffectKind.KILL:
        return effect.subject not in ("the whole machine", "every process")
    if effect.kind is EffectKind.PRIVILEGE:
        return not any(is_unread(other) for other in effects)
    if as_root and is_unread(effect):
        return False
    return effect.kind not in NEVER_DECLARED


def beyond(effects: Sequence[Effect], declared: Declared) -> list[Effect]:
    """The telling effects that the skill does not declare, and hosts outside those it names."""
    hosts = declared.hosts is not None
    return [
        effect
        for effect in effects
        if not coverable(effect, effects)
        or (
            (effect.kind in TELLING or (hosts and effect.kind is EffectKind.NETWORK and "." in effect.subject))
            and not declares(declared, effect.kind, [effect.subject])
        )
    ]


def keep_to_declared(decision: Decision, skill: Skill) -> Decision:
    """A decision that allows becomes one that asks where it goes beyond what the skill declares, naming what."""
    if decision.verdict is not Verdict.ALLOW or decision.by == "person":
        return decision
    # As outside a view, where what else it does is known: that nothing proves it harmless besides is no news.
    known = [effect for effect in decision.effects if effect.kind is not EffectKind.UNPROVEN]
    found = beyond(known, skill.declared)
    if not found:
        return decision
    words = "; ".join(f"{EFFECTS[effect.kind]} {effect.subject}".strip() for effect in found[:3])
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    reason = f"outside what the skill declares: {words}{more}"
    return replace(decision, verdict=Verdict.ASK, reason=reason, rule="undeclared", by="mode")


def declares(declared: Declared | None, kind: str, subjects: Sequence[str] = ()) -> bool:
    """Does the skill say that it does this? By kind, or by hosts, paths and rights for the kinds that have them."""
    if declared is None:
        return False
    named = set(declared.effects or ())
    if kind in named or named & DECLARED_AS.get(kind, frozenset()):
        return True
    if kind == EffectKind.PERSISTENCE and subjects and AT_BOOT.issuperset(subjects):
        return declares(declared, EffectKind.SERVICE)
    if kind == EffectKind.NETWORK:
        managers = bool(named & DECLARED_AS[EffectKind.INSTALL])
        return all((managers and "." not in subject) or _fits(subject, declared.hosts or ()) for subject in subjects)
    if kind in (EffectKind.WRITE, EffectKind.DELETE) and declared.writes is not None:
        return all(_fits(subject, declared.writes) for subject in subjects)
    return kind == EffectKind.PRIVILEGE and declared.privilege in ("sudo", "root")


def _fits(subject: str, patterns: Sequence[str]) -> bool:
    names = {subject, re.sub(r"^(/root|/home/[^/]+)(?=/|$)", "~", subject)}
    return any(
        fnmatch.fnmatchcase(name, pattern) or name.startswith(pattern.rstrip("/") + "/")
        for pattern in patterns
        for name in names
    )
