"""The tools a model is offered: names, explicit schemas, and the check of what a model sends.

The schemas are plain JSON Schema of the smallest kind (an object of scalars), because servers other
than Anthropic's reject anything more, and because the whole table is sent with every request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skillrun.text.patterns import later

OUTCOMES = ("done", "stuck", "needs_person", "refused", "unsupported")
"""What `finish` may claim. The checks decide; the claim only says why the model stopped."""

ACTIONS = ("type", "wait", "interrupt", "output")
"""What `shell_input` can do with a command that is still alive."""


class BadInput(ValueError):
    """A call whose input does not fit its tool; the message tells a model how to mend it."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: its name, one paragraph for the model, its parameters and which of them must be there."""

    name: str
    description: str
    properties: Mapping[str, Mapping[str, Any]]
    required: tuple[str, ...]

    def definition(self) -> dict[str, Any]:
        """The tool as the Messages API wants it, always the same bytes."""
        schema = {"type": "object", "properties": self.properties, "required": list(self.required)}
        return {"name": self.name, "description": self.description, "input_schema": schema}


def _text(description: str = "", **more: Any) -> dict[str, Any]:
    return {"type": "string", **({"description": description} if description else {}), **more}


TOOLS: tuple[Tool, ...] = (
    Tool(
        "shell",
        "Run bash text in one persistent shell; directory and exports stay. Returns output (if long: head and tail) and the "
        "exit code of its last command, also of a pipe: join with && what must all succeed. May return while it runs: then "
        "use shell_input.",
        {
            "command": _text(),
            "why": _text("one short sentence for the person"),
            "timeout_s": {"type": "number", "description": "seconds without progress until you are asked; default 60"},
            "background": {"type": "boolean", "description": "go on meanwhile; the job ends before the checks"},
        },
        ("command", "why"),
    ),
    Tool(
        "shell_input",
        "Deal with a command that still runs: type an answer at its prompt, wait longer, interrupt it, or read a background "
        "job's output. Never type a password: use ask_user with secret_name.",
        {
            "action": _text(enum=list(ACTIONS)),
            "text": _text("what to type"),
            "enter": {"type": "boolean", "description": "press Enter after text; default true"},
            "job": _text("background job, for output"),
            "timeout_s": {"type": "number"},
        },
        ("action",),
    ),
    Tool(
        "read_file",
        "Read a file, also a whole command output that was shortened.",
        {
            "path": _text(),
            "offset": {"type": "integer", "description": "bytes to skip"},
            "limit": {"type": "integer", "description": "bytes to read"},
        },
        ("path",),
    ),
    Tool(
        "write_file",
        "Write a whole file in an existing directory, atomically, as the user (root's: write elsewhere, sudo install). "
        "The person sees a diff. Read it first if it exists.",
        {"path": _text(), "content": _text(), "mode": _text("octal, such as 0755"), "why": _text()},
        ("path", "content", "why"),
    ),
    Tool(
        "ask_user",
        "Ask the person one question. With secret_name, a secret is typed unseen and is then {{secret:NAME}} in commands.",
        {
            "question": _text(),
            "choices": {"type": "array", "items": {"type": "string"}},
            "secret_name": _text("upper-case name"),
        },
        ("question",),
    ),
    Tool(
        "finish",
        "End the run. The checks are run for you and decide; if one fails you get its output and go on.",
        {
            "outcome": _text(enum=list(OUTCOMES)),
            "summary": _text("for the person: what was done, what was not, what is left"),
        },
        ("outcome", "summary"),
    ),
)

DIAGNOSE = Tool(
    "diagnose",
    "Looks at this machine for what explains a failure. Nothing is changed.",
    {name: _text() for name in ("looks", "paths", "hosts", "words", "numbers", "why")},
    ("looks",),
)
"""A tool of the built-in engine alone: a language model is not offered it."""

BY_NAME: Mapping[str, Tool] = {tool.name: tool for tool in (*TOOLS, DIAGNOSE)}

_SECRET_NAME = later(r"[A-Z][A-Z0-9_]{0,63}")
_MODE = later(r"0?[0-7]{3,4}")


def definitions() -> list[dict[str, Any]]:
    """All tools for a request, in a fixed order and with fixed bytes (they are the head of the cached prefix)."""
    return [tool.definition() for tool in TOOLS]


def checked(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The input of a call, known to fit the tool's schema. Raises BadInput.

    Numbers and booleans that arrive as text are read as such, since small models send them so. Nothing is
    made up: what is missing, unknown or of another type is an error that names the parameter.
    """
    tool = BY_NAME.get(name)
    if tool is None:
        raise BadInput(f"there is no tool {name!r}; the tools are {', '.join(BY_NAME)}")
    unknown = sorted(set(given) - set(tool.properties))
    if unknown:
        raise BadInput(f"{name} has no parameter {unknown[0]!r}; it takes {', '.join(tool.properties)}")
    missing = [key for key in tool.required if given.get(key) is None]
    if missing:
        raise BadInput(f"{name} needs {' and '.join(missing)}")
    value = {key: _read(name, key, tool.properties[key], item) for key, item in given.items() if item is not None}
    _sense(name, value)
    return value


def _read(name: str, key: str, schema: Mapping[str, Any], item: Any) -> Any:
    kind = schema["type"]
    if kind == "string" and isinstance(item, str):
        if "enum" in schema and item not in schema["enum"]:
            raise BadInput(f"{name}.{key} must be one of {', '.join(schema['enum'])}, not {item!r}")
        return item
    if kind == "boolean":
        if isinstance(item, bool):
            return item
        if isinstance(item, str) and item.lower() in ("true", "false"):
            return item.lower() == "true"
    if kind in ("number", "integer") and not isinstance(item, bool):
        return _number(f"{name}.{key}", kind, item)
    if kind == "array" and isinstance(item, Sequence) and not isinstance(item, str) and all(isinstance(x, str) for x in item):
        return list(item)
    raise BadInput(f"{name}.{key} must be of type {kind}{' of strings' if kind == 'array' else ''}")


def _number(where: str, kind: str, item: Any) -> float | int:
    try:
        number = float(item)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if 0 <= number < 1e12 and (kind == "number" or number == int(number)):
        return int(number) if kind == "integer" else number
    raise BadInput(f"{where} must be a{'n integer' if kind == 'integer' else ' number'} of at least 0")


def _sense(name: str, value: Mapping[str, Any]) -> None:
    """What a schema of this kind cannot say."""
    if name == "shell" and not value["command"].strip():
        raise BadInput("shell.command is empty")
    if name == "shell" and "\0" in value["command"]:
        raise BadInput("shell.command contains a NUL byte")
    if name == "shell_input" and value["action"] == "type" and "text" not in value:
        raise BadInput("shell_input with action type needs text (empty text presses Enter alone)")
    if name == "shell_input" and value["action"] == "output" and not value.get("job"):
        raise BadInput("shell_input with action output needs job")
    if name in ("read_file", "write_file") and (not value["path"] or "\0" in value["path"]):
        raise BadInput(f"{name}.path is empty or contains a NUL byte")
    if "mode" in value and not _MODE.fullmatch(value["mode"]):
        raise BadInput("write_file.mode must be octal, such as 0644")
    if value.get("secret_name") and not _SECRET_NAME.fullmatch(value["secret_name"]):
        raise BadInput("ask_user.secret_name must be upper-case letters, digits and _, such as API_TOKEN")
