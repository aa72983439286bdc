"""A command that is alive: its output passed on, its progress followed, a person's terminal lent to it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from skillrun.events import Event, Output
from skillrun.ports import Command
from skillrun.pty import handover, process_tree, prompt_detection
from skillrun.pty.launch import set_size
from skillrun.pty.output.screen import asked, asks
from skillrun.pty.output.transcript import Transcript
from skillrun.pty.process import Bash, Once
from skillrun.pty.progress import Novelty
from skillrun.pty.prompt_detection import Look, Sight
from skillrun.secrets import Vault

LOOKS_S = (0.2, 0.4, 0.8, 1.4, 2.2, 3.2)
"""When to look at a silent program, in seconds since it last wrote; every two seconds after that."""

ASKING = 4096
"""Bytes at the end of the output in which a program's question to its terminal is looked for: then it waits."""

_EMIT_EVERY_S = 0.05
_WORK_EVERY_S = 0.5

_PATIENCE_S = {Sight.READS: 0.3, Sight.HIDDEN: 1.3, Sight.READS_AND_MORE: 3.0}
"""How long a program must have been silent and idle before what a look showed is believed."""

_NOISE_EVERY_S, _NOISE_S = 1.5, 4.0
"""How often to look at a program that goes on writing, and how long it must have been seen waiting to be believed."""

_JUDGE_EVERY_S, _SHORT = 0.25, 256
"""How often output is asked for something new; what is short (a spinner's turn, the line after it) is always asked."""

_ANSWERED_S = 0.15
"""How long a person's terminal stays connected after Enter, to show what the program says to it."""


@dataclass(frozen=True, slots=True)
class Knock:
    """Something else to listen to while a command runs: a descriptor, and what to do when it has something."""

    descriptor: int
    serve: Callable[[], Generator[Event, None, None]]


