"""`undo`: take back what a run changed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import click

from skillrun.cli.page import Page
from skillrun.errors import Problem
from skillrun.events import SCHEMA
from skillrun.text.folding import folded, width_of

if TYPE_CHECKING:
    from skillrun.record.journal import RunFolder
    from skillrun.rollback.as_run import Undone


@click.command(
    "undo",
    cls=Page,
    examples=(
        "skillrun undo last",
        "skillrun undo last --edited leave --approve all",
    ),
)
@click.argument("run", required=False)
@click.option("--edited", type=click.Choice(["leave", "replace"]), help="What to do with files changed after the run.")
@click.option(
    "--approve",
    type=click.Choice(["ask", "safe", "declared", "all"]),
    envvar="SKILLRUN_APPROVE",
    show_envvar=True,
    help="all: do not ask.",
)
@click.option("--no-input", is_flag=True, envvar="SKILLRUN_NO_INPUT", show_envvar=True, help="Never ask: exit 4 instead.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def undo_command(run: str | None, edited: str | None, approve: str | None, no_input: bool, as_json: bool) -> int:
    """Take back what RUN changed (`last`: the last that changed something). Undoing an undo brings the changes back."""
    from skillrun.rollback.undo import undo

    ask = Ask(approve, no_input, as_json)
    word = run or _chosen(ask)
    folder, name, outcome = _elsewhere(word, edited, ask) or undo(word, edited, ask)
    tell(folder, name, outcome, as_json)
    return 0 if outcome.ok else 3


def _elsewhere(word: str, edited: str | None, ask: Ask) -> tuple[RunFolder, str, Undone] | None:
    """The same for a run on another machine; None for one on this. `last` is the last that changed this machine."""
    from skillrun.record.journal import JournalError, find_run

    try:
        folder = find_run(word) if word != "last" else None
    except JournalError:
        return None  # told of by the undo
    if folder is None or not folder.elsewhere:
        return None
    from skillrun.cli.elsewhere import undo_on

    return folder, *undo_on(folder, edited, ask, ask.no_input)


def _chosen(ask: Ask) -> str:
    """The run a person picks from those whose changes stand. Raises Problem where there is nobody to pick."""
    from skillrun.rollback.standing import standing

    runs = list(islice(standing(), LISTED))
    if not runs:
        raise Problem("no run changed anything here that could be taken back", "`skillrun runs` lists what there is")
    rows = [f"{number}) {run.id}" for number, run in enumerate(runs, 1)]
    if ask.no_input or not sys.stdin.isatty():
        raise Problem("name the run to take back", f"one of {', '.join(run.id for run in runs)}; or `last`")
    ask.show(["These runs changed something:", *(f"  {row}" for row in rows)])
    number: int = click.prompt("Which one", type=click.IntRange(1, len(runs)), default=1, err=True)
    return runs[number - 1].id


LISTED = 10


@dataclass(slots=True)
class Ask:
    """How questions about an undo are answered: by a mode, or by a person at a terminal."""

    approve: str | None
    no_input: bool
    as_json: bool

    def show(self, lines: Iterable[str]) -> None:
        """For a person only, so on standard error."""
        columns = width_of(sys.stderr)
        for line in () if self.as_json else lines:
            click.echo(folded(line, columns), err=True)

    def confirm(self, question: str) -> None:
        """Raises Problem (exit code 4) when nobody says yes."""
        if self.approve == "all":
            return
        if self.no_input or not sys.stdin.isatty() or self.approve not in (None, "ask"):
            raise Problem("undoing needs a person's word", "run it at a terminal, or add --approve all", code=4)
        if not click.confirm(question, default=False, err=True):
            raise Problem("nothing was undone", code=4)

    def about_edits(self, paths: Sequence[str]) -> str:
        """`leave` or `replace`. Raises Problem (exit code 4) when nobody can say."""
        if self.no_input or not sys.stdin.isatty():
            raise Problem(
                f"{len(paths)} paths were changed after the run, first {paths[0]}",
                "add --edited leave to keep them as they are, or --edited replace to put the former ones back"
                " (the later ones are kept beside the run)",
                code=4,
            )
        choice: str = click.prompt(
            "Leave them as they are, or put the former ones back and keep the later ones beside the run?",
            type=click.Choice(["leave", "replace", "stop"]),
            default="stop",
            err=True,
        )
        if choice == "stop":
            raise Problem("nothing was undone", "--edited leave or --edited replace says it beforehand", code=4)
        return choice


def tell(folder: RunFolder, name: str, outcome: Undone, as_json: bool) -> None:
    """Say what came of it, as text or as one JSON object."""
    from skillrun.text.escape import shown

    if as_json:
        data = {
            "run": folder.id,
            "as_run": name,
            "paths": outcome.paths,
            "packages": outcome.packages,
            "left": outcome.left,
            "kept": outcome.kept,
            "services": outcome.services,
            "commands": outcome.commands,
            "cannot": outcome.cannot,
            "failed": outcome.failed,
        }
        print(json.dumps({"schema": SCHEMA, "undo": data}))
        return
    done = [(outcome.packages, "package", "removed"), (outcome.paths, "path", "put back")]
    counted = [f"{number} {noun}{'s' if number != 1 else ''} {what}" for number, noun, what in done if number]
    print(f"{'undone' if outcome.ok else 'not all undone'}: {', '.join(counted) or 'nothing had to be changed'}")
    print(f"  `skillrun undo {name}` brings it back")
    words = [
        f"failed ({item['exit_code']}): {item.get('command') or ' '.join(item['argv'])}"
        for item in (*outcome.services, *outcome.commands)
        if item["exit_code"] != 0
    ]
    words += [f"could not be put back: {text}" for text in outcome.failed]
    words += [f"left as it is: {path}" for path in outcome.left]
    words += [f"the later {path} is kept: {place}" for path, place in outcome.kept.items()]
    words += [f"stays: {text}" for text in outcome.cannot]
    columns = width_of(sys.stdout)
    for line in words:
        print(folded(f"  {shown(line)}", columns))
