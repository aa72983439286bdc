"""One other machine: a run like any other, with its target there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skillrun.events import Event
from skillrun.fleet.reach import Host
from skillrun.fleet.there import There
from skillrun.ports import Person
from skillrun.record.journal import RunFolder
from skillrun.run.api import Execution, begin, new_folder
from skillrun.run.options import Options
from skillrun.run.resume import find_unfinished
from skillrun.secrets import Vault
from skillrun.skills.skill import Skill


@dataclass(frozen=True, slots=True)
class Earlier:
    """A run that is gone on with: its folder, and what happened."""

    folder: RunFolder
    events: Sequence[Event]


def begin_on(
    host: Host,
    verb: str,
    skill: Skill,
    options: Options,
    person: Person,
    folder: RunFolder,
    secrets: Mapping[str, str] | None = None,
    vault: Vault | None = None,
    earlier: Earlier | None = None,
) -> Execution:
    """A run on a connected machine, live or in a view there. What it opened is ended by `close_target` when it is over.

    Raises Unreachable, Problem.
    """
    there = There(options, folder, skill, vault if vault is not None else Vault(), person, verb, host=host)
    target, conclude = there.open(going_on=earlier is not None)
    execution = begin(verb, skill, options, person, target, secrets, folder, conclude)
    execution.run.notes = (*execution.run.notes, *there.notes)
    if earlier is not None:
        execution.run.earlier = earlier.events
    return execution


def resume_on(host: Host, word: str, options: Options, person: Person) -> Execution:
    """Go on with an unfinished run on its machine; one that was in a view begins anew, its view being gone.

    Raises Unreachable, Problem.
    """
    found = find_unfinished(word, options)
    if found.begins_anew:
        return begin_on(host, found.verb, found.skill, found.options, person, new_folder(found.skill))
    earlier = Earlier(found.folder, found.events)
    return begin_on(host, found.verb, found.skill, found.options, person, found.folder, earlier=earlier)


def close_target(execution: Execution) -> None:
    """End what the run left there of its own."""
    target: Any = execution.run.target
    if target is not None:
        target.close()


def made_by(execution: Execution) -> tuple[str, ...]:
    """Files that tools wrote and that were not there before."""
    target: Any = execution.run.target
    return tuple(target.made) if target is not None else ()
