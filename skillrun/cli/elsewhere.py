"""A run on other machines, one after the other, for the person at this terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from skillrun.cli.carry import Reporting, show
from skillrun.cli.terminal import find_person
from skillrun.run.options import Options

if TYPE_CHECKING:
    from skillrun.record.journal import RunFolder
    from skillrun.rollback.as_run import Consent, Undone


def carry_out_on(machines: Sequence[str], spec: str, options: Options, reporting: Reporting, no_input: bool) -> int:
    """Install a skill on each of these machines; the worst exit code. One that cannot be reached does not stop the rest."""
    from skillrun.fleet.reach import Host
    from skillrun.fleet.single import begin_on, close_target
    from skillrun.fleet.unreachable import Unreachable
    from skillrun.run.api import new_folder
    from skillrun.skills.sources import find_skill

    skill = find_skill(spec)
    codes = []
    for machine in machines:
        person = find_person(no_input)
        try:
            host = Host(machine)
        except Unreachable as error:
            if len(machines) == 1:
                raise
            print(f"skillrun: {error}\n  -> {error.hint}", file=sys.stderr)
            codes.append(error.code)
            continue
        try:
            execution = begin_on(host, "install", skill, options, person, new_folder(skill))
            try:
                codes.append(show(execution, person, reporting))
            finally:
                close_target(execution)
        finally:
            host.close()
    return max(codes, default=0)


def machine_of(word: str) -> str:
    """The other machine that the run `word` names was carried out on; empty for one on this, or for none."""
    from skillrun.record.journal import JournalError, find_run

    try:
        return find_run(word).elsewhere
    except JournalError:
        return ""


def resume_on_machine(machine: str, word: str, options: Options, reporting: Reporting, no_input: bool) -> int:
    """Go on with an unfinished run on its machine; the exit code."""
    from skillrun.fleet.reach import Host
    from skillrun.fleet.single import close_target, resume_on

    person = find_person(no_input)
    host = Host(machine)
    try:
        execution = resume_on(host, word, options, person)
        try:
            return show(execution, person, reporting)
        finally:
            close_target(execution)
    finally:
        host.close()


def undo_on(folder: RunFolder, edited: str | None, ask: Consent, no_input: bool) -> tuple[str, Undone]:
    """Take back a run on its machine: the id of the run that did it, and what came of it."""
    from skillrun.fleet.reach import Host
    from skillrun.fleet.taking_back import undo_there

    person = find_person(no_input)
    host = Host(folder.elsewhere)
    try:
        return undo_there(folder, host, edited, ask, lambda: person.secret("sudo", f"to take it back on {host.name}"))
    finally:
        host.close()
