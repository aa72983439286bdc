import io
import re
import time

import pytest

from skillrun.cli.screen import open_screen
from skillrun.events import Event, Output, Started, ToolCall
from skillrun.record.report import fold
from skillrun.surfaces.colour import wanted
from skillrun.surfaces.plain import Plain
from skillrun.text.escape import HIDDEN
from tests.runs import INSTALL, call, ended, good, hostile, refused, started


def lines_of(events: list[Event], **options: object) -> list[str]:
    """What the plain surface writes for a run."""
    stream = io.StringIO()
    surface = Plain(stream, lambda: 2, **options)  # type: ignore[arg-type]
    for event in events:
        surface(event)
    surface.close()
    return stream.getvalue().splitlines()


def test_a_run_reads_as_plain_lines() -> None:
    """Heading, steps with their reason, a failure with its output, checks, changes, outcome with time and cost."""
    lines = lines_of(good())
    assert lines[0] == "skillrun: install jq · on this machine, builtin"
    assert "  why: which distribution is it?" in lines
    assert "step 1/2 $ apt-get install -y jq" in lines
    assert "  failed with exit code 100 in 0.2 s" in lines
    assert "  | E: Unable to locate package jq" in lines
    assert "  | Setting up jq" not in lines
    assert "warning: package lists are stale: refreshing them" in lines
    assert "1 of 1 check passed" in lines
    assert any(line.startswith("Verified · 3.5 s · 2 commands · $0.0123") for line in lines)


def test_a_refusal_names_who_and_why() -> None:
    """What did not run is told, with the reason and the rule."""
    lines = lines_of(refused())
    assert "not run: $ echo 'evil' >> ~/.bashrc" in lines
    assert "  denied by policy: it wants more than it declares [floor]" in lines


@pytest.mark.parametrize("colour", [False, True])
def test_hostile_text_has_no_power_over_the_terminal(colour: bool) -> None:
    """No control character of the run reaches the stream; only our own colours do, and only when asked for."""
    for line in lines_of(hostile(), colour=colour):
        rest = re.sub(r"\x1b\[\d*m", "", line) if colour else line
        assert HIDDEN.search(rest) is None


def beats_of(surface: Plain, stream: io.StringIO, count: int) -> list[str]:
    """The lines that say what goes on, once there are so many and no more come."""
    until = time.monotonic() + 20
    while stream.getvalue().count("\n  ... ") < count and time.monotonic() < until:
        time.sleep(0.01)
    surface.close()
    beats = [line for line in stream.getvalue().splitlines() if line.startswith("  ... ")]
    assert len(beats) >= count, stream.getvalue()
    return beats


def test_total_silence_is_impossible() -> None:
    """While a command says nothing, a line tells what runs, for how long, and its last words, once."""
    stream = io.StringIO()
    surface = Plain(stream, heartbeat_s=0.05)
    surface(started())
    surface(Started(ToolCall("c", "shell", {"command": "make -j2"})))
    surface(Output("c", "compiling parser.c\n"))
    beats = beats_of(surface, stream, 3)
    assert re.fullmatch(r"  \.\.\. running \$ make -j2, \d\.\d s: compiling parser\.c", beats[0])
    assert re.fullmatch(r"  \.\.\. running \$ make -j2, \d\.\d s, nothing new was printed", beats[-1])
    time.sleep(0.12)
    assert len(stream.getvalue().splitlines()) == 2 + len(beats)


def test_waiting_for_the_model_repeats_no_output() -> None:
    """What the last command printed says nothing about what the model does now."""
    stream = io.StringIO()
    surface = Plain(stream, heartbeat_s=0.05)
    for event in (started(), *call(1, "make", output="compiled 7 of 7\n")):
        surface(event)
    beats = beats_of(surface, stream, 3)
    assert all(re.fullmatch(r"  \.\.\. waiting for the model, \d\.\d s", line) for line in beats)


def test_a_look_that_finds_nothing_has_not_failed() -> None:
    """Its exit code is an answer, told without alarm; a step that changes something has failed with the same code."""
    stream = io.StringIO()
    surface = Plain(stream, heartbeat_s=0)
    events = [started(), *call(1, "ls /opt/jq /usr/bin/jq", exit_code=2, output="no such file\n")]
    for event in [*events, *call(2, "apt-get install -y jq", effects=INSTALL, exit_code=2), *ended()]:
        surface(event)
    lines = [line.strip() for line in stream.getvalue().splitlines()]
    assert "answered with exit code 2 in 0.2 s" in lines
    assert "| no such file" not in lines
    assert sum(line == "failed with exit code 2 in 0.2 s" for line in lines) == 1
    assert [(entry.word, entry.failed) for entry in fold(events).entries] == [("answered", False)]


def test_a_reader_that_went_away_does_not_stop_the_run() -> None:
    """A closed pipe is not the run's problem."""
    stream = io.StringIO()
    surface = Plain(stream)
    stream.close()
    for event in good():
        surface(event)
    surface.close()


@pytest.mark.parametrize(
    ("flag", "environment", "on_terminal", "expected"),
    [
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"FORCE_COLOR": "1", "TERM": "dumb"}, False, True),
        ("auto", {"FORCE_COLOR": "0"}, True, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"TERM": "xterm"}, False, False),
        ("auto", {}, True, True),
    ],
)
def test_colour_follows_the_rule(flag: str, environment: dict[str, str], on_terminal: bool, expected: bool) -> None:
    """--color, then NO_COLOR, then FORCE_COLOR, then a dumb terminal, then whether it is a terminal."""
    assert wanted(flag, environment, on_terminal) is expected


def test_a_pipe_gets_plain_lines() -> None:
    """Anything but a capable terminal gets the plain surface."""
    assert isinstance(open_screen(io.StringIO(), environment={"TERM": "xterm"}), Plain)


def test_a_github_log_is_grouped() -> None:
    """Under GitHub Actions each call is a group, and nothing the run prints is a workflow command."""
    stream = io.StringIO()
    surface = open_screen(stream, environment={"GITHUB_ACTIONS": "true", "CI": "true"})
    for event in good():
        surface(event)
    surface.close()
    assert stream.getvalue().count("::group::") == 3
    assert stream.getvalue().count("::endgroup::") == 3
    assert stream.getvalue().startswith("::stop-commands::")
