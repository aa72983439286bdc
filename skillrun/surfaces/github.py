"""GitHub Actions: annotations on the skill's own lines, grouped logs, nothing of the run read as a workflow command.

Formats after "Workflow commands for GitHub Actions" (docs.github.com/actions/reference/workflow-commands-for-github-actions).
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from skillrun.events import Event, Finished, RunEnded, Started
from skillrun.ports import Surface
from skillrun.record import wording
from skillrun.record.report import Report
from skillrun.skills.skill import Skill
from skillrun.text.escape import one_line, settled, shown

PER_KIND = 10
"""Annotations of one kind that GitHub shows of one step; the rest is dropped there, so it is counted here."""

SUMMARY_LIMIT = 1024 * 1024
"""Bytes of a step's job summary; GitHub refuses more."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A remark on a line of a file. `level`: error | warning | notice."""

    level: str
    title: str
    message: str
    path: str = ""
    line: int = 0

    def command(self) -> str:
        """The workflow command, everything in it escaped."""
        given = {"file": self.path, "line": str(self.line) if self.path and self.line else "", "title": self.title}
        properties = ",".join(f"{key}={_property(value)}" for key, value in given.items() if value)
        return f"::{self.level}{' ' if properties else ''}{properties}::{_message(self.message)}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def annotate(report: Report, skill: Skill | None = None, path: str = "") -> list[Annotation]:
    """What a reviewer should see beside the skill's lines: failed checks, denied calls, failed calls, warnings.

    `path` is the skill's file as the repository names it.
    """
    found: list[Annotation] = []
    lines = {check.command: check.line for check in skill.checks} if skill else {}
    for check in report.checks:
        if not check.ok:
            text = "\n".join([wording.check_words(check), *wording.last_lines(check.output, 5)])
            found.append(Annotation("error", "Check failed", text, path, lines.get(check.command, 1)))
    for entry in report.entries:
        line = _line(entry.call.step, entry.text, skill)
        title = one_line(shown(entry.text), 120)
        if entry.word == "denied" and entry.decision:
            found.append(Annotation("error", "Not allowed", f"{title}\n{wording.decided(entry.decision)}", path, line))
        elif entry.failed and entry.result and entry.call.name not in wording.QUIET_TOOLS:
            text = "\n".join([f"{title}: {wording.ended(entry.result)}", *wording.last_lines(entry.result.output, 5)])
            found.append(Annotation("warning" if report.good else "error", "Command failed", text, path, line))
    if not report.good and not found:
        summary = settled(report.end.summary) if report.end else ""
        found.append(Annotation("error", wording.OUTCOMES.get(report.outcome, report.outcome), summary, path, 1))
    return found


def _line(step: int | None, command: str, skill: Skill | None) -> int:
    if skill is None:
        return 1
    for part in (*skill.steps, *skill.uninstall):
        for known in part.commands:
            if known.text.strip() == command.strip():
                return known.line
    return next((part.line for part in skill.steps if part.number == step), 1)


def commands(found: list[Annotation]) -> list[str]:
    """The workflow commands, at most `PER_KIND` of each level; a last line says how many more there are."""
    lines: list[str] = []
    for level in ("error", "warning", "notice"):
        of_level = [annotation for annotation in found if annotation.level == level]
        lines += [annotation.command() for annotation in of_level[:PER_KIND]]
        if len(of_level) > PER_KIND:
            lines.append(f"{len(of_level) - PER_KIND} more of level {level} are in the job summary")
    return lines


def summarise(text: str, path: Path) -> None:
    """Append Markdown to the job summary, cut where GitHub would refuse it. Raises OSError."""
    room = SUMMARY_LIMIT - (path.stat().st_size if path.exists() else 0)
    data = text.encode("utf-8", "replace")
    if len(data) > room:
        note = b"\n\n(shortened: the whole report is in the artifact)\n"
        data = data[: max(0, room - len(note))].decode("utf-8", "ignore").encode() + note[: max(0, room)]
    with path.open("ab") as file:
        file.write(data)


class Stream:
    """A text stream in which nothing that is written can be a workflow command, until `command` says one itself.

    Everything is between `::stop-commands::TOKEN` and `::TOKEN::`; the token is new for each stream and unknown to the run.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._token = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._stopped = False

    def write(self, text: str) -> int:
        """Write text that is only text."""
        with self._lock:
            if not self._stopped:
                self._stream.write(f"::stop-commands::{self._token}\n")
                self._stopped = True
            return self._stream.write(text)

    def flush(self) -> None:
        """Pass on what was written."""
        self._stream.flush()

    def isatty(self) -> bool:
        """A CI log is no terminal."""
        return False

    def command(self, *lines: str) -> None:
        """Write workflow commands of our own."""
        with self._lock:
            if self._stopped:
                self._stream.write(f"::{self._token}::\n")
                self._stopped = False
            for line in lines:
                self._stream.write(line.replace("\r", "%0D").replace("\n", "%0A") + "\n")
            self._stream.flush()


class Grouped:
    """Folds each call of a run into a group of the log. `inner` writes the lines, to the same `stream`."""

    def __init__(self, stream: Stream, inner: Surface) -> None:
        self._stream = stream
        self._inner = inner
        self._open = False

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Started) and event.call.name not in wording.QUIET_TOOLS:
            self._end()
            step = f"step {event.call.step}: " if event.call.step else ""
            self._stream.command(f"::group::{step}{wording.title(event.call)}")
            self._open = True
        if isinstance(event, RunEnded):
            self._end()
        self._inner(event)
        if isinstance(event, Finished):
            self._end()

    def _end(self) -> None:
        if self._open:
            self._stream.command("::endgroup::")
            self._open = False

    def close(self) -> None:
        """End the open group, and let the log obey commands again."""
        self._inner.close()
        self._end()
        self._stream.command()
