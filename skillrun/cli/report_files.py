"""A run's events read back from where they lie, and its report written into files."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from skillrun.errors import Problem
from skillrun.events import Event, Finished
from skillrun.record.journal import JournalError, find_run, from_json, read_stamped
from skillrun.record.report import Report, fold
from skillrun.record.wording import shortened

Stamped = list[tuple[str, Event]]

WHOLE_OUTPUTS = 20_000_000
"""Bytes of whole outputs that are read into one report; beyond them head and tail are shown."""


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
    """Events as `--json` prints them; a torn last line is dropped. Raises Problem where an error is all there is."""
    found: Stamped = []
    errors: list[str] = []
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
        else:
            said = data["error"]
            errors.append(str(said.get("message", "") if isinstance(said, dict) else said))
    if errors and not found:
        raise Problem(f"no run began: {errors[-1]}", f"{name} holds that error and no event")
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
