"""The changes of a run as lines to read: what a person approves, grouped and explained, most telling first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from skillrun.text.escape import settled, shown, size

SIGNS = {"added": "+", "installed": "+", "enabled": "+", "removed": "-", "disabled": "-"}
"""The sign of a change; whatever else happened is a `~`."""
TONES = {"+": "add", "-": "del", "@": "at"}
_NAMED = 12
"""Packages, commands, services and accounts of one kind that are named before the rest is counted."""
_FILES = 12
_LEFT_OUT = 20
_DIFF_LINES = 10


class Line(NamedTuple):
    """One line, safe to print; `tone` is "" | add | del | at | alert | strong | dim."""

    text: str
    tone: str = ""


def change_lines(changes: Mapping[str, Any], whole: bool = False) -> list[Line]:
    """The lines of a Changed event's data, indented by two; all of it with `whole`, else the rest is counted."""
    return [
        *_alerts(changes, whole),
        *_packages(changes, whole),
        *_named(changes, "commands", "command", whole),
        *_named(changes, "accounts", "account", whole),
        *_named(changes, "services", "service", whole),
        *(Line(f"  > after the commit: {_flat(text)}", "strong") for text in _rows(changes, "deferred")),
        *_files(changes, whole),
        *_groups(changes, whole),
        *left_out_lines(changes, whole),
    ]


def left_out_lines(changes: Mapping[str, Any], whole: bool = False) -> list[Line]:
    """What a commit did not carry over: to be said after it too, when the rest has been shown before."""
    rows = _maps(changes, "kept_out")
    told = rows if whole else rows[:_LEFT_OUT]
    lines = [Line(f"  not committed: {_word(row, 'path')}: {_word(row, 'reason')}", "alert") for row in told]
    more = len(rows) - len(told)
    return [*lines, *([Line(f"  not committed: {more} more", "alert")] if more else [])]


def _rows(changes: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = changes.get(key)
    return value if isinstance(value, list | tuple) else ()


def _maps(changes: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return [row if isinstance(row, Mapping) else {"name": row} for row in _rows(changes, key)]


def _word(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else _flat(value)


def _flat(value: object) -> str:
    return shown(str(value)).replace("\n", "\\n")


def _sign(row: Mapping[str, Any]) -> str:
    return SIGNS.get(_word(row, "change"), "~")


def _alerts(changes: Mapping[str, Any], whole: bool) -> Iterator[Line]:
    for row in _maps(changes, "alerts"):
        if whole or row.get("level") != "info":
            about = _word(row, "path")
            yield Line(f"  ! {_word(row, 'text') or _word(row, 'name')}{': ' + about if about else ''}", "alert")


def _packages(changes: Mapping[str, Any], whole: bool) -> Iterator[Line]:
    rows = _maps(changes, "packages")
    for row in rows if whole else rows[:_NAMED]:
        old, version, sign = _word(row, "old"), _word(row, "version"), _sign(row)
        number = f"{old} to {version}" if sign == "~" and old and version else version or old
        place = _word(row, "place")
        where = f" in {place}" if place else ""
        yield Line(f"  {sign} package {_word(row, 'name')} {number} ({_word(row, 'manager')}){where}", TONES.get(sign, ""))
    yield from _rest(rows, "packages", whole)


def _named(changes: Mapping[str, Any], key: str, word: str, whole: bool) -> Iterator[Line]:
    rows = _maps(changes, key)
    for row in rows if whole else rows[:_NAMED]:
        sign = _sign(row) if "change" in row else "+"
        about = ", ".join(
            part for part in (_word(row, "change") if sign == "~" or key == "services" else "", _word(row, "detail")) if part
        )
        yield Line(
            f"  {sign} {_word(row, 'kind') or word} {_word(row, 'name')}{f' ({about})' if about else ''}", TONES.get(sign, "")
        )
    yield from _rest(rows, key, whole)


def _rest(rows: Sequence[object], noun: str, whole: bool) -> Iterator[Line]:
    if not whole and len(rows) > _NAMED:
        yield Line(f"    and {len(rows) - _NAMED} more {noun}", "dim")


def _files(changes: Mapping[str, Any], whole: bool) -> Iterator[Line]:
    rows = _maps(changes, "files")
    for row in rows if whole else rows[:_FILES]:
        sign, count = _sign(row), row.get("bytes")
        about = [size(count) if isinstance(count, int) and count and row.get("kind") == "file" else "", _word(row, "detail")]
        words = ", ".join(part for part in (_word(row, "kind") if row.get("kind") != "file" else "", *about) if part)
        yield Line(f"  {sign} {_word(row, 'path') or _word(row, 'name')}{f' ({words})' if words else ''}", TONES.get(sign, ""))
        yield from _diff(settled(str(row.get("diff") or "")), whole)
    omitted = changes.get("files_omitted")
    more = (0 if whole else max(0, len(rows) - _FILES)) + (omitted if isinstance(omitted, int) else 0)
    if more:
        yield Line(f"    and {more:,} more files worth a look", "dim")


def _diff(text: str, whole: bool) -> Iterator[Line]:
    lines = [line for line in text.split("\n") if line and not line.startswith(("---", "+++"))]
    for line in lines if whole else lines[:_DIFF_LINES]:
        yield Line(f"      {line}", TONES.get(line[:1], "dim"))
    if not whole and len(lines) > _DIFF_LINES:
        yield Line(f"      and {len(lines) - _DIFF_LINES} more lines", "dim")


def _groups(changes: Mapping[str, Any], whole: bool) -> Iterator[Line]:
    for row in _maps(changes, "groups"):
        counts = [(row.get(key), key) for key in ("added", "changed", "removed")]
        words = [f"{count:,} {key}" for count, key in counts if isinstance(count, int) and count]
        written = row.get("bytes")
        words += [size(written)] if isinstance(written, int | float) and written else []
        yield Line(f"  · {_word(row, 'name')}: {', '.join(words)}", "dim")
        examples = row.get("examples")
        for path in examples if whole and isinstance(examples, list | tuple) else ():
            yield Line(f"      {_flat(path)}", "dim")
