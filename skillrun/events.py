"""The vocabulary of a run: what a model asks for, what is decided, what happens.

Frozen values without clock or random identity (the journal stamps the time); screens, reports, plans and undo read these alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

SCHEMA = 1
"""Version of the events as they are written to disk and to `--json`; raised on a breaking change."""


class EffectKind(StrEnum):
    """What a command does to the world, as far as reading it can tell."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    INSTALL = "install"
    REMOVE = "remove"
    NETWORK = "network"
    RUN_FETCHED = "run-fetched"
    RUN_CODE = "run-code"
    PRIVILEGE = "privilege"
    SERVICE = "service"
    PERSISTENCE = "persistence"
    AGENT_CONTROL = "agent-control"
    DEFENCE_OFF = "defence-off"
    KILL = "kill"
    SECRET_READ = "secret-read"
    DEVICE = "device"
    ACCOUNT = "account"
    CONTAINER = "container"
    UNKNOWN = "unknown"
    UNPROVEN = "unproven"
    """Nothing in it is known to change anything, and nothing says that it does not."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect: its kind, what it touches (path, package, host, unit, ...) and a short remark."""

    kind: EffectKind
    subject: str = ""
    detail: str = ""


class Verdict(StrEnum):
    """May a call be carried out? The strictest part of a command wins: deny > ask > look > allow."""

    ALLOW = "allow"
    LOOK = "look"
    """Yes, where the kernel lets it do nothing but look; what it was kept from is then asked."""
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided of a call, by which rule, and who decided (`policy`, `person`, `mode`)."""

    verdict: Verdict
    reason: str
    rule: str = ""
    effects: tuple[Effect, ...] = ()
    by: str = "policy"
    confined: bool = False
    """Whether the shell that only looks is the place for it: nothing in it is to change anything, the acting shell included."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a command that fails is tried in all, and how many seconds apart.

    `on`: only while its output matches this regular expression (ignoring case); empty: whatever it says.
    """

    tries: int
    pause_s: float
    on: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish. `step` is the number of the skill's step it carries out, where that is known."""

    id: str
    name: str
    input: Mapping[str, Any]
    step: int | None = None
    retry: Retry | None = None
    """Carried out by the executor: never text around a command."""

    @property
    def command(self) -> str:
        """The shell text of a `shell` call, empty for other tools."""
        return str(self.input.get("command", ""))

    @property
    def why(self) -> str:
        """The reason the model gave, empty when it gave none."""
        return str(self.input.get("why", ""))


class State(StrEnum):
    """How a call stands."""

    EXITED = "exited"
    """It ended by itself; `exit_code` says how."""
    WAITING = "waiting"
    """It is alive and reads the terminal; `screen` is what it shows. `secret`: echo is off."""
    QUIET = "quiet"
    """It is alive but made no progress for the quiet period (seconds of `Command.timeout_s`)."""
    BACKGROUND = "background"
    """It goes on in the background under the name in `job`."""
    TIMEOUT = "timeout"
    """It was ended because time ran out."""
    INTERRUPTED = "interrupted"
    """It was ended by the person or by a signal to skillrun."""
    DENIED = "denied"
    """It never started; `output` says why."""
    ERROR = "error"
    """It could not be carried out at all (bad input, target lost); `output` says why."""
    UNKNOWN = "unknown"
    """Its end was not seen (a crash came first). It may have had its effect."""


BY_PERSON = "interrupted by the person"
"""How the note of a command begins that the person ended with Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a call. `output` is what a model reads (head and tail); the whole lies in `output_file`."""

    state: State
    exit_code: int | None = None
    output: str = ""
    output_bytes: int = 0
    output_file: str = ""
    duration_s: float = 0.0
    cwd: str = ""
    note: str = ""
    """What a reader must know besides: shell restored, output shortened, echo off, ..."""
    screen: str = ""
    secret: bool = False
    job: str = ""
    exports: Mapping[str, str | None] = field(default_factory=dict)
    """Exported variables the command changed (None: unset), masked like output."""
    created: tuple[str, ...] = ()
    """Paths known to have been created by this call."""
    fidelity: str = ""
    """In a dry run: real (it really ran) | view (in a copy-on-write view) | simulated (its own simulator ran) |
    would-run (it was only listed). Empty in a live run."""

    @property
    def ok(self) -> bool:
        """True when the command ended by itself with exit code 0, or runs on in the background as asked."""
        return (self.state is State.EXITED and self.exit_code == 0) or self.state is State.BACKGROUND

    @property
    def by_person(self) -> bool:
        """True when the person ended it with Ctrl-C: it did not fail, and is not to be tried again unasked."""
        return self.state is State.INTERRUPTED and self.note.startswith(BY_PERSON)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one reply, and its price in US dollars where the price is known."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One turn of a model: text for the person, and the calls it wishes for.

    A reply without calls ends the run like `finish(outcome="done")` would: the checks decide.
    """

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    model: str = ""
    usage: Usage | None = None
    stop_reason: str = ""
    raw: tuple[Mapping[str, Any], ...] = ()
    """Content blocks that must be sent back unchanged (thinking); opaque to everyone but their model."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A reply and the result of each of its calls, in order. The model's memory is a list of these."""

    reply: Reply
    results: tuple[tuple[ToolCall, Result], ...] = ()
    said: str = ""
    """What the person interrupted it with: their own words."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check as it came out. `origin`: declared | stated (in the text) | derived."""

    command: str
    ok: bool
    exit_code: int | None = None
    output: str = ""
    origin: str = "declared"
    reason: str = ""
    """Why it did not pass, when something other than its exit code decided (denied, cannot fail, ...)."""