@dataclass(slots=True)
class Running:
    """What is known of the command that is alive. Times are of the monotonic clock."""

    command: Command
    shell: Bash | Once
    transcript: Transcript
    quiet_s: float
    size: tuple[int, int]
    mark: str
    """What the processes it starts have in their environment."""
    began: float = field(default_factory=time.monotonic)
    began_at: float = field(default_factory=time.time)
    """The same moment by the clock of the day."""
    last_output: float = field(default_factory=time.monotonic)
    last_progress: float = field(default_factory=time.monotonic)
    known: Look | None = None
    """What the caller was told already and wants to go on in spite of."""
    _work: process_tree.Work | None = None
    _seen: Look | None = None
    _listened: float = field(default_factory=time.monotonic)
    _behind: Look | None = None
    _behind_since: float = 0.0
    _told: frozenset[int] = frozenset()
    _drawing: float = 0.0
    _novelty: Novelty = field(default_factory=Novelty)
    _judged: float = 0.0

    def touch(self, forget: bool = True) -> None:
        """Count the time anew: somebody just dealt with the command."""
        self.last_output = self.last_progress = time.monotonic()
        self._work = self._seen = None
        self._drawing = 0.0
        if forget:
            self.known, self._behind, self._told = None, None, frozenset()

    def output(self) -> Generator[Event, None, None]:
        """What has not been passed on yet, as an event."""
        if text := self.transcript.unseen():
            yield Output(self.command.id, text)

    def take(self) -> bytes:
        """Read what the command wrote."""
        if data := self.shell.read():
            self.transcript.feed(data)
            self.last_output = time.monotonic()
            self._judge(data)
            self.known = None
        return data

    def _judge(self, data: bytes) -> None:
        """Count new output as progress, looking at it once in a while only: whoever writes much may not be slowed down."""
        if self.last_output - self._judged >= _JUDGE_EVERY_S or len(data) < _SHORT:
            self._judged = self.last_output
            if self._novelty.found_in(data):
                self.last_progress = self.last_output

    @property
    def ended(self) -> bool:
        """Has it said how it ended, or died?"""
        return self.shell.report is not None or self.shell.dead

    @property
    def stalled(self) -> bool:
        """Has it made no progress for as long as it may? What a full-screen program goes on drawing is no progress."""
        now = time.monotonic()
        if not self.transcript.full_screen:
            self._drawing = 0.0
            return now - self.last_progress >= self.quiet_s
        self._drawing = self._drawing or now
        return now - self._drawing >= self.quiet_s

    @property
    def stalled_for(self) -> str:
        """What it did instead of getting on, and how long."""
        now = time.monotonic()
        if self._drawing:
            return (
                f"it has filled the whole screen for {now - self._drawing:.0f} s, as programs do that never end by themselves"
            )
        seconds = f"{now - self.last_progress:.0f} s"
        if now - self.last_output < self.quiet_s / 2:
            return f"it repeats itself: nothing new on its screen, no processor time and no disk traffic for {seconds}"
        return f"no output, no processor time and no disk traffic for {seconds}"

    def pump(self, until: float, knocks: Sequence[Knock] = ()) -> Generator[Event, None, bool]:
        """Pass output on until a moment or the end of the command; True when it ended."""
        shell = self.shell
        emitted, pending, before = 0.0, False, b""
        while True:
            now = time.monotonic()
            if pending and now - emitted >= _EMIT_EVERY_S:
                emitted, pending = now, False
                yield from self.output()
            if self.ended:
                return True
            if now >= until:
                return False
            wake = min(until, emitted + _EMIT_EVERY_S) if pending else until
            ready = shell.wait(wake - now, [knock.descriptor for knock in knocks])
            for knock in knocks:
                if knock.descriptor in ready:
                    yield from knock.serve()
            for data in shell.flow(now + _EMIT_EVERY_S):
                self.transcript.feed(data)
            if data := self.take():
                pending = True
                question = before + data[-ASKING:]
                before = data[-3:]
                if asks(question) and not shell.terminal.by_line:
                    shell.type(asked(question, self.transcript.open_line, self.size))

    def next_look(self) -> float:
        """When to look at it again, if it stays silent."""
        now = time.monotonic()
        silent = now - self.last_output
        pause = next((at - silent for at in LOOKS_S if at > silent), 2.0)
        return now + max(0.05, min(pause, self.last_progress + self.quiet_s - now))

    def look(self) -> Look | None:
        """What it waits for, once two looks agree and it has been idle long enough for what they saw."""
        now = time.monotonic()
        silent = now - self.last_output
        if silent < LOOKS_S[0]:
            return self._look_through_noise(now)
        look = self._look()
        self._note_work()
        patience = _PATIENCE_S.get(look.sight, 0.0)
        idle = silent if look.sight is Sight.READS else now - self.last_progress
        agreed = patience > 0 and look == self._seen and look != self.known and idle >= patience
        self._seen = look
        return look if agreed else None

    def _look(self) -> Look:
        shell, transcript = self.shell, self.transcript
        return prompt_detection.look(shell.terminal, shell.pid, transcript.question, transcript.full_screen)

    def _look_through_noise(self, now: float) -> Look | None:
        """Somebody may wait for input while others write all the time, such as a spinner in the background."""
        if now - self._listened < _NOISE_EVERY_S:
            return None
        self._listened = now
        self._note_work()
        look = self._look()
        if look.sight is not Sight.READS or not all(map(prompt_detection.only_reads, look.pids)):
            self._behind = None
        elif self._behind is None or self._behind.pids != look.pids:
            self._behind, self._behind_since = look, now
        elif now - self._behind_since >= _NOISE_S and look.pids != self._told:
            self._told = look.pids
            return look
        return None

    def _note_work(self) -> None:
        done = process_tree.work(process_tree.descendants(self.shell.pid), waited_by=self.shell.pid)
        if self._work is None or done.at - self._work.at >= _WORK_EVERY_S:
            if self._work is not None and done.went_on_since(self._work):
                self.last_progress = done.at
            self._work = done

    def processes(self) -> list[int]:
        """Every process the command started, wherever it went; the mark finds those that left the family."""
        shell = self.shell.pid
        family = {*process_tree.descendants(shell), *process_tree.marked(self.mark)} - {shell}
        # Starts are compared with one another only: the moment of boot they are counted from is known to a second.
        shell_started = process_tree.started(shell)
        since = shell_started + (self.began - self.shell.began) - 0.05
        return [pid for pid in family if process_tree.started(pid) >= since] if shell_started else []

    def connect(self, person: int, vault: Vault) -> Generator[Event, None, None]:
        """Lend it a person's terminal until a question is answered, a full-screen program ends, or Ctrl-]."""
        with handover.key_by_key(person):
            if self.transcript.full_screen:
                yield from self._lend_screen(person, vault)
            else:
                handover.show(person, vault.mask(self.transcript.open_line).encode())
                yield from self._lend(person, vault, one_line=True)
        self.touch()

    def _lend_screen(self, person: int, vault: Vault) -> Generator[Event, None, None]:
        master = self.shell.terminal.master
        rows, columns = handover.size_of(person) or self.size
        handover.show(person, handover.ENTER_FULL_SCREEN)
        for size in ((rows - 1, columns), (rows, columns)):  # a new size makes the program draw everything again
            set_size(master, size)
        yield from self._lend(person, vault, one_line=False)
        handover.show(person, handover.LEAVE_FULL_SCREEN)
        set_size(master, self.size)

    def _lend(self, person: int, vault: Vault, one_line: bool) -> Generator[Event, None, None]:
        shell, typed, entered = self.shell, handover.Typed(), 0.0
        while not self.ended:
            ready = shell.wait(0.1, [person])
            if data := self.take():
                handover.show(person, data)
                yield from self.output()
            if ready:
                keys = os.read(person, 4096)
                if not keys or handover.DETACH in keys:
                    return
                if not shell.terminal.echo:
                    for line in typed.follow(keys):
                        vault.hide(line)
                shell.type(keys)
                if one_line and (b"\r" in keys or b"\n" in keys):
                    entered = time.monotonic()
            if (entered and time.monotonic() - entered > _ANSWERED_S) or (not one_line and not self.transcript.full_screen):
                return
