"""A run on the command line: the person at the terminal, the surfaces it is shown on, and what is written when it is over."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skillrun.cli.screen import open_screen
from skillrun.cli.terminal import find_person
from skillrun.events import SCHEMA, RunEnded
from skillrun.ports import Pausing, Surface
from skillrun.run.api import Execution, begin, resumed
from skillrun.run.assemble import Run
from skillrun.run.options import Options
from skillrun.run.session import ended_by_signals
from skillrun.run.stream import pull
from skillrun.run.unattended import Nobody

if TYPE_CHECKING:
    from skillrun.cli.person import TerminalPerson
    from skillrun.skills.skill import Skill


@dataclass(frozen=True, slots=True)
class Reporting:
    """How a run is shown while it goes on and written down when it is over."""

    as_json: bool = False
    color: str = "auto"
    junit: str | None = None
    html: str | None = None
    claims: Mapping[str, Any] | None = None
    """Another agent's report, which `verify` holds against the checks."""


def carry_out(verb: str, spec: str, options: Options, reporting: Reporting, no_input: bool) -> int:
    """Install, verify or uninstall a skill and return the exit code. Raises Problem for what a person can mend."""
    from skillrun.skills.sources import find_skill

    return carry_out_skill(verb, find_skill(spec), options, reporting, no_input)


def carry_out_skill(verb: str, skill: Skill, options: Options, reporting: Reporting, no_input: bool) -> int:
    """The same for a skill that was read already."""
    person = find_person(no_input)
    return show(begin(verb, skill, options, person), person, reporting)


def resume(word: str, options: Options, reporting: Reporting, no_input: bool) -> int:
    """Go on with an unfinished run, with the skill exactly as it was reviewed."""
    person = find_person(no_input)
    return show(resumed(word, options, person), person, reporting)


def show(execution: Execution, person: TerminalPerson | Nobody, reporting: Reporting) -> int:
    """Carry a run out on the screen and in the files that were asked for; its exit code."""
    run = execution.run
    run.alarmed = True
    keep_to_oneself()
    surfaces = _surfaces(run, person, reporting)
    with ended_by_signals(), execution:
        try:
            end = pull(execution.events, surfaces, _complain)
        finally:
            for surface in surfaces:
                with contextlib.suppress(OSError):  # its terminal may be closed; the run's end is in the journal
                    surface.close()
    _afterwards(run, end, reporting)
    return end.exit_code


def keep_to_oneself() -> None:
    """What this process holds (keys in its environment, secrets in its memory) is out of reach of what it starts."""
    if sys.platform == "linux":
        from skillrun.overlay.kernel.syscalls import hide_memory

        with contextlib.suppress(OSError):
            hide_memory()


def _surfaces(run: Run, person: TerminalPerson | Nobody, reporting: Reporting) -> list[Surface]:
    surfaces: list[Surface] = []
    if reporting.as_json and run.verb != "verify":  # that verb answers with one object
        from skillrun.surfaces.jsonl import JsonLines

        surfaces.append(JsonLines(sys.stdout))
    stream = sys.stderr if reporting.as_json else sys.stdout
    screen = open_screen(stream, lambda: 0 if run.replays else len(run.skill.steps), reporting.color)
    if isinstance(screen, Pausing) and not isinstance(person, Nobody):
        person.pause = screen.paused
    return [*surfaces, screen]


def _afterwards(run: Run, end: RunEnded, reporting: Reporting) -> None:
    """What is written of a run that is over."""
    if reporting.claims:
        from skillrun.cli.confirm import compare

        for line in compare(reporting.claims, run.skill, end.checks):
            print(f"report: {line}", file=sys.stderr if reporting.as_json else sys.stdout)
    if run.offer:
        print(run.offer, file=sys.stderr if reporting.as_json else sys.stdout)
    if reporting.html or reporting.junit:
        from skillrun.cli.report_files import stamped_events, write_files
        from skillrun.record.report import fold

        write_files(fold(stamped_events(str(run.folder.path))), html=reporting.html, junit=reporting.junit)
    if run.verb == "verify" and reporting.as_json:
        checks = [dataclasses.asdict(check) for check in end.checks]
        ended = {"outcome": str(end.outcome), "exit_code": end.exit_code, "summary": end.summary, "run_id": end.run_id}
        print(json.dumps({"schema": SCHEMA, "checks": checks, **ended}))


def _complain(error: Exception) -> None:
    with contextlib.suppress(OSError):  # where it could be said is gone as well
        print(
            f"skillrun: one of the outputs failed and gets no more of this run: {error!r}",
            file=sys.stderr,
        )
