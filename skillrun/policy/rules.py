"""Rules as data: which effect is allowed, looked at, asked or denied, and why, in the words a person is shown.

A tier is a list of rules; inside a tier deny > ask > look > allow. The user's tier decides before the built-in
one; a project's or a skill's tier can only make the outcome stricter. What no rule names is asked.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from skillrun.events import Effect, EffectKind, Verdict
from skillrun.policy.paths import pattern
from skillrun.ports import Place

_STRICTNESS = {Verdict.ALLOW: 0, Verdict.LOOK: 1, Verdict.ASK: 2, Verdict.DENY: 3}
_LISTS = ("effects", "subjects", "details", "programs", "with", "match", "not_match")
_KEYS = frozenset((*_LISTS, "name", "verdict", "contained", "owned", "reason"))


class BadRule(Exception):
    """A rule that cannot be used: which, in which file, and why."""


def stricter(one: Verdict, other: Verdict) -> Verdict:
    """The stricter of two verdicts."""
    return one if _STRICTNESS[one] >= _STRICTNESS[other] else other


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Empty scopes mean: any. `subjects` and `details` are globs (`**` crosses `/`, `~` is the home)."""

    name: str
    verdict: Verdict
    effects: frozenset[EffectKind]
    reason: str = ""
    subjects: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    programs: frozenset[str] = frozenset()
    with_: frozenset[EffectKind] = frozenset()
    contained: bool = False
    owned: bool = False
    match: tuple[str, ...] = ()
    not_match: tuple[str, ...] = ()

    def covers(self, effect: Effect, place: Place, programs: Iterable[str], kinds: frozenset[EffectKind]) -> bool:
        """Does this rule speak about this effect, in this place, beside these other kinds of effect?"""
        if effect.kind not in self.effects or (self.contained and not place.contained):
            return False
        if self.with_ and not self.with_ <= kinds:
            return False
        if self.owned and not owned(effect, place):
            return False
        if self.programs:
            inside = [program in self.programs for program in programs]
            if not (all(inside) and inside if self.verdict is Verdict.ALLOW else any(inside)):
                return False
        if self.subjects and not any(glob(each, place.home).match(effect.subject) for each in self.subjects):
            return False
        return not self.details or any(glob(each, "").match(effect.detail) for each in self.details)


@lru_cache(maxsize=512)
def glob(text: str, home: str) -> re.Pattern[str]:
    """A glob over subjects as an expression; `~/` is this home."""
    if text.startswith("~/") and home:
        text = home + text[1:]
    return re.compile(pattern(text) + r"\Z", re.DOTALL)


def owned(effect: Effect, place: Place) -> bool:
    """Did this run (or this very command) create what the effect touches?"""
    if effect.detail.startswith("temporary"):
        return True
    if not place.created:
        return False
    subject = effect.subject
    if subject in place.created:
        return True
    parts = subject.split("/")
    return any("/".join(parts[:end]) in place.created for end in range(len(parts) - 1, 1, -1))


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the rules say of one effect."""

    verdict: Verdict
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The tiers, strongest voice first: `user` may loosen and tighten, `project` only tightens, `builtin` is the rest."""

    builtin: tuple[Rule, ...]
    user: tuple[Rule, ...] = ()
    project: tuple[Rule, ...] = ()

    def of(
        self, effect: Effect, place: Place, programs: Sequence[str] = (), kinds: frozenset[EffectKind] = frozenset()
    ) -> Ruling:
        """The ruling on one effect."""
        base = _tier(self.user, effect, place, programs, kinds)
        if base is None and place.contained:
            base = _tier([r for r in self.builtin if r.contained or r.with_], effect, place, programs, kinds)
        if base is None:
            base = _tier([r for r in self.builtin if r.verdict is not Verdict.LOOK], effect, place, programs, kinds)
        if base is None:  # to look first is what is left where no rule says more
            base = _tier([r for r in self.builtin if r.verdict is Verdict.LOOK], effect, place, programs, kinds)
        if base is None:
            base = Ruling(Verdict.ASK, f"ask-{effect.kind}", "")
        tighter = _tier(self.project, effect, place, programs, kinds)
        if tighter is not None and _STRICTNESS[tighter.verdict] > _STRICTNESS[base.verdict]:
            return tighter
        return base


def _tier(
    rules: Sequence[Rule], effect: Effect, place: Place, programs: Sequence[str], kinds: frozenset[EffectKind]
) -> Ruling | None:
    found: Rule | None = None
    for rule in rules:
        if rule.covers(effect, place, programs, kinds) and (
            found is None or _STRICTNESS[rule.verdict] > _STRICTNESS[found.verdict]
        ):
            found = rule
    return Ruling(found.verdict, found.name, found.reason) if found else None


def parse_rules(text: str, source: str = "rules") -> tuple[Rule, ...]:
    """Rules from TOML. Raises BadRule naming the file, the rule and the key."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadRule(f"{source}: not TOML: {error}") from None
    tables = raw.get("rule", [])
    if not isinstance(tables, list):
        raise BadRule(f"{source}: rules are written as [[rule]]")
    return tuple(_rule(table, f"{source}: rule {table.get('name') or number}") for number, table in enumerate(tables, 1))


def _rule(table: dict[str, Any], where: str) -> Rule:
    foreign = sorted(set(table) - _KEYS)
    if foreign:
        raise BadRule(f"{where}: unknown key {foreign[0]!r}")
    try:
        verdict = Verdict(table.get("verdict", ""))
    except ValueError:
        raise BadRule(f"{where}: verdict must be allow, look, ask or deny") from None
    lists: dict[str, tuple[str, ...]] = {}
    for key in _LISTS:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise BadRule(f"{where}: {key} must be a list of strings")
        lists[key] = tuple(value)
    try:
        kinds = frozenset(EffectKind(each) for each in lists["effects"])
        beside = frozenset(EffectKind(each) for each in lists["with"])
    except ValueError as error:
        raise BadRule(f"{where}: {error}; kinds are {', '.join(EffectKind)}") from None
    if not kinds:
        raise BadRule(f"{where}: effects must name at least one kind")
    return Rule(
        str(table.get("name", "")) or "unnamed",
        verdict,
        kinds,
        str(table.get("reason", "")),
        lists["subjects"],
        lists["details"],
        frozenset(lists["programs"]),
        beside,
        bool(table.get("contained", False)),
        bool(table.get("owned", False)),
        lists["match"],
        lists["not_match"],
    )


@lru_cache(maxsize=1)
def builtin_rules() -> Rules:
    """The rules that come with the program."""
    path = Path(__file__).parent / "builtin.toml"
    return Rules(parse_rules(path.read_text("utf-8"), path.name))
