"""The loop: a model asks, the executor carries out, the checks decide.

`run` is a generator of events. It stands still at each `yield` until its puller returns, so a journal
that syncs on `Started` is a write-ahead log: no command starts before its record is on disk.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from skillrun.events import (
    Checked,
    CheckResult,
    Event,
    Finished,
    Noted,
    Outcome,
    Replied,
    Reply,
    Result,
    RunEnded,
    RunStarted,
    Started,
    State,
    ToolCall,
    Turn,
)
from skillrun.ports import Brief, Model, ModelUnavailable, Passing, Pondering
from skillrun.run.brought import checks_of
from skillrun.run.budget import Budget, stuck
from skillrun.run.calls.executor import Executor
from skillrun.run.calls.interruption import what_now
from skillrun.run.calls.stopped import Stopped
from skillrun.run.calls.supervisor import CHECK, RunTerminated
from skillrun.skills import checks as checking
from skillrun.skills.parser.understanding.proof import spoken
from skillrun.skills.skill import Check

EXIT_CODES: dict[Outcome, int] = {
    Outcome.VERIFIED: 0,
    Outcome.ALREADY: 0,
    Outcome.REMOVED: 0,
    Outcome.DRY_RUN_OK: 0,
    Outcome.ERROR: 1,
    Outcome.CHECKS_FAILED: 3,
    Outcome.UNVERIFIED: 3,
    Outcome.DENIED: 4,
    Outcome.NEEDS_PERSON: 4,
    Outcome.DISCARDED: 4,
    Outcome.REFUSED: 4,
    Outcome.BUDGET: 5,
    Outcome.MODEL_UNAVAILABLE: 6,
    Outcome.UNSUPPORTED: 7,
    Outcome.DRY_RUN_PENDING: 9,
    Outcome.INTERRUPTED: 130,
}
"""The exit code of each outcome."""

ASK_AGAIN = "go on"
"""What a person can say of a model they interrupted."""

FINISH_TRIES = 3
"""How often a model may say `done` in a row while the checks fail."""

CHECK_QUIET_S = 40
"""Seconds without progress after which a check has failed: a login profile that hangs is not waited for."""
HANGS = "a new terminal of this user does not come up: a file that its login shell reads waits for something"
HUNG_S = 8
"""The same where a new terminal was seen to hang before it ran anything: waiting longer would show nothing else."""

_SAID = {"needs_person": Outcome.NEEDS_PERSON, "refused": Outcome.REFUSED, "unsupported": Outcome.UNSUPPORTED}

Verdicts = tuple[CheckResult, ...]
Conclude = Callable[["Session", Outcome, str], Generator[Event, None, tuple[Outcome, str]]]
"""What happens to a run's effects before it ends: commit, discard, record."""


