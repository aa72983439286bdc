"""A plan as a TOML file, for people: written in one way only, read strictly, `plan-2.schema.json` its published schema."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from skillrun.plans.plan import (
    PLACEHOLDER,
    SCHEMA,
    Answer,
    Condition,
    Installed,
    Plan,
    PlanError,
    PlanInput,
    Postcondition,
    Proof,
    Step,
    fingerprint,
    whole_plan,
)

NAME = f"plan-{SCHEMA}.schema.json"
_KNOWN = {"home", "user", "here", "tmp"}
_TABLES: dict[str, type] = {"conditions": Condition, "inputs": PlanInput, "steps": Step, "installed": Installed}
_ABOUT = frozenset(("distribution", "release", "architecture", "libc", "init", "privilege", "manager", "runtime", "space"))
_KINDS = frozenset(("file", "directory", "link", "absent", "package", "service"))


def schema() -> dict[str, Any]:
    """The published JSON Schema of a plan file (2020-12)."""
    found: dict[str, Any] = json.loads(files("skillrun.plans").joinpath(NAME).read_text(encoding="utf-8"))
    return found


# --- writing ------------------------------------------------------------------------------------


def to_toml(plan: Plan) -> str:
    """The plan as a file's text, the same from one time to the next."""
    made = f"{plan.skill} on {plan.where}".strip()
    lines = [
        f"# A plan: what installing {made} comes down to.",
        f"# Replay it with `skillrun install {plan.skill}`; `skillrun plan check FILE` proves it again.",
        f"schema = {SCHEMA}",
        f"skill = {_value(plan.skill)}",
        f"digest = {_value(plan.digest)}",
        f"fingerprint = {_value(fingerprint(plan))}",
    ]
    for name, value in (("made", plan.made), ("run_id", plan.run_id), ("home", plan.home)):
        if value:
            lines.append(f"{name} = {_value(value)}")
    lines.append(f"checks = {_list(plan.checks)}")
    for name, rows in (("conditions", plan.conditions), ("inputs", plan.inputs), ("steps", plan.steps)):
        for row in rows:
            lines += ["", f"[[{name}]]", *_table(row)]
    if plan.installed:
        lines += ["", "[versions]", "installed = ["]
        lines += [f"  {_inline(row)}," for row in plan.installed]
        lines.append("]")
    if plan.proof is not None:
        lines += ["", "[proof]", *_table(plan.proof)]
    return "\n".join(lines) + "\n"


def _table(row: Any) -> list[str]:
    """The fields that are not their defaults, in their order."""
    lines = []
    for entry in fields(row):
        value = getattr(row, entry.name)
        default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
        if value == default:
            continue
        if isinstance(value, tuple) and value and isinstance(value[0], Postcondition | Answer):
            lines += [f"{entry.name} = [", *(f"  {_inline(item)}," for item in value), "]"]
        elif isinstance(value, tuple):
            lines.append(f"{entry.name} = {_list(value)}")
        elif isinstance(value, Mapping):
            inner = ", ".join(f"{_value(str(key))} = {_value(item)}" for key, item in value.items())
            lines.append(f"{entry.name} = {{ {inner} }}")
        else:
            lines.append(f"{entry.name} = {_value(value)}")
    return lines


def _inline(row: Any) -> str:
    given = {name: value for name, value in asdict(row).items() if value not in ("", None, False)}
    return "{ " + ", ".join(f"{name} = {_value(value)}" for name, value in given.items()) + " }"


def _list(values: Sequence[str]) -> str:
    if sum(map(len, values)) < 80:
        return "[" + ", ".join(_value(value) for value in values) + "]"
    return "[\n" + "".join(f"  {_value(value, inline=True)},\n" for value in values) + "]"


def _value(value: object, inline: bool = False) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    text = str(value)
    plain = not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)
    if plain and "\n" in text and not inline and "'''" not in text and not text.endswith("'"):
        return f"'''\n{text}'''"
    if plain and ('"' in text or "\\" in text) and "'" not in text and "\n" not in text:
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


# --- reading ------------------------------------------------------------------------------------


