"""The whole program against a hostile day: closed streams, full disks, signals, two at once, values that make no sense."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from skillrun.events import Event, Noted, Outcome, RunEnded
from skillrun.record.journal import read_events
from skillrun.run.stream import pull

ROOT = Path(__file__).parents[1]
ORPHAN = "sleep 47.11"
SKILL = """---
name: thing
description: Makes a file.
metadata:
  skillrun-verify: 'test -f $HOME/thing.done'
---
# Thing

```bash
{}
```

```bash
touch $HOME/thing.done
```
"""


class Machine:
    """A home of its own with one skill, `thing`, and the command line run there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = home / ".local/state/skillrun"
        self.env = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
        self.skill("true")

    def skill(self, step: str) -> None:
        """Give the skill this first step."""
        (self.home / "thing").mkdir(exist_ok=True)
        (self.home / "thing/SKILL.md").write_text(SKILL.format(step))

    def start(self, *args: str, redirect: str = "", env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a verb; the runs among them with everything approved and the built-in rules."""
        more = ["--approve", "all", "--no-input", "--model", "builtin"] if args[0] in ("install", "verify", "resume") else []
        command = f'exec "$@" {redirect}'
        argv = ["bash", "-c", command, "bash", sys.executable, "-m", "skillrun", args[0], *more, *args[1:]]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        full = {**self.env, **(env or {})}
        # The tests may run under nohup themselves; what is tested must not inherit that.
        default = lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)  # noqa: E731
        return subprocess.Popen(argv, env=full, cwd=self.home, text=True, preexec_fn=default, **pipes)  # type: ignore[call-overload, no-any-return]

    def run(self, *args: str, redirect: str = "", env: dict[str, str] | None = None) -> tuple[int, str]:
        """Exit code and all that was said."""
        process = self.start(*args, redirect=redirect, env=env)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in out + err
        assert "internal error" not in out + err
        return process.returncode, out + err

    def start_and_wait_for(self, marker: str) -> subprocess.Popen[str]:
        """Start an install and come back when its first step, which makes this file, runs."""
        process = self.start("install", "./thing")
        until = time.monotonic() + 30
        while not (self.home / marker).exists():
            assert time.monotonic() < until, "the step never started"
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        return process

    @property
    def last_event(self) -> Event:
        """Of the only run."""
        (folder,) = (self.state / "runs").iterdir()
        return read_events(folder / "journal.jsonl")[-1]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine whose skill works."""
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["install", "./thing", "--set", "PROT=1"], "no input 'PROT'"),
        (["install", "./thing", "--set", "PORT"], "NAME=VALUE"),
        (["install", "./thing", "--max-turns", "0"], "--max-turns 0"),
        (["install", "./thing", "--timeout", "-3"], "--timeout -3"),
        (["install", "./thing", "--max-cost", "nan"], "--max-cost nan"),
        (["install", "./thing", "--model", "nonsense"], "unknown model"),
        (["install", "./none"], "no skill"),
        (["install", "/dev/null"], "/dev/null"),
        (["resume", "last"], "no run"),
        (["report", "last"], "no run"),
        (["undo", "last"], "no run"),
    ],
)
def test_a_mistake_is_a_message_and_two(machine: Machine, args: list[str], says: str) -> None:
    """What a person typed wrong is named, nothing runs, and no run is left behind."""
    code, text = machine.run(*args)
    assert code == 2, text
    assert says in text
    assert not list(machine.state.glob("runs/*"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a plan",
        "[",
        "[1]",
        '{"schema": 99}',
        '{"schema": 1, "calls": ["rm -rf /"]}',
        '{"schema": 1, "calls": [{"name": 1}]}',
    ],
)
def test_a_plan_that_was_edited_to_pieces_is_a_message_and_two(machine: Machine, text: str) -> None:
    """Whoever edits a plan may break it: the file is named, and nothing runs."""
    (machine.home / "p.json").write_text(text)
    code, said = machine.run("install", "./thing", "--model", "plan:p.json")
    assert code == 2, said
    assert "p.json" in said
    assert not list(machine.state.glob("runs/*"))