@dataclass(slots=True)
class Session:
    """All that a run is assembled from. `turns` is not empty when a run is resumed."""

    started: RunStarted
    brief: Brief
    model: Model
    executor: Executor
    checks: Sequence[Check]
    budget: Budget
    turns: list[Turn] = field(default_factory=list)
    conclude: Conclude | None = None
    resumed: bool = False
    notes: Sequence[Noted] = ()
    """What a person must know before anything is done."""
    stop_clock: Callable[[], object] = lambda: None
    """Called when the work is over: what concludes it has no time limit."""
    _clock: float = field(default_factory=time.monotonic)
    _cost: float | None = None
    _empty_finishes: int = 0
    _taken_over: int = 0
    """The turns there were when another model went on."""
    _dead: str = ""
    """Why a new terminal did not come up by itself, where one was seen not to."""
    results: Verdicts = ()
    """The checks as they came out last."""

    def run(self) -> Generator[Event, None, RunEnded]:
        """Carry the skill out. The last event is RunEnded, whatever happens; it is also the return value."""
        yield self.started
        yield from self.notes
        try:
            outcome, summary = yield from self._work()
        except Stopped as stop:
            outcome, summary = stop.outcome, stop.summary
        except OutOfTime as late:
            outcome, summary = Outcome.BUDGET, str(late)
        except ModelUnavailable as error:
            outcome, summary = Outcome.MODEL_UNAVAILABLE, f"{error}. {error.hint}".strip()
        except KeyboardInterrupt:
            outcome, summary = Outcome.INTERRUPTED, f"interrupted; go on with `skillrun resume {self.started.run_id}`"
        self.stop_clock()
        if self.conclude is not None:
            try:
                outcome, summary = yield from self.conclude(self, outcome, summary)
            except KeyboardInterrupt:
                begun = "any skillrun command finishes or takes back what was begun"
                outcome, summary = Outcome.INTERRUPTED, f"interrupted at its very end; {begun}"
        waited = person.waited_s if isinstance(person := self.executor.person, Pondering) else 0.0
        end = RunEnded(
            outcome=outcome,
            exit_code=EXIT_CODES[outcome],
            summary=summary,
            checks=self.results,
            cost_usd=self._cost,
            turns=len(self.turns),
            commands=self.executor.commands,
            duration_s=round(max(0.0, time.monotonic() - self._clock - waited), 3),
            run_id=self.started.run_id,
            waited_s=round(waited, 3),
        )
        yield end
        return end

    def _work(self) -> Generator[Event, None, tuple[Outcome, str]]:
        verb = self.started.verb
        if verb == "install" and not self.resumed:
            self.results = yield from self.check(quietly=True)
            if self._dead:
                yield Noted(self._dead, "warning")
            if self._passed():
                return Outcome.ALREADY, "already installed: every check passes; nothing was changed"
        if verb == "verify":
            self.results = yield from self.check()
            return self.verdict("")
        self.brief = dataclasses.replace(self.brief, failed_checks=self.results)
        return (yield from self._converse())

    def _converse(self) -> Generator[Event, None, tuple[Outcome, str]]:
        while True:
            over = self.budget.over(self.turns, time.monotonic() - self._clock)
            if over:
                self.executor.end_background()
                self.results = yield from self.check()
                return (Outcome.VERIFIED, f"verified, though {over}") if self._passed() else (Outcome.BUDGET, over)
            advice = stuck(self.turns[self._taken_over :])
            if advice.level == "stop" and not (yield from self._pass_on(advice.text)):
                self.executor.end_background()
                self.results = yield from self.check()
                if self._passed():
                    return Outcome.VERIFIED, "every check passes"
                return Outcome.NEEDS_PERSON, advice.text
            reply = yield from self._reply()
            if reply is None:
                continue
            self._count(reply)
            yield Replied(reply)
            turn, ended = yield from self._carry_out(reply)
            self.turns.append(turn)
            if ended is not None:
                return ended

    def _reply(self) -> Generator[Event, None, Reply | None]:
        """What the model wants next; None where the person interrupted it and said something. Raises RunTerminated."""
        try:
            return (yield from self.model.reply(self.brief, self.turns))
        except RunTerminated:
            raise
        except KeyboardInterrupt:
            if not self.executor.hears():
                raise
            said = yield from what_now(self.executor.person, f"{self.model.name} was interrupted. What now?", ASK_AGAIN, True)
            if said and self.turns:
                last = self.turns[-1]
                self.turns[-1] = dataclasses.replace(last, said=f"{last.said}\n{said}".strip())
            elif said:
                self.turns.append(Turn(Reply(), said=said))
            return None

    def _pass_on(self, reason: str) -> Generator[Event, None, bool]:
        """Let the next model of a chain go on, with everything so far; False when nobody is left."""
        told = self.model.pass_on(reason) if isinstance(self.model, Passing) else ""
        if told:
            yield Noted(told, "warning")
            self._taken_over, self._empty_finishes = len(self.turns), 0
        return bool(told)

    def _carry_out(self, reply: Reply) -> Generator[Event, None, tuple[Turn, tuple[Outcome, str] | None]]:
        """The calls of a reply, one after the other: the turn they make, and how the run ends where one ends it."""
        results: list[tuple[ToolCall, Result]] = []
        ended: tuple[Outcome, str] | None = None
        over = ToolCall(f"end-{len(self.turns)}", "finish", {"outcome": "done", "summary": reply.text})
        calls = reply.calls or (over,)
        said = ""
        for number, call in enumerate(calls):
            if said:
                result = Result(State.ERROR, output="not carried out: the person said something first")
            elif ended is not None:
                result = Result(State.ERROR, output="not carried out: the run had ended")
            elif call.name == "finish":
                ended, result = yield from self._finish(call)
            else:
                self._empty_finishes = 0
                self.executor.look_ahead(calls[number:])
                result = yield from self.executor.carry_out(call)
                said, self.executor.said = self.executor.said, ""
            results.append((call, result))
            advice = stuck([*self.turns[self._taken_over :], Turn(reply, tuple(results))])
            results[-1] = (call, _with_advice(result, advice.text))
        return Turn(reply, tuple(results), said), ended

    def _finish(self, call: ToolCall) -> Generator[Event, None, tuple[tuple[Outcome, str] | None, Result]]:
        """A model's word that it is over. The checks decide whether the software is there."""
        yield Started(call)
        said, summary = str(call.input.get("outcome", "done")), str(call.input.get("summary", ""))
        gone = self.executor.end_background()
        since = time.time() - time.monotonic() + self._clock
        self.checks = checks_of(call.input.get("programs"), self.brief.skill, self.checks, since)
        self.results = yield from self.check()
        verdict = self.verdict(summary)
        ended: tuple[Outcome, str] | None = verdict
        if verdict[0] not in (Outcome.VERIFIED, Outcome.REMOVED):
            if said in _SAID:
                ended = _SAID[said], summary
            elif said == "done" and verdict[0] in (Outcome.CHECKS_FAILED, Outcome.DENIED) and not self._refused_by_person():
                self._empty_finishes += 1
                failed = verdict[0] is Outcome.CHECKS_FAILED
                if self._empty_finishes < FINISH_TRIES or (failed and (yield from self._pass_on("the checks fail still"))):
                    ended = None
        result = Result(
            State.EXITED, 0 if ended and EXIT_CODES[ended[0]] == 0 else 1, output=checking.report(self.results, gone)
        )
        yield Finished(call, result)
        return ended, result

    # --- checks --------------------------------------------------------------------------------

    def check(self, quietly: bool = False) -> Generator[Event, None, Verdicts]:
        """Run the checks in fresh login shells, through the same policy as any command.

        `quietly` (before anything was done): a check whose program is not there has failed without being run.
        """
        found = []
        for number, check in enumerate(self.checks, 1):
            useless = checking.cannot_fail(check.command)
            if useless:
                reason = f"refused: this check cannot fail, {useless}"
                found.append(CheckResult(check.command, ok=False, origin=check.origin, reason=reason))
                continue
            missing = (yield from self._missing_programs(check)) if quietly else []
            if quietly and self._dead:
                found.append(CheckResult(check.command, ok=False, origin=check.origin, reason=self._dead))
                continue
            if missing:
                reason = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not there"
                found.append(CheckResult(check.command, ok=False, exit_code=127, origin=check.origin, reason=reason))
                continue
            why = f"check {number} of {len(self.checks)} ({check.origin})"
            given = {"command": check.command, "why": why, "timeout_s": HUNG_S if self._dead == HANGS else CHECK_QUIET_S}
            call = ToolCall(f"check-{len(self.turns)}-{number}", CHECK, given)
            result = yield from self.executor.carry_out(call, own=True)
            found.append(checking.judge(check, result))
        results = tuple(found)
        yield Checked(results)
        return results

    def _missing_programs(self, check: Check) -> Generator[Event, None, list[str]]:
        missing = []
        for program in () if self._dead else checking.programs(check.command):
            call = ToolCall(
                f"look-{program}", CHECK, {"command": f"command -v {program}", "why": "is it there already?", "timeout_s": 10}
            )
            result = yield from self.executor.carry_out(call, own=True)
            self._dead = HANGS if result.state in (State.QUIET, State.WAITING) else self._dead or checking.no_terminal(result)
            if result.state is State.EXITED and result.exit_code != 0:
                missing.append(program)
        return missing

    def _passed(self) -> bool:
        return bool(self.results) and all(check.ok for check in self.results)

    def verdict(self, summary: str) -> tuple[Outcome, str]:
        """What the checks as they came out last mean for this verb."""
        if self.started.verb == "uninstall":
            gone = bool(self.results) and not any(check.ok for check in self.results)
            if gone:
                return Outcome.REMOVED, "removed: its checks no longer pass"
            if not self.results:
                return Outcome.UNVERIFIED, "the uninstall steps ran; there is no check to confirm that it is gone"
            return self._failure("still there: its checks pass")
        if self._passed():
            return Outcome.VERIFIED, summary or "verified: every check passes"
        if not self.results:
            none = "nothing was verified: the skill declares no check and none could be derived"
            return Outcome.UNVERIFIED, f"{none}. {summary}" if summary else none
        failed = next(check for check in self.results if not check.ok)
        return self._failure(f"the check `{spoken(failed.command)}` failed: {failed.reason}. {summary}".strip())

    def _failure(self, summary: str) -> tuple[Outcome, str]:
        if self.executor.denied:
            call, decision = self.executor.denied[-1]
            return Outcome.DENIED, f"{summary} (`{call.command or call.name}` was not allowed: {decision.reason})"
        return Outcome.CHECKS_FAILED, summary

    def _refused_by_person(self) -> bool:
        """A person's no is the end of it; a rule's no leaves the model other ways."""
        return any(decision.by == "person" for _, decision in self.executor.denied)

    def _count(self, reply: Reply) -> None:
        if reply.usage and reply.usage.cost_usd is not None:
            self._cost = (self._cost or 0.0) + reply.usage.cost_usd


