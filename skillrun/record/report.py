"""A run as one value: a fold over its events. Every surface that shows a whole run reads this and nothing else."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skillrun.events import (
    SCHEMA,
    Answered,
    Asked,
    Changed,
    Checked,
    CheckResult,
    Decided,
    Decision,
    Effect,
    EffectKind,
    Event,
    Finished,
    Noted,
    Outcome,
    Replied,
    Result,
    RunEnded,
    RunStarted,
    Started,
    State,
    ToolCall,
    Usage,
    Verdict,
)

GOOD = frozenset({Outcome.VERIFIED, Outcome.ALREADY, Outcome.REMOVED, Outcome.DRY_RUN_OK})
"""Outcomes that mean: what was asked for is so."""


VIEWED = frozenset({"shell", "shell_input", "check", "write_file"})
"""Calls that happen in the copy-on-write view, where a run has one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One call: what was wished, what was decided, what came of it. `at`: seconds since the run began."""

    call: ToolCall
    decision: Decision | None = None
    result: Result | None = None
    started: bool = False
    cwd: str = ""
    at: float = 0.0
    turn: int = 0

    @property
    def state(self) -> State:
        """How it stands; UNKNOWN when it was started and no end is on record."""
        return self.result.state if self.result else State.UNKNOWN

    @property
    def word(self) -> str:
        """One word for it: ok | failed | answered | denied | waiting | would-run | unknown | the state's own name."""
        if self.result is None:
            return "unknown" if self.started else "denied" if self.denied else "not-run"
        if self.result.fidelity == "would-run":
            return "would-run"
        if self.result.ok:
            return "ok"
        if self.state is State.EXITED:
            return "answered" if self.asks else "failed"
        return str(self.state)

    @property
    def denied(self) -> bool:
        """True when it was not allowed to start."""
        return self.decision is not None and self.decision.verdict in (Verdict.ASK, Verdict.DENY)

    @property
    def asks(self) -> bool:
        """True for a model's look at the machine: what finds nothing has not failed. A step of the skill is no such look."""
        if self.decision is None or self.call.name != "shell" or self.call.step is not None:
            return False
        only_reads = all(effect.kind is EffectKind.READ for effect in self.effects)
        return self.decision.verdict is Verdict.LOOK or self.decision.confined or only_reads

    @property
    def failed(self) -> bool:
        """True when it ran and did not come out well."""
        return not self.is_check and self.word in ("failed", "timeout", "error", "interrupted")

    @property
    def is_check(self) -> bool:
        """True for skillrun's own look at the machine: that such a call fails is an answer, not a failure."""
        return self.call.name == "check"

    @property
    def effects(self) -> tuple[Effect, ...]:
        """What the policy read in it."""
        return self.decision.effects if self.decision else ()

    @property
    def text(self) -> str:
        """What was to be done, whole: the command, the text typed, or the file's path."""
        return wish(self.call)


@dataclass(frozen=True, slots=True)
class Speech:
    """What a model said to the person, and what that turn cost."""

    text: str
    model: str = ""
    usage: Usage | None = None
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person should know."""

    text: str
    level: str = "info"
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its answer, None while there is none. A secret's answer is empty and `by` says who gave it."""

    question: str
    choices: tuple[str, ...] = ()
    about: str = ""
    answer: str | None = None
    by: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Checks:
    """The checks as they came out at one moment of the run."""

    checks: tuple[CheckResult, ...]
    at: float = 0.0

    @property
    def ok(self) -> bool:
        """True when there is at least one check and all passed."""
        return bool(self.checks) and all(check.ok for check in self.checks)


