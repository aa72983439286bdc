"""Runs that the server holds: each goes on in a thread of its own and stands still where a person's word is due."""

from __future__ import annotations

import ctypes
import hashlib
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from skillrun.errors import Problem, SkillrunError
from skillrun.events import Changed, Decision, Event, Noted, Result, RunEnded, Started, ToolCall
from skillrun.ports import Approval, Place, Target
from skillrun.record.changes_text import change_lines
from skillrun.run.api import Execution, start
from skillrun.run.effects import COMMIT, DISCARD
from skillrun.server.caller import Caller, Gone
from skillrun.text.escape import shown

APPROVAL = "approval.json"
"""In a run's folder: a person's word, given on the machine itself with `skillrun approve`."""
WAITING = "waiting.json"
"""In a run's folder: what a person's word is waited for, as `skillrun approve` shows it."""
LOOK_S = 0.3
"""Seconds between two looks for a word given on the machine."""

State = Literal["working", "your turn", "needs approval", "ended"]


@dataclass(frozen=True, slots=True)
class Question:
    """What a person has to say yes or no to. `digest` names exactly this: another command or other changes have another."""

    kind: Literal["commit", "command"]
    text: str
    lines: tuple[str, ...]
    digest: str

    def message(self) -> str:
        """All of it, as the person reads it: a pure function of what the digest covers."""
        return "\n".join([self.text, *self.lines])


def digest_of_question(run: str, kind: str, text: str, data: object) -> str:
    """The identity of what is asked: the run, the words, and the whole of the changes or the command with its effects."""
    whole = json.dumps([run, kind, text, data], sort_keys=True, default=str, ensure_ascii=False)
    return f"sha256:{hashlib.sha256(whole.encode()).hexdigest()}"


class Awaited:
    """A Person who is elsewhere: each question stands until the server, or `skillrun approve`, brings the answer.

    Passwords and other values are never asked for here: what needs one needs a person on the machine.
    """

    attended = True

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.run_id = ""
        self.changes: Mapping[str, Any] = {}
        self.checks: tuple[str, ...] = ()
        self.question: Question | None = None
        self._answer: bool | None = None
        self._stopped = False
        self._changed = threading.Condition()

    def approve(self, call: ToolCall, decision: Decision, place: Place) -> Approval:
        """Wait for the word on one command."""
        from skillrun.policy.judge import in_words

        lines = [shown(call.command or json.dumps(dict(call.input), ensure_ascii=False)), f"why it is asked: {decision.reason}"]
        lines += [f"  it {in_words(effect)}" for effect in decision.effects]
        data = [call.name, dict(call.input), [[effect.kind, effect.subject] for effect in decision.effects]]
        text = "May this run?"
        question = Question("command", text, tuple(lines), digest_of_question(self.run_id, "command", text, data))
        return Approval("once") if self._wait(question) else Approval("no", reason="the person said no")

    def ask(self, question: str, choices: Sequence[str] = (), default: str = "") -> str | None:
        """Wait for the word on the changes; nothing else is answered from here."""
        if COMMIT not in choices:
            return None
        lines = [line.text for line in change_lines(self.changes, whole=True)]
        lines += [f"  afterwards this runs on the machine itself: {shown(check)}" for check in self.checks]
        data = [self.changes, self.checks]
        asked = Question("commit", question, tuple(lines), digest_of_question(self.run_id, "commit", question, data))
        return COMMIT if self._wait(asked) else DISCARD

    def secret(self, name: str, why: str = "") -> str | None:
        """None: a secret is typed on the machine."""
        return None

    def hand_over(self, target: Target) -> Result | None:
        """None: there is no terminal."""
        return None

    def answer(self, digest: str, yes: bool) -> None:
        """The word on the question with this digest. Raises ValueError when another is asked, or none."""
        with self._changed:
            if self.question is None:
                raise ValueError("nothing is waiting for an approval")
            if digest != self.question.digest:
                raise ValueError("this digest is not of what is asked now: read `status` again and show it to the person")
            self._answer, self.question = yes, None
            self._changed.notify_all()

    def wait_for_word(self, question: Question, seconds: float) -> None:
        """Wait until this question is answered, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: self.question is not question, seconds)

    def stop(self) -> None:
        """Say no to whatever is asked, now and later."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _wait(self, question: Question) -> bool:
        with self._changed:
            self.question, self._answer = question, None
            self._note(question)
            while self._answer is None and not self._stopped:
                self._changed.wait(LOOK_S)
                if self._answer is None:
                    self._answer = self._from_machine(question)
            self.question = None
            self._note(None)
            self._changed.notify_all()
            return bool(self._answer) and not self._stopped

    def _note(self, question: Question | None) -> None:
        """Say in the run's folder what is waited for, so that it can be shown and answered on the machine."""
        if self.folder is None:
            return
        path = self.folder / WAITING
        (self.folder / APPROVAL).unlink(missing_ok=True)
        if question is None:
            path.unlink(missing_ok=True)
            return
        path.write_text(json.dumps({"digest": question.digest, "kind": question.kind, "message": question.message()}), "utf-8")
        path.chmod(0o600)

    def _from_machine(self, question: Question) -> bool | None:
        """The word given with `skillrun approve` on exactly this question; None while there is none."""
        try:
            data = json.loads((self.folder / APPROVAL).read_text("utf-8")) if self.folder else {}
        except (OSError, ValueError):
            return None
        if not isinstance(data, dict) or data.get("digest") != question.digest or not isinstance(data.get("yes"), bool):
            return None
        return bool(data["yes"])


