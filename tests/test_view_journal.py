"""The journal of a run that happens for real: every change is saved before it happens, and undo puts all of it back."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from skillrun.overlay.kernel import seccomp
from skillrun.overlay.kernel.dirfd import libc
from skillrun.overlay.kernel.syscalls import in_child
from skillrun.overlay.record.preimages import changed_paths, later_edits, put_back
from skillrun.overlay.record.recorder import Recorder
from tests.lab import apart, needs_overlay
from tests.viewing import manifest

pytestmark = pytest.mark.skipif(bool(seccomp.try_notifications()), reason=seccomp.try_notifications() or "-")

PR_SET_DUMPABLE = 4
CASES = sorted((Path(__file__).parent / "cases" / "view" / "journal").glob("*.sh"))


def run_recorded(command: str, folder: Path, cwd: Path) -> Recorder:
    """Carry a command out for real under notification; the finished record lies in `folder`."""
    recorder = Recorder(folder)
    ours, theirs = socket.socketpair()

    def child() -> None:
        os.chdir(cwd)
        listener = seccomp.install()
        socket.send_fds(theirs, [b"+"], [listener])
        os.close(listener)
        os.execvp("bash", ["bash", "-c", command])

    pid = os.fork()
    if pid == 0:
        in_child(child)
    with ours, theirs:
        recorder.add(socket.recv_fds(ours, 1, 1)[1][0])
    os.waitpid(pid, 0)
    recorder.stop()
    return recorder


def furnish(place: Path) -> None:
    """Something of every kind, to be changed by a case."""
    place.mkdir()
    (place / "file").write_text("old\n")
    (place / "twin").hardlink_to(place / "file")
    (place / "mode").write_text("mode\n")
    (place / "mode").chmod(0o640)
    (place / "link").symlink_to("file")
    (place / "tree/below/deep").mkdir(parents=True)
    (place / "tree/below/leaf").write_text("leaf\n")
    (place / "other").mkdir()
    (place / "new\nline é").write_text("odd\n")
    os.setxattr(place / "file", "user.test", b"value")
    os.mkfifo(place / "pipe")


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_undo_puts_everything_back(case: Path, tmp_path: Path) -> None:
    """After a run and its undo, every file is what it was: content, mode, owner, links, attributes, times of files."""
    place = tmp_path / "place"
    furnish(place)
    before = manifest([str(place)])
    recorder = run_recorded(case.read_text(), tmp_path / "record", place)
    assert recorder.unread == 0, recorder.examples
    assert recorder.heard > 0
    assert manifest([str(place)]) != before, "the case changed nothing"
    assert put_back(tmp_path / "record") == ()
    after = manifest([str(place)])
    assert without_identity(after) == without_identity(before)


@needs_overlay
@pytest.mark.root
def test_a_directory_of_somebody_else_is_no_failure() -> None:
    """An ordinary user makes something where everybody may: undo takes it away, and cannot set that directory's time."""

    def work() -> None:
        os.setgroups([])
        os.setresgid(4242, 4242, 4242)
        os.setresuid(4242, 4242, 4242)
        libc().prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # as after an exec: its children's memory can be read again
        run_recorded(f"mkdir -p {base}/made/deep; echo x >{base}/made/deep/file", base / "record", base)
        assert any(path == str(base) for _, path in changed_paths(base / "record"))
        assert put_back(base / "record") == ()
        assert os.listdir(base) == ["record"]

    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        base = Path(name)
        base.chmod(0o1777)
        assert apart(work) == 0


def without_identity(found: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    """A manifest without inode numbers and link counts: the saved twins of removed files still count as links."""
    return {path: (*facts[:3], *facts[5:]) for path, facts in found.items()}


def test_later_edits_are_named(tmp_path: Path) -> None:
    """A file changed after the run is reported, so that undo does not destroy somebody's work."""
    place = tmp_path / "place"
    furnish(place)
    run_recorded("echo new >file; echo more >extra", tmp_path / "record", place)
    assert later_edits(tmp_path / "record") == ()
    (place / "extra").write_text("mine now\n")
    assert later_edits(tmp_path / "record") == (str(place / "extra"),)


def test_reading_is_not_recorded(tmp_path: Path) -> None:
    """Commands that only read leave no record (bash itself opens its terminal for writing, hence one notice)."""
    furnish(tmp_path / "place")
    recorder = run_recorded("cat file; ls -la; test -e nothing; read x <file", tmp_path / "record", tmp_path / "place")
    assert recorder.heard <= 1
    assert (tmp_path / "record/preimages.jsonl").read_text() == ""
