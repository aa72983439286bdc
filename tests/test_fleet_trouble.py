"""Machines that cannot be worked with: each is named with its reason, and the others go on."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from skillrun.plans.file import to_toml
from skillrun.plans.plan import Condition, Plan, Step
from skillrun.plans.store import identity_of
from skillrun.sandbox.base import cache_directory
from skillrun.skills.sources import find_skill
from tests.fleet_lab import Lab, lab
from tests.test_fleet import GREET, skill

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.overlay, pytest.mark.timeout(600)]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a machine, how it must end, and words that its reason must have."""

    ends: str
    words: str
    setup: str = ""
    after: Callable[[Lab, str], object] = lambda made, name: None
    user: str = "dev"
    disk_mb: int = 0


def known_hosts(made: Lab, name: str, key: str) -> None:
    """Have another key on record for a machine, or none."""
    file, relay = made.home / ".ssh/known_hosts", made.relays[name]
    place = f"[{relay.address}]:{relay.port} "
    lines = [line for line in file.read_text().splitlines() if not line.startswith(place)]
    file.write_text("\n".join([*lines, *([f"{place}{key}"] if key else [])]) + "\n")


def own_key(made: Lab, name: str) -> None:
    """The person's key, taken for that of the machine."""
    known_hosts(made, name, " ".join(made.key.split()[:2]))


THERE = "/usr/local/bin/greet"
"""Where only root can put it, so that nobody helps themselves."""
ASKS = "usermod -aG sudo ops; echo 'ops:geheim-42' | chpasswd"
FULL = "dd if=/dev/zero of=big bs=1k 2> /dev/null; dd if=/dev/zero of=rest bs=1 2> /dev/null; true"
TROUBLE = {
    "gone": Trouble("unreachable", "does not answer", after=lambda made, name: made.machines[name].close()),
    "other-key": Trouble("unreachable", "host key is not the one in known_hosts", after=own_key),
    "new-key": Trouble("unreachable", "host key is not known", after=lambda made, name: known_hosts(made, name, "")),
    "locked-out": Trouble(
        "unreachable", "did not let this user in", after=lambda made, name: made.machines[name].run("rm ~/.ssh/authorized_keys")
    ),
    "no-shell": Trouble("failed", "no shell answers there", "usermod -s /usr/sbin/nologin ops", user="ops"),
    "no-sudo": Trouble("failed", "sudo", "rm /etc/sudoers.d/dev /usr/bin/sudo"),
    "no-password": Trouble("failed", "--secret SUDO_PASSWORD", ASKS, user="ops"),
    "not-in-sudoers": Trouble("failed", "sudo", "rm /etc/sudoers.d/dev"),
    "full": Trouble("needs a person", "space", after=lambda made, name: made.machines[name].run(FULL), disk_mb=8),
    "read-only": Trouble("failed", "cannot access", "rm -rf /usr/local/bin; ln -s /proc/sys /usr/local/bin"),
}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab for one test."""
    monkeypatch.setenv("SKILLRUN_MACHINES", str(cache_directory()))
    with lab(tmp_path / "home") as found:
        yield found


def with_a_plan(made: Lab) -> str:
    """The skill with a plan that is known."""
    spec = skill(made)
    text = (Path(spec) / "SKILL.md").read_text()
    (Path(spec) / "SKILL.md").write_text(text.replace("verify: greet", f"verify: {THERE}"))
    conditions = (Condition("distribution", "debian", "test"),)
    steps = (Step(run="mkdir -p ~/greet && echo 1 > ~/greet/one"), Step(run=f"sudo sh -c {shlex.quote(GREET)}"))
    plan = Plan("greet", identity_of(find_skill(spec)), conditions, steps, (f"{THERE} | grep -q hello",))
    (Path(spec) / "plans").mkdir()
    (Path(spec) / "plans/debian.toml").write_text(to_toml(plan))
    return spec


def test_every_trouble_has_its_name_and_the_others_go_on(made: Lab) -> None:
    """A machine of each kind and two that are well, in one rollout: who is well is verified, each other says why it is not."""
    for name, trouble in TROUBLE.items():
        made.add(name, setup=trouble.setup, user=trouble.user, disk_mb=trouble.disk_mb)
    for name in ("well", "well-too"):
        made.add(name)
    for name, trouble in TROUBLE.items():
        trouble.after(made, name)
    names = [*TROUBLE, "no-such-name.invalid", "@nosuch/x", "well", "well-too"]
    (made.home / "hosts.txt").write_text("\n".join(names))
    env = {**made.env, "PYTHONPATH": str(Path(__file__).parents[1])}
    argv = [sys.executable, "-m", "skillrun", "fleet", with_a_plan(made), "-i", "hosts.txt", "--approve", "all", "--json"]
    done = subprocess.run(argv, env=env, cwd=made.home, capture_output=True, text=True, timeout=400, check=False)
    rows = {row["host"]: row for row in map(json.loads, done.stdout.splitlines()) if row["type"] == "Machine"}
    for name, row in rows.items():
        print(f"{name:22} {row['state']:15} {row['reason'][:200]}")
    assert {name: row["state"] for name, row in rows.items()} == {
        **{name: trouble.ends for name, trouble in TROUBLE.items()},
        "no-such-name.invalid": "unreachable",
        "@nosuch/x": "unreachable",
        "well": "verified",
        "well-too": "verified",
    }
    for name, trouble in TROUBLE.items():
        assert trouble.words in rows[name]["reason"], rows[name]["reason"]
    assert "its name leads to no address" in rows["no-such-name.invalid"]["reason"]
    assert "@ssh" in rows["@nosuch/x"]["reason"] or "nosuch" in rows["@nosuch/x"]["reason"]
    assert done.returncode == 4, "a person is needed"
