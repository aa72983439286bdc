"""A person before many machines: one question for a group, about what its canary's view would change and the plan of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet_lab import Bare, Lab, lab
from tests.terminal import Terminal
from tests.test_preview_elsewhere import DEB, SHOWN, skill

pytestmark = [pytest.mark.root, pytest.mark.overlay]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Lab]:
    """A lab for one test."""
    with lab(tmp_path / "home") as found:
        yield found


def on_a_terminal(made: Lab, *words: str, rows: int = 50) -> Terminal:
    """skillrun in the lab's home, on a terminal."""
    environment = {**made.env, "PYTHONPATH": str(Path(__file__).parents[1]), "TERM": "xterm-256color", "PAGER": "cat"}
    argv = [sys.executable, "-m", "skillrun", *words]
    return Terminal(argv, rows=rows, columns=100, environment=environment)


def there(machine: Bare) -> bool:
    """Is anything of the skill on the machine?"""
    return bool(machine.run(SHOWN.replace("{home}", "/root")).strip())


@pytest.mark.parametrize("answer", ["commit", "discard"])
def test_one_question_for_the_canary_and_the_plan_of_its_group(made: Lab, answer: str) -> None:
    """The group's one question shows its canary's changes, the steps and how many they are for; a no is one for all."""
    machines = {name: made.add_bare(name, setup=DEB) for name in ("one", "two", "three")}
    words = ("fleet", skill(made), "-i", "one,two,three", "--no-prove", "--model", "builtin")
    with on_a_terminal(made, *words) as terminal:
        terminal.answer("the checks, on each of 3 machines", "y\r", 60)
        screen = terminal.answer("and then carry this plan out on the others?", "details\r", 90)
        for told in (
            "one is the canary",
            "hola 1.0",
            f"for 2 more of debian 12 {os.uname().machine}, root (two, three)",
            "1. mkdir -p ~/.config/hola",
            "dpkg -i /opt/hola.deb",
            "installs: /opt/hola.deb",
        ):
            assert told in screen, screen
        assert not any(map(there, machines.values())), "nothing is done before the answer"
        terminal.wait_for_count("and then carry this plan out on the others?", 2, 30)
        terminal.answer("and then carry this plan out on the others?", f"{answer}\r", 30)
        last = terminal.rest(90)
    done = answer == "commit"
    assert f"{3 if done else 0} of 3 verified" in last, last
    assert last.count("May this run?") <= 1, "the checks alone were asked about beside it"
    assert [there(machine) for machine in machines.values()] == [done] * 3
    (ledger,) = made.home.rglob("fleet.jsonl")
    ends = {row["host"]: row for row in map(json.loads, ledger.read_text().splitlines()) if row["type"] == "Machine"}
    states = {name: row["state"] for name, row in ends.items()}
    refused = {"one": "denied", "two": "not begun", "three": "not begun"}
    assert states == (dict.fromkeys(machines, "verified") if done else refused)
    assert done or "discarded" in ends["two"]["reason"], "the others say why they were not begun"
