"""`runs`: the history of this user's runs."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from skillrun.cli.listing import columns, cut
from skillrun.cli.page import Page
from skillrun.events import SCHEMA
from skillrun.record.journal import all_runs


@click.command("runs", cls=Page, examples=("skillrun runs", "skillrun runs --json --limit 5", "skillrun runs --prune 30"))
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@click.option("--limit", type=int, metavar="N", default=20, show_default=True, help="How many, newest first.")
@click.option("--prune", "older", type=int, metavar="DAYS", help="Give up the way back of runs older than DAYS.")
def runs_command(as_json: bool, limit: int, older: int | None) -> int:
    """History, newest first. RUN in other verbs is an id, a part of one, or `last`."""
    if older is not None:
        return _prune(older, as_json)
    rows = [run.summary() for run in [run for run in all_runs() if run.began][:limit]]
    if as_json:
        print(json.dumps({"schema": SCHEMA, "runs": rows}))
        return 0
    if not rows:
        print("No runs yet.")
    for line in _lines(rows, columns()):
        print(line)
    return 0


def _lines(rows: list[dict[str, Any]], width: int) -> Iterator[str]:
    """Each run in a line where that fits, else what it was and, below, its id."""
    shown = [
        (f"{row['skill']}: {row.get('verb', '')} {row['outcome'] or 'unfinished'}", row["exit_code"], row["id"]) for row in rows
    ]
    ids = max((len(row["id"]) for row in rows), default=0)
    one_line = width >= ids + 30
    for text, code, name in shown:
        whole = text if not code else f"{text} ({code})"
        if one_line:
            yield f"{name:<{ids}}  {cut(whole, width - ids - 2)}"
        else:
            yield cut(whole, width)
            yield f"  {name}"


def _prune(days: int, as_json: bool) -> int:
    """Drop what undo would need of old runs; the runs' journals stay."""
    from skillrun.overlay.transaction.workspace import CommitError
    from skillrun.rollback.recorded import prune

    oldest = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
    freed, pruned = 0, []
    for run in all_runs():
        if run.id[:15] >= oldest.strftime("%Y%m%d-%H%M%S"):
            continue
        try:
            freed += prune(run.path)
        except (CommitError, OSError) as error:
            print(f"skillrun: {run.id} is left as it is: {error}", file=sys.stderr)
            continue
        pruned.append(run.id)
    if as_json:
        print(json.dumps({"schema": SCHEMA, "pruned": pruned, "bytes": freed}))
    else:
        print(f"{len(pruned)} runs can no longer be undone; {freed / 1e6:.1f} MB are free again")
    return 0
