"""A tool call becomes a decision: effects, the floor, the rules; always with the reason a person is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from skillrun.bash.cursor import MAX_PARTS
from skillrun.events import Decision, Effect, EffectKind, ToolCall, Verdict
from skillrun.policy import paths
from skillrun.policy.evaluation.findings import BUDGET, Findings
from skillrun.policy.rules import Rules, builtin_rules, stricter
from skillrun.policy.unknown import FOREIGN, TooMuch
from skillrun.ports import Place
from skillrun.skills.skill import Skill
from skillrun.text.invisible import Hidden, hidden_in
from skillrun.text.patterns import later

SCRIPT_LIMITS = (60_000, 200_000)
"""Budget and parts for a script file: an installer of a few thousand lines."""
_ANSWER = later(r"(?:[A-Za-z]|yes|no|Yes|No|YES|NO|\d{1,3}|)\n?\Z")
_WORDS = {
    EffectKind.READ: "reads {s}",
    EffectKind.WRITE: "writes {s}",
    EffectKind.DELETE: "deletes {s}",
    EffectKind.INSTALL: "installs {s}",
    EffectKind.REMOVE: "removes {s}",
    EffectKind.NETWORK: "talks to {s}",
    EffectKind.RUN_FETCHED: "runs what {s} sends",
    EffectKind.RUN_CODE: "runs code nobody here has read: {s}",
    EffectKind.PRIVILEGE: "uses or changes root rights: {s}",
    EffectKind.SERVICE: "changes the service {s}",
    EffectKind.PERSISTENCE: "will take effect again later: {s}",
    EffectKind.AGENT_CONTROL: "changes what an agent reads or may do: {s}",
    EffectKind.DEFENCE_OFF: "switches a protection off: {s}",
    EffectKind.KILL: "ends processes: {s}",
    EffectKind.SECRET_READ: "reads a secret: {s}",
    EffectKind.DEVICE: "touches a device, the kernel or the boot files: {s}",
    EffectKind.ACCOUNT: "changes accounts: {s}",
    EffectKind.CONTAINER: "starts or changes containers: {s}",
    EffectKind.UNKNOWN: "cannot be told: {s}",
    EffectKind.UNPROVEN: "is not known only to look: {s}",
}
_GRAVITY = list(EffectKind)
_LOOKING = frozenset((EffectKind.READ, EffectKind.NETWORK))
"""Kinds of effect an allowed command may have and still be carried out by the shell that only looks."""


def in_words(effect: Effect) -> str:
    """An effect as a person says it."""
    is_account = effect.kind is EffectKind.PRIVILEGE and effect.subject and "/" not in effect.subject
    text = f"acts as {effect.subject}" if is_account else _WORDS[effect.kind].format(s=effect.subject or "?")
    return f"{text} ({effect.detail})" if effect.detail else text


def hide_and_seek(text: str, findings: Findings) -> None:
    """Text that is not what it looks like is not put before anybody: hidden characters, a line overwritten by its own end."""
    if text.isascii() and text.isprintable():
        return
    hidden: list[Hidden] = []
    for start in range(0, len(text), 2000):
        hidden = hidden_in(text[: start + 2000] if start == 0 else text[start - 1 : start + 2000])
        if hidden:
            break
    if hidden:
        first = hidden[0]
        findings.floor("hidden-text", f"it holds a {first.kind} character nobody would see: U+{ord(first.char[0]):04X}")
    elif FOREIGN.search(text):
        findings.floor("hidden-text", "it holds private characters that look like nothing")
    elif re.search(r"\r(?!\n|\Z)", text):
        findings.floor("hidden-text", "a carriage return in it would overwrite what was shown before")


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Everything found out about a command: the decision, and the programs it names."""

    decision: Decision
    executables: tuple[str, ...] = ()


