"""Where a skill comes from: a bundled or added name, a path, a URL, a repository, standard input.

`find_skill` turns what a person writes into a read Skill; `list_skills` says what there is without reading
whole documents. Remote sources live in `skillrun.skills.remote`, which is imported only when one is named.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

from skillrun.skills.folder import read_path
from skillrun.skills.frontmatter import split
from skillrun.skills.index import MAX_BYTES, Entry, entries, named, search_path, skills_in
from skillrun.skills.skill import Skill, SkillError
from skillrun.text.patterns import later

_NAME = later(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
_REPOSITORY = later(r"(?![./~])[A-Za-z0-9][\w.-]*/[\w.-]+(?:/[\w./-]+)?(?:@[a-z0-9-]+)?(?:#[\w./-]+)?$")
_GIT = later(r"(?:git\+|git://|ssh://|git@[\w.-]+:)|\.git(?:#|$)")


def list_skills() -> list[Entry]:
    """What is available by name, in alphabetical order; what shadows what is noted. Never raises for a broken skill."""
    return entries(describe)


def describe(text: str, path: str) -> tuple[str, str]:
    """The description in a document, or its first line; and why it cannot be read, when it cannot."""
    try:
        front = split(text, path)
    except SkillError as error:
        return "", str(error)
    description = front.text("description") or next((line for line in front.body.split("\n") if line.strip()), "")
    return " ".join(description.lstrip("# ").split()), ""


def find_skill(spec: str) -> Skill:
    """The skill a person means: name, directory, file, URL, `owner/repo[/path][@skill][#ref]`, git URL, an MCP
    server's `mcp+https://host/mcp#NAME`, `-` (standard input).

    The digest covers every file of a skill directory. Raises SkillError with what to try instead.
    """
    from skillrun.skills.parser.read import read_skill

    if spec == "-":
        return replace(read_skill(_standard_input(), "stdin"), source="stdin")
    if spec.startswith("mcp+"):
        return _served(spec)
    if re.match(r"https?://", spec) and not _GIT.search(spec):
        from skillrun.skills.remote import fetch_skill

        return fetch_skill(spec)
    if _GIT.search(spec) or spec.startswith("file://"):
        from skillrun.skills.remote import clone_skill

        return clone_skill(spec)
    path = Path(spec).expanduser()
    if _NAME.match(spec) and not spec.endswith(".md"):
        named = _named(spec)
        if named:
            return named
    if path.exists():
        return read_path(path, spec)
    if _REPOSITORY.match(spec) and not spec.endswith((".md", ".txt")):
        from skillrun.skills.remote import clone_skill

        return clone_skill(spec)
    raise SkillError(_not_found(spec))


def _served(spec: str) -> Skill:
    try:
        from skillrun.skills.served import served_skill
    except ImportError as error:
        missing = f"a skill of an MCP server needs more than is installed ({error.name}): install skillrun-agent[mcp]"
        raise SkillError(missing, spec) from None
    return served_skill(spec)


def _standard_input() -> str:
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise SkillError(f"larger than {MAX_BYTES >> 10} KiB: nobody reviews instructions of that size", "standard input")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise SkillError("is not UTF-8 text", "standard input") from None


def _named(name: str) -> Skill | None:
    matches = [(label, Path(document)) for label, document in named(name)]
    if not matches:
        return None
    label, document = matches[0]
    skill = read_path(document.parent if document.parent.name == name else document, f"{label}:{name}")
    if len(matches) > 1:
        others = ", ".join(str(path.parent) for _, path in matches[1:])
        warning = f"{document.parent} shadows another skill of the same name: {others}"
        skill = replace(skill, warnings=(*skill.warnings, warning))
    return skill


def _not_found(spec: str) -> str:
    from difflib import get_close_matches

    names = sorted({name for place, _ in search_path() for name, _ in skills_in(place)})
    close = get_close_matches(spec.rsplit("/", 1)[-1], names, n=3, cutoff=0.5)
    if close:
        return f"no skill `{spec}`: did you mean {' or '.join(close)}?"
    if "/" in spec or spec.endswith(".md"):
        return f"no file or directory `{spec}`"
    return f"no skill `{spec}`: `skillrun list` names those there are"
