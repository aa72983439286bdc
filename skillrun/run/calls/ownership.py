"""What a run created is its own to change; how much of what is not would be touched, and what only looks like its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from skillrun.events import Effect, EffectKind
from skillrun.host.queries import Queries, concrete
from skillrun.policy.rules import owned
from skillrun.ports import Place
from skillrun.text.escape import size

_TOUCHES = frozenset({EffectKind.WRITE, EffectKind.DELETE})


def counted(effects: Sequence[Effect], place: Place, queries: Queries) -> tuple[Effect, ...]:
    """The effects, with how many files and bytes are there now where something foreign is deleted or overwritten."""
    foreign = [
        effect
        for effect in effects
        if effect.kind in _TOUCHES and not owned(effect, place) and concrete(effect.subject, glob=True)
    ]
    foreign.sort(key=lambda effect: effect.kind is not EffectKind.DELETE)
    deleted = {effect.subject for effect in foreign if effect.kind is EffectKind.DELETE}
    subjects = list(dict.fromkeys(effect.subject for effect in foreign))
    amounts = queries.amounts(subjects, [subject for subject in subjects if subject not in deleted])
    found = []
    for effect in effects:
        amount = amounts.get(effect.subject) if effect in foreign else None
        if amount is not None and "\n" not in effect.detail:
            files = f"{amount.files} file{'' if amount.files == 1 else 's'}"
            now = f"there now: {'at least ' if amount.at_least else ''}{files}, {size(amount.bytes)}"
            effect = dataclasses.replace(effect, detail=f"{effect.detail}, {now}" if effect.detail else now)
        found.append(effect)
    return tuple(found)


def absent(effects: Sequence[Effect], place: Place, queries: Queries) -> list[str]:
    """The paths that would be written, are nobody's yet and do not exist."""
    writes = [effect for effect in effects if effect.kind is EffectKind.WRITE and not owned(effect, place)]
    paths = list(dict.fromkeys(effect.subject for effect in writes if concrete(effect.subject)))
    there = queries.there(paths)
    return [path for path in queries.first(paths) if path not in there]


def strays(effects: Sequence[Effect], place: Place, queries: Queries) -> bool:
    """Does anything that counts as the run's own, for it lies in a directory of its own, lead out through a link?"""
    if not place.created or place.contained:
        return False
    touched = [effect for effect in effects if effect.kind in _TOUCHES and not effect.detail.startswith("temporary")]
    own = [effect.subject for effect in touched if effect.subject not in place.created and owned(effect, place)]
    if not own:
        return False
    new = [e.subject for e in touched if e.kind is EffectKind.WRITE and e.detail != "a directory"]
    if any(subject.startswith(f"{made}/") for subject in own for made in new):
        return True  # what was made by this very command may be a link
    if not all(concrete(subject, glob=True) and concrete(subject.rpartition("/")[0] or "/") for subject in own):
        return True
    return len(queries.straight(own)) < len(set(own))