Moment = Entry | Speech | Note | Question | Checks


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run, or as much of it as there is. `began`: UTC, ISO 8601, empty when the events carry no time."""

    run: RunStarted | None = None
    end: RunEnded | None = None
    timeline: tuple[Moment, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    changes_state: str = ""
    began: str = ""
    elapsed_s: float = 0.0

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The calls, in order."""
        return tuple(moment for moment in self.timeline if isinstance(moment, Entry))

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        """The checks that decided: those of the end, else the last that were run."""
        if self.end and self.end.checks:
            return self.end.checks
        last = [moment.checks for moment in self.timeline if isinstance(moment, Checks)]
        return last[-1] if last else ()

    @property
    def outcome(self) -> str:
        """The outcome's own name, or `unfinished`."""
        return str(self.end.outcome) if self.end else "unfinished"

    @property
    def good(self) -> bool:
        """True when what was asked for is so."""
        return self.end is not None and self.end.outcome in GOOD

    @property
    def exit_code(self) -> int | None:
        """The process's exit code; None when the run has no end."""
        return self.end.exit_code if self.end else None

    @property
    def duration_s(self) -> float:
        """Seconds from the first event to the last."""
        return self.end.duration_s if self.end and self.end.duration_s else self.elapsed_s

    @property
    def usage(self) -> Usage:
        """Tokens of all replies together; the cost is None when no reply's price is known."""
        used = [moment.usage for moment in self.timeline if isinstance(moment, Speech) and moment.usage]
        costs = [usage.cost_usd for usage in used if usage.cost_usd is not None]
        return Usage(
            sum(usage.input_tokens for usage in used),
            sum(usage.output_tokens for usage in used),
            sum(usage.cache_read_tokens for usage in used),
            sum(usage.cache_write_tokens for usage in used),
            sum(costs) if costs else None,
        )

    @property
    def cost_usd(self) -> float | None:
        """What the model cost in US dollars; None when it is not known."""
        return self.end.cost_usd if self.end and self.end.cost_usd is not None else self.usage.cost_usd

    @property
    def effects(self) -> dict[str, list[str]]:
        """Every effect the policy read in the calls: kind -> its subjects, sorted."""
        found: dict[str, set[str]] = {}
        for entry in self.entries:
            for effect in entry.effects:
                found.setdefault(str(effect.kind), set()).add(effect.subject)
        return {kind: sorted(subjects - {""}) for kind, subjects in sorted(found.items())}

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, in the envelope that `report RUN --json` prints."""
        return {
            "schema": SCHEMA,
            "run": _plain(self.run),
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "summary": self.end.summary if self.end else "",
            "began": self.began,
            "duration_s": round(self.duration_s, 3),
            "checks": _plain(self.checks),
            "changes": dict(self.changes),
            "changes_state": self.changes_state,
            "effects": self.effects,
            "usage": _plain(self.usage) | {"cost_usd": self.cost_usd},
            "timeline": [{"kind": type(moment).__name__.lower()} | self._moment(moment) for moment in self.timeline],
        }

    @staticmethod
    def _moment(moment: Moment) -> dict[str, Any]:
        data: dict[str, Any] = _plain(moment)
        return data | {"word": moment.word, "failed": moment.failed} if isinstance(moment, Entry) else data


def wish(call: ToolCall) -> str:
    """What a call asks for, whole and in words a person can judge. Never shortened; the text is the model's own."""
    given = call.input
    if call.name in ("shell", "check", "plan"):
        return call.command
    if call.name == "write_file":
        mode = f" (mode {given['mode']})" if given.get("mode") else ""
        return f"write {given.get('path', '')}{mode}:\n{given.get('content', '')}"
    if call.name == "read_file":
        return f"read {given.get('path', '')}"
    if call.name == "shell_input":
        action = str(given.get("action", "type"))
        return f"type {given.get('text', '')}" if action == "type" else " ".join((action, str(given.get("job", "")))).strip()
    if call.name == "ask_user":
        return f"ask {given.get('question', '')}"
    if call.name == "finish":
        return f"finish: {given.get('outcome', '')}"
    return f"{call.name} {', '.join(f'{key}={value}' for key, value in given.items())}"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


