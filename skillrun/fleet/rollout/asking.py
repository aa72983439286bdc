"""The person, asked about many machines: one question at a time, each with its machine's name; one for a whole group."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from skillrun.events import Decision, Result, ToolCall
from skillrun.plans.plan import Plan
from skillrun.ports import Approval, CommitReader, Person, Place, Target
from skillrun.record.changes_text import change_lines
from skillrun.run.effects import COMMIT, DETAILS


class OneAtATime:
    """A person who is asked by several machines: one after the other, each question with the machine's name."""

    def __init__(self, person: Person, lock: threading.Lock, name: str, password: str | None) -> None:
        self._person, self._lock, self._name, self._password = person, lock, name, password
        self.attended = person.attended

    def approve(self, call: ToolCall, decision: Decision, place: Place) -> Approval:
        """Asked about one machine's call."""
        with self._lock:
            named = replace(call, input={**call.input, "why": f"{self._name}: {call.why}"})
            return self._person.approve(named, decision, place)

    def ask(self, question: str, choices: Sequence[str] = (), default: str = "") -> str | None:
        """Asked for one machine."""
        return self._put(f"{self._name}: {question}", choices, default)

    def _put(self, question: str, choices: Sequence[str], default: str) -> str | None:
        if not isinstance(self._person, CommitReader):
            choices = [choice for choice in choices if choice != DETAILS]
        with self._lock:
            return self._person.ask(question, choices, default)

    def read_changes(self, changes: Mapping[str, Any]) -> None:
        """All that a view would change, where the person can be shown it."""
        if isinstance(self._person, CommitReader):
            with self._lock:
                self._person.read_changes(changes)

    def secret(self, name: str, why: str = "") -> str | None:
        """sudo's password as it was given for this machine, once; else the person's word."""
        if name == "sudo" and self._password is not None:
            value, self._password = self._password, None
            return value
        with self._lock:
            return self._person.secret(name, why)

    def hand_over(self, target: Target) -> Result | None:
        """No terminal is handed to one of many machines."""
        return None


class ForAGroup(OneAtATime):
    """Asked for a canary: what its view would change, and the plan that comes of it for the others, are one question.

    `beyond`: the plan as far as it is known then with what a yes means for the others, in lines; None: the canary alone.
    `agreed` is told the plan when the answer was yes.
    """

    def __init__(
        self,
        asked: OneAtATime,
        beyond: Callable[[bool], tuple[Plan, Sequence[str]] | None],
        agreed: Callable[[Plan], None],
    ) -> None:
        super().__init__(asked._person, asked._lock, asked._name, asked._password)
        self._beyond, self._agreed = beyond, agreed
        self._changes: Mapping[str, Any] = {}

    def would_change(self, changes: Mapping[str, Any]) -> None:
        """What the view would change, told before the question."""
        self._changes = changes

    def ask_commit(self, question: str, choices: Sequence[str], default: str, waiting: bool) -> str | None:
        """The one question of a canary. `waiting`: its checks need services, which start only after the commit."""
        found = self._beyond(waiting)
        if found is None:
            return self.ask(question, choices, default)
        plan, lines = found
        changes = [f"  {line.text.strip()}" for line in change_lines(self._changes)] or ["  nothing"]
        told = [f"{self._name} is the canary. In a view of it this would change:", *changes, *lines]
        services = "The checks need services, which start only after the commit. " if waiting else ""
        question = f"{services}Commit on {self._name}, and then carry this plan out on the others?"
        answer = self._put("\n".join([*told, question]), choices, default)
        if answer == COMMIT:
            self._agreed(plan)
        return answer
