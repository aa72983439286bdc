import dataclasses
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillrun.events import (
    Answered,
    Asked,
    Changed,
    Checked,
    CheckResult,
    Decided,
    Decision,
    Effect,
    EffectKind,
    Event,
    Finished,
    Noted,
    Outcome,
    Output,
    Replied,
    Reply,
    Result,
    RunEnded,
    RunStarted,
    Said,
    Started,
    State,
    ToolCall,
    Usage,
    Verdict,
)
from skillrun.record import journal
from skillrun.record.journal import Journal, JournalError, RunFolder, from_json, read_events, to_json, turns
from skillrun.record.lock import Busy, lock

CALL = ToolCall("c1", "shell", {"command": "echo é", "why": "to see"}, step=2)
CHECK = CheckResult("rg --version", ok=True, exit_code=0, output="ripgrep 13")
EVERY: list[Event] = [
    RunStarted("r", "install", "ripgrep", "bundled", "sha256:0", "builtin", "this machine", facts={"os": {"id": "debian"}}),
    Noted("hello", "warning"),
    Replied(Reply("text", (CALL,), "m", Usage(1, 2, 3, 4, 0.5), "tool_use", ({"type": "thinking"},))),
    Decided(CALL, Decision(Verdict.ASK, "writes", "rule-1", (Effect(EffectKind.WRITE, "/x", "new"),), "person")),
    Started(CALL, "/root"),
    Finished(CALL, Result(State.EXITED, 0, "out", 3, exports={"A": "1", "B": None}, created=("/x",))),
    Asked("port?", ("1", "2"), "input"),
    Answered("1"),
    Checked((CHECK,)),
    Changed({"files": 1}, "committed"),
    RunEnded(Outcome.VERIFIED, 0, "fine", (CHECK,), 0.5, 1, 1, 0.1, "r"),
]


@pytest.mark.parametrize("event", EVERY, ids=lambda event: type(event).__name__)
def test_an_event_reads_back_as_it_was(event: Event) -> None:
    """Every durable event survives the way to disk and back unchanged."""
    assert from_json(to_json(event, "2026-01-01T00:00:00Z")) == event


def test_events_for_eyes_only_are_not_written(tmp_path: Path) -> None:
    """Output and Said are shown, never journalled."""
    folder = RunFolder(tmp_path)
    sink = Journal(folder)
    for event in (Said("x"), Output("c1", "x"), Noted("kept")):
        sink(event)
    sink.close()
    assert read_events(folder.journal) == [Noted("kept")]


