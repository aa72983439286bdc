"""A run on other machines, one after the other, for the person at this terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from skillrun.cli.carry import Reporting, show
from skillrun.cli.terminal import find_person
from skillrun.run.options import Options


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
