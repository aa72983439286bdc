"""What a run does now that an earlier one did not: new kinds of effects, new things they touch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skillrun.events import EffectKind
from skillrun.policy.declared import declares
from skillrun.policy.wording import EFFECTS, RISK
from skillrun.record.report import Report
from skillrun.skills.skill import Declared
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