@pytest.mark.parametrize(
    "line",
    [b'{"schema":99,"type":"Noted","text":"x"}', b'{"schema":1,"type":"Marvellous"}', b"[1]", b"\0\0\0 nothing", b"\xff{"],
)
@pytest.mark.parametrize("verb", ["report", "resume", "undo", "plan"])
def test_a_journal_of_another_version_or_none_is_a_message_and_two(machine: Machine, line: bytes, verb: str) -> None:
    """A run written by a later skillrun, or damaged, is named with its line; the history is still shown."""
    folder = machine.state / "runs" / "20300101-000000-thing-0000"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "journal.jsonl").write_bytes(line + b"\n")
    code, said = machine.run(verb, folder.name)
    assert code == 2, said
    assert "journal.jsonl:1" in said
    assert "Traceback" not in said
    assert machine.run("runs")[0] == 0


def test_a_pipe_in_place_of_a_document_is_not_waited_for(machine: Machine) -> None:
    """Nobody writes into a pipe that lies in a skill's directory; reading it would never end."""
    document = machine.home / "thing/SKILL.md"
    document.unlink()
    os.mkfifo(document)
    code, said = machine.run("show", "./thing")
    assert code == 2, said
    assert "not an ordinary file" in said or "no SKILL.md" in said


@pytest.mark.parametrize(
    ("redirect", "json"),
    [
        (">&- 2>&-", []),
        pytest.param("<&- >&- 2>&-", ["--json"], marks=pytest.mark.slow),
        pytest.param(">/dev/full", [], marks=pytest.mark.slow),
        ("2>/dev/full", ["--json"]),
        pytest.param("> >(head -1)", [], marks=pytest.mark.slow),
        ("> >(true) 2>&1", ["--json"]),
    ],
)
def test_a_run_does_not_need_anybody_to_listen(machine: Machine, redirect: str, json: list[str]) -> None:
    """Closed or full streams change neither the work nor its exit code."""
    assert machine.run("install", "./thing", *json, redirect=redirect)[0] == 0
    assert (machine.home / "thing.done").exists()
    (machine.home / "thing.done").unlink()
    machine.skill("false")
    assert machine.run("install", "./thing", *json, redirect=redirect)[0] == 3


def test_a_list_that_cannot_be_written_is_no_fault_of_ours(machine: Machine) -> None:
    """A full disk behind `>` is said in one line, not reported as a bug."""
    code, text = machine.run("list", redirect=">/dev/full")
    assert code != 0
    assert "No space left" in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_run_and_what_it_started(machine: Machine, number: signal.Signals) -> None:
    """Terminated, or its terminal closed: never 0, a journal with an end, no command left, the lock free."""
    machine.skill(f"touch $HOME/runs; {ORPHAN}")
    process = machine.start_and_wait_for("runs")
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert isinstance(machine.last_event, RunEnded)
    if number != signal.SIGINT:  # the first of those is about the command
        assert process.returncode == 130
        assert machine.last_event.outcome is Outcome.INTERRUPTED
        assert "skillrun resume" in out
    assert process.returncode != 0
    assert not running(machine)
    machine.skill("true")
    assert machine.run("install", "./thing")[0] == 0


