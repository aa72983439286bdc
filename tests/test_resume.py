"""A run that was killed goes on: at every event, in every way, nothing runs twice and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from skillrun.events import Finished, Replied, RunEnded, RunStarted, Started, State
from skillrun.journal import Journal, RunFolder, read_events, turns
from skillrun.view.probe import probe
from tests.killed import STEPS, step

SKILL = """---
name: count
description: Counts to ten in a file, a directory deeper each time.
metadata:
  skillrun-verify: 'test "$(cut -d" " -f1 $HOME/log | tr "\\n" " ")" = "1 2 3 4 5 6 7 8 9 10 "'
---
# Count
"""


class Machine:
    """A home with the skill in it, and the command line run there in a process of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        skill = home / "count"
        skill.mkdir()
        (skill / "SKILL.md").write_text(SKILL)
        (home / "1").mkdir()
        self.env = {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "dumb"}

    def skillrun(self, point: int, how: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run the command line, killed at this point (0: not at all)."""
        argv = [sys.executable, "-m", "tests.killed", str(point), how, *command, "--approve", "all", "--no-input"]
        env = {**self.env, "PYTHONPATH": str(Path(__file__).parents[1])}
        return subprocess.run(argv, env=env, cwd=self.home, capture_output=True, text=True, timeout=120)

    @property
    def folder(self) -> RunFolder:
        """The one run."""
        (path,) = (self.home / ".local/state/skillrun/runs").iterdir()
        return RunFolder(path)


def check(machine: Machine) -> None:
    """Ten effects, each once, in order, each in its directory with its export; every finished command started once."""
    rows = [line.split() for line in (machine.home / "log").read_text().splitlines()]
    assert [int(row[0]) for row in rows] == list(range(1, STEPS + 1))
    assert [int(row[1]) for row in rows] == list(range(1, STEPS + 1)), "an export was lost"
    assert [Path(row[2]).name for row in rows] == [str(number) for number in range(1, STEPS + 1)]
    events = read_events(machine.folder.journal)
    finished = Counter(
        event.call.command
        for event in events
        if isinstance(event, Finished) and event.call.name == "shell" and event.result.state is State.EXITED
    )
    assert all(finished[step(number)] <= 1 for number in range(1, STEPS + 1)), "a command that had finished ran again"
    last = events[-1]
    assert isinstance(last, RunEnded)
    assert last.exit_code == 0


def points(tmp_path: Path) -> list[str]:
    """The kinds of the events of an undisturbed run, in order."""
    machine = Machine(tmp_path)
    done = machine.skillrun(0, "after", "install", "./count")
    assert done.returncode == 0, done.stdout + done.stderr
    check(machine)
    return [type(event).__name__ for event in read_events(machine.folder.journal)]


def die_and_resume(tmp_path: Path, point: int, how: str) -> None:
    """Kill at a point, then resume, and look at what is there."""
    machine = Machine(tmp_path)
    killed = machine.skillrun(point, how, "install", "./count")
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    try:
        started = any(read_events(machine.folder.journal))
    except FileNotFoundError:
        started = False
    done = machine.skillrun(0, "after", *(("resume", "last") if started else ("install", "./count")))
    assert done.returncode == 0, f"{how} event {point}: {done.stdout}{done.stderr}"
    if started:
        check(machine)


def test_a_killed_run_goes_on_wherever_it_was_killed(tmp_path: Path) -> None:
    """A sample of the points, all three ways (the slow test has them all)."""
    (tmp_path / "whole").mkdir()
    kinds = points(tmp_path / "whole")
    chosen = [(1, "after"), (len(kinds) // 2, "torn"), (len(kinds) - 1, "after"), (len(kinds), "before")]
    middle = [at for at, kind in enumerate(kinds, 1) if kind == "Finished"][5]
    for number, (point, how) in enumerate([*chosen, (middle, "before"), (middle - 1, "after")]):
        home = tmp_path / str(number)
        home.mkdir()
        die_and_resume(home, point, how)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_event_in_every_way(tmp_path: Path) -> None:
    """SIGKILL before, in the middle of and after every event of a run of ten commands; each time resume ends it well."""
    (tmp_path / "whole").mkdir()
    kinds = points(tmp_path / "whole")
    assert kinds.count("Started") >= STEPS
    for point in range(1, len(kinds) + 1):
        for how in ("before", "torn", "after"):
            if (point, how) == (len(kinds), "after"):
                continue
            home = tmp_path / f"{point}-{how}"
            home.mkdir()
            die_and_resume(home, point, how)


def test_a_run_may_be_killed_again_and_again(tmp_path: Path) -> None:
    """Killed, resumed and killed again four times at growing points: the fifth attempt still ends well."""
    machine = Machine(tmp_path)
    assert machine.skillrun(14, "before", "install", "./count").returncode == -signal.SIGKILL
    for point in (9, 10, 11):
        assert machine.skillrun(point, "before", "resume", "last").returncode == -signal.SIGKILL
    assert machine.skillrun(0, "after", "resume", "last").returncode == 0
    check(machine)


def test_a_finished_run_is_not_resumed(tmp_path: Path) -> None:
    """Nothing to go on with: usage error 2, and the report is named."""
    machine = Machine(tmp_path)
    assert machine.skillrun(0, "after", "install", "./count").returncode == 0
    done = machine.skillrun(0, "after", "resume", "last")
    assert done.returncode == 2
    assert "report" in done.stderr


def test_turns_of_a_cut_journal_are_whole(tmp_path: Path) -> None:
    """Cut after any line, a journal gives turns in which every call of every reply has exactly one result."""
    machine = Machine(tmp_path)
    machine.skillrun(0, "after", "install", "./count")
    events = read_events(machine.folder.journal)
    for count in range(len(events) + 1):
        part = events[:count]
        for turn in turns(part):
            assert [call.id for call, _ in turn.results] == [call.id for call in turn.reply.calls]
        started = {event.call.id for event in part if isinstance(event, Started)}
        ended = {event.call.id for event in part if isinstance(event, Finished)}
        replied = {call.id for event in part if isinstance(event, Replied) for call in event.reply.calls}
        unknown = {call.id for turn in turns(part) for call, result in turn.results if result.state is State.UNKNOWN}
        assert unknown == (started - ended) & replied
    assert Journal  # the writer is the same that the runs above used


@pytest.mark.root
@pytest.mark.overlay
@pytest.mark.skipif(probe().tier not in ("R", "U"), reason=f"no view here: {'; '.join(probe().reasons)}")
@pytest.mark.parametrize(("mode", "code"), [("--dry-run", 0), ("--preview", 4)])
def test_a_cut_preview_goes_on_as_a_preview(tmp_path: Path, mode: str, code: int) -> None:
    """Resumed, it is still no real run: begun anew in a view, its first attempt's view removed, nothing done for real."""
    machine = Machine(tmp_path)
    runs = tmp_path / ".local/state/skillrun/runs"
    killed = machine.skillrun(12, "after", "install", "./count", mode)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    (first,) = runs.iterdir()
    assert (first / "changes/layers.json").exists()
    argv = [sys.executable, "-m", "tests.killed", "0", "after", "resume", "last", "--no-input"]
    approve = ["--approve", "all"] if mode == "--dry-run" else ["--approve", "ask"]
    env = {**machine.env, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([*argv, *approve], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    assert "begins anew" in done.stderr
    (second,) = set(runs.iterdir()) - {first}
    events = read_events(RunFolder(second).journal)
    assert isinstance(events[0], RunStarted)
    assert events[0].mode == mode.removeprefix("--")
    if mode == "--dry-run":
        assert sum(isinstance(event, Finished) and event.call.why.isdigit() for event in events) == STEPS
    assert not (tmp_path / "log").exists()
    assert not (tmp_path / "1/2").exists()
    assert not (first / "changes/layers.json").exists()
    assert not list((first / "changes").glob("layers/*"))
