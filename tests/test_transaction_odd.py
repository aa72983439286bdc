"""Odd and hostile things a commit and an undo meet: each is committed rightly and undone, or refused with nothing changed."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from skillrun.overlay.diff.changes import scan
from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.mount.layers import Layers
from skillrun.overlay.transaction.commit import commit, recover, redo, undo
from skillrun.overlay.transaction.retention import drop
from skillrun.overlay.transaction.wal import Phase
from skillrun.overlay.transaction.workspace import CommitError
from tests.faults import cut, die
from tests.lab import Lab, apart, difference, ground, manifest, needs_overlay

CASES: dict[str, dict[str, Any]] = tomllib.loads((Path(__file__).parent / "cases/commit/odd.toml").read_text())

pytestmark = [needs_overlay, pytest.mark.root, pytest.mark.overlay]


def carry_out(case: dict[str, Any], base: Path) -> None:
    """Set up, view, let something happen on the real side, commit, undo; and the same again without a view."""
    # Not below /tmp, where later changes never count as conflicts.
    ns.mount(str(base), "/mnt", None, ns.MS_BIND)
    lab, bare = Lab(Path("/mnt/lab")), Lab(Path("/mnt/bare"))
    for each in (lab, bare):
        each.bash(case["setup"])
    try:
        lab.view(case["view"])
        lab.bash(case.get("meanwhile", "true"))
        before = manifest(lab.real, skip=case.get("skip", ()))
        if case.get("refused"):
            with pytest.raises(CommitError) as refusal:
                commit(lab.layers, scan(lab.layers), lab.changes)
            assert case["refused"] in str(refusal.value), refusal.value
            assert difference(before, manifest(lab.real, skip=case.get("skip", ()))) == {}
            return
        assert commit(lab.layers, scan(lab.layers), lab.changes).left == ()
        bare.bash(case.get("meanwhile", "true"))
        bare.bash(case["view"])
        assert difference(manifest(bare.real, times=False), manifest(lab.real, times=False)) == {}
        if "between" in case:
            lab.bash(case["between"])
            with pytest.raises(CommitError) as refusal:
                undo(lab.changes)
            assert case["undo_refused"] in str(refusal.value), refusal.value
            return
        after = manifest(lab.real)
        undo(lab.changes)
        assert difference(before, manifest(lab.real)) == {}
        redo(lab.changes)
        assert difference(after, manifest(lab.real)) == {}
    finally:
        for each in (lab, bare):
            each.bash(case.get("clean", "true"))


@pytest.mark.parametrize("name", CASES)
def test_an_odd_case(name: str, tmp_path: Path) -> None:
    """As its case says: like doing it directly and back again, or refused and untouched."""
    if "chattr" in repr(CASES[name]) and shutil.which("chattr") is None:
        pytest.skip("chattr is not installed")
    assert apart(lambda: carry_out(CASES[name], tmp_path)) == 0


def two_file_systems(base: Path) -> tuple[Lab, Lab, Layers]:
    """One view over two file systems, as where /home is one of its own."""
    with ground() as other:
        first, second = Lab(base / "lab"), Lab(other / "lab")
        for lab in (first, second):
            lab.bash("mkdir -p etc dir; echo old > etc/conf; echo x > dir/x; echo y > gone")
        for lab in (first, second):
            lab.view("echo new > etc/conf; rm -r dir gone; mkdir new; echo z > new/z; ln etc/conf etc/link")
        layers = Layers(first.tx, first.layers.t0_ns, "R", "identity", (*first.layers.items, *second.layers.items))
        layers.save(first.changes)
        before = [manifest(lab.real) for lab in (first, second)]
        commit(layers, scan(layers), first.changes)
        after = [manifest(lab.real) for lab in (first, second)]
        assert (second.real / "etc/link").read_text() == "new\n"
        undo(first.changes)
        assert [manifest(lab.real) for lab in (first, second)] == before
        status, seen = cut(lambda: redo(first.changes), 0, die)
        assert status == 0
        undo(first.changes)
        for at in range(1, seen + 1):
            cut(lambda: redo(first.changes), at, die)
            whole = after if recover(first.changes) is Phase.COMMITTED else before
            assert [manifest(lab.real) for lab in (first, second)] == whole, f"cut at change {at}"
            if whole is after:
                undo(first.changes)
    return first, second, layers


def test_two_file_systems_are_committed_together_or_not_at_all(tmp_path: Path) -> None:
    """Killed at every change of a commit over both, both are before or both are after."""
    assert apart(lambda: two_file_systems(tmp_path)) == 0


def long_paths(base: Path) -> None:
    """A tree deeper than any path the kernel takes at once, in, out and back."""
    descend = "import os; os.chdir('d')\nfor n in range(60): {} os.chdir('n' * 100)\n"
    make = descend.format("os.mkdir('n' * 100);") + "open('leaf', 'w').write('deep')"
    look = descend.format("") + "assert open('leaf').read() == 'deep'"
    for first, then in ((f'mkdir d; python3 -c "{make}"', "rm -r d"), ("true", f'mkdir d; python3 -c "{make}"')):
        lab = Lab(base / then[:2].strip())
        lab.bash(first)
        lab.view(then)
        there = (lab.real / "d").exists()
        commit(lab.layers, scan(lab.layers), lab.changes)
        assert (lab.real / "d").exists() != there
        undo(lab.changes)
        assert (lab.real / "d").exists() == there
        if not there:
            redo(lab.changes)
        lab.bash(f'python3 -c "{look}"')
        if not there:
            undo(lab.changes)
        drop(lab.changes)
        assert not lab.upper.exists()


def test_paths_longer_than_the_kernel_takes(tmp_path: Path) -> None:
    """Committed, undone, and what is kept of them removed."""
    assert apart(lambda: long_paths(tmp_path)) == 0


def test_a_machine_in_memory_is_not_taken_for_the_layer_of_stand_ins(tmp_path: Path) -> None:
    """Both lie in memory then, and a directory that is in both is still the machine's own."""

    def work() -> None:
        for name in ("machine", "shim"):
            (tmp_path / name).mkdir()
            ns.mount("tmpfs", str(tmp_path / name), "tmpfs", 0, "")
        lab = Lab(tmp_path / "machine/lab", options="index=off")
        for top in (tmp_path / "shim", lab.real):
            (top / "usr/bin").mkdir(parents=True)
        lab.view("echo x > usr/bin/new; echo y > usr/file", above=tmp_path / "shim")
        changes = scan(lab.layers)
        assert changes.clashes == ()
        commit(lab.layers, changes, lab.changes)
        assert (lab.real / "usr/bin/new").read_text() == "x\n"

    assert apart(work) == 0
