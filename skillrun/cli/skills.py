"""The verbs about skills themselves: list, show, add, remove, init."""

from __future__ import annotations

import sys
from typing import Any

import click

from skillrun.cli.page import Page

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

    from skillrun.skills.skill import SkillError, digest_of
    from skillrun.skills.sources import files_of, list_skills

    rows: list[dict[str, Any]] = []
    for entry in list_skills():
        try:
            digest = digest_of(files_of(Path(entry.path).parent))
        except (SkillError, OSError):
            digest = ""
        row = {"name": entry.name, "description": entry.description, "source": entry.source, "path": entry.path}
        rows.append({**row, "digest": digest, **({"problem": entry.problem} if entry.problem else {})})
    print(_envelope({"skills": rows}, indent=2))
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
        print(_envelope({"skill": skill_to_dict(found)}, indent=2))
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
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    return 0


@click.command(
    "add",
    cls=Page,
    examples=(
        "skillrun add owner/repo/skills/foo",
        "skillrun add ./install.md --name foo",
    ),
)
@click.argument("source")
@click.option("--name", default="", help="The name to add it under.")
@click.option("--diff", "only_diff", is_flag=True, help="Only show what changed since it was added.")
@click.option("--replace", is_flag=True, help="Take the changed skill without asking.")
@JSON
def add_command(source: str, name: str, only_diff: bool, replace: bool, as_json: bool) -> int:
    """Copy a skill into your library, pinned to source, commit and digest. Nothing of it is executed."""
    from skillrun.cli.group import Problem
    from skillrun.skills.library import add, diff, name_for, pin_of
    from skillrun.skills.sources import find_skill

    skill = find_skill(source)
    name = name or name_for(skill)
    pin = pin_of(name)
    changes = diff(pin.text, skill.text, name) if pin else ""
    if only_diff:
        state = "changed" if changes else "same"
        return _told(as_json, {"name": name, "diff": changes, "state": state}, changes or f"{name}: not changed")
    if pin and pin.digest == skill.digest:
        return _told(
            as_json, {"name": name, "digest": skill.digest, "state": "same"}, f"{name} is in your library already, unchanged"
        )
    if pin and not replace:
        click.echo(changes or "only other files of the skill changed", err=True)
        if as_json or not sys.stdin.isatty():
            raise Problem(f"`{name}` is in your library and this one differs", "read the difference, then say --replace", 4)
        if not click.confirm(f"Replace the {name} of {pin.added[:10]}?", err=True):
            return 4
    place = add(skill, name)
    for warning in skill.warnings:
        click.echo(f"warning: {warning}", err=True)
    row = {
        "name": name,
        "digest": skill.digest,
        "source": skill.source,
        "path": str(place),
        "state": "replaced" if pin else "added",
    }
    return _told(
        as_json, row, f"{name} added from {skill.source}\n  {skill.digest}\n  skillrun show {name}    skillrun install {name}"
    )


def _told(as_json: bool, row: dict[str, Any], text: str) -> int:
    print(_envelope(row) if as_json else text)
    return 0


def _envelope(data: dict[str, Any], indent: int | None = None) -> str:
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

    return _told(as_json, {"name": name, "path": str(remove(name)), "state": "removed"}, f"{name} removed from your library")


@click.command(
    "init",
    cls=Page,
    examples=(
        "skillrun init my-tool",
        "skillrun init my-tool --in skills",
    ),
)
@click.argument("name")
@click.option("--in", "folder", default=".", help="The directory to make it in.")
@JSON
def init_command(name: str, folder: str, as_json: bool) -> int:
    """Scaffold a skill: NAME/SKILL.md with everything a reader, a policy and a check need."""
    from pathlib import Path

    from skillrun.skills.library import scaffold

    path = scaffold(name, Path(folder))
    return _told(as_json, {"name": name, "path": str(path), "state": "made"}, f"{path} made\n  skillrun lint {path.parent}")
