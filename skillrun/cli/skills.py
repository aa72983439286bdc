"""The verbs about skills themselves: list, show, add, remove, init."""

from __future__ import annotations

import json
import shutil
from typing import Any

import click

from skillrun.events import SCHEMA

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _width() -> int:
    return min(shutil.get_terminal_size((100, 24)).columns, 140)


@click.command("list", epilog="\b\nExamples:\n  skillrun list\n  skillrun list --json")
@JSON
def list_command(as_json: bool) -> int:
    """What is available: bundled skills, added ones, and those of this project."""
    from skillrun.skill import SkillError, digest_of
    from skillrun.sources import files_of, list_skills

    entries = list_skills()
    if as_json:
        rows: list[dict[str, Any]] = []
        for entry in entries:
            try:
                digest = digest_of(files_of(entry.path.parent))
            except (SkillError, OSError):
                digest = ""
            row = {"name": entry.name, "description": entry.description, "source": entry.source, "path": str(entry.path)}
            rows.append({**row, "digest": digest, **({"problem": entry.problem} if entry.problem else {})})
        print(json.dumps({"schema": SCHEMA, "skills": rows}, indent=2))
        return 0
    if not entries:
        print("no skills found: `skillrun init NAME` makes one, `skillrun add SOURCE` adds one")
    column = max((len(entry.name) for entry in entries), default=0) + 2
    for entry in entries:
        text = f"cannot be read: {entry.problem}" if entry.problem else entry.description
        mark = "" if entry.source == "bundled" else f"[{entry.source}] "
        room = max(_width() - column - 2, 20)
        text = _shortened(f"{mark}{text}", room)
        print(f"  {entry.name:<{column}}{text}")
        for other in entry.shadows:
            click.echo(f"  {'':<{column}}warning: hides {other}", err=True)
    return 0


def _shortened(text: str, room: int) -> str:
    from skillrun.hidden import reveal

    text = reveal(text)
    return text if len(text) <= room else text[: room - 1].rstrip() + "…"


def skill_to_dict(skill: Any) -> dict[str, Any]:
    """A Skill as plain JSON data."""
    from dataclasses import asdict

    data = asdict(skill)
    data["path"] = str(skill.path) if skill.path else None
    return data


@click.command(
    "show", epilog="\b\nExamples:\n  skillrun show ripgrep\n  skillrun show ./install.md --steps\n  curl ... | skillrun show -"
)
@click.argument("skill")
@click.option("--steps", "only_steps", is_flag=True, help="Only what was understood: steps, checks, inputs, uninstall.")
@JSON
def show_command(skill: str, only_steps: bool, as_json: bool) -> int:
    """Read a skill as the model will read it, then what skillrun understood of it."""
    from skillrun.sources import find_skill

    found = find_skill(skill)
    if as_json:
        print(json.dumps({"schema": SCHEMA, "skill": skill_to_dict(found)}, indent=2, ensure_ascii=False))
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