def _with_advice(result: Result, advice: str) -> Result:
    if not advice:
        return result
    return dataclasses.replace(result, note=f"{result.note}\n{advice}".strip())


class OutOfTime(RunTerminated):
    """The wall time of a run is over while something is still going on: a command, a reply, a question."""


GRACE_S = 2.0
"""Seconds that what is going on may take beyond the limit, so that a run mostly ends between two turns, with its checks run."""


@contextmanager
def ended_by_time(seconds: float | None) -> Iterator[Callable[[], object]]:
    """End the run where it stands when its time is over. None: never. Only the main thread can be ended so.

    What it gives stops the clock: nobody wants half a commit.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    run = os.getpid()

    def end(number: int, frame: object) -> None:
        if os.getpid() == run:
            raise OutOfTime(f"the time limit of {seconds:g} s was reached (--timeout); what was going on then was ended")

    before = signal.signal(signal.SIGALRM, end)
    other = signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_S)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *other)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM, SIGQUIT, and SIGHUP of a terminal that is closed, end the run where it stands, as interrupted."""
    run = os.getpid()

    def end(number: int, frame: object) -> None:
        if os.getpid() != run:  # a child that a view forked: it dies of it, as it would have without us
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise RunTerminated(signal.Signals(number).name)

    deadly = (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
    ours = [number for number in deadly if signal.getsignal(number) is signal.SIG_DFL]  # not nohup's
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
