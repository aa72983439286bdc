"""Kills, full disks, broken disks and lost power in the middle of a commit or an undo: never a half-committed machine."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skillrun.overlay.diff.changes import scan
from skillrun.overlay.transaction.commit import commit, phase_of, recover, redo, undo
from skillrun.overlay.transaction.wal import Phase
from tests.faults import cut, die, kill_after, refuse
from tests.lab import CASES, Lab, Manifest, apart, difference, ground, manifest, needs_overlay

ATTRIBUTES = (CASES / "attributes.sh").read_text()
SETUP = ATTRIBUTES + (CASES / "torture.setup.sh").read_text()
TORTURE = ATTRIBUTES + (CASES / "torture.sh").read_text()

pytestmark = [needs_overlay, pytest.mark.root, pytest.mark.overlay]


@pytest.fixture
def shm() -> Iterator[Path]:
    """A place in memory: where killing is tested, syncing to a disk proves nothing."""
    with ground() as base:
        yield base / "lab"


def committed_then_undone(base: Path, options: str = "index=on") -> tuple[Lab, Manifest, Manifest]:
    """A torture transaction that was committed and undone once, with the manifests before and after."""
    lab = Lab(base, options)
    lab.bash(SETUP)
    before = manifest(lab.real)
    lab.view(TORTURE)
    commit(lab.layers, scan(lab.layers), lab.changes)
    after = manifest(lab.real)
    undo(lab.changes)
    return lab, before, after


def changes_of(work: Callable[[], object]) -> int:
    """How many times a piece of work changes the disk."""
    status, seen = cut(work, 0, die)
    assert status == 0
    return seen


def chosen(total: int, wanted: int) -> range:
    """At most about `wanted` of the numbers 1..total, evenly spread."""
    return range(1, total + 1, max(1, total // wanted))


def kill_everywhere(lab: Lab, before: Manifest, after: Manifest, wanted: int) -> dict[str, int]:
    """Kill a redo and an undo at many of their changes, recover, and look: counts of cuts by kind."""
    count = {"redo": 0, "undo": 0}
    forward = changes_of(lambda: redo(lab.changes))
    backward = changes_of(lambda: undo(lab.changes))
    for at in chosen(forward, wanted):
        status, _ = cut(lambda: redo(lab.changes), at, die)
        assert os.WIFSIGNALED(status)
        phase = recover(lab.changes)
        whole = after if phase is Phase.COMMITTED else before
        assert difference(whole, manifest(lab.real)) == {}, f"redo cut at change {at}"
        if phase is Phase.COMMITTED:
            undo(lab.changes)
        count["redo"] += 1
    for at in chosen(backward, wanted):
        if phase_of(lab.changes) is not Phase.COMMITTED:
            redo(lab.changes)
        status, _ = cut(lambda: undo(lab.changes), at, die)
        assert os.WIFSIGNALED(status)
        whole = after if recover(lab.changes) is Phase.COMMITTED else before
        assert difference(whole, manifest(lab.real)) == {}, f"undo cut at change {at}"
        count["undo"] += 1
    return count


def test_killed_at_any_change_the_machine_is_whole_after_recovery(shm: Path) -> None:
    """A sample of all cuts; the slow test below takes every one."""
    lab, before, after = committed_then_undone(shm)
    assert sum(kill_everywhere(lab, before, after, wanted=25).values()) >= 50


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_every_change_the_machine_is_whole_after_recovery(shm: Path) -> None:
    """kill -9 right before every single change of the disk, in commit and in undo."""
    lab, before, after = committed_then_undone(shm)
    print(kill_everywhere(lab, before, after, wanted=1_000_000))


@pytest.mark.parametrize(
    ("number", "forever"),
    [
        pytest.param(errno.ENOSPC, True, id="ENOSPC, from then on"),
        pytest.param(errno.EIO, False, id="EIO, once"),
        pytest.param(errno.EROFS, True, id="EROFS, from then on"),
        pytest.param(errno.ENOSPC, False, id="ENOSPC, once", marks=pytest.mark.slow),
        pytest.param(errno.EIO, True, id="EIO, from then on", marks=pytest.mark.slow),
        pytest.param(errno.EROFS, False, id="EROFS, once", marks=pytest.mark.slow),
    ],
)
def test_a_disk_that_refuses_leaves_the_machine_whole(shm: Path, number: int, forever: bool) -> None:
    """Full, broken or read-only at any change: taken back at once, or, when even that is refused, by recovery later."""
    lab, before, after = committed_then_undone(shm)
    for work, total in ((redo, changes_of(lambda: redo(lab.changes))), (undo, changes_of(lambda: undo(lab.changes)))):
        for at in chosen(total, 10):
            if work is undo and phase_of(lab.changes) is Phase.UNDONE:
                redo(lab.changes)
            elif work is redo and phase_of(lab.changes) is Phase.COMMITTED:
                undo(lab.changes)
            cut(lambda work=work: work(lab.changes), at, refuse(number), forever)  # type: ignore[misc]
            if not forever and work is redo and phase_of(lab.changes) is Phase.UNDONE:
                assert difference(before, manifest(lab.real)) == {}, f"not taken back at once, change {at}"
            whole = after if recover(lab.changes) is Phase.COMMITTED else before
            assert difference(whole, manifest(lab.real)) == {}, f"{work.__name__} refused at change {at}"


def test_recovery_killed_again_and_again_still_ends_whole(shm: Path) -> None:
    """A commit is cut in the middle, its recovery is cut at each of its changes, and the next recovery ends it."""
    lab, before, _ = committed_then_undone(shm)
    middle = changes_of(lambda: redo(lab.changes)) * 3 // 4
    undo(lab.changes)
    cut(lambda: redo(lab.changes), middle, die)
    assert phase_of(lab.changes) is Phase.COMMITTING
    at = 1
    while os.WIFSIGNALED(cut(lambda: recover(lab.changes), at, die)[0]):
        at += 1
    assert at > 5
    assert recover(lab.changes) is Phase.UNDONE
    assert difference(before, manifest(lab.real)) == {}


def random_kills(lab: Lab, before: Manifest, after: Manifest, count: int) -> dict[str, int]:
    """Kill redo and undo after random times; what the machine was found to be, by name."""
    found = {"before": 0, "after": 0, "unfinished": 0}
    source = random.Random(7)
    began = time.monotonic()
    redo(lab.changes)
    undo(lab.changes)
    longest = (time.monotonic() - began) / 2
    for _ in range(count):
        work = undo if phase_of(lab.changes) is Phase.COMMITTED else redo
        kill_after(lambda work=work: work(lab.changes), source.uniform(0, longest * 1.2))  # type: ignore[misc]
        found["unfinished"] += phase_of(lab.changes) not in (Phase.COMMITTED, Phase.UNDONE)
        committed = recover(lab.changes) is Phase.COMMITTED
        whole, word = (after, "after") if committed else (before, "before")
        assert difference(whole, manifest(lab.real)) == {}
        found[word] += 1
    return found


def test_killed_at_random_moments_the_machine_is_whole_after_recovery(shm: Path) -> None:
    """Not between changes but at any moment: a few of the slow test's thousand."""
    lab, before, after = committed_then_undone(shm)
    assert sum(random_kills(lab, before, after, 25).values()) >= 25


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_a_thousand_random_moments(shm: Path) -> None:
    """One thousand kills at random moments, none of which leaves a half-committed machine."""
    lab, before, after = committed_then_undone(shm)
    print(random_kills(lab, before, after, 1000))


