"""Ctrl-C, Ctrl-\\ and a closed terminal, pressed by a person at a real terminal in front of the real command line."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from skillrun.events import Asked, Event, Finished, Outcome, RunEnded, Started, State
from skillrun.record.journal import read_events
from tests.terminal import Terminal

SKILL = """---
name: thing
description: Makes a file.
metadata:
  skillrun-verify: 'test -f $HOME/thing.done'
---
# Thing

```bash
{first}
```

```bash
touch $HOME/second; touch $HOME/thing.done
```
"""

RUN = "import sys; from skillrun.cli import main; sys.argv = ['skillrun', *{args!r}]; sys.exit(main())"


class Seat:
    """A home with one skill, and a person at a terminal who runs it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.terminals: list[Terminal] = []

    def install(self, first: str, *more: str, approve: tuple[str, ...] = ("--approve", "all")) -> Terminal:
        """Start the installation and wait until its first step runs; without a mode of approval, say yes to all of it."""
        folder = self.home / "thing"
        folder.mkdir(exist_ok=True)
        (folder / "SKILL.md").write_text(SKILL.format(first=first))
        args = ["install", str(folder), *approve, "--model", "builtin", *more]
        terminal = Terminal(RUN.format(args=args), environment={"HOME": str(self.home), "XDG_STATE_HOME": str(self.home / "s")})
        self.terminals.append(terminal)
        if not approve:
            terminal.answer("[s] stop", "w\n")
        until = time.monotonic() + 60
        while not (self.home / "started").exists():
            assert time.monotonic() < until, terminal.rest(0.1)
            terminal.rest(0.05)
        time.sleep(0.3)
        return terminal

    def events(self) -> list[Event]:
        """What the journal of the only run holds."""
        (journal,) = self.home.glob("s/skillrun/runs/*/journal.jsonl")
        return read_events(journal)

    def end(self, terminal: Terminal) -> tuple[int, RunEnded]:
        """The exit code of the process and the end of its run."""
        until = time.monotonic() + 40
        while not (ended := os.waitpid(terminal.pid, os.WNOHANG))[0]:
            assert time.monotonic() < until, f"still alive:\n{terminal.screen}"
            terminal.rest(0.2)
        terminal.rest(1)
        last = self.events()[-1]
        assert isinstance(last, RunEnded), last
        return os.waitstatus_to_exitcode(ended[1]), last

    def left(self) -> list[str]:
        """Programs of this home that still run."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("HOME") == str(self.home):
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found


@pytest.fixture
def seat(tmp_path: Path) -> Iterator[Seat]:
    """A person's place."""
    seat = Seat(tmp_path)
    yield seat
    for terminal in seat.terminals:
        os.close(terminal.master)
        with contextlib.suppress(ChildProcessError):
            if not os.waitpid(terminal.pid, os.WNOHANG)[0]:
                os.kill(terminal.pid, signal.SIGKILL)
                os.waitpid(terminal.pid, 0)


SLEEP = "touch $HOME/started; sleep 47.12"


def test_what_only_looks_says_nothing_of_a_ctrl_c(seat: Seat) -> None:
    """The processes behind looks are not the person's to interrupt: no word of theirs on the terminal."""
    look = "expr 20 + 1 | awk '{ print $1 * 2 }'"
    terminal = seat.install(f"{look}; {SLEEP}", approve=())
    terminal.type("\x03")
    terminal.answer("What now?", "\r")
    assert b"Traceback" not in terminal.seen
    assert seat.end(terminal)[0] == 130


def test_ctrl_c_asks_whether_the_run_goes_on_without_the_command(seat: Seat) -> None:
    """The command is gone at once, is not tried again, and the person's word decides: here the next step follows."""
    terminal = seat.install(SLEEP)
    terminal.type("\x03")
    assert "was interrupted" in terminal.wait_for("What now?")
    assert not any("47.12" in command for command in seat.left() if "skillrun" not in command)
    terminal.answer("What now?", "1\r")
    code, end = seat.end(terminal)
    assert (code, end.outcome) == (0, Outcome.VERIFIED)
    assert (seat.home / "second").exists()
    ran = [event.call.command for event in seat.events() if isinstance(event, Started) and "47.12" in event.call.command]
    assert len(ran) == 1
    (finished,) = (e for e in seat.events() if isinstance(e, Finished) and "47.12" in e.call.command)
    assert (finished.result.state, finished.result.by_person) == (State.INTERRUPTED, True)


def test_enter_after_ctrl_c_ends_the_run(seat: Seat) -> None:
    """The default is the careful one: nothing more is done, the exit code is 130, and it says how to go on."""
    terminal = seat.install(SLEEP)
    terminal.type("\x03")
    terminal.answer("What now?", "\r")
    code, end = seat.end(terminal)
    assert (code, end.outcome) == (130, Outcome.INTERRUPTED)
    assert "skillrun resume" in terminal.seen.decode()
    assert not (seat.home / "second").exists()
    assert not seat.left()


@pytest.mark.parametrize("pause_s", [0.3, 6.0])
def test_ctrl_c_twice_ends_the_run(seat: Seat, pause_s: float) -> None:
    """While the command is being ended or at the question: exit code 130 and the resume hint."""
    terminal = seat.install(f"trap '' INT; {SLEEP}; sleep 1")
    terminal.type("\x03")
    time.sleep(pause_s)
    terminal.type("\x03")
    code, end = seat.end(terminal)
    assert (code, end.outcome) == (130, Outcome.INTERRUPTED)
    assert "skillrun resume" in terminal.seen.decode()
    assert not (seat.home / "second").exists()
    assert not seat.left()


def test_ctrl_c_with_nobody_to_ask_ends_the_run(seat: Seat) -> None:
    """The same keyboard, told not to ask: an interrupted command is not a failed one, and nothing is tried again."""
    terminal = seat.install(SLEEP, "--no-input")
    terminal.type("\x03")
    code, end = seat.end(terminal)
    assert (code, end.outcome) == (130, Outcome.INTERRUPTED)
    assert any(isinstance(event, Asked) and event.about == "interrupt" for event in seat.events())
    assert not seat.left()


def hang_up(terminal: Terminal) -> None:
    """Close the terminal's window."""
    os.close(terminal.master)
    terminal.master = os.open(os.devnull, os.O_RDONLY)


ENDS: dict[str, Callable[[Terminal], None]] = {
    "ctrl-backslash": lambda terminal: terminal.type("\x1c"),
    "terminal closed": hang_up,
    "SIGTERM": lambda terminal: os.kill(terminal.pid, signal.SIGTERM),
    "SIGQUIT": lambda terminal: os.kill(terminal.pid, signal.SIGQUIT),
    "SIGHUP": lambda terminal: os.kill(terminal.pid, signal.SIGHUP),
}


@pytest.mark.parametrize("how", ENDS)
def test_however_it_is_ended_the_journal_has_an_end(seat: Seat, how: str) -> None:
    """Exit code 130, an ended journal, and no program left: also those that ignore all of these signals."""
    terminal = seat.install(f"trap '' INT TERM HUP QUIT; {SLEEP}; sleep 60")
    ENDS[how](terminal)
    code, end = seat.end(terminal)
    assert (code, end.outcome) == (130, Outcome.INTERRUPTED)
    assert not (seat.home / "second").exists()
    assert not seat.left()