@given(cut=st.integers(min_value=0, max_value=3000))
def test_a_torn_last_line_is_dropped(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Wherever a crash cuts the file, the whole lines before it read back, and writing goes on after them."""
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    sink = Journal(folder)
    for event in EVERY:
        sink(event)
    sink.close()
    whole = folder.journal.read_bytes()
    kept = whole[:cut]
    folder.journal.write_bytes(kept)
    events = read_events(folder.journal)
    assert events == EVERY[: kept.count(b"\n")]
    again = Journal(folder)
    again(Noted("after"))
    again.close()
    assert read_events(folder.journal) == [*events, Noted("after")]


def test_a_spoiled_line_is_named(tmp_path: Path) -> None:
    """A line in the middle that is not ours is an error with file and line, not a silent loss."""
    folder = RunFolder(tmp_path)
    folder.journal.write_text('{"schema":1,"type":"Noted","text":"a"}\nnonsense\n{"schema":1,"type":"Noted","text":"b"}\n')
    with pytest.raises(JournalError, match=r"journal\.jsonl:2"):
        read_events(folder.journal)


def test_another_schema_is_refused() -> None:
    """A journal of another version is named as such instead of being misread."""
    with pytest.raises(JournalError, match="schema"):
        from_json({"schema": 999, "type": "Noted", "text": ""})


def test_an_unfinished_call_is_unknown_and_an_unstarted_one_is_not() -> None:
    """After a crash, a started call's outcome is unknown; one never started is said not to have been carried out."""
    second = dataclasses.replace(CALL, id="c2")
    events: list[Event] = [Replied(Reply("", (CALL, second))), Started(CALL)]
    ((_, first), (_, other)) = turns(events)[0].results
    assert first.state is State.UNKNOWN
    assert other.state is State.ERROR


def test_the_journal_survives_a_kill_at_every_event(tmp_path: Path) -> None:
    """Killed right after any event was journalled, a process leaves a journal that reads back whole up to it."""
    script = (
        f"import sys, os, signal; from pathlib import Path; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from tests.test_journal import EVERY; from skillrun.record.journal import Journal, RunFolder\n"
        "sink = Journal(RunFolder(Path(sys.argv[1])))\n"
        "for n, event in enumerate(EVERY):\n"
        "    sink(event)\n"
        "    if n == int(sys.argv[2]): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for count in (0, 4, len(EVERY) - 1):
        folder = tmp_path / str(count)
        folder.mkdir()
        done = subprocess.run([sys.executable, "-c", script, str(folder), str(count)], check=False)
        assert done.returncode == -signal.SIGKILL
        assert read_events(folder / "journal.jsonl") == EVERY[: count + 1]


def test_two_runs_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run says which run and process holds the lock."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with lock("one"), pytest.raises(Busy, match=f"run one, process {os.getpid()}"), lock("two"):
        pass
    with lock("three"):
        pass


def test_a_run_is_found_by_a_part_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`last` and an unambiguous part name a run; an ambiguous or unknown word is an error."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one = journal.new_run("alpha")
    two = journal.new_run("beta")
    assert (one.path.stat().st_mode & 0o777) == 0o700
    assert journal.find_run("alpha").id == one.id
    assert journal.find_run("last").id in (one.id, two.id)
    with pytest.raises(JournalError, match="2 runs"):
        journal.find_run("2")
    with pytest.raises(JournalError, match="no run"):
        journal.find_run("gamma")


@pytest.mark.root
def test_an_account_without_a_home_still_gets_a_journal(tmp_path: Path) -> None:
    """Where the home directory cannot be written, runs are kept in a private directory of the account's own."""
    script = (
        "import os, platformdirs, platformdirs.unix; from skillrun.record.place import state_directory; "
        "os.setuid(47110); print(state_directory())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "HOME": "/nonexistent", "XDG_STATE_HOME": ""},
        cwd=Path(__file__).parents[1],
    )
    place = Path("/var/tmp/skillrun-47110")
    try:
        assert done.stdout.strip() == str(place), done.stderr
        assert place.stat().st_mode & 0o777 == 0o700
    finally:
        place.rmdir()


def test_a_skill_around_the_state_directory_is_kept_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs kept below the skill's own directory are not copied into themselves."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    (tmp_path / "SKILL.md").write_text("x")
    (tmp_path / "asset").write_text("y")
    folder = journal.new_run("nested")
    journal.keep_skill(folder, "x", tmp_path / "SKILL.md")
    assert sorted(path.name for path in folder.skill.iterdir()) == ["SKILL.md", "asset", "home"]
    assert not list(folder.skill.rglob("runs"))


def test_a_run_in_memory_is_found_from_its_own_state_directory_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk takes no file the run lies in memory, beside those that stand in for other places."""
    made: list[Path] = []
    monkeypatch.setattr(journal, "check_room", _no_room_on_disk)
    for name in ("one", "other"):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / name))
        folder = journal.new_run(name)
        assert not folder.path.is_relative_to(tmp_path)
        made.append(folder.path.parent.parent)
        assert [run.id for run in journal.all_runs()] == [folder.id]
    for place in made:
        shutil.rmtree(place)


def _no_room_on_disk(folder: Path) -> None:
    if folder.is_relative_to(tempfile.gettempdir()):
        raise OSError(errno.ENOSPC, "No space left on device")
