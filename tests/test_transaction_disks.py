"""Disks that really fail in the middle of a commit or an undo: input/output errors, and a file system turned read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from skillrun.overlay.diff.changes import scan
from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.transaction.commit import commit, phase_of, recover, redo, undo
from skillrun.overlay.transaction.wal import Phase
from skillrun.overlay.transaction.workspace import CommitError
from tests.faults import cut
from tests.lab import Lab, apart, difference, manifest, needs_overlay
from tests.test_transaction_faults import SETUP, TORTURE, Disk, changes_of, chosen, committed_then_undone

pytestmark = [needs_overlay, pytest.mark.root, pytest.mark.overlay]


class Failing(Disk):
    """A disk whose platter is a file in memory: when no memory is left, every block that was never written fails (EIO)."""

    def __init__(self, base: Path, kind: str = "ext4") -> None:
        platter = base / "platter"
        platter.mkdir()
        ns.mount("tmpfs", str(platter), "tmpfs", 0, "size=256m")
        super().__init__(platter, kind)
        self.ballast = platter / "ballast"

    def fail(self) -> None:
        """From now on."""
        with self.ballast.open("wb", buffering=0) as file:
            for piece in (1 << 20, 4096):
                try:
                    while True:
                        file.write(bytes(piece))
                except OSError:
                    continue

    def mend(self) -> None:
        """A new cable."""
        self.ballast.unlink(missing_ok=True)

    def replug(self) -> None:
        """As after the machine was started again: the log is replayed, and an error that was noted does not matter."""
        subprocess.run(["umount", str(self.at)], check=True, stderr=subprocess.DEVNULL)
        subprocess.run(["e2fsck", "-p", str(self.image)], check=False, stdout=subprocess.DEVNULL)
        self.mount()


def test_a_disk_with_another_device_number_is_the_same_disk(tmp_path: Path) -> None:
    """After a restart a disk may be another device: what was committed on it is taken back all the same."""

    def work() -> None:
        disk = Disk(tmp_path, "ext4")
        disk.mount()
        lab, before, _ = committed_then_undone(disk.at / "lab")
        redo(lab.changes)
        number = os.stat(disk.at).st_dev
        disk.unmount()
        others = [tmp_path / f"other{count}.img" for count in range(3)]
        for other in others:  # whatever number was given before is taken now
            other.write_bytes(bytes(1 << 20))
        loops = [subprocess.check_output(["losetup", "--find", "--show", str(other)], text=True).strip() for other in others]
        try:
            disk.mount()
            assert os.stat(disk.at).st_dev != number
            undo(lab.changes)
            assert difference(before, manifest(lab.real)) == {}
            disk.unmount()
        finally:
            subprocess.run(["losetup", "--detach", *loops], check=True)

    assert apart(work) == 0


def failing_runs(base: Path, wanted: int) -> dict[str, int]:
    """Let the disk fail at many changes of a redo and of an undo; how many ended how."""
    disk = Failing(base)
    disk.mount()
    found = {"redo": 0, "undo": 0, "refused": 0}
    try:
        lab, before, after = committed_then_undone(disk.at / "lab")
        os.sync()
        disk.unmount()
        start = base / "start.img"
        subprocess.run(["cp", "--sparse=always", str(disk.image), str(start)], check=True)
        for name, work, total in (("redo", redo, 110), ("undo", undo, 100)):
            for at in chosen(total, wanted):
                subprocess.run(["cp", "--sparse=always", str(start), str(disk.image)], check=True)
                disk.mount()
                if work is undo:
                    redo(lab.changes)
                status, _ = cut(lambda work=work: work(lab.changes), at, disk.fail)  # type: ignore[misc]
                found["refused"] += status != 0
                disk.mend()
                disk.replug()
                committed = recover(lab.changes) is Phase.COMMITTED
                assert not (status == 0 and committed != (work is redo)), "a finished transition was lost"
                assert difference(after if committed else before, manifest(lab.real)) == {}, f"{name}, failed at change {at}"
                found[name] += 1
                disk.unmount()
    finally:
        disk.mend()
        subprocess.run(["umount", "-q", str(disk.at)], check=False)
        subprocess.run(["umount", "-q", str(disk.image.parent)], check=False)
    return found


def test_a_disk_that_fails_leaves_the_machine_whole(tmp_path: Path) -> None:
    """Real input/output errors from a change on, in commit and in undo: after recovery all before or all after."""

    def work() -> None:
        found = failing_runs(tmp_path, 5)
        assert found["redo"] >= 5
        assert found["undo"] >= 5
        assert found["refused"] >= 4, found

    assert apart(work) == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_disk_that_fails_anywhere(tmp_path: Path) -> None:
    """The same at every second change."""
    assert apart(lambda: print(failing_runs(tmp_path, 55))) == 0


def test_new_files_that_never_reached_the_disk_are_not_committed(tmp_path: Path) -> None:
    """What the view wrote cannot be stored: the commit says so before it touches anything, and nothing is lost."""

    def work() -> None:
        disk = Failing(tmp_path)
        disk.mount()
        lab = Lab(disk.at / "lab")
        lab.bash(SETUP)
        os.sync()
        before = manifest(lab.real)
        lab.view(TORTURE + "\nhead -c 20000000 /dev/urandom > large")
        changes = scan(lab.layers)
        disk.fail()
        with pytest.raises((CommitError, OSError)):
            commit(lab.layers, changes, lab.changes)
        disk.mend()
        disk.replug()
        if phase_of(lab.changes) is not Phase.NONE:
            assert recover(lab.changes) is not Phase.COMMITTED
        assert difference(before, manifest(lab.real)) == {}
        disk.unmount()
        subprocess.run(["umount", str(disk.image.parent)], check=True)

    assert apart(work) == 0


def turned_read_only(base: Path, kind: str, wanted: int) -> dict[str, int]:
    """Remount the file system read-only at many changes; how often the kernel did it, and what the machine was then."""
    disk = Disk(base, kind)
    disk.mount()
    found = {"read-only": 0, "before": 0, "after": 0}
    flag = base / "flag"

    def turn() -> None:
        done = subprocess.run(["mount", "-o", "remount,ro", str(disk.at)], capture_output=True, check=False)
        flag.write_text(str(done.returncode))

    try:
        lab, before, after = committed_then_undone(disk.at / "lab")
        works: tuple[Callable[[Path], object], ...] = (redo, undo)
        for work in works:
            for at in chosen(changes_of(lambda work=work: work(lab.changes)), wanted):  # type: ignore[misc]
                if (phase_of(lab.changes) is Phase.COMMITTED) != (work is undo):
                    (undo if work is redo else redo)(lab.changes)
                flag.unlink(missing_ok=True)
                status, _ = cut(lambda work=work: work(lab.changes), at, turn)  # type: ignore[misc]
                was = flag.exists() and flag.read_text() == "0"
                found["read-only"] += was
                subprocess.run(["mount", "-o", "remount,rw", str(disk.at)], check=True)
                committed = recover(lab.changes) is Phase.COMMITTED
                assert not (status == 0 and committed != (work is redo)), "a finished transition was lost"
                assert difference(after if committed else before, manifest(lab.real)) == {}, f"read-only at change {at}"
                found["after" if committed else "before"] += 1
    finally:
        subprocess.run(["umount", "-q", str(disk.at)], check=False)
    return found


def test_a_disk_turned_read_only_leaves_the_machine_whole(tmp_path: Path) -> None:
    """mount -o remount,ro in the middle: nothing pretends to have succeeded, and recovery ends it once it is writable."""

    def work() -> None:
        found = turned_read_only(tmp_path, "ext4", 6)
        assert found["read-only"] >= 8, found

    assert apart(work) == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_disk_turned_read_only_anywhere(tmp_path: Path, kind: str) -> None:
    """The same at most changes."""
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"mkfs.{kind} is not installed")
    assert apart(lambda: print(turned_read_only(tmp_path, kind, 60))) == 0
