"""The person of a run that an agent began: elsewhere, and asked through the agent's client or on the machine itself."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from skillrun.events import Decision, Result, ToolCall
from skillrun.ports import Approval, Place, Target
from skillrun.record.changes_text import change_lines
from skillrun.record.journal import RunFolder
from skillrun.run.effects import COMMIT, DISCARD
from skillrun.text.escape import shown

UNDO = "undo"
"""What `skillrun.run.api.undo` calls a yes."""
APPROVAL = "approval.json"
"""In a run's folder: a person's word, given on the machine itself with `skillrun approve`."""
WAITING = "waiting.json"
"""In a run's folder: what a person's word is waited for, as `skillrun approve` shows it."""
LOOK_S = 0.3
"""Seconds between two looks for a word given on the machine."""

FORM_LINES, _LAST = 20, 4
"""How many lines a form shows, and how many of them are the last: what runs afterwards stands there."""

Kind = Literal["commit", "command", "undo"]


@dataclass(frozen=True, slots=True)
class Question:
    """What a person has to say yes or no to. `digest` names exactly this: another command or other changes have another."""

    kind: Kind
    text: str
    lines: tuple[str, ...]
    digest: str

    def message(self) -> str:
        """All of it, as the person reads it: a pure function of what the digest covers."""
        return "\n".join([self.text, *self.lines])

    def form(self, run: str) -> str:
        """What a form shows of it. Lines come most telling first, and a form that is too long hides its beginning."""
        if len(self.lines) <= FORM_LINES:
            return self.message()
        left_out = len(self.lines) - FORM_LINES
        more = f"  ... {left_out} more lines of files: `skillrun approve {run}` in a terminal shows all of it"
        return "\n".join([self.text, *self.lines[: FORM_LINES - _LAST], more, *self.lines[-_LAST:]])


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
        self.closed = ""
        """Digest of the question whose form was closed without an answer: the terminal is waited for."""
        self._asked = 0
        self._answer: bool | None = None
        self._stopped = False
        self._changed = threading.Condition()

    def begin(self, run: RunFolder) -> None:
        """The run it is about."""
        self.run_id, self.folder = run.id, run.path

    def approve(self, call: ToolCall, decision: Decision, place: Place) -> Approval:
        """Wait for the word on one command."""
        from skillrun.policy.judge import in_words

        lines = [shown(call.command or json.dumps(dict(call.input), ensure_ascii=False)), f"why it is asked: {decision.reason}"]
        lines += [f"  it {in_words(effect)}" for effect in decision.effects]
        data = [call.name, dict(call.input), [[effect.kind, effect.subject] for effect in decision.effects]]
        agreed = self._wait(self._question("command", "May this run?", lines, data))
        return Approval("once") if agreed else Approval("no", reason="the person said no")

    def ask(self, question: str, choices: Sequence[str] = (), default: str = "") -> str | None:
        """Wait for the word on the changes, or on taking them back; nothing else is answered from here."""
        if UNDO in choices:
            *lines, text = question.split("\n")
            return UNDO if self._wait(self._question("undo", text, lines, lines)) else default
        if COMMIT not in choices:
            return None
        lines = [line.text for line in change_lines(self.changes, whole=True)]
        lines += [f"  afterwards this runs on the machine itself: {shown(check)}" for check in self.checks]
        return COMMIT if self._wait(self._question("commit", question, lines, [self.changes, self.checks])) else DISCARD

    def _question(self, kind: Kind, text: str, lines: Sequence[str], data: object) -> Question:
        """Numbered, so that the word on one is no word on the same asked again."""
        self._asked += 1
        return Question(kind, text, tuple(lines), digest_of_question(self.run_id, kind, text, [self._asked, data]))

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
