import re

from tests.terminal import Terminal

HEAD = """
import sys, time
from skillrun.events import *
from skillrun.cli.screen import open_screen
from tests.runs import good, hostile, refused, started, call
screen = open_screen(sys.stderr, lambda: 2)
"""


def test_a_running_command_shows_its_progress() -> None:
    """While a command runs: which step of how many, why, how long already, its last lines."""
    source = (
        HEAD
        + """
screen(started())
screen(Started(ToolCall("c", "shell", {"command": "make -j2", "why": "build it"}, step=1)))
for number in range(40):
    screen(Output("c", f"compiling {number}.c\\n"))
    time.sleep(0.05)
time.sleep(2)
"""
    )
    with Terminal(source) as terminal:
        screen = terminal.wait_for("compiling 39.c")
        assert "step 1/2 $ make -j2" in screen
        assert "build it" in screen
        assert "compiling 33.c" not in screen
        assert re.search(r"\d\.\d s", screen)
        assert terminal.cursor_hidden


def test_success_folds_and_failure_stays_open() -> None:
    """Afterwards a command that worked is one line; of one that failed the output is there to read."""
    with Terminal(HEAD + "for event in good():\n    screen(event)\nscreen.close()\nprint('OVER')", rows=40) as terminal:
        screen = terminal.wait_for("OVER")
        assert "✓ $ cat /etc/os-release  ok in 0.2 s" in screen
        assert "ID=debian" not in screen
        assert "✗ step 1/2 $ apt-get install -y jq  failed with exit code 100" in screen
        assert "    E: Unable to locate package jq" in screen
        assert "✓ step 1/2 $ apt-get update && apt-get install -y jq  ok in 3.1 s" in screen
        assert "! package lists are stale" in screen
        assert "✓ jq --version" in screen
        assert "Verified · 3.5 s · 2 commands · $0.0123" in screen
        assert not terminal.cursor_hidden


def test_a_finished_command_is_one_line_whatever_its_end() -> None:
    """A long command is cut so that how it ended still stands on the same line, also where the terminal is narrow."""
    source = (
        HEAD
        + """
call = ToolCall("c", "shell", {"command": "command -v hello; ls -la ~/.local/bin ~/.bashrc ~/.profile 2>&1 | sort", "why": "x"})
screen(Started(call))
screen(Finished(call, Result(State.EXITED, 12, "", duration_s=1.5)))
screen.close()
print("OVER")
"""
    )
    for columns in (80, 60):
        with Terminal(source, columns=columns) as terminal:
            line = next(line for line in terminal.wait_for("OVER").splitlines() if "hello" in line)
            assert line.rstrip().endswith("…  failed with exit code 12 in 1.5 s")


def test_hostile_text_reaches_the_terminal_as_text() -> None:
    """The only control sequences written are our own: no title, no clipboard, no erased screen; markup stays text."""
    source = HEAD + "print('BEFORE')\nfor event in hostile():\n    screen(event)\nscreen.close()\nprint('OVER')"
    with Terminal(source, rows=120, columns=120) as terminal:
        screen = terminal.wait_for("OVER")
        assert "BEFORE" in screen
        assert "[bold red]markup[/]" in screen
        assert b"\x1b]" not in terminal.seen
        assert b"\x1b[2J" not in terminal.seen
        assert b"\x9b" not in re.sub(rb"[\xc2-\xf4][\x80-\xbf]+", b"", terminal.seen)
        assert b"\xe2\x80\xae" not in terminal.seen


def test_a_question_in_the_middle_has_the_terminal_to_itself() -> None:
    """While somebody is asked, nothing of the live display moves; afterwards it goes on."""
    source = (
        HEAD
        + """
from skillrun.cli.person import TerminalPerson
person = TerminalPerson()
person.pause = screen.paused
screen(started())
screen(Started(ToolCall("c", "shell", {"command": "make"})))
print("PORT", person.ask("Which port?", default="80"), file=sys.stderr)
screen(Output("c", "goes on\\n"))
time.sleep(1)
screen.close()
"""
    )
    with Terminal(source) as terminal:
        terminal.wait_for("[80] >")
        before = len(terminal.seen)
        for _ in range(5):
            terminal._read(0.1)
        assert len(terminal.seen) == before
        terminal.type("8080\n")
        terminal.wait_for("PORT 8080")
        terminal.wait_for("goes on")


def test_a_small_terminal_is_enough() -> None:
    """At 8 rows and 20 columns nothing breaks and the outcome is readable."""
    source = HEAD + "for event in good():\n    screen(event)\nscreen.close()\nprint('OVER')"
    with Terminal(source, rows=8, columns=20) as terminal:
        assert "OVER" in terminal.wait_for("OVER")
        assert b"Traceback" not in terminal.seen


def test_a_dumb_terminal_gets_plain_lines() -> None:
    """With TERM=dumb not one escape is written."""
    source = HEAD + "for event in good():\n    screen(event)\nscreen.close()\nprint('OVER')"
    with Terminal(source, rows=60, environment={"TERM": "dumb"}) as terminal:
        terminal.wait_for("OVER")
        assert b"\x1b" not in terminal.seen
        assert b"Verified" in terminal.seen


def test_no_color_is_respected_on_the_live_screen() -> None:
    """NO_COLOR leaves the live display but takes its colours away."""
    source = HEAD + "for event in good():\n    screen(event)\nscreen.close()\nprint('OVER')"
    with Terminal(source, rows=60, environment={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for("OVER")
        assert not re.search(rb"\x1b\[[0-9;]*3[0-7]m", terminal.seen)