class Judge:
    """`skillrun.ports.Policy`. Pure: the same call in the same place always gets the same decision."""

    def __init__(self, rules: Rules | None = None, skill: Skill | None = None) -> None:
        self.rules = rules or builtin_rules()
        self.skill = skill

    def __call__(self, call: ToolCall, place: Place) -> Decision:
        """The decision on any tool call."""
        name = call.name
        if name == "shell":
            return self.command(call.command, place).decision
        if name in ("ask_user", "finish", "diagnose"):
            return Decision(Verdict.ALLOW, "it changes nothing", "no-effect")
        findings = Findings(place)
        if name == "read_file":
            findings.read(paths.absolute(str(call.input.get("path", "")), place.cwd, place))
        elif name == "write_file":
            path = paths.absolute(str(call.input.get("path", "")), place.cwd, place)
            findings.write(path, _mode(call.input.get("mode")))
        elif name == "shell_input":
            self._typed(call, findings)
        else:
            return Decision(Verdict.DENY, f"there is no tool called {name!r}", "no-such-tool")
        decision = self.decide(findings)
        return replace(decision, verdict=Verdict.ASK, confined=False) if decision.verdict is Verdict.LOOK else decision

    def _typed(self, call: ToolCall, findings: Findings) -> None:
        text = str(call.input.get("text", ""))
        if call.input.get("action") != "type" or _ANSWER.match(text):
            return
        if "{{secret:" in text:
            findings.add(EffectKind.SECRET_READ, "a secret", "typed at the waiting program")
            return
        shown = " ".join(text.split())
        findings.add(EffectKind.RUN_CODE, "the waiting program", f"typed: {shown[:80]}")
        hide_and_seek(text, findings)
        for floor in self.read(text, findings.place).floors:
            findings.floor(floor.rule, floor.reason)

    def script(self, text: str, place: Place) -> Reviewed:
        """The decision on a whole script file, which may be much longer than a command that a person must read at once."""
        findings = self.script_findings(text, place)
        return Reviewed(self.decide(findings), tuple(findings.executables))

    def script_findings(self, text: str, place: Place) -> Findings:
        """The effects of a whole script file."""
        return self.read(text, place, *SCRIPT_LIMITS, fresh=True)

    def read(
        self, command: str, place: Place, budget: int = BUDGET, max_parts: int = MAX_PARTS, fresh: bool = False
    ) -> Findings:
        """The effects of shell text. `fresh`: a process of its own runs it, so a variable it does not set is empty."""
        from skillrun.policy.evaluation.state import Shell
        from skillrun.policy.reading import Reading
        from skillrun.policy.specials import SPECIALS

        reading = Reading(place, SPECIALS, budget, max_parts)
        reading.findings.fresh = fresh
        hide_and_seek(command, reading.findings)
        try:
            reading.text(command, Shell.at(place))
        except TooMuch as error:
            reading.findings.floor("too-large", f"it is too large or too deep to be judged or reviewed ({error}); split it")
        except RecursionError:
            reading.findings.floor("too-large", "it is nested too deep to be judged or reviewed; split it")
        reading.findings.close()
        return reading.findings

    def command(self, command: str, place: Place) -> Reviewed:
        """The decision on shell text, with the programs it names."""
        findings = self.read(command, place)
        return Reviewed(self.decide(findings), tuple(findings.executables))

    def decide(self, findings: Findings) -> Decision:
        """The strictest ruling on any effect; the floor before all."""
        effects = tuple(findings.effects)
        if findings.floors:
            floor = next(iter(findings.floors))
            return Decision(Verdict.DENY, floor.reason, f"floor:{floor.rule}", _proven(effects))
        kinds = frozenset(effect.kind for effect in effects)
        verdict, rule, reasons = Verdict.ALLOW, "", list[str]()
        programs = tuple(findings.executables)
        allowed = ""
        for effect in sorted(effects, key=lambda each: -_GRAVITY.index(each.kind)):
            ruling = self.rules.of(effect, findings.place, programs, kinds)
            if ruling.verdict is Verdict.ALLOW:
                allowed = allowed or ruling.rule
                continue
            if stricter(verdict, ruling.verdict) is not verdict:
                verdict, rule, reasons = ruling.verdict, ruling.rule, []
            if ruling.verdict is verdict:
                reasons.append(ruling.reason or in_words(effect))
        confined = not findings.state and not findings.services and kinds <= _LOOKING
        if verdict is Verdict.ALLOW:
            kind = {"read-only": "it only reads", "": "it changes nothing"}
            return Decision(
                verdict, kind.get(allowed, "the rules allow it"), allowed or "no-effect", effects, confined=confined
            )
        if verdict is Verdict.LOOK and findings.leaves:
            verdict, rule = Verdict.ASK, "changes-shell"
            reasons.insert(0, f"it is there for what it leaves in the shell ({', '.join(sorted(findings.state))})")
        if verdict is not Verdict.LOOK:
            effects = _proven(effects)
        distinct = list(dict.fromkeys(reasons))
        text = "; ".join(distinct[:3]) + (f"; and {len(distinct) - 3} more" if len(distinct) > 3 else "")
        return Decision(verdict, text, rule, effects, confined=verdict is Verdict.LOOK)


def _proven(effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
    """What is known to happen: beside that, what is merely not known to be harmless is no news."""
    return tuple(effect for effect in effects if effect.kind is not EffectKind.UNPROVEN)


def _mode(mode: object) -> str:
    return f"mode {mode}" if mode else ""
