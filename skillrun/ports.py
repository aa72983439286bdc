"""The seams: what a model, a target, a policy, a person and a surface look like to the loop.

A protocol holds every member that is used of whatever stands behind it; what only some can do is a protocol of its own
(`Attachable`, `Rehearsing`, `Pausing`, `Preflight`), asked for by `isinstance`.

Whatever takes time is a generator: it yields events while it works and returns its value, so the
loop passes everything on to the surfaces at once and nothing needs a thread or a callback to be seen.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from skillrun.errors import SkillrunError
from skillrun.events import CheckResult, Decision, Event, Reply, Result, ToolCall, Turn
from skillrun.secrets import Vault
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
    for_all: bool = False
    """It installs for every user: what it makes must be readable for them, whatever the person's umask is."""


class Target(Protocol):
    """A machine, or a view of one, that commands run on.

    `run` and `answer` may return with state WAITING or QUIET: then the command is still alive and
    exactly one of `answer`, `wait` or `interrupt` must follow before the next `run`.
    """

    name: str
    tier: str
    contained: bool
    """True when effects stay in a view until a commit."""
    here: bool
    """True when it is this very machine, as the user of this process: files may be looked at without asking its shell, and
    what a run does is real at once, so that its way back and its plan are worth keeping."""

    @property
    def vault(self) -> Vault:
        """The secrets its commands may name as {{secret:NAME}}; their values are masked in all that comes back."""
        ...

    @property
    def cwd(self) -> str:
        """The directory the next command starts in."""
        ...

    @property
    def variables(self) -> Mapping[str, str]:
        """The exported variables of its shell, as the last command left them."""
        ...

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

    def end_background(self) -> list[str]:
        """End what was started in the background and is not to stay, as `close` does; the names."""
        ...

    def left_running(self) -> list[tuple[int, str]]:
        """(process id, name) of what commands left at work and `close` does not end."""
        ...

    def close(self) -> None:
        """End everything that was started here and is not meant to stay."""
        ...


@runtime_checkable
class Attachable(Protocol):
    """A target whose waiting command can be put on the person's own terminal."""

    def attach(self, terminal: int) -> Stream:
        """Pass keys and screen on between this open terminal and the command, until it goes on."""
        ...


@runtime_checkable
class Rehearsing(Protocol):
    """A target that carries out only what changes nothing, in front of the one that skillrun's own questions go to."""

    @property
    def underneath(self) -> Target:
        """The target behind it."""
        ...


def asked(target: Target) -> Target:
    """The target that answers skillrun's own questions, in which no model has a hand."""
    return target.underneath if isinstance(target, Rehearsing) else target


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
    protected: frozenset[str] = frozenset()
    """Where skillrun's own files lie for this user: settings, rules, state, the library. No command may change them."""


@runtime_checkable
class Fenced(Protocol):
    """A target whose commands reach the hosts of the run only, and those that were admitted for the next command."""

    def admit(self, hosts: Iterable[str], by_person: bool = False) -> None:
        """Hosts the next command may contact, in place of those admitted before. `by_person`: somebody read that command."""
        ...


class Policy(Protocol):
    """Decides on a call: pure, so that it can be replayed over old journals."""

    def __call__(self, call: ToolCall, place: Place) -> Decision:
        """The decision on this call, if it were made here."""
        ...


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's word on a call. `how`: once | run (this again) | rest (all to come) | always | edit | no | stop."""

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


@runtime_checkable
class Pondering(Protocol):
    """A person who takes time to answer, which is not the run's."""

    waited_s: float
    """Seconds so far."""


@runtime_checkable
class CommitReader(Protocol):
    """A person who can read all of what a view would change before they decide."""

    def read_changes(self, changes: Mapping[str, Any]) -> None:
        """Show a Changed event's data whole, for as long as they wish."""
        ...


@runtime_checkable
class RuleReviewer(Protocol):
    """A person who sees what "always" would allow before it is kept."""

    def keep_rules(self, rules: Sequence[str]) -> bool:
        """Shown in words what would never be asked about again; empty: nothing can. True keeps it."""
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


class ModelUnavailable(SkillrunError):
    """A model cannot reply and retrying will not help. `hint` says what the person can do."""

    code = 6

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


@runtime_checkable
class Hearing(Protocol):
    """A model that may read what a person says in the middle of a run (`Turn.said`)."""

    @property
    def hears(self) -> bool:
        """Whether it does, as things stand."""
        ...


@runtime_checkable
class Passing(Protocol):
    """A model behind which others stand."""

    def pass_on(self, reason: str) -> str:
        """Let the next one speak, and say so in a sentence; empty when nobody is left. Raises ModelUnavailable."""
        ...


@runtime_checkable
class Paid(Protocol):
    """A model that may take money."""

    @property
    def paid(self) -> Sequence[str]:
        """Who takes some, by name, in the order they would speak; none where no price is known."""
        ...


@runtime_checkable
class Preflight(Protocol):
    """A model whose server can be asked for it before anything is spent."""

    def preflight(self) -> str:
        """The name the server knows it by. Raises ModelUnavailable."""
        ...


class Surface(Protocol):
    """Whatever shows or keeps events as they come."""

    def __call__(self, event: Event) -> None:
        """Take the next event."""
        ...

    def close(self) -> None:
        """The run is over, or nobody watches any more."""
        ...


@runtime_checkable
class Foreseeing(Protocol):
    """A model that knows its calls before it makes them, so that a person can approve all of them at once."""

    def upcoming(self) -> Sequence[ToolCall]:
        """The calls still to come, in their order; none while that is not known."""
        ...


@runtime_checkable
class Wanting(Protocol):
    """A model that takes values by name beside the skill's own inputs: a plan, what was typed when it was made."""

    @property
    def inputs(self) -> Sequence[str]:
        """The names of those values."""
        ...


@runtime_checkable
class Pausing(Protocol):
    """A surface that holds the terminal, and can let go of it while a person is asked something there."""

    def paused(self) -> AbstractContextManager[None]:
        """Leave the terminal to somebody else for a while."""
        ...
