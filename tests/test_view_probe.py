"""What the probe says of this machine: found by doing, said honestly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skillrun.overlay.process.probe import Probe, Tier, explain, probe


def test_every_tier_is_explained(tmp_path: Path) -> None:
    """Each tier is available or says why not; simulation is always there."""
    rows = explain(str(tmp_path))
    assert [row[0] for row in rows] == ["R", "U", "S"]
    assert all(available or why_not for _, available, why_not, _ in rows)
    assert rows[-1][1] is True


def test_probing_leaves_nothing_behind(tmp_path: Path) -> None:
    """Views built to find out what can be built are gone afterwards."""
    probe(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_tier_that_fails_is_not_the_tier() -> None:
    """A root view that cannot be built makes the next best one the answer, with the reason."""
    found = Probe((Tier("R", False, "not root", "use sudo"), Tier("U", True), Tier("S", True)))
    assert found.tier == "U"
    assert found.reasons == ("no view of the whole machine: not root (use sudo)",)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.root
def test_a_place_that_cannot_hold_layers_is_named() -> None:
    """An upper directory on a file system that cannot have one makes the root view unavailable, not a crash."""
    assert "cannot be written to" in explain("/proc/sys")[0][2]
