"""Remedies as data: how a failure is recognised, what is looked at, what is done, how it is explained.

A remedy is a table in `skillrun/models/remedies/*.toml`; `docs/remedies.md` describes its keys. Reading
and matching happen here and are pure; carrying one out is `healer`'s work.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from skillrun.events import Result, Retry, State
from skillrun.host.facts import can_be_root

ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
TAIL = 40_000
"""How many characters from the end of an output are read for what went wrong."""


_ERROR = re.compile(r"(?:(?:[\w.]*(?:Error|Exception)|E|error|fatal)\b(?: \[\w+\])?:?|npm (?:ERR!|error))\s")
"""How the line of an output begins that says what went wrong."""
_NPM_BESIDE = re.compile(
    r"npm (?:ERR!|error) (?:\s|A complete log|e[a-z]+ ?(?:$|This is related to)"
    r"|(?:code|syscall|path|errno)\s|\d{3}(?:$| (?:$|Note that|tarball, folder)))"
)
"""What npm prints in the same way and what says nothing: the place of its log, codes, hints, and lines that are empty."""
_VOICES = {
    "apt": re.compile(r"^(?:E|W): |^Err:\d+ |^dpkg(?:-\w+)?: ", re.MULTILINE),
    "npm": re.compile(r"^npm (?:ERR!|error|warn|WARN)\b", re.MULTILINE),
    "pip": re.compile(r"^(?:ERROR: (?:Could not (?:find|install)|No matching dist|Failed building)|pip\d?: )", re.MULTILINE),
    "cargo": re.compile(r"^error: (?:failed|could not)[^\n]*(?:crate|registry|`[\w-]+`)", re.MULTILINE),
}
"""How package managers begin the lines that say what went wrong."""
ASKED, STUCK = "ended: nobody answered its question", "ended: it made no progress"
"""The note of a result that the engine ended itself."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A command that did not do what it should. `kind`: step | check."""

    command: str
    exit_code: int | None
    text: str
    kind: str = "step"
    denied: bool = False
    ended: str = ""
    """Why it was ended, where this engine did that: ASKED (nobody answered its question) or STUCK (it made no progress)."""
    origin: str = ""
    """The command of the skill (or of the remedy) this one was made of; empty: this one itself. What was applied is
    counted by it, since a rewritten command is no new cause."""

    @property
    def cause(self) -> str:
        """What remedies are counted by: they are applied once to one cause."""
        return self.origin or self.command

    @property
    def sameness(self) -> str:
        """What makes it the same failure as another: numbers, temporary names and words before the command aside."""
        command = re.sub(r"\b(?:sudo|env|[A-Za-z_]+=\S+)\s+", "", self.command)
        lines = re.sub(r"/tmp/\S+|\d+", "#", self.text).strip().splitlines()[-4:]
        return "\n".join([command, *lines])

    @property
    def manager(self) -> str:
        """The package manager that failed: the one that spoke last, else the one the command runs; empty where neither says."""
        spoken = {name: max((m.start() for m in voice.finditer(self.text)), default=-1) for name, voice in _VOICES.items()}
        last = max(spoken, key=lambda name: spoken[name])
        if spoken[last] >= 0:
            return last
        named = re.findall(r"\b(apt|npm|pip|cargo)(?:-get|\d)?\b", self.command)
        return named[0] if len(set(named)) == 1 else ""

    @property
    def last_lines(self) -> str:
        """The end of what it said, for an account; with the error's own line before it where a trace follows that."""
        end = self.text.strip().splitlines()[-6:]
        return "\n".join(end if self.said in end else [self.said, *end])

    @property
    def said(self) -> str:
        """The line that says what went wrong: the last that begins as such lines do, else the last of all."""
        lines = [line.rstrip() for line in self.text.splitlines() if line.strip()]
        errors = (line for line in reversed(lines) if _ERROR.match(line) and not _NPM_BESIDE.match(line))
        return next(errors, lines[-1] if lines else "")


@dataclass(frozen=True, slots=True)
class Cure:
    """What to do with the failed command now: `retry` (as `command`), `skip` or `postpone` it."""

    then: str
    command: str = ""
    retry: Retry | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """A command of a remedy. `{root}` and captured names are filled in; `may_fail`: going on is fine; `partly`: so it is, and
    what failed has done a part of its work all the same.
    """

    run: str
    found: str = ""
    absent: str = ""
    may_fail: bool = False
    partly: bool = False


@dataclass(frozen=True, slots=True)
class Remedy:
    """One entry of the table. See `docs/remedies.md` for the meaning of each key."""

    id: str
    kind: str
    explain: str
    error: re.Pattern[str] | None = None
    command: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None
    undone: re.Pattern[str] | None = None
    exit: tuple[int, ...] = ()
    ended: str = ""
    """`asked` or `stuck`: for commands that the engine ended for that."""
    on: tuple[str, ...] = ("step", "check")
    facts: tuple[str, ...] = ()
    manager: str = ""
    """The package manager this is for: where another one failed, it is none of its business."""
    cause: tuple[str, ...] = ()
    """Words of `host/causes.toml`: it is for a machine of which one of them is true, whatever the failure says."""
    limit: int = 1
    per: str = ""
    conflicts: tuple[str, ...] = ()
    look: tuple[Act, ...] = ()
    act: tuple[Act, ...] = ()
    undo: tuple[Act, ...] = ()
    then: str = "retry"
    rewrite: tuple[tuple[str, str], ...] = ()
    retry: Retry | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    procedure: str = ""
    outcome: str = ""


