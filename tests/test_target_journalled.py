"""A run that happens for real and can be undone keeps the promises of a Target, and says what it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.overlay.kernel import seccomp
from skillrun.overlay.record.preimages import put_back
from skillrun.ports import Command, result_of
from skillrun.targets.journalled import JournalledTarget
from tests.contracts.target import TargetContract

pytestmark = pytest.mark.skipif(bool(seccomp.try_notifications()), reason=seccomp.try_notifications() or "-")


class TestJournalledTarget(TargetContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[JournalledTarget]:
        """A shell on this machine, under notification."""
        target = JournalledTarget(tmp_path / "run", cwd=str(tmp_path))
        yield target
        target.close()


def test_it_never_calls_itself_contained(tmp_path: Path) -> None:
    """Its effects are live, and its notes say so in plain words."""
    target = JournalledTarget(tmp_path / "run", cwd=str(tmp_path))
    result_of(target.run(Command("echo live >file")))
    assert (tmp_path / "file").read_text() == "live\n"
    assert not target.contained
    assert "for real" in target.notes[0]
    target.close()


def test_commands_and_written_files_are_taken_back(tmp_path: Path) -> None:
    """Undo restores what the shell changed and what was put through the target."""
    (tmp_path / "old").write_text("old\n")
    (tmp_path / "config").write_text("before\n")
    target = JournalledTarget(tmp_path / "run", cwd=str(tmp_path))
    result_of(target.run(Command('echo more >>old; mkdir new; python3 -c \'open("new/x", "w").write("1")\'')))
    target.put("config", b"after\n", 0o600)
    target.put("fresh", b"fresh\n")
    target.close()
    assert target.unread == 0
    assert put_back(tmp_path / "run/changes") == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config", "old", "run"]
    assert (tmp_path / "old").read_text() == "old\n"
    assert (tmp_path / "config").read_text() == "before\n"


def test_a_service_that_stays_goes_on_working(tmp_path: Path) -> None:
    """A daemon started by the run can still write after the run has ended and its journal is closed."""
    import time

    target = JournalledTarget(tmp_path / "run", cwd=str(tmp_path))
    result_of(target.run(Command("setsid -f sh -c 'sleep 2; echo written >late' >/dev/null 2>&1 </dev/null")))
    target.close()
    end = time.monotonic() + 10
    while not (tmp_path / "late").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert (tmp_path / "late").exists()
