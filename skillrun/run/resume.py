"""Picking a run up where it stopped: its shell as it was, and a word on what could not be had again."""

from __future__ import annotations

import datetime
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from skillrun.errors import Problem
from skillrun.events import Event, Finished, Noted, Result, RunEnded, RunStarted, State, Turn
from skillrun.ports import Command, Place, Target
from skillrun.record.journal import JournalError, RunFolder, find_run, read_events, shell_left
from skillrun.run.options import Mode, Options
from skillrun.skills.skill import Skill

_NEVER = ("PWD", "OLDPWD", "SHLVL", "_")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run that can be gone on with: what was asked of it then, and what happened."""

    verb: str
    skill: Skill
    """Exactly as it was reviewed."""
    options: Options
    folder: RunFolder
    events: Sequence[Event]
    mode: str

    @property
    def begins_anew(self) -> bool:
        """What it did was in a view that ended with it, so in the same mode nothing of it is taken for done."""
        return self.mode != "live"


def find_unfinished(word: str, options: Options) -> Unfinished:
    """The unfinished run that `word` names; `options` as they are now win over those it had. Raises Problem."""
    from skillrun.skills.parser.read import read_skill

    try:
        old = find_run(word)
        events = read_events(old.journal)
    except (JournalError, OSError) as error:
        raise Problem(str(error), "`skillrun runs` lists what there is") from error
    started = next((event for event in events if isinstance(event, RunStarted)), None)
    ended = next((event for event in events if isinstance(event, RunEnded)), None)
    if started is None:
        raise Problem(f"run {old.id} never started", "install the skill again")
    if ended is not None and ended.exit_code == 0:
        raise Problem(f"run {old.id} is finished: {ended.outcome}", f"`skillrun report {old.id}` shows it")
    kept = sorted(old.skill.glob("*.md"))
    if not kept:
        raise Problem(f"run {old.id} did not keep its skill: {old.skill} has no document", "install the skill again")
    skill = replace(read_skill(kept[0]), digest=started.digest, source=started.source)
    model = options.model
    if model == "auto" and started.model.startswith(("via:", "claude-")):
        model = started.model  # what the person chose then, unless told otherwise now
    mode: Mode = "dry-run" if started.mode == "dry-run" else "preview" if started.mode == "preview" else "live"
    effects = replace(options.effects, mode=mode)
    inputs = {**started.inputs, **options.inputs}
    approve = options.approve or started.approve or "ask"
    options = replace(options, model=model, inputs=inputs, effects=effects, approve=approve)
    return Unfinished(started.verb, skill, options, old, events, started.mode)


@dataclass(frozen=True, slots=True)
class PickedUp:
    """A resumed run's new shell: where it stands, and in words what differs from the old one."""

    cwd: str = ""
    differs: tuple[str, ...] = ()
    exports: Mapping[str, str] = field(default_factory=dict)
    created: frozenset[str] = frozenset()
    """What the run had made by then, and may still remove without a question."""

    def at(self, place: Place) -> Place:
        """The place the policy judges by, as the run had made it."""
        variables = {**place.variables, **self.exports}
        return replace(place, cwd=self.cwd or place.cwd, variables=variables, created=place.created | self.created)

    @property
    def notes(self) -> tuple[Noted, ...]:
        """For the person."""
        return tuple(Noted(text, "warning") for text in self.differs)

    def told(self, turns: Sequence[Turn]) -> list[Turn]:
        """The turns, the last result saying that a new shell began after it: for the model, which would rely on the old one."""
        if not turns or not turns[-1].results:
            return list(turns)
        *before, last = turns
        call, result = last.results[-1]
        where = f" It stands in {self.cwd}." if self.cwd else ""
        words = [f"skillrun stopped here and was started again, with a new shell.{where}", *self.differs]
        note = "\n".join(filter(None, (result.note, "; ".join(words))))
        return [*before, replace(last, results=(*last.results[:-1], (call, replace(result, note=note))))]


def pick_up(target: Target, events: Sequence[Event], last_seen: str = "", uptime: str = "/proc/uptime") -> PickedUp:
    """Put a resumed run's shell back where it stood, without what is secret or gone by now.

    `last_seen`: when the last event was written, as the journal has it. Nothing for a run that is not resumed.
    """
    if not events:
        return PickedUp()
    cwd, exports = shell_left(events)
    gone = "the machine was restarted since then: what ran is gone, /tmp may be empty"
    differs = [gone] * _restarted(target, last_seen, uptime)
    again: dict[str, str | None] = {}
    for name, value in exports.items():
        if "[secret" in (value or ""):
            differs.append(f"the variable {name} is not set again, it held a secret")
        elif name.isidentifier() and name not in _NEVER:
            again[name] = value
    if jobs := _jobs(events):
        differs.append(f"background jobs are out of reach, look whether they still run: {', '.join(jobs)}")
    stands = _put_back(target, cwd, again)
    if cwd and stands != cwd:
        differs.append(f"the directory {cwd} cannot be entered any more, going on in {stands or 'the home directory'}")
    created = frozenset(path for event in events if isinstance(event, Finished) for path in event.result.created)
    return PickedUp(stands, tuple(differs), {name: value for name, value in again.items() if value is not None}, created)


def _put_back(target: Target, cwd: str, exports: Mapping[str, str | None]) -> str:
    """Set directory and variables in the target's shell; returns where it stands then, empty when nothing was to be done."""
    lines = [f"cd -- {shlex.quote(cwd)}"] if cwd else []
    lines += [f"unset -v {name}" if value is None else f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    if not lines:
        return ""
    stream = target.run(Command("\n".join(lines), id="restore"))
    while True:
        try:
            next(stream)
        except StopIteration as done:
            result: Result = done.value
            return result.cwd


def _jobs(events: Sequence[Event]) -> list[str]:
    found = (event.result for event in events if isinstance(event, Finished))
    return list(dict.fromkeys(result.job for result in found if result.state is State.BACKGROUND and result.job))


def _restarted(target: Target, last_seen: str, uptime: str) -> bool:
    """Did the machine start after this moment? No where that cannot be told."""
    try:
        started = time.time() - float(target.get(uptime).split()[0])
        return started > datetime.datetime.fromisoformat(last_seen).timestamp() + 60
    except (OSError, ValueError, IndexError):
        return False
