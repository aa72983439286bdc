"""The two tools for files: read a part of one, write one whole. Through the target, like everything."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

from skillrun.events import Result, State, ToolCall
from skillrun.ports import Target
from skillrun.secrets import Vault

READ_LIMIT = 48_000
"""Bytes of a file a model reads at once."""


def at_home(call: ToolCall, home: str) -> ToolCall:
    """A path that begins with `~/` means the home directory, as everywhere."""
    path = str(call.input["path"])
    if not path.startswith("~/"):
        return call
    return dataclasses.replace(call, input={**call.input, "path": f"{home.rstrip('/')}{path[1:]}"})


def folder_of(call: ToolCall, cwd: str) -> str:
    """The directory that must be there for a file to be written; empty for other calls."""
    return os.path.dirname(os.path.join(cwd, str(call.input["path"]))) if call.name == "write_file" else ""


def read_file(call: ToolCall, target: Target, vault: Vault, outputs: str = "") -> Result:
    """The part of a file a model asked for, with secrets masked. Raises OSError.

    `outputs`: this run's own folder of whole outputs, which lies here, also when the target is another machine.
    """
    path, offset = str(call.input["path"]), int(call.input.get("offset") or 0)
    limit = min(int(call.input.get("limit") or READ_LIMIT), READ_LIMIT)
    data = _bytes(target, path, offset + limit + 1, outputs)
    part = data[offset : offset + limit]
    note = f"more follows: read on from offset {offset + limit}" if len(data) > offset + limit else ""
    text = vault.mask(part.decode("utf-8", "replace"))
    return Result(State.EXITED, 0, output=text, output_bytes=len(part), note=note)


def _bytes(target: Target, path: str, limit: int, outputs: str) -> bytes:
    if not outputs or os.path.dirname(path) != outputs:
        return target.get(path, limit)
    with open(path, "rb") as file:
        return file.read(limit)


def write_file(call: ToolCall, target: Target, before: Callable[[str, bytes], None] | None) -> Result:
    """Write a file; `before` is called with its path and content first. A new one counts as created. Raises OSError."""
    path, content = str(call.input["path"]), str(call.input["content"])
    mode = call.input.get("mode")
    try:
        target.get(path, 1)
        existed = True
    except OSError:
        existed = False
    if before:
        before(path, content.encode())
    target.put(path, content.encode(), int(str(mode), 8) if mode else None)
    return Result(State.EXITED, 0, output=f"wrote {len(content.encode())} bytes to {path}", created=() if existed else (path,))


def difference(call: ToolCall, target: Target) -> str:
    """What a `write_file` call would change, as a unified difference."""
    import difflib

    path = str(call.input["path"])
    try:
        old = target.get(path, READ_LIMIT).decode("utf-8", "replace")
    except OSError:
        old = ""
    new = str(call.input["content"])
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), f"{path} (now)", f"{path} (new)", lineterm="", n=2)
    return "\n".join(lines)
