"""Who answers the questions the rules leave: a person, or the approval mode chosen beforehand."""

from __future__ import annotations

import re
from dataclasses import replace

from skillrun.events import Decision, Effect, EffectKind, Verdict
from skillrun.policy.judge import in_words
from skillrun.policy.rules import Rules, builtin_rules, glob
from skillrun.ports import Place
from skillrun.skills.skill import Skill

_AT_BOOT = frozenset(("units started at boot", "what starts at boot"))
"""Enabling a service is part of having one."""
_OWN_PIP = re.compile(r"/bin/pip[0-9.]*\Z")
"""pip of a virtual environment; where it lies under what the skill declares to write, it installs what the skill declares."""
_BY_MANAGER = re.compile(r"(?:^|, )by [a-z]")
MODES = ("ask", "safe", "declared", "all")


def by_manager(effect: Effect) -> bool:
    """Is this what a package manager does by itself when it is asked for a package?"""
    return _BY_MANAGER.search(effect.detail) is not None


def without_wall(decision: Decision) -> Decision:
    """The decision where there is no shell that can only look: judging alone decides, and unread code is a question."""
    if decision.verdict is not Verdict.LOOK:
        return decision
    harmless = (EffectKind.UNPROVEN, EffectKind.READ)
    verdict = Verdict.ALLOW if all(effect.kind in harmless for effect in decision.effects) else Verdict.ASK
    return replace(decision, verdict=verdict, confined=False)


def settle(decision: Decision, mode: str, skill: Skill | None, place: Place, rules: Rules | None = None) -> Decision:
    """Apply an approval mode to a decision. Only ASK and LOOK are ever changed: the floor and denials stand in every mode.

    `ask` leaves it; `safe` denies; `declared` allows what the skill declares or the rules allow and asks for the
    difference, naming it; `all` allows. What would only be looked at is carried out
    at once where the mode allows it. Raises ValueError for another mode.
    """
    if mode not in MODES:
        raise ValueError(f"no approval mode {mode!r}: it is one of {', '.join(MODES)}")
    if decision.verdict is Verdict.LOOK and mode in ("declared", "all"):
        agreed = mode == "all" or not undeclared(decision.effects, skill, place, rules)
        reason = "the skill declares it" if mode == "declared" else f"--approve all: {decision.reason}"
        how = replace(decision, verdict=Verdict.ALLOW, by="mode", reason=reason, confined=False)
        return how if agreed else decision
    if decision.verdict is not Verdict.ASK or mode == "ask":
        return decision
    if mode == "all":
        return replace(decision, verdict=Verdict.ALLOW, by="mode", reason=f"--approve all: {decision.reason}")
    if mode == "safe":
        return replace(
            decision, verdict=Verdict.DENY, by="mode", reason=f"--approve safe runs only what reads: {decision.reason}"
        )
    outside = undeclared(decision.effects, skill, place, rules)
    if not outside:
        return replace(decision, verdict=Verdict.ALLOW, by="mode", reason="the skill declares it", rule="declared")
    names = "; ".join(outside[:3]) + (f"; and {len(outside) - 3} more" if len(outside) > 3 else "")
    return replace(decision, reason=f"outside what the skill declares: {names}", rule="undeclared")


def undeclared(effects: tuple[Effect, ...], skill: Skill | None, place: Place, rules: Rules | None = None) -> list[str]:
    """The effects that neither the rules allow nor the skill declares, in words. A field left out permits nothing."""
    rules = rules or builtin_rules()
    kinds = frozenset(effect.kind for effect in effects)
    installs = EffectKind.INSTALL in kinds or EffectKind.REMOVE in kinds
    outside = []
    for effect in effects:
        ruling = rules.of(effect, place, (), kinds)
        if ruling.verdict is Verdict.ALLOW:
            continue
        difference = _difference(effect, skill, place, installs)
        if difference:
            outside.append(difference)
    return outside


def _difference(effect: Effect, skill: Skill | None, place: Place, installs: bool) -> str:
    """Empty when the skill declares this effect, else what is missing."""
    words = in_words(effect)
    if skill is None:
        return words
    declared = skill.declared
    named = set(declared.effects or ())
    kind = effect.kind
    packages = bool(named & {"packages", "package", "install"})
    if packages and by_manager(effect) and kind in (EffectKind.NETWORK, EffectKind.WRITE, EffectKind.RUN_CODE):
        return "" if effect.subject != "what is downloaded" else words
    if kind is EffectKind.WRITE or kind is EffectKind.DELETE:
        if any(_under(effect.subject, root, place) for root in declared.writes or ()):
            return ""
        return f"{words}, not under {' '.join(declared.writes or ()) or 'any declared directory'}"
    if kind is EffectKind.NETWORK:
        if packages and installs and not effect.subject.count("."):
            return ""
        if "send" not in effect.detail and any(glob(host, "").match(effect.subject) for host in declared.hosts or ()):
            return ""
        return f"{words}, declared hosts: {' '.join(declared.hosts or ()) or 'none'}"
    if kind is EffectKind.PRIVILEGE:
        if declared.privilege in ("sudo", "root") and not effect.subject.startswith("/"):
            return ""
        return f"{words}, declared privilege: {declared.privilege or 'none'}"
    if kind in (EffectKind.INSTALL, EffectKind.REMOVE):
        odd = "from" in effect.detail.split(", ", 1)[-1] and ", from" in effect.detail
        return "" if packages and not odd else f"{words}, packages are not declared" if not packages else words
    if kind is EffectKind.SERVICE:
        return "" if named & {"service", "services"} else f"{words}, services are not declared"
    if kind is EffectKind.PERSISTENCE:
        editing = "path-edit" in named and effect.subject.rsplit("/", 1)[-1].startswith((".bash", ".profile", ".zsh"))
        booting = bool(named & {"service", "services"}) and effect.subject in _AT_BOOT
        return "" if editing or booting or "persistence" in named else f"{words}, not declared"
    if kind is EffectKind.RUN_CODE and packages and _OWN_PIP.search(effect.subject):
        return "" if any(_under(effect.subject, root, place) for root in declared.writes or ()) else words
    if str(kind) in named and kind is not EffectKind.UNKNOWN:
        return ""
    return words


def _under(path: str, root: str, place: Place) -> bool:
    home = place.home.rstrip("/")
    if root == "~" or root.startswith("~/"):
        root = home + root[1:]
    root = root.rstrip("/") or "/"
    return bool(glob(root, "").match(path)) or path.startswith(root.rstrip("/") + "/")