# --- lost power ---------------------------------------------------------------------------------------------

GOING_DOWN = 0x8004587D
NOLOGFLUSH = 2
"""Stop without writing the log: what was not synced is lost (fs/ext4/ioctl.c, xfs_fs.h)."""
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}


class Disk:
    """A file system in a file, which can lose its power."""

    def __init__(self, base: Path, kind: str) -> None:
        self.image, self.at, self.kind = base / "disk.img", base / "disk", kind
        with self.image.open("wb") as file:
            file.truncate(320 << 20)
        subprocess.run([*MAKE[kind], str(self.image)], check=True, stdout=subprocess.DEVNULL)
        self.at.mkdir()

    def mount(self) -> None:
        """Plug it in; what the log holds is replayed."""
        options = "loop,commit=300" if self.kind == "ext4" else "loop"
        subprocess.run(["mount", "-o", options, str(self.image), str(self.at)], check=True)

    def unmount(self) -> None:
        """Pull it out."""
        subprocess.run(["umount", str(self.at)], check=True)

    def lose_power(self) -> None:
        """Nothing that was not synced reaches the disk any more."""
        descriptor = os.open(self.at, os.O_RDONLY)
        fcntl.ioctl(descriptor, GOING_DOWN, struct.pack("I", NOLOGFLUSH))
        os.close(descriptor)


