"""Commit, undo, redo and recovery on real overlays over sacrificial trees."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skillrun.view.changes import scan
from skillrun.view.ledger import Phase
from skillrun.view.transaction import commit, phase_of, recover, redo, undo
from tests.faults import cut, die
from tests.lab import CASES, Lab, Manifest, difference, ground, manifest, needs_overlay

ATTRIBUTES = (CASES / "attributes.sh").read_text()
SETUP = ATTRIBUTES + (CASES / "torture.setup.sh").read_text()
TORTURE = ATTRIBUTES + (CASES / "torture.sh").read_text()

pytestmark = [needs_overlay, pytest.mark.root, pytest.mark.overlay]


@pytest.fixture
def shm() -> Iterator[Path]:
    """A place in memory: where killing is tested, syncing to a disk proves nothing."""
    with ground() as base:
        yield base / "lab"


def test_a_commit_equals_doing_it_directly_and_undo_equals_never_having_done_it(tmp_path: Path) -> None:
    """Every kind of change: view + commit == bare, undo == before, redo == commit, by full manifest."""
    bare, lab = Lab(tmp_path / "bare"), Lab(tmp_path / "lab")
    for each in (bare, lab):
        each.bash(SETUP)
    before = manifest(lab.real)
    bare.bash(TORTURE)
    lab.view(TORTURE)
    assert difference(before, manifest(lab.real)) == {}

    changes = scan(lab.layers)
    assert commit(lab.layers, changes, lab.changes).phase is Phase.COMMITTED
    after = manifest(lab.real)
    assert difference(manifest(bare.real, times=False), manifest(lab.real, times=False)) == {}

    assert undo(lab.changes).phase is Phase.UNDONE
    assert difference(before, manifest(lab.real)) == {}
    assert redo(lab.changes).phase is Phase.COMMITTED
    assert difference(after, manifest(lab.real)) == {}
    assert phase_of(lab.changes) is Phase.COMMITTED


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
