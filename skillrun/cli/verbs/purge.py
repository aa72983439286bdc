"""`purge`: take away what skillrun itself keeps on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from skillrun.cli.page import Page
from skillrun.errors import Problem
from skillrun.events import SCHEMA


@click.command("purge", cls=Page, examples=("skillrun purge", "skillrun purge --approve all", "skillrun purge --cache"))
@click.option("--cache", "only_cache", is_flag=True, help="Only caches: base machines, downloads. History and undo stay.")
@click.option("--approve", type=click.Choice(["ask", "all"]), default="ask", help="all: do not ask.")
@click.option("--json", "as_json", is_flag=True, help="What was removed, as one JSON object.")
def purge_command(only_cache: bool, approve: str, as_json: bool) -> int:
    """Remove skillrun's caches, history and added skills. What it installed stays, and can no longer be undone.

    Your configuration and remembered approvals stay too: they are your own words.
    """
    from skillrun.overlay.kernel.remove import remove_tree
    from skillrun.run.effects import drop_view
    from skillrun.text.escape import size

    places = [(path, held) for path in _places(only_cache) if (held := _held(path)) is not None]
    if not places and not as_json:
        print("there is nothing to remove")
        return 0
    for path, held in places:
        print(f"{path} ({size(held)})", file=sys.stderr if as_json else sys.stdout)
    if approve != "all":
        if not sys.stdin.isatty():
            raise Problem("removing this needs a person's word", "run it at a terminal, or add --approve all", code=4)
        loss = "" if only_cache else " No run can be undone or resumed afterwards."
        if not click.confirm(f"Remove these?{loss}", default=False):
            raise Problem("nothing was removed", code=4)
    if not only_cache:
        from skillrun.record.journal import all_runs
        from skillrun.rollback.recorded import prune

        for run in all_runs():
            drop_view(run)
            prune(run.path)  # a view through sudo has layers of root's elsewhere
    for path, _ in places:
        remove_tree(path)
    if as_json:
        print(json.dumps({"schema": SCHEMA, "removed": [str(path) for path, _ in places]}))
        return 0
    print("removed; skillrun itself goes with its environment: delete .venv, `pipx uninstall` or `uv tool uninstall`")
    return 0


def _places(only_cache: bool) -> list[Path]:
    import platformdirs

    from skillrun.record.place import state_directory
    from skillrun.sandbox.base import cache_directory
    from skillrun.skills.index import library

    caches = [cache_directory(), Path(platformdirs.user_cache_dir("skillrun"))]
    kept = [] if only_cache else [state_directory(), Path(library()).parent]
    found: list[Path] = []
    for path in (*caches, *kept):
        if not any(path == other or other in path.parents for other in found):
            found.append(path)
    return found


def _held(path: Path) -> int | None:
    """Bytes below a place; None where there is none."""
    if not path.is_dir():
        return None
    return sum(item.lstat().st_size for item in path.rglob("*") if not item.is_symlink())
