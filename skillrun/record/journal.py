"""Events on disk: one run folder per run, one JSON object per line, fsynced before a command starts.

A run folder (mode 0700) holds `journal.jsonl`, `outputs/` (whole outputs), `skill/` (the bytes that were
reviewed) and `changes/` (what undo needs). A torn last line, left by a crash in mid-write, is dropped on reading.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import os
import secrets
import shutil
import types
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from skillrun import events as vocabulary
from skillrun.events import (
    SCHEMA,
    TRANSIENT,
    Answered,
    Asked,
    Changed,
    Event,
    Finished,
    Replied,
    Reply,
    Result,
    RunEnded,
    RunStarted,
    Started,
    State,
    ToolCall,
    Turn,
)
from skillrun.record.place import JournalError as JournalError
from skillrun.record.place import check_room, make_private, memory_directory, state_directory, what_is_short

_UNKNOWN = (
    "skillrun ended before this command was seen to end; it may have had its effect. Look first, do not just run it again."
)
_SYNCED = (RunStarted, Started, Changed, RunEnded)
"""Events after which something happens that must not be forgotten; the ones before them reach the disk with them."""
TYPES: dict[str, type] = {kind.__name__: kind for kind in typing.get_args(vocabulary.Event)}


def to_json(event: Event, at: str = "") -> dict[str, Any]:
    """An event as plain data: `schema`, `type`, `t` (UTC, ISO 8601, when given) and the event's own fields."""
    return _head(event, at) | {name: _plain(value) for name, value in _fields(event).items()}


def from_json(data: Mapping[str, Any]) -> Event:
    """The event that `to_json` wrote. Raises JournalError for an unknown schema or type, or fields that do not fit."""
    if data.get("schema") != SCHEMA:
        raise JournalError(f"schema {data.get('schema')!r} is not {SCHEMA}: written by another version of skillrun")
    kind = TYPES.get(str(data.get("type")))
    if kind is None:
        raise JournalError(f"unknown event type {data.get('type')!r}")
    try:
        return cast(Event, _decode(kind, data))
    except (TypeError, ValueError, KeyError) as error:
        raise JournalError(f"{data.get('type')} does not have the expected fields: {error}") from error


def _head(event: Event, at: str) -> dict[str, Any]:
    head: dict[str, Any] = {"schema": SCHEMA, "type": type(event).__name__}
    return head | {"t": at} if at else head


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _opened(value: Any) -> Any:
    """A value that JSON has no words for, one layer of it taken off."""
    if dataclasses.is_dataclass(value):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(key): inner for key, inner in value.items()}
    return list(value) if isinstance(value, (frozenset, set)) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return _plain(_opened(value))


_LINE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_opened)
"""Writes what `to_json` gives, without building it first."""


def _decode(kind: Any, value: Any) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _decode(next(arg for arg in args if arg is not type(None)), value)
    if origin is tuple:
        return tuple(_decode(args[0], item) for item in value)
    if dataclasses.is_dataclass(kind):
        return cast(Any, kind)(**{name: _decode(hint, value[name]) for name, hint in _hints(cast(type, kind)) if name in value})
    if isinstance(kind, type) and issubclass(kind, str):
        return kind(value)
    return value


@functools.cache
def _hints(kind: type) -> tuple[tuple[str, Any], ...]:
    """A dataclass's fields with their types; evaluating them costs a millisecond, and a journal has thousands of events."""
    hints = typing.get_type_hints(kind)
    return tuple((field.name, hints[field.name]) for field in dataclasses.fields(cast(Any, kind)))


def read_events(path: Path) -> list[Event]:
    """The events of a journal file, without a torn last line.

    Raises JournalError naming the line for anything else that cannot be read, OSError when there is no such file.
    """
    return [event for _, event in read_stamped(path)]


def read_stamped(path: Path) -> list[tuple[str, Event]]:
    """Like `read_events`, with the time each event was written."""
    lines = path.read_bytes().split(b"\n")
    found: list[tuple[str, Event]] = []
    for number, line in enumerate(lines, 1):
        if number == len(lines):
            break
        try:
            data = json.loads(line)
            if not isinstance(data, dict):
                raise JournalError("not a journal line: no JSON object")
            found.append((str(data.get("t", "")), from_json(data)))
        except ValueError as error:
            raise JournalError(f"{path}:{number}: not a journal line: no JSON") from error
        except JournalError as error:
            raise JournalError(f"{path}:{number}: {error}") from error
    return found


