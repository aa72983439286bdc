"""Agent Plugins: a directory with `plugin.json` and skills below `skills/`, and lists of plugins (marketplaces).

The manifest and the places of its parts are those of the Agent Plugins specification 1.0.0; 1.1.0 changes neither for skills.
Marketplaces are the lists that Claude Code and Copilot read (`.claude-plugin/marketplace.json`): only plugins inside the same
repository are followed, since a list elsewhere is another source to be named by the person.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skillrun.skills.frontmatter import split
from skillrun.skills.skill import SkillError

MANIFEST = "plugin.json"
MARKETPLACES = (".claude-plugin/marketplace.json", ".agents/plugins/marketplace.json", "marketplace.json")
SCHEMAS = tuple(f"https://agent-plugins.org/schemas/{version}/plugin.schema.json" for version in ("1.0.0", "1.1.0"))
FIELDS: Mapping[str, type] = {
    "$schema": str, "name": str, "version": str, "description": str, "author": dict, "homepage": str, "repository": str,
    "license": str, "keywords": list, "extensions": dict,
}  # fmt: skip
"""The only fields a manifest has, and their types (section 5.2 to 5.4)."""

_NAME = re.compile(r"(?!.*(?:--|\.\.))[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?$")
_SKILL_NAME = re.compile(r"(?=.{1,64}$)[a-z0-9]+(?:-[a-z0-9]+)*$")


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin that was read. `problems`: what a strict client reports or skips, in words."""

    root: Path
    name: str
    version: str = ""
    description: str = ""
    license: str = ""
    skills: tuple[Path, ...] = ()
    """Documents of its skills, one level below `skills/`."""
    problems: tuple[str, ...] = ()


def read_plugin(root: Path) -> Plugin:
    """The plugin at a directory. Raises SkillError where a client has to reject it whole."""
    path = root / MANIFEST
    if not path.resolve().is_relative_to(root.resolve()):
        raise SkillError("is a link that leads outside the plugin", str(path))
    data, problems = _manifest(path)
    documents, skipped = _skills(root)
    told = {name: str(data.get(name, "")) for name in ("version", "description", "license")}
    return Plugin(root, data["name"], **told, skills=documents, problems=(*problems, *skipped))


def _manifest(path: Path) -> tuple[dict[str, Any], list[str]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SkillError(f"cannot be read: {error}", str(path)) from None
    if not isinstance(data, dict):
        raise SkillError("must be an object", str(path))
    if data.get("$schema") not in SCHEMAS:
        raise SkillError(f"`$schema` must be {SCHEMAS[0]}", str(path))
    if not isinstance(data.get("name"), str) or not _NAME.match(data["name"]):
        raise SkillError("`name` must be 1 to 64 of a-z, 0-9, single hyphens and periods", str(path))
    for name, kind in FIELDS.items():
        if name in data and name != "extensions" and not isinstance(data[name], kind):
            raise SkillError(
                f"`{name}` must be {'text' if kind is str else 'a list' if kind is list else 'an object'}", str(path)
            )
    author = data.get("author", {})
    if set(author) - {"name", "email", "url"} or not all(isinstance(value, str) for value in author.values()):
        raise SkillError("`author` holds only name, email and url, each a text", str(path))
    if not all(isinstance(word, str) for word in data.get("keywords", [])):
        raise SkillError("`keywords` must be texts", str(path))
    problems = [f"{path.name}: `{name}` is no field of a plugin and is left out" for name in data if name not in FIELDS]
    if not isinstance(data.get("extensions", {}), dict):
        problems.append(f"{path.name}: `extensions` must be an object and is left out")
    return data, problems


def _skills(root: Path) -> tuple[tuple[Path, ...], list[str]]:
    """The skills one level below `skills/`, and why some are not read or will be skipped by a strict client."""
    folder, inside = root / "skills", root.resolve()
    if not folder.exists():
        return (), []
    if not folder.resolve().is_relative_to(inside) or not folder.is_dir():
        return (), ["skills: is not a directory of the plugin, its skills are left out"]
    found, problems = [], []
    for place in sorted(folder.iterdir()):
        document = place / "SKILL.md"
        if not document.is_file():
            continue
        if not document.resolve().is_relative_to(inside):
            problems.append(f"skills/{place.name}/SKILL.md: a link that leads outside the plugin, refused")
            continue
        found.append(document)
        if problem := strictly(document):
            problems.append(f"skills/{place.name}/SKILL.md: strict clients skip it: {problem}")
    return tuple(found), problems


def strictly(document: Path) -> str:
    """Why the Agent Skills specification's required parts are not met (agentskills.io); empty when they are."""
    try:
        front = split(document.read_text(encoding="utf-8"), str(document))
    except (SkillError, OSError, UnicodeDecodeError) as error:
        return str(error)
    name, description = front.text("name"), front.text("description")
    if not name or not _SKILL_NAME.match(name):
        return f"the name `{name or ''}` is not valid"
    if name != document.parent.name:
        return f"it is named `{name}` and lies in `{document.parent.name}`"
    if not description or not description.strip() or len(description) > 1024:
        return "its description must have 1 to 1024 characters"
    return ""


def documents_of(root: Path) -> tuple[Path, ...] | None:
    """The skills of the plugin, or of every plugin in the marketplace, at a directory; None where it is neither.

    Raises SkillError for a manifest that has to be rejected.
    """
    if (root / MANIFEST).is_file():
        return read_plugin(root).skills
    for name in MARKETPLACES:
        if (root / name).is_file():
            return _marketplace(root, root / name)
    return None


def _marketplace(root: Path, path: Path) -> tuple[Path, ...]:
    try:
        plugins = json.loads(path.read_text(encoding="utf-8"))["plugins"]
        places = [one["source"] for one in plugins if isinstance(one, dict) and isinstance(one.get("source"), str)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SkillError(f"is no list of plugins: {error}", str(path)) from None
    found: list[Path] = []
    for place in places:
        folder = (root / place).resolve()
        if "://" in place or not folder.is_relative_to(root.resolve()):
            continue
        found += documents_of_plugin(folder)
    return tuple(dict.fromkeys(found))


def documents_of_plugin(folder: Path) -> tuple[Path, ...]:
    """A plugin's skills; one in a marketplace may have Claude Code's manifest, or none at all."""
    return read_plugin(folder).skills if (folder / MANIFEST).is_file() else _skills(folder)[0]


def scaffold_plugin(name: str, folder: Path) -> Path:
    """Write `folder/plugin.json` over the skills in `folder/skills`. Raises SkillError when it is there, or for a bad name."""
    path = folder / MANIFEST
    if not _NAME.match(name):
        raise SkillError(f"`{name}` is not a valid name: a-z, 0-9, single hyphens and periods, at most 64 characters")
    if path.exists():
        raise SkillError("is there already", str(path))
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        "$schema": SCHEMAS[0],
        "name": name,
        "version": "0.1.0",
        "description": f"Installs {name}.",
        "license": "Apache-2.0",
    }
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return path
