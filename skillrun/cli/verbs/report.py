"""`report`: one run as text, JSON, HTML, JUnit, Markdown or a terminal recording; and what drifted since another run."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skillrun.cli.page import Page
from skillrun.cli.report_files import effects_of, stamped_events, write_files
from skillrun.errors import Problem
from skillrun.events import Event
from skillrun.record.report import Report, fold
from skillrun.record.wording import OUTCOMES

if TYPE_CHECKING:
    from skillrun.skills.skill import Skill


EXAMPLES = (
    "skillrun report last",
    "skillrun report last --html report.html",
    "skillrun report events.ndjson --junit junit.xml --markdown -",
)


@click.command("report", cls=Page, examples=EXAMPLES)
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="The whole report as one JSON object.")
@click.option("--html", metavar="FILE", is_flag=False, flag_value="", help="One self-contained page (default RUN.html).")
@click.option("--junit", metavar="FILE", help="JUnit XML: a test case per step and check.")
@click.option("--markdown", metavar="FILE", help="For job summaries and pull requests.")
@click.option("--cast", metavar="FILE", help="asciicast v3, for asciinema.")
@click.option("--github", is_flag=True, help="Annotations for GitHub Actions, and its job summary.")
@click.option("--skill", metavar="PATH", help="The skill's file: annotations point at its lines.")
@click.option("--against", metavar="RUN", help="Fail (4) if it does a new kind of thing that the skill does not declare.")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", hidden=True)
def report_command(
    run: str,
    as_json: bool,
    html: str | None,
    junit: str | None,
    markdown: str | None,
    cast: str | None,
    github: bool,
    skill: str | None,
    against: str | None,
    color: str,
) -> int:
    """One run: RUN is its id, a part of it, `last`, a run folder, a file of `--json` events, or - for such events.

    FILE may be - for standard output.
    """
    stamped = stamped_events(run)
    report = fold(stamped)
    document = _skill(skill)
    html = f"{report.run.run_id if report.run else 'report'}.html" if html == "" else html
    written = write_files(report, html=html, junit=junit, markdown=markdown, cast=cast)
    code = 0
    if against:
        code = _drift(report, against, document)
    if github:
        _github(report, document)
    elif as_json:
        print(json.dumps(report.to_dict()))
    elif not written and not against:
        _text([event for _, event in stamped], color)
        if report.end is None:
            print(f"{OUTCOMES[report.outcome]}. It may still be going on; where it is not, `skillrun resume` goes on with it.")
    return code


def _text(events: Sequence[Event], color: str) -> None:
    from skillrun.surfaces.colour import wanted
    from skillrun.surfaces.plain import Plain

    colour = wanted(color, os.environ, sys.stdout.isatty())
    show: Callable[[Event], None] = Plain(sys.stdout, colour=colour, heartbeat_s=0, hint=False)
    for event in events:
        show(event)


def _github(report: Report, skill: Skill | None) -> None:
    from skillrun.surfaces.github import annotate, commands, summarise
    from skillrun.surfaces.markdown import markdown

    path = os.path.relpath(skill.path) if skill and skill.path else ""
    found = annotate(report, skill, path)
    for line in commands(found):
        print(line)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            summarise(markdown(report), Path(summary))
        except OSError as error:
            raise Problem(f"the job summary cannot be written: {error}", "is GITHUB_STEP_SUMMARY a file?") from error


def _drift(report: Report, against: str, skill: Skill | None) -> int:
    from skillrun.record.drift import compare

    drift = compare(effects_of(against), report.effects, skill.declared if skill else None)
    for line in drift.lines():
        print(line, file=sys.stderr)
    return 4 if drift.undeclared else 0


def _skill(path: str | None) -> Skill | None:
    if path is None:
        return None
    from skillrun.skills.sources import find_skill

    try:
        return find_skill(path)
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}", "name the skill's file") from error
