"""Plain lines for pipes, dumb terminals and CI logs: each line whole, in order, never silent for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from skillrun.events import (
    Asked,
    Changed,
    Checked,
    CheckResult,
    Decided,
    Event,
    Finished,
    Noted,
    Output,
    Replied,
    RunEnded,
    RunStarted,
    Started,
    State,
    Verdict,
)
from skillrun.record import wording
from skillrun.record.changes_text import change_lines, left_out_lines
from skillrun.record.report import Fold
from skillrun.text.escape import Tail, one_line, seconds, settled, shown
from skillrun.text.folding import folded

COLOURS = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "strong": "1", "": ""}
TONES = {"add": "good", "del": "bad", "alert": "bad", "strong": "strong", "dim": "dim"}


class Writable(Protocol):
    """As much of a text stream as lines need."""

    def write(self, text: str, /) -> int:
        """Take text."""
        ...

    def flush(self) -> None:
        """Pass it on."""
        ...


class Plain:
    """Writes lines to a stream. After `heartbeat_s` seconds without a line it writes one that says what is going on.

    `colour` adds SGR colours (for logs that show them). `output_lines` is how much of a failed command's output is shown.
    `total_steps` is asked when a step begins. `columns`: of a terminal, to break lines at.
    Everything from the run is written without control characters.
    """

    def __init__(
        self,
        stream: Writable,
        total_steps: Callable[[], int] = lambda: 0,
        *,
        colour: bool = False,
        heartbeat_s: float = 30.0,
        output_lines: int = 20,
        hint: bool = True,
        columns: int = 0,
    ) -> None:
        self._stream = stream
        self._total = total_steps
        self._colour = colour
        self._heartbeat_s = heartbeat_s
        self._output_lines = output_lines
        self._hint = hint
        self._columns = columns
        self._fold = Fold()
        self._tail = Tail()
        self._printed = False
        """Something was printed since the last line that said so."""
        self._doing = "starting"
        self._since = time.monotonic()
        self._wrote = time.monotonic()
        self._broken = False
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            if self._thread is None and not self._stop.is_set() and self._heartbeat_s > 0:
                self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
                self._thread.start()
            self._fold(event)
            self._show(event)

    def close(self) -> None:
        """End the heartbeat. More than once is fine."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=2)

    def _show(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._line(f"skillrun: {wording.heading(event)}", "strong")
                self._now("reading the machine")
            case Replied(reply):
                for line in settled(reply.text).strip().split("\n") if reply.text.strip() else []:
                    self._line(f"  {line}")
            case Noted(text, level):
                self._line(f"{level}: {shown(text)}", {"error": "bad", "warning": "warn"}.get(level, "dim"))
            case Decided(call, decision) if decision.verdict in (Verdict.ASK, Verdict.DENY):
                self._line(f"not run: {wording.title(call)}", "warn")
                self._line(f"  {wording.decided(decision)}", "warn")
            case Started(call):
                self._started(event)
            case Output(_, text):
                self._tail.feed(text)
                self._printed = True
            case Finished():
                self._finished(event)
            case Asked(question):
                self._line(f"question: {shown(question)}")
                self._now("waiting for an answer")
            case Checked(checks):
                self._checked(checks)
            case Changed(changes, state):
                self._line(f"changes ({state}): {wording.changes_line(changes) or 'none'}", "strong")
                for told in change_lines(changes) if state in wording.TELLING else left_out_lines(changes):
                    self._line(told.text, TONES.get(told.tone, ""))
            case RunEnded():
                self._ended(event)
            case _:
                pass

    def _checked(self, checks: Sequence[CheckResult]) -> None:
        self._line(wording.checks_line(checks), "good" if checks and all(check.ok for check in checks) else "warn")
        for check in checks:
            self._line(f"  {'ok  ' if check.ok else 'FAIL'} {wording.check_words(check)}", "" if check.ok else "bad")
            for line in [] if check.ok else wording.last_lines(check.output, 6):
                self._line(f"       {line}", "dim")
        self._now("going on")

    def _started(self, event: Started) -> None:
        self._tail = Tail()
        title = wording.title(event.call)
        self._now(f"{'checking' if event.call.name == 'check' else 'running'} {title}")
        if event.call.name in wording.QUIET_TOOLS:
            return
        step = wording.step(event.call, self._total())
        self._line(f"{step + ' ' if step else ''}{title}", "strong")
        if event.call.why:
            self._line(f"  why: {one_line(shown(event.call.why), 200)}", "dim")

    def _finished(self, event: Finished) -> None:
        result = event.result
        self._now("waiting for the model")
        self._tail = Tail()
        name = event.call.name
        if result.state is State.DENIED or name == "check" or (name in wording.QUIET_TOOLS and result.ok):
            return
        asks = self._fold.entry(event.call).word == "answered"
        good = result.ok or asks or result.state in (State.WAITING, State.QUIET)
        if name in wording.QUIET_TOOLS:
            self._line(wording.title(event.call))
        self._line(f"  {wording.ended(result, asks)}", "dim" if good else "bad")
        if not good or result.state is State.WAITING:
            for line in wording.last_lines(result.screen or result.output, self._output_lines):
                self._line(f"  | {line}")
        if result.note:
            self._line(f"  {one_line(shown(result.note), 300)}", "dim")

    def _ended(self, event: RunEnded) -> None:
        report = self._fold.report()
        self._line(wording.closing(report), "good" if report.good else "bad")
        if event.summary:
            for line in settled(event.summary).strip().split("\n"):
                self._line(f"  {line}")
        if event.run_id and self._hint:
            self._line(f"  run {shown(event.run_id)}: `skillrun report {shown(event.run_id)}` tells the whole story", "dim")
        self.close()

    def _now(self, doing: str) -> None:
        self._doing, self._since = doing, time.monotonic()

    def _line(self, text: str, colour: str = "") -> None:
        with self._lock:
            self._wrote = time.monotonic()
            code = COLOURS[colour] if self._colour else ""
            text = "\n".join(folded(line, self._columns) for line in text.split("\n"))
            try:
                self._stream.write(f"\x1b[{code}m{text}\x1b[0m\n" if code else f"{text}\n")
                self._stream.flush()
            except (OSError, ValueError):
                self._broken = True

    def _beat(self) -> None:
        while not self._stop.wait(max(0.01, self._wrote + self._heartbeat_s - time.monotonic())):
            with self._lock:
                if self._stop.is_set() or time.monotonic() - self._wrote < self._heartbeat_s:
                    continue
                last = self._tail.lines(1)
                said = f": {one_line(last[0], 120)}" if last and self._printed else ", nothing new was printed" if last else ""
                self._printed = False
                self._line(f"  ... {self._doing}, {seconds(time.monotonic() - self._since)}{said}", "dim")
