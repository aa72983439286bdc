"""A rollout while it goes on: a table on a terminal, a line for each change in a pipe, JSON lines for programs."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from skillrun.events import SCHEMA
from skillrun.text.escape import one_line, shown

if TYPE_CHECKING:
    from rich.table import Table

Row = Mapping[str, Any]
_ORDER = (
    "working",
    "set aside",
    "unknown",
    "failed",
    "denied",
    "needs a person",
    "unreachable",
    "not begun",
    "waiting",
    "verified",
)


class JsonRows:
    """Every line of the ledger, on standard output."""

    def __call__(self, row: Row) -> None:
        """One line, at once."""
        with contextlib.suppress(OSError, ValueError):  # nobody listens any more: machines in the middle of it go on
            print(json.dumps({"schema": SCHEMA, **row}), flush=True)


class Lines:
    """A line for each machine that changed how it stands."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: dict[str, tuple[Any, ...]] = {}

    def __call__(self, row: Row) -> None:
        """Say what is new in a row."""
        if row["type"] == "FleetNoted":
            self._print(str(row["text"]))
        if row["type"] != "Machine":
            return
        stand = (row["state"], row["reason"])
        if self._last.get(row["host"]) != stand and row["state"] != "waiting":
            self._last[row["host"]] = stand
            more = [
                word for word in ("changed" if row["changed"] and row["state"] == "verified" else "", row["reason"]) if word
            ]
            self._print(f"{shown(row['host'])}: {row['state']}{': ' if more else ''}{', '.join(more)}")

    def _print(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody listens any more; the ledger has it
            print(one_line(shown(" ".join(text.split())), 400), file=self._stream, flush=True)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Lines leave the terminal to anybody."""
        yield


class Board:
    """The table of machines on a terminal: who is at work first, as many as fit."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream, markup=False, highlight=False, emoji=False)
        self._rows: dict[str, tuple[Row, float]] = {}
        self._note = ""
        self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=4, transient=True)
        self._live.start()

    def __call__(self, row: Row) -> None:
        """Show what is new."""
        if row["type"] == "FleetNoted":
            self._note = str(row["text"])
            self._console.print(one_line(shown(self._note), 200), style="dim")
        if row["type"] == "Machine":
            before = self._rows.get(row["host"])
            since = before[1] if before is not None and before[0]["state"] == row["state"] else time.monotonic()
            self._rows[row["host"]] = (row, since)

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, expand=False)
        for name in ("machine", "group", "state", "step", "time"):
            table.add_column(name, no_wrap=True, overflow="ellipsis")
        rows = sorted(self._rows.values(), key=lambda pair: (_ORDER.index(pair[0]["state"]), pair[0]["host"]))
        room = max(3, self._console.height - 4)
        colours = {"verified": "green", "working": "cyan", "waiting": "dim", "set aside": "yellow"}
        for row, since in rows[:room]:
            going = row["state"] in ("working", "set aside")
            spent = time.monotonic() - since if going else row["seconds"]
            words = [row["host"], row["group"], row["state"], row["step"] or row["reason"]]
            cells = [Text(one_line(shown(" ".join(str(word).split())), 70)) for word in words]
            cells[2].stylize(colours.get(row["state"], "red"))
            table.add_row(*cells, f"{spent:.0f} s")
        if len(rows) > room:
            table.add_row(f"and {len(rows) - room} more")
        return table

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to a question for a while."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def close(self) -> None:
        """Take the table away; what is to stay is printed by the caller."""
        self._live.stop()


def open_screen(as_json: bool) -> Board | Lines:
    """The table on a terminal, else lines; beside JSON they go to standard error."""
    stream = sys.stderr if as_json else sys.stdout
    return Board(stream) if stream.isatty() else Lines(stream)