def read_failure(command: str, result: Result, kind: str = "step", origin: str = "") -> Failure:
    """A result as a failure, its text normalised: no colour, no carriage returns, plain quotes, the tail."""
    ended = result.note if result.note in (ASKED, STUCK) else ""
    return Failure(command, result.exit_code, normalise(result.output), kind, result.state is State.DENIED, ended, origin)


def normalise(text: str) -> str:
    """Output as remedies are written for: without terminal escapes and typographic quotes, last lines only."""
    text = ANSI.sub("", text[-TAIL:]).replace("\r\n", "\n")
    text = re.sub(r"[^\n]*\r(?=[^\n])", "", text).replace("\r", "")
    return text.translate(str.maketrans("‘’“”\xa0", "''\"\" "))


@cache
def remedies() -> tuple[Remedy, ...]:
    """Every remedy, in the order of file names and of the tables within. Raises ValueError for a bad table."""
    folder = files("skillrun.models").joinpath("remedies")
    found: list[Remedy] = []
    for path in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if path.name.endswith(".toml"):
            data = tomllib.loads(path.read_text(encoding="utf-8"))
            found += [build(row, str(data.get("class", ""))) for row in data.get("remedy", ())]
    return tuple(found)


def build(row: Mapping[str, Any], kind: str) -> Remedy:
    """A table as a Remedy. Raises ValueError naming the entry and what is wrong with it."""
    known = set(Remedy.__dataclass_fields__) - {"kind"}
    if extra := set(row) - known:
        raise ValueError(f"remedy {row.get('id')}: unknown keys {sorted(extra)}")
    values: dict[str, Any] = dict(row)
    for name in ("error", "command", "unless", "undone"):
        if name in values:
            values[name] = re.compile(
                values[name], re.IGNORECASE | re.MULTILINE if name in ("error", "unless") else re.MULTILINE
            )
    for name in ("exit", "on", "facts", "conflicts", "cause"):
        if name in values:
            values[name] = tuple(values[name])
    for name in ("look", "act", "undo"):
        if name in values:
            values[name] = tuple(Act(**entry) for entry in values[name])
    if "retry" in values:
        values["retry"] = Retry(**values["retry"])
    if "rewrite" in values:
        values["rewrite"] = tuple((pair[0], pair[1]) for pair in values["rewrite"])
    try:
        return Remedy(kind=kind, **values)
    except TypeError as error:
        raise ValueError(f"remedy {row.get('id')}: {error}") from error


def recognise(remedy: Remedy, failure: Failure, facts: Mapping[str, Any]) -> dict[str, str] | None:
    """The captures when this remedy is for this failure, else None."""
    if failure.kind not in remedy.on or (remedy.exit and failure.exit_code not in remedy.exit):
        return None
    if failure.ended != {"asked": ASKED, "stuck": STUCK}.get(remedy.ended, ""):
        return None
    if not all(holds(condition, facts) for condition in remedy.facts):
        return None
    if remedy.manager and failure.manager != remedy.manager:
        return None
    found: dict[str, str] = {}
    for pattern, text in ((remedy.command, failure.command), (remedy.error, failure.text)):
        if pattern is None:
            continue
        match = pattern.search(text)
        if not match:
            return None
        for name, value in match.groupdict().items():
            if value:
                found.setdefault(name.rstrip("0123456789"), value)  # one name cannot stand twice in a pattern
    if remedy.unless and remedy.unless.search(failure.text):
        return None
    return found


def holds(condition: str, facts: Mapping[str, Any]) -> bool:
    """A condition on the facts: `root`, `can-root`, `sudo`, `home-writable`, `proxy`, `init:NAME`, `tool:NAME`, `os:NAME`; `!` before it negates."""  # noqa: E501
    if condition.startswith("!"):
        return not holds(condition[1:], facts)
    name, _, value = condition.partition(":")
    user = facts.get("user", {})
    match name:
        case "root":
            return bool(user.get("root"))
        case "can-root":
            return can_be_root(facts)
        case "home-writable":
            return bool(user.get("home_writable", True))
        case "sudo":
            return bool(facts.get("sudo", {}).get("present"))
        case "proxy":
            return bool(facts.get("proxy"))
        case "init":
            return bool(facts.get("init") == value)
        case "tool":
            return value in facts.get("tools", {})
        case "os":
            system = facts.get("os", {})
            return value in (system.get("system"), system.get("id"), system.get("family"))
    raise ValueError(f"unknown condition {condition!r}")
