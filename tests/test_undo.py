"""`undo`: of committed views and of live runs, through the command line as a person uses it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.cli import main
from skillrun.events import Changed, RunEnded, RunStarted
from skillrun.overlay.diff.changes import scan
from skillrun.overlay.transaction.commit import commit
from skillrun.overlay.transaction.wal import Phase, Progress
from skillrun.ports import Command, result_of
from skillrun.record.journal import Journal, RunFolder, all_runs, new_run, read_events
from skillrun.rollback.recorded import inventory, prune, recorded, removal
from skillrun.targets.local import LocalTarget
from tests.lab import Lab, Manifest, difference, ground, manifest, needs_overlay


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs of a test live in its own state directory."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def undo(capsys: Captured, *words: str) -> tuple[int, dict[str, object]]:
    """Run `skillrun undo --json`: exit code and what it printed."""
    code = main(["undo", "--json", *words])
    return code, json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def started(skill: str = "thing") -> RunFolder:
    """The folder of a run that has begun and ended."""
    run = new_run(skill)
    journal = Journal(run)
    journal(RunStarted(run.id, "install", skill, "", "", "builtin", "local"))
    journal.close()
    return run


# --- committed views ---------------------------------------------------------------------------------


Committed = tuple[Lab, RunFolder, Manifest, Manifest]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def committed() -> Iterator[Committed]:
    """A tree with a committed change, its run, and the manifests before and after."""
    with ground() as base:
        lab, run = Lab(base / "lab"), started()
        lab.changes = run.changes
        lab.bash("mkdir etc; echo old > etc/conf; echo gone > etc/gone")
        before = manifest(lab.real)
        lab.view(
            "echo new > etc/conf; rm etc/gone; mkdir -p opt/app/{bin,data}; echo x > opt/app/bin/x; echo d > opt/app/data/d"
        )
        commit(lab.layers, scan(lab.layers), lab.changes)
        yield lab, run, before, manifest(lab.real)


@needs_overlay
@pytest.mark.root
@pytest.mark.overlay
class TestOfACommittedView:
    def test_puts_everything_back_and_can_itself_be_undone(self, committed: Committed, capsys: Captured) -> None:
        """undo == before; undo of the undo == after; undo again == before. Each is a run in the history."""
        lab, run, before, after = committed
        code, data = undo(capsys, run.id, "--approve", "all")
        assert code == 0
        assert difference(before, manifest(lab.real)) == {}
        name = data["undo"]["as_run"]
        events = read_events(RunFolder(run.path.parent / name).journal)
        assert isinstance(events[0], RunStarted)
        assert events[0].verb == "undo"
        assert any(isinstance(event, Changed) and event.state == "undone" for event in events)
        assert isinstance(events[-1], RunEnded)
        assert undo(capsys, name, "--approve", "all")[0] == 0
        assert difference(after, manifest(lab.real)) == {}
        assert undo(capsys, run.id, "--approve", "all")[0] == 0
        assert difference(before, manifest(lab.real)) == {}
        assert len(all_runs()) == 4

    def test_asks_first_and_does_nothing_when_nobody_answers(self, committed: Committed, capsys: Captured) -> None:
        """Without a terminal and without --approve all: exit code 4, nothing touched."""
        lab, run, _, after = committed
        code, data = undo(capsys, run.id, "--no-input")
        assert code == 4
        assert "--approve all" in data["error"]["hint"]
        assert difference(after, manifest(lab.real)) == {}

    def test_later_edits_stop_it_until_somebody_says_what_to_do(self, committed: Committed, capsys: Captured) -> None:
        """An edited file is named; neither version is touched before a person has decided."""
        lab, run, _, _ = committed
        (lab.real / "etc/conf").write_text("mine\n")
        edited = manifest(lab.real)
        code, data = undo(capsys, run.id, "--approve", "all")
        assert code == 4
        assert "etc/conf" in data["error"]["message"]
        assert difference(edited, manifest(lab.real)) == {}

    def test_edited_leave_keeps_the_edit_in_place(self, committed: Committed, capsys: Captured) -> None:
        """What was edited stays, the rest is as before; a new directory stays only as far as it holds the edit."""
        lab, run, before, _ = committed
        (lab.real / "opt/app/data/mine").write_text("mine")
        (lab.real / "etc/conf").write_text("mine\n")
        code, data = undo(capsys, run.id, "--approve", "all", "--edited", "leave")
        assert code == 0
        now = manifest(lab.real, times=False)
        left = {path for path in now if path not in before}
        assert left == {"opt", "opt/app", "opt/app/data", "opt/app/data/mine"}
        assert (lab.real / "etc/conf").read_text() == "mine\n"
        assert (lab.real / "etc/gone").read_text() == "gone\n"
        assert sorted(data["undo"]["left"]) == [str(lab.real / path) for path in ("etc/conf", "opt/app/data/mine")]
        assert undo(capsys, data["undo"]["as_run"], "--approve", "all")[0] == 0
        assert (lab.real / "opt/app/bin/x").read_text() == "x\n"
        assert (lab.real / "etc/conf").read_text() == "mine\n"

    def test_edited_replace_puts_the_former_back_and_keeps_the_later(self, committed: Committed, capsys: Captured) -> None:
        """The machine is exactly as before; the edited versions lie where the answer says."""
        lab, run, before, _ = committed
        (lab.real / "opt/app/data/mine").write_text("mine")
        os.rename(_written(lab.base / "draft", "by rename\n"), lab.real / "etc/conf")
        code, data = undo(capsys, run.id, "--approve", "all", "--edited", "replace")
        assert code == 0
        assert difference(before, manifest(lab.real)) == {}
        kept = data["undo"]["kept"]
        assert Path(kept[str(lab.real / "etc/conf")]).read_text() == "by rename\n"
        assert Path(kept[str(lab.real / "opt/app/data/mine")]).read_text() == "mine"

    def test_deleting_what_the_run_added_is_no_edit_to_ask_about(self, committed: Committed, capsys: Captured) -> None:
        """What is to go and is gone already needs no word."""
        lab, run, before, _ = committed
        (lab.real / "opt/app/bin/x").unlink()
        assert undo(capsys, run.id, "--approve", "all")[0] == 0
        assert difference(before, manifest(lab.real)) == {}

    def test_twice_is_an_error_that_says_what_to_do(self, committed: Committed, capsys: Captured) -> None:
        """The second undo changes nothing and points at the run that undid."""
        lab, run, before, _ = committed
        undo(capsys, run.id, "--approve", "all")
        code, data = undo(capsys, run.id, "--approve", "all")
        assert code == 2
        assert "undone already, by " in data["error"]["message"]
        assert "skillrun undo " in data["error"]["hint"]
        assert difference(before, manifest(lab.real)) == {}

    def test_a_commit_that_was_cut_is_not_said_to_be_undone_by_a_run(self, committed: Committed, capsys: Captured) -> None:
        """Taken back by skillrun itself, now or before: undo says so, and names no run that is not there."""
        lab, run, before, _ = committed
        Progress.load(run.changes).at(Phase.COMMITTING).save(run.changes)
        code, data = undo(capsys, run.id, "--approve", "all")
        assert code == 2
        assert "was cut off and taken back" in data["error"]["message"]
        assert difference(before, manifest(lab.real)) == {}
        assert "there is nothing to undo" in undo(capsys, run.id, "--approve", "all")[1]["error"]["message"]

    def test_pruning_gives_the_way_back_up_and_touches_nothing_real(self, committed: Committed, capsys: Captured) -> None:
        """Space is freed, the machine stays, undo says that it cannot."""
        lab, run, _, after = committed
        assert prune(run.path) > 0
        assert difference(after, manifest(lab.real)) == {}
        assert not lab.upper.exists()
        code, data = undo(capsys, run.id, "--approve", "all")
        assert code == 3
        assert "nothing" in data["error"]["message"]


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# --- live runs ------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of its own."""
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.setenv("HOME", str(place))
    (place / ".bashrc").write_text("# mine\n")
    return place


