"""Each remedy has two documents or reports of strangers behind it, and lets alone what only looks like them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from skillrun.events import Result, State
from skillrun.models.builtin.remedy import read_failure, recognise, remedies

LEDGER: dict[str, Any] = tomllib.loads((Path(__file__).parent / "cases/remedy_sources.toml").read_text("utf-8"))
FACTS: dict[str, Any] = {
    "user": {"name": "dev", "root": False, "home": "/home/dev", "home_writable": True},
    "sudo": {"present": True, "passwordless": True},
    "tools": {"apt": "/usr/bin/apt"},
    "os": {"system": "linux", "id": "debian", "family": "debian"},
    "init": "none",
}


def test_every_remedy_is_in_the_ledger() -> None:
    """A new remedy brings its sources and its twin; one that is taken out takes its entry along."""
    assert sorted(remedy.id for remedy in remedies()) == sorted(LEDGER)


@pytest.mark.parametrize("name", LEDGER)
def test_a_remedy_has_two_sources_and_lets_its_twin_alone(name: str) -> None:
    """Two documents or threads of public repositories, and an output that looks like theirs and is none of its business."""
    entry = LEDGER[name]
    assert len(set(entry["sources"])) >= 2
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+(?:#\d+)?", source) for source in entry["sources"])
    remedy = next(remedy for remedy in remedies() if remedy.id == name)
    for kind in ("step", "check"):
        twin = read_failure(entry["command"], Result(State.EXITED, entry["exit"], entry["output"]), kind)
        assert recognise(remedy, twin, FACTS) is None
