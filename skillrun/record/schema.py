"""The published JSON Schema of the events: `events-1.schema.json`, made from the dataclasses of `skillrun.events`.

`python -m skillrun.record` prints it; a test compares it with the file that is shipped.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import types
import typing
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from skillrun import events

NAME = f"events-{events.SCHEMA}.schema.json"


def shipped() -> dict[str, Any]:
    """The schema as it is shipped."""
    found: dict[str, Any] = json.loads(files("skillrun.record").joinpath(NAME).read_text(encoding="utf-8"))
    return found


def build() -> dict[str, Any]:
    """The schema of one line of `--json` or of a journal, as the dataclasses say it (JSON Schema 2020-12).

    Further properties are allowed everywhere: they come without a new version number.
    """
    definitions: dict[str, Any] = {}
    kinds = typing.get_args(events.Event)
    for kind in kinds:
        _define(kind, definitions)
        own = definitions[kind.__name__]
        own["properties"] = {
            "schema": {"const": events.SCHEMA},
            "type": {"const": kind.__name__},
            "t": {"type": "string", "description": "When it was written: UTC, ISO 8601."},
        } | own["properties"]
        own["required"] = ["schema", "type", *own["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:skillrun:events-{events.SCHEMA}",
        "title": "skillrun event",
        "description": "One line of `skillrun install --json` or of a run's journal.jsonl.",
        "oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds],
        "$defs": dict(sorted(definitions.items())),
    }


def _define(kind: type, definitions: dict[str, Any]) -> None:
    if kind.__name__ in definitions:
        return
    definitions[kind.__name__] = {}
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    definitions[kind.__name__] = {
        "type": "object",
        "description": inspect.cleandoc(kind.__doc__ or ""),  # Python 3.13 does so by itself
        "properties": {field.name: _of(hints[field.name], definitions) for field in fields},
        "required": [
            field.name
            for field in fields
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        ],
    }


def _of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = [_of(arg, definitions) for arg in args if arg is not type(None)]
        return {"anyOf": [*inner, {"type": "null"}]} if type(None) in args else {"anyOf": inner}
    if origin is tuple:
        return {"type": "array", "items": _of(args[0], definitions)}
    if origin is Mapping:
        value = _of(args[1], definitions)
        return {"type": "object", "additionalProperties": value} if value else {"type": "object"}
    if hint is Any:
        return {}
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        _define(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"type": "string", "enum": [member.value for member in hint]}
    return {"type": {bool: "boolean", int: "integer", float: "number", str: "string"}[hint]}
