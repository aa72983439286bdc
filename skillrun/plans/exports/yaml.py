"""Writing YAML that linters like: block style, plain words where they mean themselves, everything else in double quotes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*")
_WORDS = frozenset(("true", "false", "yes", "no", "on", "off", "null", "y", "n"))


def dump(value: Any, indent: int = 0) -> str:
    """Mappings, lists, texts, numbers and booleans as YAML, at an indentation."""
    pad = " " * indent
    if isinstance(value, Mapping):
        return "".join(f"{pad}{_scalar(key)}:{_below(item, indent)}" for key, item in value.items())
    return "".join(
        f"{pad}- {dump(item, indent + 2).lstrip()}" if _deep(item) else f"{pad}- {_scalar(item)}\n" for item in value
    )


def _below(value: Any, indent: int) -> str:
    if _deep(value):
        return f"\n{dump(value, indent + 2)}"
    if isinstance(value, str) and "\n" in value and _blockable(value):
        pad = " " * (indent + 2)
        lines = value.rstrip("\n").split("\n")
        mark = "|" if value.endswith("\n") else "|-"
        return f" {mark}\n" + "".join(f"{pad}{line}".rstrip() + "\n" for line in lines)
    return f" {_scalar(value)}\n"


def _deep(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple) and bool(value)


def _blockable(text: str) -> bool:
    lines = text.split("\n")
    steady = all(line == line.rstrip() for line in lines) and not lines[0].startswith(" ") and lines[0] != ""
    return steady and not text.endswith("\n\n") and not re.search(r"[\x00-\x08\x0b-\x1f\x7f\t]", text)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\x7f")
