"""Starts a command and stays with it: passes on what it prints, answers what may be answered, hands the rest to the person."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator
from dataclasses import dataclass

from skillrun.events import BY_PERSON, Answered, Asked, Decision, Event, Noted, Output, Result, State, ToolCall
from skillrun.policy.admitted import hosts_of
from skillrun.policy.for_all_users import is_for_all_users
from skillrun.ports import Command, Fenced, Person, Place, Stream, Target
from skillrun.skills.skill import Skill

TWICE_S = 3.0
"""Two Ctrl-C within so many seconds end the run, even when the first command was over by then."""

CHECK = "check"
"""The name of skillrun's own calls: a command in a fresh login shell. No model can make them."""


class RunTerminated(KeyboardInterrupt):
    """Somebody ended skillrun itself: unlike a first Ctrl-C it is not about the command that runs."""


@dataclass(slots=True)
class Supervisor:
    """Whoever stands beside the command that runs."""

    skill: Skill
    target: Target
    person: Person
    alive: Result | None = None
    """A command that is not over: it waits for input, or is quiet."""
    waiting: str = ""
    """The command that was started last."""
    typed: str = ""
    """What was typed at it since the last Enter."""
    for_all: bool = False
    """The command to be started next installs for every user."""
    _interrupted: float = -3600.0

    def prepare(self, decision: Decision, place: Place) -> None:
        """What the next command is given on its way, by what it was decided to do."""
        self.for_all = is_for_all_users(decision.effects, place)
        if isinstance(self.target, Fenced):
            self.target.admit(hosts_of(decision), decision.by == "person")

    def start(self, call: ToolCall) -> Generator[Event, None, Result]:
        """Run its command; one that was alive before it is ended first."""
        yield from self.end(call)
        quiet = call.input.get("timeout_s")
        command = Command(
            call.command,
            id=call.id,
            quiet_s=float(quiet) if quiet else None,
            background=bool(call.input.get("background")),
            login=call.name == CHECK,
            for_all=self.for_all,
        )
        return (yield from self._follow(call, self.target.run(command)))

    def end(self, call: ToolCall) -> Generator[Event, None, None]:
        """End the command that is still alive, and say so."""
        if self.alive is not None:
            yield Noted("the command before was still alive; it is ended first", "warning")
            yield from self._stream(call, self.target.interrupt())
            self.alive = None

    def type_or_wait(self, call: ToolCall) -> Generator[Event, None, Result]:
        """Type at the command that waits, wait for it, interrupt it, or read what a background job printed."""
        action = str(call.input["action"])
        if action == "output":
            try:
                return self.target.output_of(str(call.input.get("job", "")))
            except KeyError:
                return Result(State.ERROR, output=f"there is no background job called {call.input.get('job')!r}")
        if self.alive is None:
            return Result(State.ERROR, output="no command is waiting: start one with `shell`")
        if action == "type":
            text = str(call.input.get("text", "")) + ("\n" if call.input.get("enter", True) else "")
            self.typed = "" if text.endswith("\n") else self.typed + text
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
                yield Asked(result.note or "the command asks for a password: it is yours to type", about="secret")
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
        self.alive = result if result.state in (State.WAITING, State.QUIET) else None
        if call.name in ("shell", CHECK):
            self.waiting, self.typed = call.command, ""
        return result

    def interrupt(self, call: ToolCall) -> Generator[Event, None, Result]:
        """End whatever is still alive of this call."""
        result = yield from self._stream(call, self.target.interrupt())
        self.alive = None
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
        except RunTerminated:
            raise
        except KeyboardInterrupt:
            if time.monotonic() - self._interrupted < TWICE_S:
                raise
            self._interrupted = time.monotonic()
            yield Noted("interrupting the command; press Ctrl-C again to end the run", "warning")
            ended = yield from self.target.interrupt()
            self.alive = None
            return dataclasses.replace(ended, state=State.INTERRUPTED, note=BY_PERSON)
