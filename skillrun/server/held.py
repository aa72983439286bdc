"""Runs that the server holds: each goes on in a thread of its own and stands still where a person's word is due."""

from __future__ import annotations

import ctypes
import threading
import time
from typing import Any, Literal

from skillrun.errors import Problem, SkillrunError
from skillrun.events import Changed, Event, Outcome, RunEnded, Started
from skillrun.record.changes_text import change_lines
from skillrun.record.journal import JournalError, RunFolder, find_run
from skillrun.record.report import Report
from skillrun.run.api import Execution, start, undo
from skillrun.server.awaited import Awaited
from skillrun.server.caller import Caller, Gone
from skillrun.text.escape import shown

State = Literal["working", "your turn", "needs approval", "ended"]


class Held:
    """Something that goes on in a thread of its own and has a run's id. A kind of it says what it carries out."""

    def __init__(self, folder: RunFolder, person: Awaited, caller: Caller | None = None) -> None:
        self.id, self.caller, self.person = folder.id, caller, person
        person.begin(folder)
        self.doing, self.steps = "", 0
        self.outcome: dict[str, Any] | None = None
        """What it came to, once it is known."""
        self.problem, self.code = "", 1
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._guarded, name=f"run {self.id}", daemon=True)

    def _carry(self) -> None:
        """All of it; `_stop` is looked at where it can be ended."""
        raise NotImplementedError

    def _cut(self) -> None:
        """End what was interrupted in the middle."""

    def _guarded(self) -> None:
        try:
            self._carry()
        except KeyboardInterrupt:
            self._cut()
        except Gone:
            self.problem = "ended by its caller"
        except (SkillrunError, OSError) as error:
            hint = f" ({error.hint})" if isinstance(error, Problem) and error.hint else ""
            self.problem, self.code = f"{error}{hint}", getattr(error, "code", 1)

    @property
    def state(self) -> State:
        """What it stands at."""
        if not self.thread.is_alive():
            return "ended"
        if self.person.question is not None:
            return "needs approval"
        if self.caller is not None and self.caller.is_waiting():
            return "your turn"
        return "working"

    def wait(self, seconds: float) -> State:
        """Wait until it stands at anything but work, at most so long."""
        until = time.monotonic() + seconds
        while self.state == "working" and time.monotonic() < until:
            time.sleep(0.05)
        return self.state

    def stop(self) -> None:
        """End it: what was not committed is discarded."""
        working = self.state == "working"
        self._stop.set()
        self.person.stop()
        if self.caller is not None:
            self.caller.leave()
        if working and self.thread.ident is not None:  # what Ctrl-C does to a run in the main thread
            ident, raised = ctypes.c_ulong(self.thread.ident), ctypes.py_object(KeyboardInterrupt)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, raised)

    def status(self) -> dict[str, Any]:
        """All an agent or its person needs to know of it now."""
        told: dict[str, Any] = {"run": self.id, "state": self.state, "steps": self.steps, "doing": shown(self.doing)}
        question = self.person.question
        if question is not None:
            told |= {"digest": question.digest, "asked": question.kind, "message": question.message(), **self._about()}
            told["on_the_machine"] = f"skillrun approve {self.id}"
        if told["state"] == "ended":
            cut = {"outcome": "error" if self.problem else "interrupted", "exit_code": self.code}
            told |= self.outcome or {**cut, "summary": self.problem or "interrupted"}
        return told

    def _about(self) -> dict[str, Any]:
        """What else belongs to its question."""
        return {}


class HeldRun(Held):
    """One run: started at once."""

    def __init__(
        self, verb: Literal["install", "verify"], skill: str, effects: Literal["preview", "live"], **more: Any
    ) -> None:
        caller = more["model"] if isinstance(more.get("model"), Caller) else None
        person = Awaited()
        self.execution: Execution = start(verb, skill, person=person, approve="ask", effects=effects, **more)
        super().__init__(self.execution.run.folder, person, caller)
        person.checks = tuple(check.command for check in self.execution.run.skill.checks)
        self.thread.start()

    def _carry(self) -> None:
        for event in self.execution:
            self._see(event)
            if self._stop.is_set():
                self.execution.close()
                break

    def _cut(self) -> None:
        self.execution.close()

    def _see(self, event: Event) -> None:
        if isinstance(event, Changed):
            self.person.changes = event.changes
        elif isinstance(event, Started):
            self.doing, self.steps = event.call.command or event.call.name, self.steps + 1
        elif isinstance(event, RunEnded):
            checks = [{"command": check.command, "ok": check.ok} for check in event.checks]
            self.outcome = {**_told(event), "checks": checks, "verified": event.exit_code == 0}
            if event.outcome is Outcome.NEEDS_PERSON:  # a password, or an answer that no form may ask for
                self.outcome["needs"] = f"skillrun resume {self.id}"

    def _about(self) -> dict[str, Any]:
        try:
            effects = {kind: list(found) for kind, found in self.execution.report.effects.items() if kind != "read"}
        except OSError:
            effects = {}
        changes = [line.text.strip() for line in change_lines(self.person.changes)]
        return {"changes": changes, "effects": effects, "checks": list(self.person.checks)}


class HeldUndo(Held):
    """Taking a run back, under that run's id. Raises Problem where there is none."""

    def __init__(self, word: str) -> None:
        super().__init__(_changed_last() if word == "last" else _run_called(word), Awaited())
        self.doing = "reading what it changed"
        self.thread.start()

    def _carry(self) -> None:
        report: Report = undo(self.id, person=self.person, edited="leave")
        if report.end is not None:
            self.doing, self.outcome = "", _told(report.end)


def _told(end: RunEnded) -> dict[str, Any]:
    return {"outcome": str(end.outcome), "exit_code": end.exit_code, "summary": end.summary}


def _run_called(word: str) -> RunFolder:
    try:
        return find_run(word)
    except (JournalError, ValueError) as error:
        raise Problem(str(error), "`skillrun runs` lists what there is") from None


def _changed_last() -> RunFolder:
    from skillrun.rollback.standing import standing

    found = next(standing(), None)
    if found is None:
        raise Problem("no run changed anything here that could be taken back")
    return found


class Runs:
    """The runs of one server, by id. `forms`: the person may answer in a form of the client."""

    def __init__(self, forms: bool = True) -> None:
        self.forms = forms
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()

    def hold(self, run: Held) -> Held:
        """Keep it until the server ends, in the place of an earlier one of the same id."""
        with self._lock:
            self._held[run.id] = run
        return run

    def held(self, run: str) -> Held | None:
        """The run with this id, if there is one."""
        with self._lock:
            return self._held.get(run)

    def of(self, run: str) -> Held:
        """The run with this id. Raises KeyError."""
        with self._lock:
            return self._held[run]

    def stop_all(self, seconds: float = 10.0) -> None:
        """End every run and wait for it."""
        with self._lock:
            held = list(self._held.values())
        for run in held:
            run.stop()
        until = time.monotonic() + seconds
        for run in held:
            run.thread.join(max(until - time.monotonic(), 0.0))