def lost_power_runs(base: Path, kind: str, count: int) -> dict[str, int]:
    """Lose power at random changes of a commit or an undo; what the machine was found to be after recovery."""
    disk = Disk(base, kind)
    disk.mount()
    found = {"before": 0, "after": 0}
    try:
        lab, before, after = committed_then_undone(disk.at / "lab")
        os.sync()
        disk.unmount()
        start = base / "start.img"
        shutil.copy(disk.image, start)
        source = random.Random(11)
        for number in range(count):
            shutil.copy(start, disk.image)
            disk.mount()
            work: Callable[[Path], object] = redo
            if number % 2:
                redo(lab.changes)
                work = undo

            def fail() -> None:
                disk.lose_power()
                die()

            status, _ = cut(lambda work=work: work(lab.changes), source.randrange(1, 140), fail)  # type: ignore[misc]
            if status == 0:
                disk.lose_power()
            disk.unmount()
            disk.mount()
            committed = recover(lab.changes) is Phase.COMMITTED
            assert not (status == 0 and committed != (work is redo)), "a finished transition was lost"
            whole, word = (after, "after") if committed else (before, "before")
            assert difference(whole, manifest(lab.real)) == {}, f"power lost in run {number}"
            found[word] += 1
            disk.unmount()
    finally:
        subprocess.run(["umount", "-q", str(disk.at)], check=False)
    return found


def test_after_lost_power_the_machine_is_whole(tmp_path: Path) -> None:
    """A few of the slow test's power losses."""
    assert apart(lambda: lost_power_runs(tmp_path, "ext4", 6)) == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", MAKE)
def test_after_many_power_losses_the_machine_is_whole(tmp_path: Path, kind: str) -> None:
    """Every run is exactly before or after, with the page cache gone."""
    if shutil.which(MAKE[kind][0]) is None:
        pytest.skip(f"{MAKE[kind][0]} is not installed")
    assert apart(lambda: print(kind, lost_power_runs(tmp_path, kind, 60))) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_the_same_on_other_file_systems(tmp_path: Path, kind: str) -> None:
    """commit == bare and undo == before, where the file system is another one."""
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"mkfs.{kind} is not installed")
    MAKE.setdefault("btrfs", ["mkfs.btrfs", "-q", "-f"])
    assert apart(lambda: _there_and_back(Disk(tmp_path, kind))) == 0


def _there_and_back(disk: Disk) -> None:
    disk.mount()
    bare = Lab(disk.at / "bare")
    bare.bash(SETUP)
    bare.bash(TORTURE)
    lab = Lab(disk.at / "lab")
    lab.bash(SETUP)
    before = manifest(lab.real)
    lab.view(TORTURE)
    commit(lab.layers, scan(lab.layers), lab.changes)
    assert difference(manifest(bare.real, times=False), manifest(lab.real, times=False)) == {}
    undo(lab.changes)
    assert difference(before, manifest(lab.real)) == {}
    disk.unmount()
