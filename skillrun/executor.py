"""Carries out one call at a time: policy, mode and person decide; the target runs it; every step is an event."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from skillrun.events import (
    Answered,
    Asked,
    Decided,
    Decision,
    Effect,
    EffectKind,
    Event,
    Finished,
    Noted,
    Outcome,
    Output,
    Result,
    Started,
    State,
    ToolCall,
    Verdict,
)
from skillrun.ports import Command, Person, Place, Policy, Stream, Target
from skillrun.secrets import Vault
from skillrun.skill import Skill
from skillrun.tools import BadInput, checked

CHECK = "check"
"""The name of skillrun's own calls: a command in a fresh login shell. No model can make them."""

READ_LIMIT = 48_000
"""Bytes of a file a model reads at once."""

Settle = Callable[[Decision, Place], Decision]
"""Turns a decision that asks into the approval mode's own answer, where the mode has one."""


class Stopped(Exception):
    """The run must end now: an outcome and a sentence for the person."""

    def __init__(self, outcome: Outcome, summary: str) -> None:
        super().__init__(summary)
        self.outcome, self.summary = outcome, summary


def _settle_nothing(decision: Decision, place: Place) -> Decision:
    return decision


@dataclass(slots=True)
class Executor:
    """One run's hands. It knows where the shell stands, what this run created and what was approved for it."""

    skill: Skill
    target: Target
    policy: Policy
    person: Person
    vault: Vault
    place: Place
    settle: Settle = _settle_nothing
    before_write: Callable[[str, bytes], None] | None = None
    """Called with a path and what `write_file` is about to write there, so that its pre-image can be kept."""
    remember: Callable[[ToolCall, Decision, Place], str] | None = None
    """Keeps an approval for good; returns the rule in words."""
    denied: list[tuple[ToolCall, Decision]] = field(default_factory=list)
    commands: int = 0
    _approved: set[tuple[str, str, str]] = field(default_factory=set)
    _alive: Result | None = None

    def carry_out(self, call: ToolCall, own: bool = False) -> Generator[Event, None, Result]:
        """Decide on a call and, if it may, carry it out. Raises Stopped when the run must end instead.

        `own`: the call is skillrun's, not a model's, and may be a CHECK.
        """
        if not own:
            try:
                call = dataclasses.replace(call, input=checked(call.name, call.input))
            except BadInput as error:
                return (yield from self._finish(call, Result(State.ERROR, output=str(error))))
        if call.name == "ask_user":
            return (yield from self._ask_user(call))
        call, refusal = yield from self._decide(call)
        if refusal is not None:
            return refusal
        yield Started(call, self.place.cwd)
        result = yield from self._perform(call)
        return (yield from self._finish(call, result))

    def _finish(self, call: ToolCall, result: Result) -> Generator[Event, None, Result]:
        if result.cwd:
            self.place = dataclasses.replace(self.place, cwd=result.cwd)
        if result.exports:
            variables = {**self.place.variables, **result.exports}
            told = {name: value for name, value in variables.items() if value is not None}
            self.place = dataclasses.replace(self.place, variables=told)
        if result.created:
            self.place = dataclasses.replace(self.place, created=self.place.created | frozenset(result.created))
        yield Finished(call, result)
        return result

    # --- deciding ------------------------------------------------------------------------------

    def _decide(self, call: ToolCall) -> Generator[Event, None, tuple[ToolCall, Result | None]]:
        while True:
            decision = self._judge(call)
            if decision.verdict is not Verdict.ASK:
                break
            if self._shape(call) in self._approved:
                decision = dataclasses.replace(
                    decision, verdict=Verdict.ALLOW, by="person", reason="approved earlier in this run"
                )
                break
            if not self.person.attended:
                yield Decided(call, decision)
                self.denied.append((call, decision))
                yield from self._finish(call, Result(State.DENIED, output=f"needs approval: {decision.reason}"))
                raise Stopped(Outcome.DENIED, f"needs approval: {describe(call)} ({decision.reason})")
            word = self.person.approve(call, decision, self.place)
            if word.how == "edit":
                call = dataclasses.replace(call, input={**call.input, "command": word.command})
                continue
            decision = self._heed(call, decision, word.how, word.reason)
            if word.how == "stop":
                yield Decided(call, decision)
                yield from self._finish(call, Result(State.DENIED, output="the person stopped the run"))
                raise Stopped(Outcome.DENIED, word.reason or "you stopped the run")
            break
        yield Decided(call, decision)
        if decision.verdict is Verdict.ALLOW:
            return call, None
        self.denied.append((call, decision))
        refusal = yield from self._finish(call, Result(State.DENIED, output=f"not carried out: {decision.reason}"))
        return call, refusal

    def _judge(self, call: ToolCall) -> Decision:
        judged = dataclasses.replace(call, name="shell") if call.name == CHECK else call
        decision = self.settle(self.policy(judged, self.place), self.place)
        if call.name == "write_file":
            shown = Effect(EffectKind.WRITE, str(call.input["path"]), self._diff(call))
            others = tuple(e for e in decision.effects if e.kind is not EffectKind.WRITE)
            decision = dataclasses.replace(decision, effects=(shown, *others))
        return decision

    def _heed(self, call: ToolCall, decision: Decision, how: str, reason: str) -> Decision:
        if how in ("once", "run", "always"):
            if how != "once":
                self._approved.add(self._shape(call))
            rule = self.remember(call, decision, self.place) if how == "always" and self.remember else decision.rule
            return dataclasses.replace(
                decision, verdict=Verdict.ALLOW, by="person", rule=rule, reason=reason or "you approved it"
            )
        return dataclasses.replace(decision, verdict=Verdict.DENY, by="person", reason=reason or "the person said no")

    def _shape(self, call: ToolCall) -> tuple[str, str, str]:
        return (
            call.name,
            repr(sorted(call.input.items())) if call.name not in ("shell", CHECK) else call.command,
            self.place.cwd,
        )

    def _diff(self, call: ToolCall) -> str:
        path = str(call.input["path"])
        try:
            old = self.target.get(path, READ_LIMIT).decode("utf-8", "replace")
        except OSError:
            old = ""
        new = str(call.input["content"])
        lines = difflib.unified_diff(old.splitlines(), new.splitlines(), f"{path} (now)", f"{path} (new)", lineterm="", n=2)
        return "\n".join(lines)

    # --- carrying out --------------------------------------------------------------------------

    def _perform(self, call: ToolCall) -> Generator[Event, None, Result]:
        try:
            if call.name in ("shell", CHECK):
                return (yield from self._shell(call))
            if call.name == "shell_input":
                return (yield from self._shell_input(call))
            if call.name == "read_file":
                return self._read_file(call)
            if call.name == "write_file":
                return self._write_file(call)
        except OSError as error:
            return Result(State.ERROR, output=f"{error.filename or ''}: {error.strerror or error}".lstrip(": "))
        return Result(State.ERROR, output=f"there is no tool called {call.name!r}")

    def _shell(self, call: ToolCall) -> Generator[Event, None, Result]:
        if self._alive is not None:
            yield Noted("the command before was still alive; it is ended first", "warning")
            yield from self._stream(call, self.target.interrupt())
        self.commands += 1
        quiet = call.input.get("timeout_s")
        command = Command(
            call.command,
            id=call.id,
            quiet_s=float(quiet) if quiet else None,
            background=bool(call.input.get("background")),
            login=call.name == CHECK,
        )
        return (yield from self._follow(call, self.target.run(command)))

    def _shell_input(self, call: ToolCall) -> Generator[Event, None, Result]:
        action = str(call.input["action"])
        if action == "output":
            try:
                return self.target.output_of(str(call.input.get("job", "")))
            except KeyError:
                return Result(State.ERROR, output=f"there is no background job called {call.input.get('job')!r}")
        if self._alive is None:
            return Result(State.ERROR, output="no command is waiting: start one with `shell`")
        if action == "type":
            text = str(call.input.get("text", "")) + ("\n" if call.input.get("enter", True) else "")
            return (yield from self._follow(call, self.target.answer(text)))
        if action == "wait":
            quiet = call.input.get("timeout_s")
            return (yield from self._follow(call, self.target.wait(float(quiet) if quiet else None)))
        return (yield from self._follow(call, self.target.interrupt()))

    def _follow(self, call: ToolCall, stream: Stream) -> Generator[Event, None, Result]:
        """Watch a command until it ends or a model has to say how it goes on."""
        result = yield from self._stream(call, stream)
        while result.state is State.WAITING:
            if result.secret:
                yield Asked("the command asks for a password: it is yours to type", about="secret")
                handed = self.person.hand_over(self.target)
                if handed is None:
                    ended = yield from self._stream(call, self.target.interrupt())
                    note = "it asked for a password and nobody is there to type one; it was ended"
                    result = dataclasses.replace(ended, state=State.INTERRUPTED, note=note)
                else:
                    yield Answered("", by="person")
                    result = handed
                continue
            answer = next((text for piece, text in self.skill.answers.items() if piece in result.screen), None)
            if answer is None:
                break
            yield Asked(result.screen[-400:], about="prompt")
            yield Answered(answer, by="skill")
            result = yield from self._stream(call, self.target.answer(answer + "\n"))
        self._alive = result if result.state in (State.WAITING, State.QUIET) else None
        return result

    def _stream(self, call: ToolCall, stream: Stream) -> Generator[Event, None, Result]:
        """Pass a command's events on. The first Ctrl-C interrupts the command, a second one ends the run."""
        try:
            while True:
                try:
                    event = next(stream)
                except StopIteration as stop:
                    result: Result = stop.value
                    return result
                yield Output(call.id, event.text) if isinstance(event, Output) else event
        except KeyboardInterrupt:
            yield Noted("interrupting the command; press Ctrl-C again to end the run", "warning")
            ended = yield from self.target.interrupt()
            self._alive = None
            return dataclasses.replace(ended, state=State.INTERRUPTED, note="interrupted by the person")

    def _read_file(self, call: ToolCall) -> Result:
        path, offset = str(call.input["path"]), int(call.input.get("offset") or 0)
        limit = min(int(call.input.get("limit") or READ_LIMIT), READ_LIMIT)
        data = self.target.get(path, offset + limit + 1)
        part = data[offset : offset + limit]
        note = f"more follows: read on from offset {offset + limit}" if len(data) > offset + limit else ""
        text = self.vault.mask(part.decode("utf-8", "replace"))
        return Result(State.EXITED, 0, output=text, output_bytes=len(part), note=note)

    def _write_file(self, call: ToolCall) -> Result:
        path, content = str(call.input["path"]), str(call.input["content"])
        mode = call.input.get("mode")
        try:
            self.target.get(path, 1)
            existed = True
        except OSError:
            existed = False
        if self.before_write:
            self.before_write(path, content.encode())
        self.target.put(path, content.encode(), int(str(mode), 8) if mode else None)
        return Result(
            State.EXITED, 0, output=f"wrote {len(content.encode())} bytes to {path}", created=() if existed else (path,)
        )

    def _ask_user(self, call: ToolCall) -> Generator[Event, None, Result]:
        question, name = str(call.input["question"]), str(call.input.get("secret_name") or "")
        choices: Sequence[str] = tuple(str(choice) for choice in call.input.get("choices") or ())
        yield Started(call, self.place.cwd)
        yield Asked(question, tuple(choices), about="secret" if name else "input")
        if name:
            value = self.person.secret(name, question)
            if value is not None:
                self.vault.add(name, value)
                yield Answered("", by="person")
                result = Result(
                    State.EXITED, 0, output=f"given: use {{{{secret:{name}}}}} in a command; its value stays hidden"
                )
                return (yield from self._finish(call, result))
        else:
            text = self.person.ask(question, choices)
            if text is not None:
                yield Answered(text)
                return (yield from self._finish(call, Result(State.EXITED, 0, output=text)))
        return (yield from self._finish(call, Result(State.DENIED, output="nobody is there to answer")))


def describe(call: ToolCall) -> str:
    """A call in one line, for a sentence."""
    if call.name in ("shell", CHECK):
        return f"`{call.command}`"
    return f"{call.name} {call.input.get('path', '')}".strip()
