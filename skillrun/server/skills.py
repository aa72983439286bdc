"""Skills over MCP: the library and the bundled skills, with the digest of every file.

After the extension `io.modelcontextprotocol/skills`, whose types are in `skillrun.skills.served`. Only skills that the Agent
Skills specification calls valid are served, each under `skill://NAME/`.
"""

from __future__ import annotations

import functools
import hashlib
import mimetypes
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding, ResourceBinding
from mcp.server.mcpserver.resources import FunctionResource
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, PaginatedRequestParams

from skillrun.skills.folder import files_of
from skillrun.skills.frontmatter import json_fields
from skillrun.skills.plugin import strictly
from skillrun.skills.served import (
    EXTENSION,
    MAX_BYTES,
    MAX_FILES,
    GetSkillParams,
    GetSkillResult,
    ListSkillsResult,
    ServedSkill,
    SkillResource,
)
from skillrun.skills.skill import SkillError
from skillrun.skills.sources import list_skills

TTL_MS = 60_000


def _folders() -> Iterator[tuple[str, Path]]:
    """Name and directory of every skill that may be served."""
    for entry in list_skills():
        document = Path(entry.path)
        if document.name == "SKILL.md" and not strictly(document):
            yield entry.name, document.parent


def _served(name: str, folder: Path) -> ServedSkill | None:
    """The entry; None for a skill that no host has to take."""
    try:
        files = files_of(folder)
        fields = json_fields(files["SKILL.md"].decode("utf-8"))
    except (SkillError, OSError, KeyError, ValueError):
        return None
    if len(files) > MAX_FILES or sum(map(len, files.values())) > MAX_BYTES:
        return None
    resources = [
        SkillResource(uri=f"skill://{name}/{path}", digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data))
        for path, data in sorted(files.items())
    ]
    return ServedSkill(uri=f"skill://{name}/SKILL.md", frontmatter=fields, resources=resources)


async def _list(ctx: ServerRequestContext[Any, Any], params: Any) -> HandlerResult:
    found = [served for name, folder in _folders() if (served := _served(name, folder))]
    return ListSkillsResult(skills=found, ttl_ms=TTL_MS, cache_scope="private")


async def _get(ctx: ServerRequestContext[Any, Any], params: GetSkillParams) -> HandlerResult:
    for name, folder in _folders():
        if params.uri == f"skill://{name}/SKILL.md" and (served := _served(name, folder)):
            return GetSkillResult(skill=served, ttl_ms=TTL_MS, cache_scope="private")
    raise MCPError(INVALID_PARAMS, f"no skill {params.uri}: `skills/list` names them")


class SkillsExtension(Extension):
    """Serves the skills there are when the server starts; each file is read when it is asked for."""

    identifier = EXTENSION

    def methods(self) -> Sequence[MethodBinding]:
        """`skills/list` and `skills/get`."""
        return (MethodBinding("skills/list", PaginatedRequestParams, _list), MethodBinding("skills/get", GetSkillParams, _get))

    def resources(self) -> Sequence[ResourceBinding]:
        """One resource for each file."""
        return [ResourceBinding(one) for name, folder in _folders() for one in _resources(name, folder)]


def _resources(name: str, folder: Path) -> Iterator[FunctionResource]:
    try:
        paths = sorted(files_of(folder))
    except (SkillError, OSError):
        return
    for path in paths:
        kind = "text/markdown" if path.endswith(".md") else mimetypes.guess_type(path)[0] or "application/octet-stream"
        yield FunctionResource(
            uri=f"skill://{name}/{path}", name=name if path == "SKILL.md" else path, mime_type=kind,
            fn=functools.partial(_content, folder / path),
        )  # fmt: skip


def _content(path: Path) -> str | bytes:
    """Text where it is UTF-8, else bytes."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data
