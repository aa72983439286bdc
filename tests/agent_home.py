"""A home with a skill in it, a server there, and the SDK's own client with a person at its form."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, ElicitResult

from skillrun.overlay.process.probe import probe

ROOT = Path(__file__).parents[1]
needs_view = pytest.mark.skipif(probe().tier not in ("R", "U"), reason=f"no view here: {'; '.join(probe().reasons)}")
PROTOCOLS = ("2026-07-28", "2025-11-25")

SKILL = """---
name: thing
description: Makes a thing.
metadata:
  skillrun-verify: 'test -x ~/.local/bin/thing'
---
# Thing
## Install
```bash
mkdir -p ~/.local/bin && printf '#!/bin/sh\\necho thing 1.0\\n' > ~/.local/bin/thing && chmod +x ~/.local/bin/thing
```
"""


@dataclass
class Home:
    """A home of its own, with the skill in it, and what the person at the client's form says."""

    path: Path
    says: ElicitResult = field(default_factory=lambda: ElicitResult(action="accept", content={"agree": True}))
    asked: list[str] = field(default_factory=list)

    @property
    def thing(self) -> Path:
        """What the skill makes."""
        return self.path / ".local/bin/thing"

    @property
    def env(self) -> dict[str, str]:
        """The environment of everything here."""
        return {**os.environ, "HOME": str(self.path), "XDG_STATE_HOME": str(self.path / ".state"), "PYTHONPATH": str(ROOT)}

    @asynccontextmanager
    async def client(self, protocol: str = PROTOCOLS[0], forms: bool = True) -> AsyncIterator[Client]:
        """A client with a server of its own. `forms`: it can put a form to its person."""
        server = StdioServerParameters(command=sys.executable, args=["-m", "skillrun", "mcp"], env=self.env, cwd=self.path)

        async def form(_: Any, asked: Any) -> ElicitResult:
            self.asked.append(asked.message)
            return self.says

        mode = "legacy" if protocol == PROTOCOLS[1] else "auto"
        async with Client(server, mode=mode, elicitation_callback=form if forms else None) as client:
            yield client


def home_in(folder: Path) -> Home:
    """A fresh home."""
    (folder / "thing").mkdir()
    (folder / "thing/SKILL.md").write_text(SKILL)
    return Home(folder)


def told(result: CallToolResult) -> dict[str, Any]:
    """A result's data; fails when it is an error."""
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


def words(result: CallToolResult) -> str:
    """A result's text."""
    return "\n".join(part.text for part in result.content if part.type == "text")


def run(what: Callable[[], Coroutine[Any, Any, None]], seconds: float = 120) -> None:
    """Run an async test within bounds."""

    async def bounded() -> None:
        with anyio.fail_after(seconds):
            await what()

    anyio.run(bounded)


async def previewed(client: Client, home: Home, **more: Any) -> dict[str, Any]:
    """A preview that waits for its approval."""
    status = told(await client.call_tool("preview", {"skill": str(home.path / "thing"), **more}))
    while status["state"] == "working":
        status = told(await client.call_tool("status", {"run": status["run"]}))
    return status
