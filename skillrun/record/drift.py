"""What a run does now that an earlier one did not: new kinds of effects, new things they touch."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from skillrun.events import Decision, Effect, EffectKind, Verdict
from skillrun.record.report import Report
from skillrun.record.wording import EFFECTS, RISK
from skillrun.skills.skill import Declared, Skill
from skillrun.text.escape import shown

HARMLESS = frozenset({EffectKind.READ})
"""Kinds that are never drift: looking is not doing."""

Effects = Mapping[str, Sequence[str]]
"""kind -> what it touches, as `Report.effects` gives it."""


@dataclass(frozen=True, slots=True)
class Drift:
    """The difference of two runs' effects. `undeclared`: new kinds that the skill does not declare."""

    new_kinds: tuple[str, ...] = ()
    gone_kinds: tuple[str, ...] = ()
    new_subjects: tuple[tuple[str, str], ...] = ()
    """(kind, subject), also for new kinds."""
    undeclared: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new_kinds or self.gone_kinds or self.new_subjects)

    def lines(self) -> list[str]:
        """The drift in words, gravest first: `now also writes ~/.ssh`."""
        kinds = sorted({*self.new_kinds, *(kind for kind, _ in self.new_subjects)}, key=lambda kind: -RISK.get(kind, 2))
        lines = []
        for kind in kinds:
            subjects = [shown(subject) for known, subject in self.new_subjects if known == kind]
            shows = ", ".join(subjects[:8]) + (f" and {len(subjects) - 8} more" if len(subjects) > 8 else "")
            mark = " (a kind of effect the skill does not declare)" if kind in self.undeclared else ""
            lines.append(f"now also {EFFECTS.get(kind, kind)} {shows}".rstrip() + mark)
        lines += [f"no longer {EFFECTS.get(kind, kind)} anything" for kind in self.gone_kinds]
        return lines or ["same effects as before"]

    def to_dict(self) -> dict[str, object]:
        """The drift as plain data."""
        return {
            "new_kinds": list(self.new_kinds),
            "gone_kinds": list(self.gone_kinds),
            "new_subjects": [{"kind": kind, "subject": subject} for kind, subject in self.new_subjects],
            "undeclared": list(self.undeclared),
            "lines": self.lines(),
        }


def compare(before: Report | Effects, after: Report | Effects, declared: Declared | None = None) -> Drift:
    """What `after` does that `before` did not. `declared` None: nothing is declared."""
    old = before.effects if isinstance(before, Report) else before
    new = after.effects if isinstance(after, Report) else after
    kinds = [kind for kind in new if kind not in HARMLESS]
    fresh = tuple(kind for kind in kinds if kind not in old)
    subjects = tuple((kind, subject) for kind in kinds for subject in new[kind] if subject not in old.get(kind, ()))
    return Drift(
        new_kinds=fresh,
        gone_kinds=tuple(kind for kind in old if kind not in new and kind not in HARMLESS),
        new_subjects=subjects,
        undeclared=tuple(kind for kind in fresh if not declares(declared, kind, new[kind])),
    )


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


def beyond(effects: Sequence[Effect], declared: Declared) -> list[Effect]:
    """The telling effects that the skill does not declare, and hosts outside those it names."""
    hosts = declared.hosts is not None
    return [
        effect
        for effect in effects
        if (effect.kind in TELLING or (hosts and effect.kind is EffectKind.NETWORK and "." in effect.subject))
        and not declares(declared, effect.kind, [effect.subject])
    ]


def keep_to_declared(decision: Decision, skill: Skill) -> Decision:
    """A decision that allows becomes one that asks where it goes beyond what the skill declares, naming what."""
    if decision.verdict is not Verdict.ALLOW or decision.by == "person":
        return decision
    found = beyond(decision.effects, skill.declared)
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