class HeldRun:
    """One run: started at once, in a thread of its own."""

    def __init__(
        self, verb: Literal["install", "verify"], skill: str, effects: Literal["preview", "live"], **more: Any
    ) -> None:
        self.person, self.caller = Awaited(), more["model"] if isinstance(more.get("model"), Caller) else None
        self.execution: Execution = start(verb, skill, person=self.person, approve="ask", effects=effects, **more)
        self.id = self.execution.run_id
        self.person.run_id, self.person.folder = self.id, self.execution.run.folder.path
        self.person.checks = tuple(check.command for check in self.execution.run.skill.checks)
        self.doing, self.steps, self.notes = "", 0, [""]
        self.end: RunEnded | None = None
        self.problem = ""
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._carry, name=f"run {self.id}", daemon=True)
        self.thread.start()

    def _carry(self) -> None:
        try:
            for event in self.execution:
                self._see(event)
                if self._stop.is_set():
                    self.execution.close()
                    break
        except KeyboardInterrupt:
            self.execution.close()
        except Gone:
            self.problem = "ended by its caller"
        except (SkillrunError, OSError) as error:
            hint = f" ({error.hint})" if isinstance(error, Problem) and error.hint else ""
            self.problem = f"{error}{hint}"

    def _see(self, event: Event) -> None:
        if isinstance(event, Changed):
            self.person.changes = event.changes
        elif isinstance(event, Started):
            self.doing, self.steps = event.call.command or event.call.name, self.steps + 1
        elif isinstance(event, Noted) and event.text:
            self.notes.append(event.text)
        elif isinstance(event, RunEnded):
            self.end = event

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
            told |= {"digest": question.digest, "asked": question.kind, "message": question.message()}
            told |= {"effects": self._effects(), "checks": list(self.person.checks)}
            told["on_the_machine"] = f"skillrun approve {self.id}"
        if told["state"] == "ended":
            told |= self._ended()
        return told

    def _effects(self) -> dict[str, list[str]]:
        try:
            return {kind: list(found) for kind, found in self.execution.report.effects.items() if kind != "read"}
        except OSError:
            return {}

    def _ended(self) -> dict[str, Any]:
        if self.end is None:
            return {
                "outcome": "error" if self.problem else "interrupted",
                "exit_code": 1,
                "summary": self.problem or "interrupted",
            }
        checks = [{"command": check.command, "ok": check.ok} for check in self.end.checks]
        told = {"outcome": str(self.end.outcome), "exit_code": self.end.exit_code, "summary": self.end.summary}
        return {**told, "checks": checks, "verified": self.end.exit_code == 0}


class Runs:
    """The runs of one server, by id."""

    def __init__(self) -> None:
        self._held: dict[str, HeldRun] = {}
        self._lock = threading.Lock()

    def hold(self, run: HeldRun) -> HeldRun:
        """Keep it until the server ends."""
        with self._lock:
            self._held[run.id] = run
        return run

    def of(self, run: str) -> HeldRun:
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