class Fold:
    """The fold, one event at a time; `report()` may be taken at any moment."""

    def __init__(self) -> None:
        self._run: RunStarted | None = None
        self._end: RunEnded | None = None
        self._timeline: list[Moment] = []
        self._where: dict[str, int] = {}
        self._question: int | None = None
        self._changes: Mapping[str, Any] = {}
        self._changes_state = ""
        self._began: datetime.datetime | None = None
        self._at = 0.0
        self._turn = 0

    def __call__(self, event: Event, stamp: str = "") -> None:
        """Take the next event; `stamp` is the time it was written (ISO 8601)."""
        self._clock(stamp)
        match event:
            case RunStarted():
                self._run = self._run or event
                self._end = None
            case Replied(reply):
                self._turn += 1
                self._where.clear()
                if reply.text or reply.usage:
                    self._timeline.append(Speech(reply.text, reply.model, reply.usage, self._at))
            case Decided() | Started() | Finished():
                self._call(event)
            case Noted(text, level):
                self._timeline.append(Note(text, level, self._at))
            case Asked(question, choices, about):
                self._question = len(self._timeline)
                self._timeline.append(Question(question, choices, about, at=self._at))
            case Answered(text, by):
                self._answer(text, by)
            case Checked(checks):
                self._timeline.append(Checks(checks, self._at))
            case Changed(changes, state):
                self._changes, self._changes_state = changes or self._changes, state
            case RunEnded():
                self._end = event
            case _:
                pass

    def _clock(self, stamp: str) -> None:
        try:
            now = datetime.datetime.fromisoformat(stamp) if stamp else None
        except ValueError:
            now = None
        if now is None:
            return
        self._began = self._began or now
        self._at = max(self._at, (now - self._began).total_seconds())

    def _call(self, event: Decided | Started | Finished) -> None:
        place = self._where.get(event.call.id)
        if place is None or (not isinstance(event, Finished) and self._over(place)):
            place = self._where[event.call.id] = len(self._timeline)
            self._timeline.append(Entry(event.call, at=self._at, turn=self._turn))
        entry = self._timeline[place]
        assert isinstance(entry, Entry)
        match event:
            case Decided(call, decision):
                entry = dataclasses.replace(entry, call=call, decision=decision)
            case Started(call, cwd):
                entry = dataclasses.replace(entry, call=call, started=True, cwd=cwd)
            case Finished(call, result):
                if not result.fidelity and entry.started and call.name in VIEWED and self._in_view:
                    result = dataclasses.replace(result, fidelity="view")
                entry = dataclasses.replace(entry, call=call, result=result)
        self._timeline[place] = entry

    @property
    def _in_view(self) -> bool:
        return self._run is not None and self._run.mode != "live" and self._run.tier != "S"

    def _over(self, place: int) -> bool:
        """An id is used again when its call has come to its end: the same look, taken a second time."""
        entry = self._timeline[place]
        return isinstance(entry, Entry) and entry.result is not None

    def _answer(self, text: str, by: str) -> None:
        if self._question is None:
            return
        question = self._timeline[self._question]
        assert isinstance(question, Question)
        self._timeline[self._question] = dataclasses.replace(question, answer=text, by=by)
        self._question = None

    def entry(self, call: ToolCall) -> Entry:
        """A call of the present turn as far as it is known."""
        place = self._where.get(call.id)
        found = self._timeline[place] if place is not None else None
        return found if isinstance(found, Entry) else Entry(call)

    def report(self) -> Report:
        """The run so far."""
        began = self._began.isoformat() if self._began else ""
        return Report(self._run, self._end, tuple(self._timeline), self._changes, self._changes_state, began, self._at)


def fold(events: Iterable[Event | tuple[str, Event]]) -> Report:
    """The report of a run's events, each alone or with the time it was written (as `journal.read_stamped` gives them)."""
    take = Fold()
    for item in events:
        if isinstance(item, tuple):
            take(item[1], item[0])
        else:
            take(item)
    return take.report()
