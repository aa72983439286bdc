"""The live screen: what runs now, for how long, its last lines; folded to one line when it succeeds, open when it fails."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live as Region
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from skillrun.events import (
    Changed,
    Checked,
    Decided,
    Event,
    Finished,
    Noted,
    Output,
    Replied,
    RunEnded,
    RunStarted,
    Said,
    Started,
    State,
    Verdict,
)
from skillrun.record import wording
from skillrun.record.changes_text import Line, change_lines, left_out_lines
from skillrun.record.report import Fold
from skillrun.text.escape import Tail, one_line, seconds, settled, shown

LEVELS = {"error": "red", "warning": "yellow", "info": "dim"}
TONES = {"add": "green", "del": "red", "at": "cyan", "alert": "bold red", "strong": "bold", "dim": "dim"}


def console(stream: TextIO, colour: bool) -> Console:
    """A rich console on a terminal that never reads markup, emoji or highlights into what it is given."""
    return Console(
        file=stream, force_terminal=True, no_color=not colour, markup=False, emoji=False, highlight=False, soft_wrap=False
    )


def drawn(lines: Sequence[Line]) -> RenderableType:
    """Lines of changes in their colours; with none, nothing."""
    return Text("\n").join(Text(line.text, style=TONES.get(line.tone, "")) for line in lines) if lines else Group()


class Live:
    """Shows a run on a terminal. Call `paused()` around anything else that uses the terminal.

    All text of the run is put on the screen as plain text without control characters; rich markup in it means nothing.
    """

    def __init__(
        self,
        on: Console | None = None,
        total_steps: Callable[[], int] = lambda: 0,
        *,
        last_lines: int = 6,
        failed_lines: int = 30,
    ) -> None:
        self._console = on or console(sys.stderr, colour=True)
        self._total = total_steps
        self._last_lines = last_lines
        self._failed_lines = failed_lines
        self._fold = Fold()
        self._tail = Tail()
        self._title = Text("")
        self._since = time.monotonic()
        self._region: Region | None = None
        self._spinner = Spinner("dots", style="cyan")
        self._paused = 0

    def __call__(self, event: Event) -> None:
        """Show one event."""
        self._fold(event)
        match event:
            case RunStarted():
                self._print(Text(wording.heading(event), style="bold"))
                self._working("reading the machine")
            case Said(text):
                self._tail.feed(text)
            case Replied(reply):
                self._rest()
                if reply.text.strip():
                    self._print(Padding(Text(settled(reply.text).strip()), (0, 0, 0, 2)))
            case Noted(text, level):
                self._print(Text(("! " if level != "info" else "· ") + shown(text), style=LEVELS.get(level, "")))
            case Decided(call, decision):
                self._rest()
                if decision.verdict in (Verdict.ASK, Verdict.DENY):
                    self._print(Text.assemble(("⊘ ", "yellow"), wording.title(call, self._width())))
                    self._print(Padding(Text(wording.decided(decision), style="yellow"), (0, 0, 0, 2)))
            case Started():
                self._started(event)
            case Output(_, text):
                self._tail.feed(text)
            case Finished():
                self._finished(event)
            case Checked():
                self._checked(event)
            case Changed(changes, state):
                self._rest()
                self._print(Text(f"changes ({state}): {wording.changes_line(changes) or 'none'}", style="bold"))
                if told := change_lines(changes) if state in wording.TELLING else left_out_lines(changes):
                    self._print(drawn(told))
            case RunEnded():
                self._ended(event)
            case _:
                self._rest()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to somebody else for a while."""
        running = self._region is not None
        self._rest()
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1
            if running:
                self._open()

    def close(self) -> None:
        """Give the terminal back as it was: cursor visible, nothing moving."""
        self._rest()

    def _width(self) -> int:
        return max(20, self._console.width - 24)

    def _print(self, what: RenderableType) -> None:
        self._console.print(what)

    def _started(self, event: Started) -> None:
        if event.call.name in wording.QUIET_TOOLS:
            self._working(("checking " if event.call.name == "check" else "") + wording.title(event.call, self._width()))
            return
        step = wording.step(event.call, self._total())
        title = Text.assemble((f"{step} " if step else "", "cyan"), (wording.title(event.call, self._width()), "bold"))
        if event.call.why:
            title.append(f"\n  {one_line(shown(event.call.why), self._console.width - 4)}", style="dim")
        self._work(title)

    def _working(self, what: str) -> None:
        self._work(Text(what, style="dim"))

    def _work(self, title: Text) -> None:
        self._rest()
        self._title, self._since, self._tail = title, time.monotonic(), Tail()
        self._open()

    def _open(self) -> None:
        if self._region is None and not self._paused:
            self._region = Region(
                console=self._console, get_renderable=self._frame, refresh_per_second=8, transient=True, redirect_stdout=False
            )
            self._region.start(refresh=True)

    def _rest(self) -> None:
        region, self._region = self._region, None
        if region is not None:
            region.stop()

    def _frame(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        grid.add_row(self._spinner, Text.assemble(self._title, (f"  {seconds(time.monotonic() - self._since)}", "cyan")))
        room = max(1, min(self._last_lines, self._console.height - 6))
        lines = self._tail.lines(room)
        if not lines:
            return grid
        body = Text("\n".join(lines), style="dim", no_wrap=True, overflow="ellipsis")
        return Group(grid, Padding(body, (0, 0, 0, 4)))

    def _finished(self, event: Finished) -> None:
        self._rest()
        call, result = event.call, event.result
        if result.state is State.DENIED or call.name == "check" or (call.name in wording.QUIET_TOOLS and result.ok):
            self._working("thinking")
            return
        asks = self._fold.entry(call).word == "answered"
        waiting = asks or result.state in (State.WAITING, State.QUIET)
        mark = ("✓ ", "green") if result.ok else ("· ", "dim") if asks else ("… ", "yellow") if waiting else ("✗ ", "red")
        if result.fidelity == "would-run":
            mark = ("○ ", "yellow")
        step = wording.step(call, self._total())
        end = f"  {wording.ended(result, asks)}"
        line = Text.assemble(mark, (f"{step} " if step else "", "cyan"))
        line.append(wording.title(call, max(20, self._console.width - len(line) - len(end) - 1)))
        line.append(end, style="dim" if result.ok or waiting else "red")
        self._print(line)
        if result.note and not result.ok:
            self._print(Padding(Text(one_line(shown(result.note), 400), style="dim"), (0, 0, 0, 2)))
        if not result.ok and not asks:
            shows = wording.last_lines(result.screen or result.output, self._failed_lines)
            if shows:
                self._print(Padding(Text("\n".join(shows)), (0, 0, 0, 4)))
        self._working("thinking")

    def _checked(self, event: Checked) -> None:
        self._rest()
        good = bool(event.checks) and all(check.ok for check in event.checks)
        self._print(Text(wording.checks_line(event.checks), style="green" if good else "yellow"))
        for check in event.checks:
            mark = ("  ✓ ", "green") if check.ok else ("  ✗ ", "red")
            self._print(Text.assemble(mark, wording.check_words(check)))
            lines = [] if check.ok else wording.last_lines(check.output, 8)
            if lines:
                self._print(Padding(Text("\n".join(lines), style="dim"), (0, 0, 0, 6)))

    def _ended(self, event: RunEnded) -> None:
        self._rest()
        report = self._fold.report()
        self._print(Text(wording.closing(report), style="bold green" if report.good else "bold red"))
        if event.summary:
            self._print(Padding(Text(settled(event.summary).strip()), (0, 0, 0, 2)))
        if event.run_id:
            self._print(Text(f"  skillrun report {shown(event.run_id)}", style="dim"))