class Outcome(StrEnum):
    """How a run ended, in the words of the report."""

    VERIFIED = "verified"
    ALREADY = "already-installed"
    REMOVED = "removed"
    DRY_RUN_OK = "dry-run-verified"
    DRY_RUN_PENDING = "dry-run-pending"
    """Everything worked, but for checks that wait for a service which starts only after a commit."""
    CHECKS_FAILED = "checks-failed"
    UNVERIFIED = "unverified"
    DENIED = "denied"
    NEEDS_PERSON = "needs-person"
    DISCARDED = "discarded"
    REFUSED = "refused"
    BUDGET = "budget"
    MODEL_UNAVAILABLE = "model-unavailable"
    UNSUPPORTED = "unsupported"
    INTERRUPTED = "interrupted"
    ERROR = "error"


# --- the events ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The first event. `mode` is live | preview | dry-run; `tier` names what the target really is."""

    run_id: str
    verb: str
    skill: str
    source: str
    digest: str
    model: str
    target: str
    mode: str = "live"
    tier: str = ""
    approve: str = "ask"
    facts: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    skillrun: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of a model's text while it is being written; for eyes only, not durable."""

    text: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something a person should know: a retry, a takeover, a warning. `level`: info | warning | error."""

    text: str
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Replied:
    """A model's complete reply."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision on a call, after policy, mode and person."""

    call: ToolCall
    decision: Decision


@dataclass(frozen=True, slots=True)
class Started:
    """On disk before the call is carried out: the write-ahead record."""

    call: ToolCall
    cwd: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of a running command's output, masked; for eyes only, not durable."""

    call_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The result of a call that was started, or was refused before it started."""

    call: ToolCall
    result: Result


@dataclass(frozen=True, slots=True)
class Asked:
    """A person is asked something (never a secret's value, which no event carries)."""

    question: str
    choices: tuple[str, ...] = ()
    about: str = ""
    """input | secret | prompt | licence | commit | approval | interrupt | word | host"""


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer; `text` is empty and `by` says who, when it was a secret."""

    text: str
    by: str = "person"


@dataclass(frozen=True, slots=True)
class Checked:
    """The checks as skillrun ran them itself."""

    checks: tuple[CheckResult, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """What a run changed, or (preview, dry-run) would change: the summary as plain data."""

    changes: Mapping[str, Any]
    """Surfaces read these keys, each optional, and show any other as it is:
    `counts` {added, changed, removed, bytes} ·
    `packages` [{manager, name, change: installed|upgraded|removed, version, old}] ·
    `services` [{name, change}] · `accounts` [{kind: user|group, name, change}] ·
    `groups` [{name, added, changed, removed, bytes, examples: [path]}]: files by what they are, the rarest kinds first ·
    `files` [{path, change: added|changed|removed, kind, bytes, detail, diff}]: those worth reading one by one (settings,
    rc files, units, executables outside packages, ...), `diff` a unified difference ·
    `alerts` [{level: info|warning|error, text, path}]: what a person should look at first ·
    `kept_out` [{path, reason}]: what a commit leaves out · `deferred` [text]: what is done after the commit.
    """
    state: str = "pending"
    """pending | committed | discarded | undone | recorded (a live run's own record)"""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The last event. `exit_code` is the process's exit code (see `interface` in docs/design.md)."""

    outcome: Outcome
    exit_code: int
    summary: str
    checks: tuple[CheckResult, ...] = ()
    cost_usd: float | None = None
    turns: int = 0
    commands: int = 0
    duration_s: float = 0.0
    """Of work: without the time a person took to answer."""
    run_id: str = ""
    waited_s: float = 0.0
    """How long a person was waited for."""


Event = (
    RunStarted
    | Said
    | Noted
    | Replied
    | Decided
    | Started
    | Output
    | Finished
    | Asked
    | Answered
    | Checked
    | Changed
    | RunEnded
)

TRANSIENT: tuple[type, ...] = (Said, Output)
"""Events for eyes only: shown, never journalled."""