def test_who_ignores_hangups_goes_on(machine: Machine) -> None:
    """`nohup skillrun install` outlives its terminal."""
    machine.skill("touch $HOME/runs; sleep 1")
    argv = ["nohup", sys.executable, "-m", "skillrun", "install", "./thing", "--approve", "all", "--model", "builtin"]
    process = subprocess.Popen(argv, env=machine.env, cwd=machine.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while not (machine.home / "runs").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == 0


def test_of_two_the_second_says_who_is_first(machine: Machine) -> None:
    """It names the run and its process, and is not itself remembered as a run."""
    machine.skill("touch $HOME/runs; until test -e $HOME/go; do sleep 0.1; done")
    first = machine.start_and_wait_for("runs")
    code, text = machine.run("install", "./thing")
    assert code == 8
    assert f"process {first.pid}" in text
    assert len(list(machine.state.glob("runs/*"))) == 1
    (machine.home / "go").touch()
    first.communicate(timeout=30)
    assert first.returncode == 0


def test_a_kill_leaves_nothing_that_breaks_the_history(machine: Machine) -> None:
    """A run killed before its first event is not a run: `last` means one that did something."""
    assert machine.run("install", "./thing")[0] == 0
    husk = machine.state / "runs/29990101-000000-thing-ffff"
    (husk / "skill").mkdir(parents=True)
    assert husk.name not in machine.run("runs")[1]
    assert machine.run("report", "last")[0] == 0
    (husk / "journal.jsonl").touch()
    assert machine.run("report", "last")[0] == 0


def test_a_run_without_its_skill_cannot_go_on(machine: Machine) -> None:
    """Somebody tidied the run folder: resume says so."""
    machine.skill("false")
    assert machine.run("install", "./thing")[0] == 3
    (document,) = machine.state.glob("runs/*/skill/SKILL.md")
    document.unlink()
    code, text = machine.run("resume", "last")
    assert code == 2
    assert "did not keep its skill" in text


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
def test_a_full_disk_stops_before_the_next_command(machine: Machine) -> None:
    """What cannot be recorded is not run: a clear message, no later step. The next run is kept in memory, and says so."""
    machine.skill("yes hello world | head -c 3000000")
    state = machine.home / "small"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(state)], check=True)
    try:
        code, text = machine.run("install", "./thing", env={"XDG_STATE_HOME": str(state)})
        assert code == 4
        assert "No space left" in text
        assert not (machine.home / "thing.done").exists()
        subprocess.run(["dd", "if=/dev/zero", f"of={state}/rest", "bs=4k"], stderr=subprocess.DEVNULL, check=False)
        code, text = machine.run("install", "./thing", env={"XDG_STATE_HOME": str(state)})
        assert code == 0, text
        assert f"the file system of {state}" in " ".join(text.split())
        assert "is full: this run is kept in memory" in " ".join(text.split())
        assert (machine.home / "thing.done").exists()
        assert machine.run("runs", env={"XDG_STATE_HOME": str(state)})[0] == 0
    finally:
        subprocess.run(["umount", str(state)], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
@pytest.mark.parametrize(
    ("options", "why"),
    [("nr_inodes=40", "has no inodes left, so that no file can be made there"), ("size=1m", "")],
    ids=["no inodes", "inodes and room"],
)
def test_a_machine_that_cannot_hold_a_journal_is_worked_on_all_the_same(machine: Machine, options: str, why: str) -> None:
    """Without inodes the run lies in memory, which of the two is short is said; with them it does not."""
    state = machine.home / "small"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(state)], check=True)
    try:
        if why:
            with contextlib.suppress(OSError):
                for number in range(100):
                    (state / str(number)).touch()
        code, text = machine.run("install", "./thing", env={"XDG_STATE_HOME": str(state)})
        assert code == 0, text
        said = " ".join(text.split())
        assert ("this run is kept in memory" in said) is bool(why)
        assert why in said
        assert (machine.home / "thing.done").exists()
        assert bool(list(state.glob("skillrun/runs/*"))) is not bool(why)
    finally:
        subprocess.run(["umount", str(state)], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a home directory read-only")
def test_a_home_directory_that_is_read_only(machine: Machine) -> None:
    """The run is kept where this user can write and is found from there; the home directory stays as it is."""
    before = sorted(path.name for path in machine.home.iterdir())
    there = Path(f"/var/tmp/skillrun-{os.getuid()}").exists()
    subprocess.run(["mount", "--bind", str(machine.home), str(machine.home)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(machine.home)], check=True)
    try:
        env = {"XDG_STATE_HOME": str(machine.home / "state")}
        code, text = machine.run("install", "./thing", env=env)
        said = " ".join(text.split())
        assert code in (3, 4), text
        assert "Read-only file system" in text
        found = re.search(r"is on a file system that is mounted read-only: this run is kept in (/\S+)", said)
        assert found, said
        assert Path(found[1]).name in machine.run("runs", env=env)[1]
        shutil.rmtree(Path(found[1]) if there else Path(found[1]).parent.parent)
    finally:
        subprocess.run(["umount", str(machine.home)], check=True)
    assert sorted(path.name for path in machine.home.iterdir()) == before


@pytest.mark.parametrize("step", ["exit 0", "exec bash", "mkdir gone; cd gone; rmdir ../gone", "exec >&- 2>&-"])
def test_a_step_may_end_its_shell(machine: Machine, step: str) -> None:
    """The steps after it run all the same."""
    machine.skill(step)
    code, text = machine.run("install", "./thing")
    assert code == 0, text


def test_an_interrupt_in_the_last_moments_ends_the_run() -> None:
    """Ctrl-C while the run is being concluded must not spin for ever."""

    def events() -> Generator[Event, None, RunEnded]:
        yield Noted("concluding", "info")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(events(), [lambda event: None], lambda error: None)


def running(machine: Machine) -> list[str]:
    """The commands of this home that are still there."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"HOME={machine.home}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
