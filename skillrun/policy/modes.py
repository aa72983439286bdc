"""Who answers the questions the rules leave: a person, or the approval mode chosen beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from skillrun.events import Decision, Effect, EffectKind, Verdict
from skillrun.policy.declared import coverable
from skillrun.policy.judge import in_words
from skillrun.policy.rules import Rules, builtin_rules, glob
from skillrun.ports import Place
from skillrun.skills.skill import Declared, Skill
from skillrun.text.patterns import later

_OWN_PIP = later(r"/bin/pip[0-9.]*\Z")
"""pip of a virtual environment; where it lies under what the skill declares to write, it installs what the skill declares."""
_BY_MANAGER = later(r"(?:^|, )by [a-z]")
MODES = ("ask", "safe", "declared", "all")


def by_manager(effect: Effect) -> bool:
    """Is this what a package manager does by itself when it is asked for a package?"""
    return _BY_MANAGER.search(effect.detail) is not None


def without_wall(decision: Decision) -> Decision:
    """The decision where there is no shell that can only look: what is not known only to look is a question."""
    if decision.verdict is not Verdict.LOOK:
        return decision
    return replace(decision, verdict=Verdict.ASK, confined=False)


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
        if coverable(effect, effects, as_root=place.user == "root" and not place.contained):
            difference = _difference(effect, skill, place, installs)
        else:
            difference = f"{in_words(effect)}, which no declaration covers"
        if difference:
            outside.append(difference)
    return outside


def _difference(effect: Effect, skill: Skill | None, place: Place, installs: bool) -> str:
    """Empty when the skill declares this effect, else what is missing."""
    words = in_words(effect)
    if skill is None:
        return words
    said = _Said(skill.declared, place, installs)
    if said.packages and by_manager(effect) and effect.kind in (EffectKind.NETWORK, EffectKind.WRITE, EffectKind.RUN_CODE):
        return "" if effect.subject != "what is downloaded" else words
    missing = _MISSING.get(effect.kind, _Said.other)(said, effect)
    return "" if missing is None else words + missing


@dataclass(frozen=True, slots=True)
class _Said:
    """What a skill declares, asked about one effect at a time: None when it declares it, else what to say besides."""

    declared: Declared
    place: Place
    installs: bool
    """The command installs or removes packages, whatever else it does."""

    def says(self, *names: str) -> bool:
        """Does `skillrun-effects` have one of these words?"""
        return not {*names}.isdisjoint(self.declared.effects or ())

    @property
    def packages(self) -> bool:
        """Packages are declared."""
        return self.says("packages", "package", "install")

    def _writes(self, path: str) -> bool:
        return any(_under(path, root, self.place) for root in self.declared.writes or ())

    def files(self, effect: Effect) -> str | None:
        """Writing and deleting: below a declared directory."""
        if self._writes(effect.subject):
            return None
        return f", not under {' '.join(self.declared.writes or ()) or 'any declared directory'}"

    def network(self, effect: Effect) -> str | None:
        """A manager's own registry, or a declared host that nothing is sent to."""
        if self.packages and self.installs and not effect.subject.count("."):
            return None
        if "send" not in effect.detail and any(glob(host, "").match(effect.subject) for host in self.declared.hosts or ()):
            return None
        return f", declared hosts: {' '.join(self.declared.hosts or ()) or 'none'}"

    def privilege(self, effect: Effect) -> str | None:
        """Root rights, but not for a file that would keep them."""
        if self.declared.privilege in ("sudo", "root") and not effect.subject.startswith("/"):
            return None
        return f", declared privilege: {self.declared.privilege or 'none'}"

    def package(self, effect: Effect) -> str | None:
        """A package, from where the manager has its packages."""
        if not self.packages:
            return ", packages are not declared"
        return "" if ", from" in effect.detail else None

    def service(self, effect: Effect) -> str | None:
        """Services."""
        return None if self.says("service", "services") else ", services are not declared"

    def persistence(self, effect: Effect) -> str | None:
        """A declared service at boot; of other persistence none comes here, since no declaration covers it."""
        return None if self.says("service", "services") else ", services are not declared"

    def code(self, effect: Effect) -> str | None:
        """Code: pip of an environment that lies where the skill may write, else by its name."""
        if self.packages and _OWN_PIP.search(effect.subject):
            return None if self._writes(effect.subject) else ""
        return self.other(effect)

    def other(self, effect: Effect) -> str | None:
        """Any other kind, by its own name; what cannot be told, nobody can declare."""
        return None if self.says(str(effect.kind)) and effect.kind is not EffectKind.UNKNOWN else ""


_MISSING: Mapping[str, Callable[[_Said, Effect], str | None]] = {
    EffectKind.WRITE: _Said.files,
    EffectKind.DELETE: _Said.files,
    EffectKind.NETWORK: _Said.network,
    EffectKind.PRIVILEGE: _Said.privilege,
    EffectKind.INSTALL: _Said.package,
    EffectKind.REMOVE: _Said.package,
    EffectKind.SERVICE: _Said.service,
    EffectKind.PERSISTENCE: _Said.persistence,
    EffectKind.RUN_CODE: _Said.code,
}
"""Kind of effect -> what would have to be declared for it."""


def _under(path: str, root: str, place: Place) -> bool:
    home = place.home.rstrip("/")
    if root == "~" or root.startswith("~/"):
        root = home + root[1:]
    root = root.rstrip("/") or "/"
    return bool(glob(root, "").match(path)) or path.startswith(root.rstrip("/") + "/")
