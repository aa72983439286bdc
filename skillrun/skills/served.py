"""Skills from an MCP server, as the extension `io.modelcontextprotocol/skills` has them (SEP-2640, final in 2026).

`skills/list` and `skills/get` describe a skill: its front matter, and for every file a URI, a size and a SHA-256. What is
read is compared with that, file by file. Only servers that speak HTTP are read: one that has to be started first would be a
program run for the sake of reading. The types here are those of the extension; `skillrun.server.skills` serves them.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any, Literal
from urllib.parse import unquote

import anyio
from mcp import Client
from mcp.client.extension import advertise
from mcp.shared.exceptions import MCPError
from mcp_types import CacheableResult, PaginatedRequestParams, PaginatedResult, Request, RequestParams, TextResourceContents
from pydantic import BaseModel

from skillrun.skills.skill import Skill, SkillError

EXTENSION = "io.modelcontextprotocol/skills"
SCHEME = "mcp+"
"""Before the address of a server: `mcp+https://host/mcp#NAME`."""
MAX_FILES, MAX_BYTES = 512, 16 << 20
"""What every host takes of one skill (the extension's limits)."""
MAX_PAGES, MAX_SECONDS = 20, 40.0
_ADDRESS = re.compile(r"mcp\+(?P<url>https?://[^#]+)(?:#:?(?P<name>[a-z0-9-]+))?$")


class SkillResource(BaseModel):
    """A file of a skill."""

    uri: str
    digest: str
    size: int


class ServedSkill(BaseModel):
    """A skill as the extension describes it."""

    uri: str
    frontmatter: dict[str, Any]
    resources: list[SkillResource]


class ListSkillsResult(PaginatedResult, CacheableResult):
    """`skills/list`."""

    result_type: Literal["complete"] = "complete"
    skills: list[ServedSkill]


class GetSkillResult(CacheableResult):
    """`skills/get`."""

    result_type: Literal["complete"] = "complete"
    skill: ServedSkill


class GetSkillParams(RequestParams):
    """Which skill: the URI of its SKILL.md."""

    uri: str


def served_skill(spec: str) -> Skill:
    """The skill at `mcp+https://host/mcp#NAME`; without a name, the only one there. Raises SkillError."""
    from skillrun.skills.remote import allowed, kept

    where = _ADDRESS.match(spec)
    if where is None:
        raise SkillError(f"`{spec}` names no skill of a server: write mcp+https://host/mcp#NAME")
    url, wanted = where["url"], where["name"] or ""
    allowed(url)
    try:
        name, files = anyio.run(_fetched, url, wanted)
    except SkillError:
        raise
    except TimeoutError:
        raise SkillError(f"it did not answer within {MAX_SECONDS:.0f} s", url) from None
    except Exception as error:  # noqa: BLE001 - a transport's errors have no common ancestor, and come in groups
        raise SkillError(f"cannot be read as an MCP server: {_reason(error)}", url) from None
    return kept(files, "SKILL.md", f"{SCHEME}{url}#:{name}")


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(str(error).split())[:200] or type(error).__name__


async def _fetched(url: str, wanted: str) -> tuple[str, dict[str, bytes]]:
    refused: SkillError | None = None
    with anyio.fail_after(MAX_SECONDS):
        async with Client(url, extensions=[advertise(EXTENSION)], read_timeout_seconds=MAX_SECONDS) as client:
            try:
                served = await _described(client, url, wanted)
                return str(served.frontmatter["name"]), await _files(client, served)
            except SkillError as error:  # raised here it would come out in a group
                refused = error
    raise refused


async def _described(client: Client, url: str, wanted: str) -> ServedSkill:
    """The one skill that is meant. Raises SkillError."""
    found: list[ServedSkill] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        request = Request(method="skills/list", params=PaginatedRequestParams(cursor=cursor))
        try:
            page = await client.session.send_request(request, ListSkillsResult)
        except MCPError as error:
            raise SkillError(f"this server serves no skills: {_reason(error)}", url) from None
        found += page.skills
        cursor = page.next_cursor
        if not cursor:
            break
    names = sorted(str(one.frontmatter.get("name", "")) for one in found)
    chosen = [one for one in found if one.frontmatter.get("name") == wanted] if wanted else found
    if len(chosen) != 1 or not str(chosen[0].frontmatter.get("name", "")):
        told = f"`{wanted}` is not the name of one skill there" if wanted else "name a skill with #NAME"
        raise SkillError(f"{told}: it serves {', '.join(names[:20]) or 'none'}", url)
    return chosen[0]


async def _files(client: Client, served: ServedSkill) -> dict[str, bytes]:
    """Every file, each as the description says. Raises SkillError."""
    base, _, document = served.uri.rpartition("/")
    if document != "SKILL.md":
        raise SkillError("the document of a skill is its SKILL.md", served.uri)
    if len(served.resources) > MAX_FILES or sum(one.size for one in served.resources) > MAX_BYTES:
        raise SkillError(f"it has more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB", served.uri)
    files: dict[str, bytes] = {}
    for one in served.resources:
        path = _inside(one.uri, f"{base}/")
        files[path] = await _content(client, one)
    if "SKILL.md" not in files:
        raise SkillError("its list of files has no SKILL.md", served.uri)
    return files


def _inside(uri: str, base: str) -> str:
    """The path of a file in its skill. Raises SkillError for one that leads anywhere else."""
    path = unquote(uri.removeprefix(base))
    parts = path.split("/")
    if (
        not uri.startswith(base)
        or not path.isprintable()
        or "\\" in path
        or any(part in ("", ".", "..", ".git") for part in parts)
    ):
        raise SkillError("this file lies outside its skill", uri)
    return path


async def _content(client: Client, one: SkillResource) -> bytes:
    contents = (await client.read_resource(one.uri)).contents
    if len(contents) != 1:
        raise SkillError("is not one file", one.uri)
    part = contents[0]
    data = part.text.encode() if isinstance(part, TextResourceContents) else base64.b64decode(part.blob)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if (len(data), digest) != (one.size, one.digest):
        raise SkillError(f"is not what the server's own list says: {digest}, listed as {one.digest}", one.uri)
    return data