def live(home: Path, tmp_path: Path, script: str) -> RunFolder:
    """A live run of one script, recorded as the loop records it."""
    run = started()
    target = LocalTarget(tmp_path / "outputs", cwd=str(home))
    try:
        inventory.save(run.changes, inventory.BEFORE, inventory.record_inventory(target))
        assert result_of(target.run(Command(script))).ok
        inventory.save(run.changes, inventory.AFTER, inventory.record_inventory(target))
    finally:
        target.close()
    return run


def test_a_live_run_gives_back_start_up_files_and_says_what_stays(home: Path, tmp_path: Path, capsys: Captured) -> None:
    """The text of a start-up file comes back; a program put into the home directory by hand is named as staying."""
    run = live(home, tmp_path, "mkdir -p ~/.local/bin; echo 'export PATH=x' >> ~/.bashrc; echo '#!/bin/sh' > ~/.local/bin/tool")
    code, data = undo(capsys, run.id, "--approve", "all")
    assert code == 0
    assert (home / ".bashrc").read_text() == "# mine\n"
    assert any(".local/bin/tool" in text for text in data["undo"]["cannot"])
    assert any("network" in text for text in data["undo"]["cannot"])
    assert undo(capsys, data["undo"]["as_run"], "--approve", "all")[0] == 0
    assert (home / ".bashrc").read_text() == "# mine\nexport PATH=x\n"


