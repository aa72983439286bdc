"""A person's word, kept no wider than it was meant.

Once and for this run an approval is bound to the very command, directory, programs and skill (`binding`): when any
of them changes it is asked again. For good it becomes rules about effects, in words (`propose`), and what has no
honest general form, inline code above all, is refused.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence

from skillrun.events import Effect, EffectKind, ToolCall, Verdict
from skillrun.policy.modes import by_manager
from skillrun.policy.paths import in_home
from skillrun.policy.rules import Rule, Rules
from skillrun.ports import Place

ONLY_ONCE = frozenset(
    {
        EffectKind.UNKNOWN,
        EffectKind.RUN_FETCHED,
        EffectKind.AGENT_CONTROL,
        EffectKind.DEFENCE_OFF,
        EffectKind.SECRET_READ,
        EffectKind.DEVICE,
    }
)
"""Effects nobody can approve for good: what they do tomorrow is not what was looked at today."""

NOT_AHEAD = ONLY_ONCE | {EffectKind.DELETE, EffectKind.KILL, EffectKind.ACCOUNT}
"""Effects that a yes to the rest of a skill does not cover."""

_WIDE = frozenset(
    (
        *("", "/", "~", "/etc", "/usr", "/usr/bin", "/usr/local", "/usr/local/bin"),
        *("/var", "/opt", "/tmp", "/home", "/root"),
    )
)
_GENERAL = frozenset(
    (
        *(EffectKind.WRITE, EffectKind.INSTALL, EffectKind.REMOVE),
        *(EffectKind.NETWORK, EffectKind.PRIVILEGE, EffectKind.SERVICE),
    )
)
_BY_ITSELF = frozenset((EffectKind.NETWORK, EffectKind.WRITE, EffectKind.RUN_CODE))
_REFUSED = {
    EffectKind.RUN_CODE: "it runs code that could be anything the next time",
    EffectKind.RUN_FETCHED: "what is fetched may be different the next time",
    EffectKind.UNKNOWN: "what it does is not known",
    EffectKind.DELETE: "deleting is asked each time",
}


class CannotGeneralise(Exception):
    """There is no honest rule for this command; why, in words."""


def binding(call: ToolCall, place: Place, digest: str, programs: Mapping[str, str]) -> str:
    """What an approval is good for: this call, in this directory, with these programs (name -> path), for this skill."""
    asked = sorted((str(key), str(value)) for key, value in call.input.items() if key != "why")
    parts = [call.name, asked, place.cwd, digest, sorted(programs.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def propose(effects: Sequence[Effect], programs: Sequence[str], place: Place, rules: Rules) -> tuple[Rule, ...]:
    """Rules that would allow this command and its like for good. Raises CannotGeneralise.

    Every rule holds only for commands that use no other programs than this one does.
    """
    kinds = frozenset(effect.kind for effect in effects)
    found: dict[str, Rule] = {}
    for effect in effects:
        if rules.of(effect, place, programs, kinds).verdict is Verdict.ALLOW:
            continue
        words, subjects, details = _general(effect, place)
        using = frozenset(programs)
        name = " ".join([words, "using", ", ".join(sorted(using))]) if using else words
        found[name] = Rule(name, Verdict.ALLOW, frozenset((effect.kind,)), "you allowed it for good", subjects, details, using)
    return tuple(found.values())


def _general(effect: Effect, place: Place) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """An effect's general form: in words, as subjects and as details of a rule."""
    kind, subject, detail = effect.kind, effect.subject, effect.detail
    if (
        by_manager(effect)
        and kind in (EffectKind.NETWORK, EffectKind.WRITE, EffectKind.RUN_CODE)
        and subject != "what is downloaded"
    ):
        manager = detail.rsplit("by ", 1)[1]
        verb = {EffectKind.NETWORK: "let {m} reach", EffectKind.WRITE: "let {m} write"}.get(kind, "let {m} run")
        return f"{verb.format(m=manager)} {subject}", (_exact(subject),), (f"*by {manager}",)
    if kind not in _GENERAL:
        raise CannotGeneralise(f"{_REFUSED.get(kind, 'this is asked each time')}: {subject}")
    if kind is EffectKind.WRITE:
        parent = posixpath.dirname(subject)
        if in_home(parent, place.home) in _WIDE or not parent.startswith("/"):
            return f"write {in_home(subject, place.home)}", (_exact(subject),), ()
        return f"write under {in_home(parent, place.home)}", (_exact(parent) + "/**",), ()
    if kind in (EffectKind.INSTALL, EffectKind.REMOVE):
        if ", " in detail or not detail.startswith("with "):
            raise CannotGeneralise(f"{subject} does not come from the manager's own repositories")
        return f"{'install' if kind is EffectKind.INSTALL else 'remove'} packages {detail}", (), (detail,)
    if kind is EffectKind.NETWORK:
        if detail != "receive":
            raise CannotGeneralise(f"talking to {subject} ({detail}) is asked each time")
        return f"download from {subject}", (_exact(subject),), ("receive",)
    if kind is EffectKind.PRIVILEGE and subject != "root":
        raise CannotGeneralise(f"this right is asked for each time: {subject}")
    return f"use {kind} {subject}", (_exact(subject),), ()


def _exact(text: str) -> str:
    """A glob that matches this text only."""
    if any(mark in text for mark in "*?{"):
        raise CannotGeneralise(f"{text} already stands for many")
    return text
