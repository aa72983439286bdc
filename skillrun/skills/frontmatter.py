"""YAML front matter: sliced off a Markdown document and read as text, never as types.

Every scalar stays a string (`1.10` is not 1.1, `no` is not False), a duplicate key is an error because
last-wins hides attacks, and aliases, anchors and tags are refused. Parsing runs over the YAML events, so
nothing is constructed, nothing is executed, and depth and size are limited while reading.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from skillrun.skills.index import plain_fields
from skillrun.skills.skill import SkillError
from skillrun.text.patterns import later

Value = str | list["Value"] | dict[str, "Value"]
"""What front matter can hold: text, lists and mappings of text."""

MAX_BYTES = 64 * 1024
MAX_DEPTH = 12

_REPAIRED = "an unquoted colon in the front matter was repaired: put the value in quotes"

_FENCE = later(r"---[ \t]*$")
_KEY = later(r"""["']?[A-Za-z_][\w.-]*["']?[ \t]*:(?=\s|$)""")
_PLAIN = later(r"(?P<head>[ \t]*[A-Za-z_][\w.-]*[ \t]*:[ \t]+)(?P<value>[^\s\"'|>\[{&*!#%@`].*)$")


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """A document's front matter and what follows it. Line numbers are 1-based lines of the document."""

    fields: Mapping[str, Value] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    """Line of each key; a nested key is written `outer.inner`."""
    body: str = ""
    body_line: int = 1
    present: bool = False
    warnings: tuple[str, ...] = ()

    def text(self, *keys: str) -> str:
        """The text at a path of keys, or an empty string where there is no text."""
        value: Any = self.fields
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value.strip() if isinstance(value, str) else ""


class _Broken(Exception):
    """A YAML problem at a line and column of the sliced text (both 0-based)."""

    def __init__(self, message: str, line: int, column: int = 0, repairable: bool = True) -> None:
        super().__init__(message)
        self.message, self.line, self.column, self.repairable = message, line, column, repairable


def split(text: str, path: str = "") -> FrontMatter:
    """Slice the front matter off `text`. Raises SkillError with file and line when it is there but broken.

    A byte-order mark and blank lines before it are tolerated. A document that merely starts with a
    thematic break has no front matter.
    """
    text = text.removeprefix("\ufeff")
    lines = text.split("\n")
    start = next((i for i, line in enumerate(lines[:50]) if line.strip()), None)
    if start is None or not _FENCE.match(lines[start].rstrip("\r")):
        return FrontMatter(body=text)
    if not _looks_like_keys(lines[start + 1 : start + 40]):
        return FrontMatter(body=text)
    end = next((i for i in range(start + 1, len(lines)) if _FENCE.match(lines[i].rstrip("\r"))), None)
    if end is None:
        return FrontMatter(body=text, warnings=("the front matter is never closed by a line `---`: read as plain text",))
    yaml_lines = [line.rstrip("\r") for line in lines[start + 1 : end]]
    if sum(len(line.encode("utf-8", "replace")) + 1 for line in yaml_lines) > MAX_BYTES:
        raise SkillError(f"the front matter is larger than {MAX_BYTES // 1024} KiB", path, start + 1)
    body = "\n".join(lines[end + 1 :])
    fields, where, warnings = _read(yaml_lines, path, start + 2)
    return FrontMatter(fields, where, body, end + 2, True, warnings)


def _looks_like_keys(lines: list[str]) -> bool:
    """Whether the first line that says something is a key; a blank line and then `# ...` is a title, no comment."""
    blank = False
    for line in lines:
        if line.strip() and (blank or not line.lstrip().startswith("#")):
            return bool(_KEY.match(line))
        blank = blank or not line.strip()
    return False


def _read(lines: list[str], path: str, first_line: int) -> tuple[dict[str, Value], dict[str, int], tuple[str, ...]]:
    """The fields, the document's line of each key, and warnings; one attempt to repair unquoted colons."""
    if plain := plain_fields(lines):
        return *_nested(plain, first_line), ()
    try:
        return *_load("\n".join(lines), first_line), ()
    except _Broken as broken:
        problem = broken
    repaired = _quote_colons(lines) if problem.repairable else None
    if repaired is not None:
        with contextlib.suppress(_Broken):
            return *_load("\n".join(repaired), first_line), (_REPAIRED,)
    raise SkillError(f"front matter: {problem.message} (column {problem.column + 1})", path, first_line + problem.line)


def _nested(plain: Mapping[str, tuple[str, int]], first_line: int) -> tuple[dict[str, Value], dict[str, int]]:
    """Fields and lines as `_load` gives them."""
    fields: dict[str, Value] = {name: text for name, (text, _) in plain.items() if "." not in name}
    inner: dict[str, Value] = {name.partition(".")[2]: text for name, (text, _) in plain.items() if "." in name}
    if inner:
        fields["metadata"] = inner
    return fields, {name: line + first_line for name, (_, line) in plain.items()}


def _quote_colons(lines: list[str]) -> list[str] | None:
    """Quote plain one-line values that hold a colon; None when there is nothing to repair."""
    out, changed = [], False
    for line in lines:
        match = _PLAIN.match(line)
        if match and re.search(r":(\s|$)", match["value"]):
            value = match["value"].rstrip().replace("\\", "\\\\").replace('"', '\\"')
            line, changed = f'{match["head"]}"{value}"', True
        out.append(line)
    return out if changed else None


def _load(text: str, first_line: int) -> tuple[dict[str, Value], dict[str, int]]:
    """The mapping in `text`, which begins on `first_line` of the document, and the line of each key."""
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    where: dict[str, int] = {}
    try:
        events = yaml.parse(text, Loader=loader)
        value = _document(events, where)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _Broken(error.problem or "not valid YAML", mark.line if mark else 0, mark.column if mark else 0) from None
    except yaml.YAMLError as error:
        raise _Broken(f"not valid YAML: {str(error).splitlines()[0]}", 0) from None
    if not isinstance(value, dict):
        raise _Broken("must be a mapping of keys to values", 0)
    return value, {key: line + first_line for key, line in where.items()}


def json_fields(text: str) -> dict[str, Any]:
    """A document's front matter as the JSON its YAML stands for, with numbers and truth values. Raises ValueError."""
    import json

    import yaml

    head, _, rest = text.removeprefix("\ufeff").lstrip("\r\n").partition("\n")
    block, end, _ = rest.replace("\r\n", "\n").partition("\n---")
    if not _FENCE.match(head.rstrip("\r")) or not end:
        raise ValueError("has no front matter")
    try:
        found = json.loads(json.dumps(yaml.safe_load(block), default=str))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    if not isinstance(found, dict):
        raise ValueError("front matter must be a mapping")
    return found


def plain_yaml(text: str) -> dict[str, Value]:
    """A mapping in YAML as texts, lists and mappings, nothing given a type. Raises ValueError."""
    try:
        return _load(text, 1)[0]
    except _Broken as error:
        raise ValueError(str(error)) from None


def _at(event: Any) -> tuple[int, int]:
    """Line and column (0-based) where an event begins."""
    return event.start_mark.line, event.start_mark.column


def _document(events: Iterator[Any], where: dict[str, int]) -> Value:
    from yaml import events as ev

    value: Value = {}
    documents = 0
    for event in events:
        if isinstance(event, ev.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _Broken("only one document is allowed", *_at(event))
        elif isinstance(event, ev.NodeEvent):
            value = _node(event, events, where, "", 0)
    return value


def _node(event: Any, events: Iterator[Any], where: dict[str, int], prefix: str, depth: int) -> Value:
    from yaml import events as ev

    at = _at(event)
    if isinstance(event, ev.AliasEvent) or getattr(event, "anchor", None):
        raise _Broken("anchors and aliases are not allowed", *at, repairable=False)
    if getattr(event, "tag", None) not in (None, "!"):
        raise _Broken("tags are not allowed", *at, repairable=False)
    if depth > MAX_DEPTH:
        raise _Broken(f"nested deeper than {MAX_DEPTH}", *at, repairable=False)
    if isinstance(event, ev.ScalarEvent):
        return str(event.value)
    if isinstance(event, ev.SequenceStartEvent):
        items: list[Value] = []
        for inner in events:
            if isinstance(inner, ev.SequenceEndEvent):
                break
            items.append(_node(inner, events, where, prefix, depth + 1))
        return items
    mapping: dict[str, Value] = {}
    for key in events:
        if isinstance(key, ev.MappingEndEvent):
            break
        if not isinstance(key, ev.ScalarEvent):
            raise _Broken("a key must be plain text", *_at(key))
        name = str(_node(key, events, where, prefix, depth + 1))
        if name in mapping:
            raise _Broken(f"the key `{name}` appears twice", *_at(key), repairable=False)
        full = f"{prefix}{name}"
        where.setdefault(full, _at(key)[0])
        mapping[name] = _node(next(events), events, where, f"{full}.", depth + 1)
    return mapping
