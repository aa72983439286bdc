"""`skillrun facts`: what skillrun knows of this machine before it decides anything."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from skillrun.cli.page import Page
from skillrun.events import SCHEMA
from skillrun.facts import RUNTIMES, Facts, gather


@click.command(
    "facts",
    cls=Page,
    examples=(
        "skillrun facts",
        "skillrun facts --json",
        "skillrun facts --version-of go --reach example.org",
    ),
)
@click.option("--version-of", "names", multiple=True, metavar="PROGRAM", help="Also ask this program for its version.")
@click.option("--reach", "hosts", multiple=True, metavar="HOST[:PORT]", help="Also see whether this host answers.")
@click.option("--json", "as_json", is_flag=True, help="One object.")
def facts_command(names: Sequence[str], hosts: Sequence[str], as_json: bool) -> int:
    """Look at this machine, read-only. A fact that cannot be found out is left out."""
    facts = look((*RUNTIMES, *names), hosts)
    if as_json:
        print(json.dumps({"schema": SCHEMA, "facts": facts}, ensure_ascii=False))
    else:
        for name in sorted(facts):
            print(f"{name:<10} {_line(facts[name])}")
    return 0


def look(versions: Sequence[str], hosts: Sequence[str]) -> Facts:
    """The facts of the machine this runs on."""
    from skillrun.secrets import Vault
    from skillrun.targets.local import LocalTarget

    with tempfile.TemporaryDirectory(prefix="skillrun-facts-") as folder:
        target = LocalTarget(Path(folder), vault=Vault())
        try:
            return gather(target, versions=versions, hosts=hosts)
        finally:
            target.close()


def _line(value: Any) -> str:
    """A fact on one line: nested ones as `name value`, lists with commas."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_line(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return (
            "; ".join(_line(inner) for inner in value)
            if value and isinstance(value[0], Mapping)
            else ", ".join(map(str, value))
        )
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
