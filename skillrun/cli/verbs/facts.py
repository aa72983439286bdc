"""`skillrun facts`: what skillrun knows of this machine before it decides anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from skillrun.cli.page import Page
from skillrun.host.facts import RUNTIMES, here


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
@click.option("--quick", is_flag=True, help="Only what files tell: no versions, services, ports or sudo.")
@click.option("--json", "as_json", is_flag=True, help="One object.")
def facts_command(names: Sequence[str], hosts: Sequence[str], quick: bool, as_json: bool) -> int:
    """Look at this machine, read-only. A fact that cannot be found out is left out."""
    facts = here(names if quick else (*RUNTIMES, *names), hosts, quick=quick)
    if as_json:
        from skillrun.events import SCHEMA

        print(json.dumps({"schema": SCHEMA, "facts": facts}, ensure_ascii=False))
    else:
        for name in sorted(facts):
            print(f"{name:<10} {_line(facts[name])}")
    return 0


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