def turns(events: Sequence[Event]) -> list[Turn]:
    """The conversation a journal holds, ready for any model to go on with.

    A call that was started and whose end was not written has the state UNKNOWN: it may have had its effect.
    """
    found: list[Turn] = []
    reply: Replied | None = None
    started: set[str] = set()
    results: dict[str, tuple[ToolCall, Result]] = {}
    said: list[str] = []
    asked_for_words = False

    def close() -> None:
        words = "\n".join(said)
        if reply is None:
            if words:
                found.append(Turn(Reply(), said=words))
            return
        done = []
        for call in reply.reply.calls:
            if call.id in results:
                done.append(results[call.id])
            elif call.id in started:
                done.append((call, Result(State.UNKNOWN, output="outcome unknown", note=_UNKNOWN)))
            else:
                done.append((call, Result(State.ERROR, output="not carried out: the run ended before it started")))
        found.append(Turn(reply.reply, tuple(done), words))

    for event in events:
        if isinstance(event, Replied):
            close()
            reply, started, results, said = event, set(), {}, []
        elif isinstance(event, Started):
            started.add(event.call.id)
        elif isinstance(event, Finished):
            results[event.call.id] = (event.call, event.result)
        elif isinstance(event, Asked):
            asked_for_words = event.about == "word"
        elif isinstance(event, Answered) and asked_for_words and event.text:
            said.append(event.text)
    close()
    return found


def shell_left(events: Sequence[Event]) -> tuple[str, dict[str, str | None]]:
    """Where the run's shell stood when its journal ends: directory (empty: unknown) and exported variables (None: unset).

    Only commands in the run's own shell count, not checks, which have a shell of their own.
    """
    cwd, exports = "", dict[str, str | None]()
    for event in events:
        if isinstance(event, Finished) and event.call.name in ("shell", "shell_input"):
            cwd = event.result.cwd or cwd
            exports.update(event.result.exports)
    return cwd, exports


ELSEWHERE = "there.json"
"""In a run's `changes/`: it was carried out on another machine, which, and where its way back lies."""


@dataclasses.dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's folder and the paths in it."""

    path: Path

    @property
    def id(self) -> str:
        """The run's id, which is the folder's name."""
        return self.path.name

    @property
    def journal(self) -> Path:
        """The journal file."""
        return self.path / "journal.jsonl"

    @property
    def began(self) -> bool:
        """Has the run written anything to its journal? Before that it did nothing."""
        return self.journal.exists() and self.journal.stat().st_size > 0

    @property
    def outputs(self) -> Path:
        """Whole outputs of commands."""
        return self.path / "outputs"

    @property
    def skill(self) -> Path:
        """The bytes that were reviewed."""
        return self.path / "skill"

    @property
    def changes(self) -> Path:
        """Pre-images and layers: what undo needs."""
        return self.path / "changes"

    @property
    def elsewhere(self) -> str:
        """The other machine it was carried out on, by the name it is reached with; empty: on this one."""
        try:
            return str(json.loads((self.changes / ELSEWHERE).read_bytes())["machine"])
        except (OSError, ValueError, KeyError):
            return ""

    def summary(self) -> dict[str, Any]:
        """`id`, `skill`, `started`, `outcome`, `exit_code` of the run; the last two None while it is unfinished."""
        row: dict[str, Any] = {"id": self.id, "skill": "", "started": "", "outcome": None, "exit_code": None}
        try:
            stamped = read_stamped(self.journal)
        except (OSError, JournalError):
            return row | {"outcome": "unreadable"}
        for at, event in stamped:
            if isinstance(event, RunStarted) and not row["started"]:
                row |= {"skill": event.skill, "started": at, "verb": event.verb, "mode": event.mode}
            elif isinstance(event, RunEnded):
                row |= {"outcome": str(event.outcome), "exit_code": event.exit_code}
        return row


