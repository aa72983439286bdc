"""A run picked up after its shell, its directory or the whole machine went away: nothing is assumed, all is said."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from skillrun import cli
from skillrun.events import Event, Finished, Reply, Result, State, ToolCall, Turn
from skillrun.ports import Command, Place, result_of
from skillrun.run.resume import pick_up
from skillrun.secrets import Vault
from skillrun.targets.local import LocalTarget
from tests.messages_server import MessagesServer, call, message

SHELL = ToolCall("c", "shell", {"command": "x", "why": "y"})


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalTarget]:
    """A fresh shell, as a resumed run has one."""
    (tmp_path / "outputs").mkdir()
    machine = LocalTarget(tmp_path / "outputs", vault=Vault())
    yield machine
    machine.close()


def after(cwd: object = "", exports: Mapping[str, str | None] | None = None, **more: object) -> list[Event]:
    """What the journal holds of a command that left the shell so."""
    return [Finished(SHELL, Result(State.EXITED, 0, cwd=str(cwd), exports=exports or {}, **more))]  # type: ignore[arg-type]


def said(target: LocalTarget, command: str) -> str:
    """What a command prints in the target's shell."""
    return result_of(target.run(Command(command))).output.strip()


def test_directory_and_variables_come_back(target: LocalTarget, tmp_path: Path) -> None:
    """The new shell stands where the old one stood, with what it had exported; the policy knows the same."""
    folder = tmp_path / "it's a; place $HOME"
    folder.mkdir()
    found = pick_up(target, after(folder, {"COLOUR": "red 'and' $blue", "LANG": None}, created=("/made/here",)))
    assert found.differs == ()
    assert said(target, "pwd; echo $COLOUR; echo ${LANG-unset}") == f"{folder}\nred 'and' $blue\nunset"
    place = found.at(Place(cwd="/", variables={"HOME": "/h"}))
    assert (place.cwd, place.variables["COLOUR"], place.created) == (str(folder), "red 'and' $blue", {"/made/here"})


def test_a_directory_that_is_gone_is_told(target: LocalTarget, tmp_path: Path) -> None:
    """Nobody goes on in the wrong place without a word; variables come back all the same."""
    found = pick_up(target, after(tmp_path / "gone", {"A": "1"}))
    assert str(tmp_path / "gone") in found.differs[0]
    assert found.cwd in found.differs[0]
    assert said(target, "echo $A") == "1"


def test_a_secret_is_not_set_again_and_that_is_told(target: LocalTarget) -> None:
    """A journal holds no secret, so a variable that held one is named instead of set to its mask."""
    found = pick_up(target, after(exports={"TOKEN": "[secret TOKEN]", "B": "2"}))
    assert "TOKEN" in found.differs[0]
    assert said(target, "echo ${TOKEN-unset} $B") == "unset 2"


def test_background_jobs_are_named(target: LocalTarget) -> None:
    """A job of the old shell cannot be read any more."""
    events: list[Event] = [Finished(SHELL, Result(State.BACKGROUND, job="server-1"))]
    assert "server-1" in pick_up(target, events).differs[0]


@pytest.mark.parametrize(("up_s", "ago_s", "restarted"), [("10.5 20", 3600, True), ("9999 1", 60, False), ("", 60, False)])
def test_a_restart_of_the_machine_is_told(
    target: LocalTarget, tmp_path: Path, up_s: str, ago_s: float, restarted: bool
) -> None:
    """It counts as restarted when it came up after the last event; where that cannot be read, nothing is claimed."""
    (tmp_path / "uptime").write_text(up_s)
    seen = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=ago_s)).isoformat(timespec="milliseconds")
    found = pick_up(target, after(), seen, tmp_path / "uptime")
    assert any("restarted" in text for text in found.differs) is restarted


def test_the_model_reads_it_beside_the_last_result(target: LocalTarget, tmp_path: Path) -> None:
    """The last result carries the word; turns before it keep their bytes, a run without turns has none to carry it."""
    found = pick_up(target, after(tmp_path / "gone"))
    turn = Turn(Reply("", (SHELL,)), ((SHELL, Result(State.EXITED, 0, note="earlier note")),))
    first, last = found.told([turn, turn])
    assert first == turn
    note = last.results[0][1].note
    assert note.startswith("earlier note\n")
    assert "started again, with a new shell" in note
    assert str(tmp_path / "gone") in note
    assert found.told([]) == []


SKILL = """---
name: made
description: A file.
metadata:
  skillrun-verify: test "$(cat $HOME/made)" = yes
---
# Made
"""


def test_a_run_goes_on_after_a_restart_on_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Machine restarted, /tmp emptied, shell and job gone, one end never seen: all of it is told, nothing runs twice."""
    (tmp_path / "made.skill").mkdir()
    (tmp_path / "made.skill/SKILL.md").write_text(SKILL)
    work = tmp_path / "tmp/work"
    for name, value in {"HOME": str(tmp_path), "TERM": "dumb", "ANTHROPIC_API_KEY": "k"}.items():
        monkeypatch.setenv(name, value)
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "SKILLRUN_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    begin = {"type": "tool_use", "id": "a", "name": "shell", "input": {"command": f"mkdir -p {work} && cd {work} && export COLOUR=red && echo one >> $HOME/log", "why": "begin"}}  # fmt: skip  # noqa: E501
    script = [
        message([thought, begin], "tool_use"),
        call("shell", "b", command="sleep 300", why="a server", background=True),
        call("shell", "c", command="echo two >> $HOME/log", why="next"),
    ]
    words = ["--approve", "all", "--no-input"]
    with MessagesServer(script) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        assert cli.main(["install", "./made.skill", "--model", "one", "--max-turns", "3", *words]) == 5
    _restart(tmp_path)
    script = [
        call("shell", "d", command="cat $HOME/log; echo $COLOUR; pwd", why="look"),
        call("shell", "e", command="echo yes > $HOME/made", why="end"),
        call("finish", "f", outcome="done", summary="x"),
    ]
    capfd.readouterr()
    with MessagesServer(script) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        assert cli.main(["resume", "last", "--model", "two", *words]) == 0
    person = capfd.readouterr()
    shown = person.out + person.err
    first = json.dumps(server.requests[0]["messages"], ensure_ascii=False)
    assert server.requests[0]["model"] == "two"
    assert "c2ln" not in first, "one model's thinking was sent to another"
    assert "outcome unknown" in first
    for text in (f"the directory {work} cannot be entered", "restarted", "background jobs are out of reach"):
        assert text in first
        assert text in " ".join(shown.split())
    looked = json.dumps(server.requests[1]["messages"][-1])
    assert "one\\\\ntwo\\\\nred\\\\n" in json.dumps(looked), looked
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def _restart(home: Path) -> None:
    """What a restart in the middle of the last command leaves: an older journal without that command's end, /tmp empty."""
    shutil.rmtree(home / "tmp")
    (journal,) = (home / ".local/state/skillrun/runs").glob("*/journal.jsonl")
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    last = max(at for at, row in enumerate(rows) if row["type"] == "Started" and row["call"]["id"] == "c")
    old = [{**row, "t": "2020-01-01T00:00:00.000+00:00"} for row in rows[: last + 1]]
    journal.write_text("".join(json.dumps(row) + "\n" for row in old))
    os.sync()
