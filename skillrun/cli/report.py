"""`report`: one run as text, JSON, HTML, JUnit, Markdown or a terminal recording; and what drifted since another run."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skillrun.cli.page import Page
from skillrun.errors import Problem
from skillrun.events import Event, Finished
from skillrun.record.journal import JournalError, find_run, from_json, read_stamped
from skillrun.record.report import Report, fold
from skillrun.record.wording import OUTCOMES, shortened

if TYPE_CHECKING:
    from skillrun.skills.skill import Skill

Stamped = list[tuple[str, Event]]

WHOLE_OUTPUTS = 20_000_000
"""Bytes of whole outputs that are read into one report; beyond them head and tail are shown."""

EXAMPLES = (
    "skillrun report last",
    "skillrun report last --html report.html",
    "skillrun report events.ndjson --junit junit.xml --markdown -",
)


@click.command("report", cls=Page, examples=EXAMPLES)
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="The whole report as one JSON object.")
@click.option("--html", metavar="FILE", help="One self-contained page.")
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


def write_files(
    report: Report,
    *,
    html: str | None = None,
    junit: str | None = None,
    markdown: str | None = None,
    cast: str | None = None,
) -> list[str]:
    """Write the report in each form that has a file name; the names. Raises Problem when one cannot be written."""
    names = []
    for name, write in ((html, _html), (junit, _junit), (markdown, _markdown), (cast, _cast)):
        if name is None:
            continue
        text = write(report)
        if name == "-":
            sys.stdout.write(text)
        else:
            try:
                Path(name).write_text(text, encoding="utf-8", errors="replace")
            except OSError as error:
                raise Problem(f"{name} cannot be written: {error.strerror}", "name a file in a folder that is there") from error
            print(f"wrote {name}", file=sys.stderr)
        names.append(name)
    return names


def _html(report: Report) -> str:
    from skillrun.surfaces.html import page

    return page(report)


def _junit(report: Report) -> str:
    from skillrun.surfaces.junit import junit

    return junit(report)


def _markdown(report: Report) -> str:
    from skillrun.surfaces.markdown import markdown

    return markdown(report)


def _cast(report: Report) -> str:
    from skillrun.surfaces.cast import cast

    return cast(report)


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


def effects_of(word: str) -> dict[str, list[str]]:
    """The effects of another run: a run, a file of events, or a report written with `report --json`."""
    if Path(word).is_file():
        try:
            data = json.loads(Path(word).read_text(encoding="utf-8"))
        except ValueError:
            data = None
        if isinstance(data, dict) and isinstance(data.get("effects"), dict):
            return {str(kind): [str(subject) for subject in subjects] for kind, subjects in data["effects"].items()}
    return fold(stamped_events(word)).effects


def _skill(path: str | None) -> Skill | None:
    if path is None:
        return None
    from skillrun.skills.sources import find_skill

    try:
        return find_skill(path)
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}", "name the skill's file") from error


def stamped_events(word: str) -> Stamped:
    """The events of a run, with whole outputs where they are still there. Raises Problem when there is no such run."""
    try:
        if word == "-":
            return _lines(sys.stdin.read(), "standard input")
        path = Path(word)
        if path.is_dir() and (path / "journal.jsonl").is_file():
            path /= "journal.jsonl"
        if path.is_file():
            return whole(_lines(path.read_text(encoding="utf-8"), word), path.parent / "outputs")
        run = find_run(word)
        return whole(read_stamped(run.journal), run.outputs)
    except JournalError as error:
        raise Problem(str(error), "`skillrun runs` lists what there is") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{word} cannot be read: {error}", "`skillrun runs` lists what there is") from error


def _lines(text: str, name: str) -> Stamped:
    """Events as `--json` prints them; a torn last line is dropped."""
    found: Stamped = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            if not isinstance(data, dict):
                raise JournalError(f"{name}:{number}: not an event")
        except ValueError as error:
            if number == len(lines):
                break
            raise JournalError(f"{name}:{number}: not JSON ({error})") from error
        if "type" in data or "error" not in data:
            found.append((str(data.get("t", "")), from_json(data)))
    return found


def whole(stamped: Stamped, outputs: Path) -> Stamped:
    """Put whole outputs in the place of heads and tails, as far as the files are in the run's own folder and fit."""
    left = WHOLE_OUTPUTS
    found: Stamped = []
    for at, event in stamped:
        if isinstance(event, Finished) and shortened(event.result):
            path = outputs / Path(event.result.output_file).name
            text = _read(path, min(left, 1_000_000))
            if text is not None:
                left -= len(text)
                event = dataclasses.replace(event, result=dataclasses.replace(event.result, output=text))
        found.append((at, event))
    return found


def _read(path: Path, limit: int) -> str | None:
    try:
        if path.is_symlink() or path.stat().st_size > limit:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