class Journal:
    """The first sink of a run: appends every event, and has all of them on disk before a command may start.

    What was written survives the end of this process at once. A power cut can take what came after the last command
    started: that command's outcome is then unknown, as if the power had failed a moment earlier, and is looked for.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.written: list[Event] = []
        """What this process has written, so that nobody has to read it back."""
        self._file = os.open(folder.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._mend_torn_line()

    def _mend_torn_line(self) -> None:
        data = self.folder.journal.read_bytes()
        if data and not data.endswith(b"\n"):
            os.ftruncate(self._file, data.rfind(b"\n") + 1)

    def __call__(self, event: Event) -> None:
        """Write one event. Raises JournalError when the disk does not take it: the run must stop then."""
        if isinstance(event, TRANSIENT):
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        data = _LINE.encode(_head(event, now) | _fields(event)).encode("utf-8", "replace") + b"\n"
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            if isinstance(event, _SYNCED):
                os.fdatasync(self._file)
            self.written.append(event)
        except OSError as error:
            raise JournalError(f"{self.folder.journal}: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


RUNS, TRIALS = "runs", "trials"
"""The histories: what was done to this machine, and what was tried in throw-away ones."""


def new_run(name: str, history: str = RUNS) -> RunFolder:
    """Make the folder of a new run, mode 0700; in memory where the disk cannot hold it. Raises JournalError."""
    now = datetime.datetime.now(datetime.UTC)
    stamp = f"{now:%Y%m%d-%H%M%S}{now.microsecond // 1000:03}"  # names are sorted, and two runs may begin in one second
    usual, failure = state_directory(), ""
    for place in (lambda: usual, memory_directory):  # one in memory is made only where it is needed
        root = place()
        if root is None:
            continue
        folder = RunFolder(root / history / f"{stamp}-{name[:40]}-{secrets.token_hex(2)}")
        try:
            make_private(folder.path.parent)
            folder.path.mkdir(mode=0o700)
            for part in (folder.outputs, folder.skill, folder.changes):
                part.mkdir(mode=0o700)
            check_room(folder.path)
            return folder
        except OSError as error:
            shutil.rmtree(folder.path, ignore_errors=True)
            failure = failure or f"cannot make the run folder {folder.path}: {error.strerror}: {what_is_short(usual)}"
    raise JournalError(failure)


def keep_skill(folder: RunFolder, text: str, origin: Path | None) -> None:
    """Keep the reviewed bytes in the run folder: the document, and the skill's whole directory when it has one.

    Raises JournalError when they cannot be kept.
    """
    try:
        if origin is not None and origin.name == "SKILL.md" and origin.parent.is_dir():
            ours = state_directory().resolve()  # may lie below the skill, and would be copied into itself

            def skip(place: str, names: list[str]) -> list[str]:
                return [name for name in names if (Path(place) / name).resolve() == ours]

            shutil.copytree(origin.parent, folder.skill, ignore=skip, dirs_exist_ok=True, symlinks=True)
        (folder.skill / (origin.name if origin else "SKILL.md")).write_text(text, encoding="utf-8")
    except shutil.Error as error:
        raise JournalError(f"cannot keep the skill in {folder.path}: {error.args[0][0][2]}") from error
    except OSError as error:
        raise JournalError(f"cannot keep the skill in {folder.path}: {error.strerror}") from error


def all_runs(history: str = RUNS) -> list[RunFolder]:
    """Every run folder of a history, newest first."""
    paths: list[str] = []
    for root in (state_directory(), memory_directory(make=False)):
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(root / history if root else "") as entries:
            paths += [entry.path for entry in entries if entry.is_dir()]
    return [RunFolder(Path(path)) for path in sorted(paths, key=os.path.basename, reverse=True)]


def find_run(word: str) -> RunFolder:
    """A run by its id, an unambiguous part of it, or `last`; a trial by its id only.

    Raises JournalError when there is none or several.
    """
    runs = all_runs()
    if word == "last" and runs:
        return next((run for run in runs if run.began), runs[0])
    if word == "last":
        raise JournalError("there is no run yet")
    found = [run for run in runs if run.id == word] or [run for run in runs if word in run.id]
    found = found or [run for run in all_runs(TRIALS) if run.id == word]
    if len(found) != 1:
        raise JournalError(f"no run is called {word!r}" if not found else f"{word!r} fits {len(found)} runs")
    return found[0]
