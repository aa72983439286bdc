"""A look: what is judged to change nothing is carried out where the kernel sees to it; what it was kept from is asked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skillrun.events import Decision, Effect, EffectKind, Event, Output, Result, State, ToolCall, Verdict
from skillrun.looking.tries import Try, effects_of, telling
from skillrun.ports import Command, Place
from skillrun.run.calls.supervisor import CHECK
from skillrun.text.patterns import later

if TYPE_CHECKING:
    from skillrun.looking.shell import LookingShell

RULE = "look-stopped"
"""The rule under which a person is asked what a look was kept from."""
ONLY_LOOKED = "it ran where it can only look: it can write, connect and signal nowhere, and has no rights of root"
_LOCAL = ("localhost", "127.0.0.1", "::1")
_REFUSED = later(
    r"permission denied|operation not permitted|read-only file system|must be root|are you root|superuser", re.IGNORECASE
)
_WORDS = {
    "write": "write {s}",
    "delete": "remove or replace {s}",
    "metadata": "change owner, mode or times of {s}",
    "connect": "connect to {s}",
    "serve": "wait for connections on {s}",
    "signal": "signal {s}",
    "root": "use the rights of root ({s})",
}


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of a look. `stopped`: the decision to be made now, None when the result stands."""

    result: Result
    events: tuple[Event, ...] = ()
    stopped: Decision | None = None


def can_look(call: ToolCall, decision: Decision) -> bool:
    """May this call be tried where it can only look? Not in the background, where nobody waits for what comes of it."""
    return decision.confined and call.name in ("shell", CHECK) and not call.input.get("background")


def reaches_out(decision: Decision) -> bool:
    """Is it known that it talks to another machine? Then a look, which has no network, would say nothing new."""
    return any(effect.kind is EffectKind.NETWORK and effect.subject not in _LOCAL for effect in decision.effects)


def asked_at_once(decision: Decision) -> Decision:
    """The question where looking first would be for nothing."""
    return dataclasses.replace(decision, verdict=Verdict.ASK, confined=False)


def look(shell: LookingShell, call: ToolCall, decision: Decision, place: Place) -> Generator[Event, None, Looked]:
    """Carry a call out where it can only look. Nothing is shown before it is known that the result stands."""
    loopback = any(effect.kind is EffectKind.NETWORK for effect in decision.effects)
    quiet = call.input.get("timeout_s")
    command = Command(call.command, id=call.id, quiet_s=float(quiet) if quiet else None, login=call.name == CHECK)
    events: list[Event] = []
    stream = shell.run(command, loopback)
    try:
        while True:
            event = next(stream)
            events.append(Output(call.id, event.text) if isinstance(event, Output) else event)
    except StopIteration as stop:
        result: Result = stop.value
    tries = telling(shell.tries)
    if not _stands(decision, result, tries):
        shell.forget()
        return Looked(result, stopped=_question(decision, result, tries, place))
    if decision.verdict is Verdict.LOOK:
        shell.forget()
        result = dataclasses.replace(result, note="; ".join(filter(None, (result.note, ONLY_LOOKED))))
    yield from ()
    return Looked(result, tuple(events))


def _stands(decision: Decision, result: Result, tries: list[Try]) -> bool:
    """Is this what there is to know? What is known only to look may leave out what it was refused, when it ends well."""
    if result.state is not State.EXITED:
        return False
    if decision.verdict is Verdict.ALLOW:
        return result.exit_code == 0 or not (tries or _REFUSED.search(result.output))
    return not tries and (result.exit_code == 0 or _REFUSED.search(result.output) is None)


def _question(decision: Decision, result: Result, tries: list[Try], place: Place) -> Decision:
    """What a person is asked: what it tried, by the kernel's record; only where that is silent, what it said itself."""
    wishes = list(dict.fromkeys(_WORDS[each.kind].format(s=each.subject) for each in tries))
    if not wishes:
        if result.state is State.ERROR:
            wishes = [f"run where it is not held ({result.output.strip()[-100:]})"]
        elif result.state is not State.EXITED:
            from skillrun.looking.shell import WAITS

            wishes = ["be answered"] if WAITS in result.note else ["run longer than a look may"]
        else:
            wishes = ["do more than look: it was refused something and failed"]
    shown = ", ".join(wishes[:4]) + (f" and {len(wishes) - 4} more" if len(wishes) > 4 else "")
    known: tuple[Effect, ...] = tuple(e for e in decision.effects if e.kind is not EffectKind.UNPROVEN)
    effects = dict.fromkeys((*effects_of(tries, place), *known))
    reason = f"it was only looked at, which changed nothing; it wants to {shown}"
    return Decision(Verdict.ASK, reason, RULE, tuple(effects))