def test_a_live_run_asks_about_start_up_files_edited_since(home: Path, tmp_path: Path, capsys: Captured) -> None:
    """Both versions survive: the former in place, the later beside the run."""
    run = live(home, tmp_path, "echo 'export PATH=x' >> ~/.bashrc")
    (home / ".bashrc").write_text("# wholly mine\n")
    assert undo(capsys, run.id, "--approve", "all")[0] == 4
    assert (home / ".bashrc").read_text() == "# wholly mine\n"
    code, data = undo(capsys, run.id, "--approve", "all", "--edited", "replace")
    assert code == 0
    assert (home / ".bashrc").read_text() == "# mine\n"
    assert Path(data["undo"]["kept"][str(home / ".bashrc")]).read_text() == "# wholly mine\n"


def test_files_written_by_tools_come_back_or_go_away(home: Path, tmp_path: Path, capsys: Captured) -> None:
    """A file that was overwritten has its former bytes and mode again, one that was new is gone."""
    run, target = started(), LocalTarget(tmp_path / "outputs", cwd=str(home))
    (home / "conf").write_bytes(b"old\xff")
    (home / "conf").chmod(0o640)
    try:
        for name, text in (("conf", b"one"), ("conf", b"two"), ("fresh", b"x")):
            path = str(home / name)
            inventory.keep_before(target, path, run.changes)
            target.put(path, text)
            inventory.note_after(path, text, run.changes)
    finally:
        target.close()
    code, _ = undo(capsys, run.id, "--approve", "all")
    assert code == 0
    assert (home / "conf").read_bytes() == b"old\xff"
    assert (home / "conf").stat().st_mode & 0o777 == 0o640
    assert not (home / "fresh").exists()


def test_a_run_that_recorded_nothing_says_so(capsys: Captured) -> None:
    """No pretence: exit code 3 and the reason."""
    code, data = undo(capsys, started().id, "--approve", "all")
    assert code == 3
    assert "recorded nothing" in data["error"]["message"]


def test_a_preview_that_was_discarded_has_nothing_to_undo(capsys: Captured) -> None:
    """It says that the machine was never changed, not that records are missing."""
    run = new_run("thing")
    journal = Journal(run)
    journal(RunStarted(run.id, "install", "thing", "", "", "builtin", "preview", mode="preview", tier="R"))
    journal.close()
    assert main(["undo", run.id, "--approve", "all"]) == 3
    assert "changed nothing on this machine" in capsys.readouterr().err


