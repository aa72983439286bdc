"""The seams: what a model, a target, a policy and a person look like to the loop.

Whatever takes time is a generator: it yields events while it works and returns its value, so the
loop passes everything on to the surfaces at once and nothing needs a thread or a callback to be seen.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from skillrun.events import CheckResult, Decision, Event, Reply, Result, ToolCall, Turn
from skillrun.skills.skill import Skill

Stream = Generator[Event, None, Result]
"""A command at work: events while it runs, its Result in the end."""


def result_of(stream: Stream) -> Result:
    """The result of a command that nobody watches."""
    while True:
        try:
            next(stream)
        except StopIteration as stop:
            result: Result = stop.value
            return result


@dataclass(frozen=True, slots=True)
class Command:
    """Shell text to carry out. `quiet_s`: seconds without progress after which it is questioned."""

    text: str
    id: str = ""
    quiet_s: float | None = None
    background: bool = False
    login: bool = False
    """Run in a fresh login shell of the user instead of the run's own shell (checks do)."""
    stdin: str | None = None


class Target(Protocol):
    """A machine, or a view of one, that commands run on.

    `run` and `answer` may return with state WAITING or QUIET: then the command is still alive and
    exactly one of `answer`, `wait` or `interrupt` must follow before the next `run`.
    """

    name: str
    tier: str
    contained: bool
    """True when effects stay in a view until a commit."""

    def run(self, command: Command) -> Stream:
        """Carry a command out in the target's one shell, which keeps directory and exports."""
        ...

    def answer(self, text: str) -> Stream:
        """Type text at the command that is waiting, exactly as given (a newline is the caller's to add)."""
        ...

    def wait(self, quiet_s: float | None = None) -> Stream:
        """Go on waiting for the command that is alive."""
        ...

    def interrupt(self) -> Stream:
        """End the command that is alive: SIGINT, SIGTERM, SIGKILL, to its whole tree."""
        ...

    def output_of(self, job: str) -> Result:
        """What a background job has written so far. Raises KeyError for an unknown name."""
        ...

    def get(self, path: str, limit: int | None = None) -> bytes:
        """A file's bytes. Raises OSError as `open` would."""
        ...

    def put(self, path: str, data: bytes, mode: int | None = None) -> None:
        """Write a file atomically, as the user the shell runs as. Raises OSError."""
        ...

    def close(self) -> None:
        """End everything that was started here and is not meant to stay."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command would run, as the policy needs to know it: facts passed in, nothing looked up."""

    cwd: str = "/"
    home: str = "/"
    user: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    created: frozenset[str] = frozenset()
    """Paths this run created itself: deleting or overwriting them is free."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Known symbolic links, absolute path -> absolute target."""
    mounts: frozenset[str] = frozenset({"/"})
    contained: bool = False


class Policy(Protocol):
    """Decides on a call: pure, so that it can be replayed over old journals."""

    def __call__(self, call: ToolCall, place: Place) -> Decision:
        """The decision on this call, if it were made here."""
        ...


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's word on a call. `how`: once | run (this shape, this run) | always | edit | no | stop."""

    how: str
    command: str = ""
    reason: str = ""


class Person(Protocol):
    """Whoever may be asked. Unattended means a Person that says no to everything."""

    attended: bool

    def approve(self, call: ToolCall, decision: Decision, place: Place) -> Approval:
        """The whole command is shown before anything can be said about it."""
        ...

    def ask(self, question: str, choices: Sequence[str] = (), default: str = "") -> str | None:
        """An answer, or None when nobody answers."""
        ...

    def secret(self, name: str, why: str = "") -> str | None:
        """A secret typed with echo off, or None. The value goes to the target only."""
        ...

    def hand_over(self, target: Target) -> Result | None:
        """Connect the person's own terminal to the waiting command until it goes on; None: cannot."""
        ...


@dataclass(frozen=True, slots=True)
class Brief:
    """All a model is told before its first turn. Byte-stable during a run."""

    skill: Skill
    verb: str = "install"
    facts: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    """Names of secrets that can be used as {{secret:NAME}}."""
    checks: tuple[str, ...] = ()
    failed_checks: tuple[CheckResult, ...] = ()
    """How the checks came out before anything was done."""
    mode: str = "live"
    attended: bool = True


class ModelUnavailable(Exception):
    """A model cannot reply and retrying will not help. `hint` says what the person can do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Model(Protocol):
    """Decides the next calls. The built-in engine, a plan, a script and Claude all stand behind this."""

    @property
    def name(self) -> str:
        """What events call it."""
        ...

    def reply(self, brief: Brief, turns: Sequence[Turn]) -> Generator[Event, None, Reply]:
        """The next reply, given everything so far. May yield Said and Noted on the way.

        Raises ModelUnavailable. The calls a model may make are those of `skillrun.llm.tools`.
        """
        ...
