"""`installed`, `outdated`, `upgrade`: what stands, what is newer, and getting it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click

from skillrun.cli.listing import columns, cut
from skillrun.cli.page import Page
from skillrun.cli.verbs.install import common
from skillrun.errors import Problem
from skillrun.events import SCHEMA
from skillrun.text.folding import folded, width_of

if TYPE_CHECKING:
    from skillrun.rollback.installed import Installed

PATIENCE_S = 60.0
NOTHING = "Nothing is newer, as far as apt, pip and npm know."


@click.command("installed", cls=Page, examples=("skillrun installed", "skillrun installed --json"))
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def installed_command(as_json: bool) -> int:
    """What skillrun installed here and still stands: not undone and not uninstalled since."""
    from skillrun.rollback.installed import installed

    found = installed()
    if as_json:
        print(json.dumps({"schema": SCHEMA, "installed": [_row(item) for item in found]}))
        return 0
    if not found:
        text = "Nothing yet. `skillrun install NAME` installs, `skillrun list` names what there is."
        print(folded(text, width_of(sys.stdout), 0))
    width = max((len(item.skill) for item in found), default=0)
    for item in found:
        came = item.versions or ("was there already" if item.already else "no packages of a manager")
        print(cut(f"{item.skill:<{width}}  {item.at[:10]}  {came}", columns()))
    return 0


@click.command("outdated", cls=Page, examples=("skillrun outdated",))
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def outdated_command(as_json: bool) -> int:
    """What was installed and is newer now: its packages, as their managers know it, or the text of the skill."""
    from skillrun.rollback.installed import installed

    rows = [(item, *_newer(item)) for item in installed()]
    rows = [row for row in rows if row[1] or row[2]]
    if as_json:
        data = [{"skill": item.skill, "packages": newer, "text_changed": text} for item, newer, text in rows]
        print(json.dumps({"schema": SCHEMA, "outdated": data}))
        return 0
    for item, newer, text in rows:
        what = [f"{name} {old} -> {new}" for name, old, new in newer] + ["the skill's text changed"] * text
        print(cut(f"{item.skill}: {', '.join(what)}", columns()))
    print(f"`skillrun upgrade {rows[0][0].skill}` upgrades it" if rows else NOTHING)
    return 0


@click.command("upgrade", cls=Page, examples=("skillrun upgrade ripgrep", "skillrun upgrade --preview"))
@click.argument("names", nargs=-1, metavar="[SKILL]...")
@common
@click.option("--dry-run", is_flag=True, help="Nothing persists.")
@click.option("--preview", is_flag=True, help="Run in a view, show what would change, ask once.")
def upgrade_command(names: tuple[str, ...], **values: Any) -> int:
    """Bring what skillrun installed to its newest version, and run its checks. Without a name: all that is outdated."""
    from skillrun.rollback.installed import installed

    found = {item.skill: item for item in installed()}
    if missing := [name for name in names if name not in found]:
        raise Problem(f"skillrun has not installed {missing[0]}", "`skillrun installed` lists what it has")
    chosen = [found[name] for name in names] or [item for item in found.values() if any(_newer(item))]
    if not chosen:
        print(json.dumps({"schema": SCHEMA, "upgraded": []}) if values["as_json"] else NOTHING)
        return 0
    for item in chosen:
        code = _upgrade(item, values)
        if code:
            return code
    return 0


def _upgrade(item: Installed, values: dict[str, Any]) -> int:
    from skillrun.cli.carry import carry_out_skill
    from skillrun.cli.verbs.install import options_of, reporting_of
    from skillrun.rollback.installed import source_now, upgrade_text
    from skillrun.skills.parser.read import read_skill

    skill = source_now(item)
    if skill is None:
        raise Problem(f"the text of {item.skill} is not there any more ({item.source})", "install it again from its source")
    if skill.digest == item.digest:
        text = upgrade_text(item)
        if not text:
            print(f"{item.skill}: no package manager brought it, so there is nothing to upgrade it with", file=sys.stderr)
            return 0
        skill = dataclasses.replace(skill, steps=read_skill(text, f"upgrade of {item.skill}").steps)
    return carry_out_skill("upgrade", skill, options_of(values), reporting_of(values), values["no_input"])


def _newer(item: Installed) -> tuple[list[tuple[str, str, str]], bool]:
    from skillrun.rollback.installed import newer_packages, source_now

    now = source_now(item)
    return list(newer_packages(item.packages, _say)), now is not None and now.digest != item.digest


def _say(text: str) -> str:
    try:
        done = subprocess.run(
            ["bash", "-c", text], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _row(item: Installed) -> dict[str, Any]:
    packages = [
        {"manager": manager, "place": place, "name": name, "version": version}
        for (manager, place), names in item.packages.items()
        for name, version in names.items()
    ]
    return {
        "skill": item.skill,
        "source": item.source,
        "run": item.run,
        "at": item.at,
        "already": item.already,
        "packages": packages,
    }