def read_plan(path: Path) -> tuple[Plan, str]:
    """A plan file, and the fingerprint it bears. Raises PlanError naming the file and what is wrong with it."""
    try:
        text = path.read_bytes()
        if len(text) > 4 << 20:
            raise PlanError(f"{path}: too large for a plan")
        return parse_plan(text.decode("utf-8"), str(path))
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PlanError(f"{path}: not a plan file (it is not UTF-8)") from error


def parse_plan(text: str, name: str) -> tuple[Plan, str]:
    """The same for a file's text; `name` is what errors call it."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PlanError(f"{name}: not a plan file ({error})") from error
    if data.get("schema") != SCHEMA:
        raise PlanError(f"{name}: not a plan file of this version (schema {data.get('schema')!r} is not {SCHEMA})")
    given = data.pop("fingerprint", "")
    data.pop("schema")
    versions = data.pop("versions", {})
    if isinstance(versions, dict):
        data["installed"] = versions.get("installed", [])
    wrong = _wrong(data)
    if wrong:
        raise PlanError(f"{name}: {wrong}")
    try:
        return whole_plan(data), str(given)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(f"{name}: not a plan file ({error})") from error


def _wrong(data: Mapping[str, Any]) -> str:
    """What does not fit, in words; empty when all does."""
    for name in ("skill", "digest"):
        if not isinstance(data.get(name), str) or not data[name]:
            return f"`{name}` is missing"
    known = {*(entry.name for entry in fields(Plan))}
    if unknown := sorted(set(data) - known):
        return f"`{unknown[0]}` is not known here"
    for name, kind in _TABLES.items():
        rows = data.get(name, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            return f"`{name}` is not a list of tables"
        for number, row in enumerate(rows, 1):
            if said := _wrong_row(kind, row):
                return f"{name} {number}: {said}"
    if not isinstance(data.get("checks", []), list) or not all(isinstance(check, str) for check in data.get("checks", [])):
        return "`checks` is not a list of commands"
    if not data.get("steps"):
        return "it has no steps"
    names = _KNOWN | {row["name"] for row in data.get("inputs", [])}
    for number, row in enumerate(data["steps"], 1):
        if said := _wrong_step(row, names):
            return f"steps {number}: {said}"
    for number, row in enumerate(data.get("conditions", []), 1):
        if row["about"] not in _ABOUT:
            return f"conditions {number}: nothing is known about {row['about']!r}"
    return _wrong_row(Proof, data["proof"]) if isinstance(data.get("proof", {}), dict) and "proof" in data else ""


_HINTS = {"str": str, "bool": bool, "int": int, "float": (int, float)}


def _wrong_row(kind: type, row: Mapping[str, Any]) -> str:
    known = {entry.name: entry for entry in fields(kind)}
    if unknown := sorted(set(row) - set(known)):
        return f"`{unknown[0]}` is not known here"
    for name, entry in known.items():
        if name not in row:
            if entry.default is MISSING and entry.default_factory is MISSING:
                return f"`{name}` is missing"
            continue
        hint = str(entry.type).partition(" |")[0]
        expected: Any = _HINTS.get(hint, dict if hint.startswith("Mapping") else list)
        if not isinstance(row[name], expected) or (expected is int and isinstance(row[name], bool)):
            return f"`{name}` has a value of the wrong kind"
    return ""


def _wrong_step(row: Mapping[str, Any], names: set[str]) -> str:
    if bool(row.get("run")) == bool(row.get("path")):
        return "it needs either `run` or `path`"
    texts = [str(row.get(name, "")) for name in ("run", "path", "content", "directory")]
    for left in row.get("leaves", []):
        if not isinstance(left, dict) or left.get("kind") not in _KINDS or not isinstance(left.get("subject"), str):
            return "`leaves` holds something that is no postcondition"
        texts.append(left["subject"])
    for answer in row.get("answers", []):
        if not isinstance(answer, dict) or not all(isinstance(answer.get(name), str) for name in ("question", "text")):
            return "`answers` holds something that is no answer"
        texts.append(answer["text"])
    if not all(isinstance(value, str) for value in row.get("environment", {}).values()):
        return "`environment` holds a value that is no text"
    for text in texts:
        for match in PLACEHOLDER.finditer(text):
            if match[1] not in names:
                return f"{{{{{match[1]}}}}} is no input of this plan"
    return ""
