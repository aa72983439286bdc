"""`runs`: the history of this user's runs."""

from __future__ import annotations

import json

import click

from skillrun.cli.page import Page
from skillrun.events import SCHEMA
from skillrun.journal import all_runs


@click.command("runs", cls=Page, examples=("skillrun runs", "skillrun runs --json --limit 5"))
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@click.option("--limit", type=int, metavar="N", default=20, show_default=True, help="How many, newest first.")
def runs_command(as_json: bool, limit: int) -> int:
    """History, newest first. RUN in other verbs is an id, a part of one, or `last`."""
    rows = [run.summary() for run in all_runs()[:limit]]
    if as_json:
        print(json.dumps({"schema": SCHEMA, "runs": rows}))
        return 0
    if not rows:
        print("No runs yet.")
    for row in rows:
        code = "" if row["exit_code"] is None else f" ({row['exit_code']})"
        print(f"{row['id']:45} {row.get('verb', ''):10} {row['skill']:20} {row['outcome'] or 'unfinished'}{code}")
    return 0
