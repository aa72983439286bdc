"""The verbs about skills themselves: list, show, add, remove, init."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from skillrun.cli.page import Page

if TYPE_CHECKING:
    from skillrun.skills.skill import Skill

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command(
    "list",
    cls=Page,
    examples=(
        "skillrun list",
        "skillrun list --json",
    ),
)
@JSON
def list_command(as_json: bool) -> int:
    """What is available: bundled skills, added ones, and those of this project."""
    if not as_json:
        from skillrun.cli.listing import list_them

        list_them()
        return 0
    from pathlib import Path

    from skillrun.skills.folder import files_of
    from skillrun.skills.skill import SkillError, digest_of
    from skillrun.skills.sources import list_skills

    rows: list[dict[str, Any]] = []
    for entry in list_skills():
        try:
            digest = digest_of(files_of(Path(entry.path).parent))
        except (SkillError, OSError):
            digest = ""
        row = {"name": entry.name, "description": entry.description, "source": entry.source, "path": entry.path}
        rows.append({**row, "digest": digest, **({"problem": entry.problem} if entry.problem else {})})
    print(envelope({"skills": rows}, indent=2))
    return 0


def skill_to_dict(skill: Any) -> dict[str, Any]:
    """A Skill as plain JSON data."""
    from dataclasses import asdict

    data = asdict(skill)
    data["path"] = str(skill.path) if skill.path else None
    return data


@click.command(
    "show",
    cls=Page,
    examples=(
        "skillrun show ripgrep",
        "skillrun show ./install.md --steps",
        "skillrun show ripgrep --raw",
        "curl ... | skillrun show -",
    ),
)
@click.argument("skill")
@click.option("--steps", "only_steps", is_flag=True, help="Only what was understood: steps, checks, inputs, uninstall.")
@click.option("--raw", is_flag=True, help="Only the document, as it is.")
@JSON
def show_command(skill: str, only_steps: bool, raw: bool, as_json: bool) -> int:
    """Read a skill as the model will read it, then what skillrun understood of it."""
    from skillrun.skills.sources import find_skill

    found = find_skill(skill)
    if as_json:
        print(envelope({"skill": skill_to_dict(found)}, indent=2))
        return 0
    if raw:
        sys.stdout.write(found.text)
        return 0
    if not only_steps:
        print(found.text.rstrip())
        print()
    from skillrun.cli.understood import understood

    for line in understood(found):
        print(line)
    for warning in (*found.warnings, *_not_as_locked(found)):
        click.echo(f"warning: {warning}", err=True)
    return 0


def _not_as_locked(skill: Skill) -> list[str]:
    """Why `install` would refuse it, where a lock holds other bytes: it is shown all the same."""
    from skillrun.skills.lock import hold_to_lock
    from skillrun.skills.skill import SkillError

    try:
        hold_to_lock(skill)
    except SkillError as error:
        return [str(error)]
    return []


def told(as_json: bool, row: dict[str, Any], text: str) -> int:
    """Print a row as JSON, or the text; exit code 0."""
    print(envelope(row) if as_json else text)
    return 0


def envelope(data: dict[str, Any], indent: int | None = None) -> str:
    """The data as the JSON that every verb answers with."""
    import json

    from skillrun.events import SCHEMA

    return json.dumps({"schema": SCHEMA, **data}, indent=indent, ensure_ascii=False)


@click.command("remove", cls=Page, examples=("skillrun remove foo",))
@click.argument("name")
@JSON
def remove_command(name: str, as_json: bool) -> int:
    """Take a skill out of your library. What it installed stays; `skillrun uninstall` removes that."""
    from skillrun.skills.library import remove

    return told(as_json, {"name": name, "path": str(remove(name)), "state": "removed"}, f"{name} removed from your library")


@click.command(
    "init",
    cls=Page,
    examples=(
        "skillrun init my-tool",
        "skillrun init my-tool --in skills",
        "skillrun init my-tools --plugin",
    ),
)
@click.argument("name")
@click.option("--in", "folder", default=".", help="The directory to make it in.")
@click.option("--plugin", is_flag=True, help="A plugin.json over the skills in ./skills, for clients of Agent Plugins.")
@JSON
def init_command(name: str, folder: str, plugin: bool, as_json: bool) -> int:
    """Scaffold a skill: NAME/SKILL.md with everything a reader, a policy and a check need."""
    from pathlib import Path

    from skillrun.skills.library import scaffold

    if plugin:
        from skillrun.skills.plugin import scaffold_plugin

        path = scaffold_plugin(name, Path(folder))
        return told(as_json, {"name": name, "path": str(path), "state": "made"}, f"{path} made\n  skillrun lint {folder}")
    path = scaffold(name, Path(folder))
    return told(
        as_json,
        {"name": name, "path": str(path), "state": "made"},
        f"{path} made: fill it in, and see what is left to do\n  skillrun lint {path.parent}",
    )
