"""A run that was killed goes on: at every event, in every way, nothing runs twice and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skillrun.events import Finished, Replied, RunEnded, RunStarted, Started, State
from skillrun.overlay.process.probe import probe
from skillrun.record.journal import Journal, RunFolder, read_events, turns
from tests.killed import STEPS, step

SKILL = """---
name: count
description: Counts to ten in a file, a directory deeper each time.
metadata:
  skillrun-verify: 'test "$(cut -d" " -f1 $HOME/log | tr "\\n" " ")" = "1 2 3 4 5 6 7 8 9 10 "'
---
# Count
"""


class Server:
    """`tests.killed serve`: runs the command line in a fresh process for each request, without importing it each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        argv = [sys.executable, "-m", "tests.killed", "serve"]
        self.process = subprocess.Popen(
            argv, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, argv: Sequence[str], env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
        """One run: its exit code (negative: the signal that ended it) and all it said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        output = cwd / "output"
        facts = str(self.folder / "facts.json")
        self.process.stdin.write(
            json.dumps({"argv": argv, "env": env, "cwd": str(cwd), "output": str(output), "facts": facts}) + "\n"
        )
        self.process.stdin.flush()
        status = json.loads(self.process.stdout.readline())["status"]
        return subprocess.CompletedProcess(argv, os.waitstatus_to_exitcode(status), output.read_text(), "")

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the runs of this file."""
    made = Server(tmp_path_factory.mktemp("server"))
    yield made
    made.close()


class Machine:
    """A home with the skill in it, and the command line run there in a process of its own."""

    def __init__(self, home: Path, server: Server) -> None:
        self.home, self.server = home, server
        skill = home / "count"
        skill.mkdir(parents=True)
        (skill / "SKILL.md").write_text(SKILL)
        (home / "1").mkdir()
        self.env = {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "dumb"}

    def skillrun(self, point: int, how: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run the command line, killed at this point (0: not at all)."""
        return self.server.run([str(point), how, *command, "--approve", "all", "--no-input"], self.env, self.home)

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


def points(home: Path, server: Server) -> list[str]:
    """The kinds of the events of an undisturbed run, in order."""
    machine = Machine(home, server)
    done = machine.skillrun(0, "after", "install", "./count")
    assert done.returncode == 0, done.stdout
    check(machine)
    return [type(event).__name__ for event in read_events(machine.folder.journal)]


def die_and_resume(home: Path, server: Server, point: int, how: str) -> None:
    """Kill at a point, then resume, and look at what is there."""
    machine = Machine(home, server)
    killed = machine.skillrun(point, how, "install", "./count")
    assert killed.returncode == -signal.SIGKILL, killed.stdout
    try:
        started = any(read_events(machine.folder.journal))
    except FileNotFoundError:
        started = False
    done = machine.skillrun(0, "after", *(("resume", "last") if started else ("install", "./count")))
    assert done.returncode == 0, f"{how} event {point}: {done.stdout}"
    if started:
        check(machine)


def test_a_killed_run_goes_on_wherever_it_was_killed(tmp_path: Path, server: Server) -> None:
    """A sample of the points, all three ways (the slow test has them all)."""
    kinds = points(tmp_path / "whole", server)
    chosen = [(1, "after"), (len(kinds) // 2, "torn"), (len(kinds) - 1, "after"), (len(kinds), "before")]
    middle = [at for at, kind in enumerate(kinds, 1) if kind == "Finished"][5]
    for number, (point, how) in enumerate([*chosen, (middle, "before"), (middle - 1, "after")]):
        die_and_resume(tmp_path / str(number), server, point, how)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_event_in_every_way(tmp_path: Path) -> None:
    """SIGKILL before, in the middle of and after every event of a run of ten commands; each time resume ends it well."""
    workers = max(2, os.cpu_count() or 1)
    servers = [Server(tmp_path) for _ in range(workers)]
    try:
        kinds = points(tmp_path / "whole", servers[0])
        assert kinds.count("Started") >= STEPS
        every = [(point, how) for point in range(1, len(kinds) + 1) for how in ("before", "torn", "after")]
        every.remove((len(kinds), "after"))

        def work(number: int) -> None:
            for point, how in every[number::workers]:
                die_and_resume(tmp_path / f"{point}-{how}", servers[number], point, how)

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, range(workers)))
    finally:
        for one in servers:
            one.close()
    print(f"{len(every)} points")


def test_a_run_may_be_killed_again_and_again(tmp_path: Path, server: Server) -> None:
    """Killed, resumed and killed again four times at growing points: the fifth attempt still ends well."""
    machine = Machine(tmp_path / "home", server)
    assert machine.skillrun(14, "before", "install", "./count").returncode == -signal.SIGKILL
    for point in (9, 10, 11):
        assert machine.skillrun(point, "before", "resume", "last").returncode == -signal.SIGKILL
    assert machine.skillrun(0, "after", "resume", "last").returncode == 0
    check(machine)


def test_a_finished_run_is_not_resumed(tmp_path: Path, server: Server) -> None:
    """Nothing to go on with: usage error 2, and the report is named."""
    machine = Machine(tmp_path / "home", server)
    assert machine.skillrun(0, "after", "install", "./count").returncode == 0
    done = machine.skillrun(0, "after", "resume", "last")
    assert done.returncode == 2
    assert "report" in done.stdout


def test_turns_of_a_cut_journal_are_whole(tmp_path: Path, server: Server) -> None:
    """Cut after any line, a journal gives turns in which every call of every reply has exactly one result."""
    machine = Machine(tmp_path / "home", server)
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
def test_a_cut_preview_goes_on_as_a_preview(tmp_path: Path, server: Server, mode: str, code: int) -> None:
    """Resumed, it is still no real run: begun anew in a view, its first attempt's view removed, nothing done for real."""
    machine = Machine(tmp_path, server)
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
    assert "begins anew" in done.stdout
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
