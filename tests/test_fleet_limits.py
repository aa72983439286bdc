"""What a rollout may use up, and what of an inventory nobody gets to see."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from skillrun.events import Reply, ToolCall, Turn, Usage
from skillrun.fleet.inventories.inventory import read_inventory
from skillrun.fleet.inventories.member import Member
from skillrun.fleet.reach import Host
from skillrun.fleet.rollout.handles import Handles
from skillrun.fleet.rollout.ledger import new_ledger
from skillrun.fleet.rollout.machine import Machine
from skillrun.fleet.rollout.rollout import Rollout, Terms
from skillrun.fleet.unreachable import Unreachable
from skillrun.models.scripted import ScriptedModel
from skillrun.ports import Brief
from skillrun.run.options import Options
from skillrun.run.unattended import Nobody
from skillrun.skills.sources import find_skill
from tests.fleet_lab import Lab, lab_at_home

SKILL = """---
name: own
description: Something that is another thing on every machine.
license: MIT
metadata:
  skillrun-verify: test -e /opt/done-$(cat /etc/which)
---
# own

## Install

Do what this machine needs.
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab for one test, whose home is this process's too."""
    with lab_at_home(tmp_path / "home", monkeypatch) as found:
        yield found


def dear(calls: Sequence[ToolCall]) -> Reply:
    """A reply that costs ten cents."""
    return Reply("", tuple(calls), usage=Usage(1, 1, cost_usd=0.1))


def look(brief: Brief, turns: Sequence[Turn]) -> Reply:
    """Which machine is it?"""
    return dear([ToolCall("look", "shell", {"command": "cat /etc/which; sleep 1", "why": "see"})])


def act(brief: Brief, turns: Sequence[Turn]) -> Reply:
    """What this machine alone needs: the plan of it helps no other."""
    which = turns[0].results[0][1].output.split()[0]
    return dear([ToolCall("act", "shell", {"command": f"sudo touch /opt/done-{which}", "why": "do it"})])


@pytest.mark.root
@pytest.mark.overlay
def test_so_many_models_at_once_and_so_many_dollars_for_all_of_them(made: Lab) -> None:
    """Four machines that each need a model: never more than two at once, and not one turn more than --max-cost-all pays for."""
    for name in "abcd":
        made.add(name, setup=f"echo {name} > /etc/which")
    (made.home / "own.md").write_text(SKILL)
    found = find_skill(str(made.home / "own.md"))
    lock, at_work, most = threading.Lock(), set(), []

    def watch(row: Mapping[str, Any]) -> None:
        if row["type"] != "Machine":
            return
        with lock:
            attended = row["state"] == "working" and not row["step"].endswith(" steps")  # which is a plan's
            (at_work.add if attended else at_work.discard)(row["host"])
            most.append(len(at_work))

    settings = {"ssh_config_file": str(made.home / ".ssh/config")}  # pyinfra keeps in mind what the file at HOME said before
    members = [Member(name, settings) for name in "abcd"]
    ledger = new_ledger(found.name, members, {"source": "", "inventory": "", "terms": {}})
    model = ScriptedModel([look, act, lambda brief, turns: dear([])])
    terms = Terms(serial="100%", agents=2, max_cost_all=1.0, prove=False, preview=False)
    run = Rollout(found, Options("all", model), terms, Nobody(), ledger, [Machine(member) for member in members], [watch])
    assert run.run() == 3
    assert max(most) == 2, [machine.reason for machine in run.machines]
    # Of two that are at work the next turns are kept free, so that the last dime may stay: which, goes by who comes first.
    assert 0.8 < sum(machine.cost_usd for machine in run.machines) < 1.01
    stands = {str(machine.stand) for machine in run.machines}
    assert stands == {"verified", "failed"}
    stopped = [machine for machine in run.machines if str(machine.stand) == "failed"]
    assert all(" of 1.00 USD are used (--max-cost-all)" in machine.reason for machine in stopped)
    again = Rollout(found, Options("all", model), terms, Nobody(), ledger, ledger.machines(), again=True)
    assert again.run() == 3
    assert sum(machine.cost_usd for machine in again.machines) < 1.01, "what was spent before counts"


SECRETS = {
    "ssh_password": "geheim-eins",
    "ssh_key_password": "geheim-zwei",
    "_sudo_password": "geheim-drei",
    "database": {"admin": {"pwd": "geheim-vier"}},
    "tokens": ["geheim-fuenf"],
}


def test_secrets_of_an_inventory_are_on_no_disk_and_in_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever they are called and however deep they lie; what pyinfra logs is masked for whoever listens to it."""
    monkeypatch.setenv("SKILLRUN_STATE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    member = Member("127.0.0.1", {**SECRETS, "ssh_port": 9, "ssh_user": "ops", "skillrun_secrets": {"TOKEN": "DB1_TOKEN"}})
    ledger = new_ledger("x", [member], {})
    kept = (ledger.folder / "fleet.json").read_text()
    assert "geheim" not in kept
    assert json.loads(kept)["members"][0]["data"] == {
        "ssh_port": 9,
        "ssh_user": "ops",
        "skillrun_secrets": {"TOKEN": "DB1_TOKEN"},
    }
    vault = Handles().vault(Machine(member))
    assert "geheim" not in vault.mask("geheim-eins geheim-zwei geheim-drei geheim-vier geheim-fuenf")
    heard = io.StringIO()
    handler, logger = logging.StreamHandler(heard), logging.getLogger("pyinfra")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        with pytest.raises(Unreachable) as refused:
            Host("127.0.0.1", {name: value for name, value in member.data.items() if name != "ssh_key_password"})
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert "'password': '[secret:ssh_password]'" in heard.getvalue()
    assert "geheim" not in heard.getvalue() + str(refused.value)


def test_the_password_for_sudo_is_the_inventorys_where_it_has_one(tmp_path: Path) -> None:
    """pyinfra's and Ansible's words for it; a machine that asks for none is given none."""
    (tmp_path / "hosts.ini").write_text("[web]\none ansible_become_password=geheim-42\ntwo\n")
    one, two = (Machine(member) for member in read_inventory(str(tmp_path / "hosts.ini")))
    free = Machine(one.member, facts={"sudo": {"passwordless": True}})
    assert [Handles().sudo(machine) for machine in (one, two, free)] == ["geheim-42", None, None]