def test_packages_become_the_commands_that_remove_exactly_them(tmp_path: Path) -> None:
    """New packages are removed, upgraded ones are named as staying, per manager and place."""
    empty = {"packages": {}, "programs": [], "units": [], "users": [], "files": {}}
    before = {**empty, "packages": {"dpkg": {"tree": "1", "base": "1"}}}
    after = {
        **empty,
        "packages": {
            "dpkg": {"tree": "2", "base": "1", "jq": "1.6", "libjq1": "1.6"},
            "pip": {"rich /home/dev/.local/lib/python3.11/site-packages": "13"},
            "npm": {"@scope/tool /usr/local/lib": "1"},
        },
        "users": ["redis"],
    }
    inventory.save(tmp_path, inventory.BEFORE, before)
    inventory.save(tmp_path, inventory.AFTER, after)
    found = recorded(tmp_path)
    assert [command.removeprefix("sudo ") for command in found.commands] == [
        "env DEBIAN_FRONTEND=noninteractive dpkg --purge jq libjq1",
        "npm uninstall --global --prefix /usr/local @scope/tool",
        "python3.11 -m pip uninstall -y --break-system-packages rich",
    ]
    assert any("tree was upgraded (was 1)" in text for text in found.cannot)
    assert any("user redis" in text for text in found.cannot)


def test_names_of_packages_never_become_shell(tmp_path: Path) -> None:
    """A package name is data."""
    assert removal("pipx", "", ["a; rm -rf /"]) == "pipx uninstall 'a; rm -rf /'"


def test_last_is_the_last_run_that_changed_something(home: Path, tmp_path: Path, capsys: Captured) -> None:
    """A run that found everything there is not what somebody means who wants something taken back; an undo is."""
    changed = live(home, tmp_path, "echo 'export PATH=x' >> ~/.bashrc")
    live(home, tmp_path, "true")
    code, data = undo(capsys, "last", "--approve", "all")
    assert (code, data["undo"]["run"]) == (0, changed.id)
    assert (home / ".bashrc").read_text() == "# mine\n"
    code, again = undo(capsys, "last", "--approve", "all")
    assert (code, again["undo"]["run"]) == (0, data["undo"]["as_run"])
    assert "PATH=x" in (home / ".bashrc").read_text()


def test_an_environment_that_stays_is_named_with_its_size(home: Path, tmp_path: Path, capsys: Captured) -> None:
    """What a run made and no package manager takes along is told: where, how large, how it goes."""
    place = home / ".local/share/tool"
    run = live(
        home,
        tmp_path,
        "mkdir -p ~/.local/share/tool/lib; head -c 3000000 /dev/zero > ~/.local/share/tool/lib/code; echo >> ~/.bashrc",
    )
    code, data = undo(capsys, run.id, "--approve", "all")
    assert code == 0
    (told,) = [text for text in data["undo"]["cannot"] if str(place) in text]
    assert "3.0 MB" in told
    assert f"rm -r {place}" in told


def test_packages_that_another_run_or_a_repair_brought_are_left(tmp_path: Path) -> None:
    """Two runs that both count a package as theirs: while one stands, undoing the other does not propose to remove it."""
    for name, brought in (("one", ("jq", "shared")), ("two", ("tree", "shared"))):
        changes = tmp_path / "runs" / name / "changes"
        changes.mkdir(parents=True)
        empty = {"schema": 1, "packages": {"dpkg": {}}, "programs": [], "units": [], "users": [], "files": {}}
        inventory.save(changes, inventory.BEFORE, empty)
        inventory.save(changes, inventory.AFTER, empty | {"packages": {"dpkg": dict.fromkeys(brought, "1")}})
    found = recorded(tmp_path / "runs/one/changes")
    assert [text.split("--purge ")[1] for text in found.commands] == ["jq"]
    assert "the package shared stays: run two brought it too" in found.cannot
