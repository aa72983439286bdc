"""A command at work on another machine: its output passed on, its progress followed, looked at while it is silent."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Generator

from skillrun.events import Event, Output, Result, State
from skillrun.fleet.shell import OnceShell, RemoteShell
from skillrun.ports import Command
from skillrun.pty.output.transcript import Transcript
from skillrun.pty.progress import Novelty
from skillrun.pty.prompt_detection import Look, Sight
from skillrun.pty.running import LOOKS_S

_PATIENCE_S = {Sight.READS: 0.3, Sight.HIDDEN: 1.3}
_EMIT_S = 0.05
_WAKE_S = 0.2


class Alive:
    """The command that is alive. `look` says what its foreground does and how much processor time all of it has used."""

    def __init__(
        self,
        command: Command,
        shell: RemoteShell | OnceShell,
        transcript: Transcript,
        quiet_s: float,
        look: Callable[[str], tuple[Look, int]],
    ) -> None:
        self.command, self.shell, self.transcript, self.quiet_s = command, shell, transcript, quiet_s
        self.began = self._last_output = self._last_progress = time.monotonic()
        self.known: Look | None = None
        """What the caller was told already and wants to go on in spite of."""
        self._look = look
        self._looks = 0
        self._seen: Look | None = None
        self._ticks = -1
        self._novelty = Novelty()

    @property
    def ended(self) -> bool:
        """Has it said how it ended, or died?"""
        return self.shell.report is not None or self.shell.dead

    def touch(self, forget: bool = True) -> None:
        """Count the time anew: somebody just dealt with the command."""
        self._last_output = self._last_progress = time.monotonic()
        self._looks, self._seen = 0, None
        if forget:
            self.known = None

    def output(self) -> Generator[Event, None, None]:
        """What has not been passed on yet, as an event."""
        if text := self.transcript.unseen():
            yield Output(self.command.id, text)

    def pump(self, until: float) -> Generator[Event, None, bool]:
        """Pass output on until a moment or the end of the command; True when it ended."""
        emitted = 0.0
        while not self.ended:
            now = time.monotonic()
            if now >= until:
                return False
            held = isinstance(self.shell, RemoteShell) and bool(self.shell.held)
            if held or select.select([self.shell.wire.fileno()], [], [], min(_WAKE_S, until - now))[0]:
                if data := self.shell.read():
                    self._take(data)
            elif isinstance(self.shell, OnceShell):
                self.shell.look_for_end()
            if time.monotonic() - emitted >= _EMIT_S:
                emitted = time.monotonic()
                yield from self.output()
        yield from self.output()
        return True

    def _take(self, data: bytes) -> None:
        self.transcript.feed(data)
        self._last_output = time.monotonic()
        self._looks, self.known = 0, None
        if self._novelty.found_in(data):
            self._last_progress = self._last_output

    @property
    def next_look(self) -> float:
        """When to look at it, if it writes nothing until then."""
        last = len(LOOKS_S) - 1
        return self._last_output + LOOKS_S[min(self._looks, last)] + 2.0 * max(0, self._looks - last)

    def look(self) -> Look | None:
        """What it waits for, once two looks agree and it has been idle long enough for what they saw."""
        self._looks += 1
        seen, ticks = self._look(self.transcript.question)
        now = time.monotonic()
        if ticks != self._ticks:
            if self._ticks >= 0:
                self._last_progress = now
            self._ticks = ticks
        patience = _PATIENCE_S.get(seen.sight, 0.0)
        agreed = patience > 0 and seen == self._seen and seen != self.known and now - self._last_output >= patience
        self._seen = seen
        return seen if agreed else None

    @property
    def stalled(self) -> bool:
        """Has it made no progress for as long as it may?"""
        return time.monotonic() - self._last_progress >= self.quiet_s

    @property
    def stalled_for(self) -> str:
        """What it did instead of getting on, and how long."""
        return f"nothing new on its screen and no processor time for {time.monotonic() - self._last_progress:.0f} s"

    def result(self, state: State, cwd: str, note: str) -> Result:
        """How it stands, with what it wrote since the last time."""
        return self.transcript.result(state, time.monotonic() - self.began, cwd, note)
