"""One other machine: a run like any other, with its target there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skillrun.errors import Problem
from skillrun.fleet.reach import Host
from skillrun.fleet.target import RemoteTarget
from skillrun.ports import Person
from skillrun.record.journal import RunFolder
from skillrun.run.api import Execution, begin
from skillrun.run.options import Options
from skillrun.secrets import Vault
from skillrun.skills.skill import Skill


def open_target(host: Host, folder: RunFolder, person: Person, vault: Vault | None = None) -> RemoteTarget:
    """A shell on a connected machine for a run of this folder. Raises Unreachable, Problem."""
    try:
        return RemoteTarget(
            host, folder.outputs, vault=vault, password=lambda why: person.secret("sudo", why) if person.attended else None
        )
    except OSError as error:
        raise Problem(str(error), "make room there, or see that the account may log in with a shell", code=7) from None


def begin_on(
    host: Host,
    verb: str,
    skill: Skill,
    options: Options,
    person: Person,
    folder: RunFolder,
    secrets: Mapping[str, str] | None = None,
) -> Execution:
    """A run on a connected machine, whose shell is ended by `close_target` when it is over. Raises Unreachable, Problem."""
    if options.effects.mode != "live":
        raise Problem(
            f"{host.name} is another machine, and views are made of this one",
            "leave --preview and --dry-run out, or try it first in a machine of its own: skillrun test",
        )
    return begin(verb, skill, options, person, open_target(host, folder, person), secrets, folder)


def close_target(execution: Execution) -> None:
    """End what the run left there of its own."""
    target: Any = execution.run.target
    if target is not None:
        target.close()
