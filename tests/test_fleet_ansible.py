"""The exported play in the hands of an Ansible shop: their own inventory, several machines, a second run without a change."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.sandbox.base import cache_directory
from tests.fleet_lab import Lab, lab
from tests.test_fleet_trouble import with_a_plan

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.overlay, pytest.mark.network, pytest.mark.timeout(900)]
PYTHON = """command -v python3 > /dev/null || { apt-get update -qq
apt-get install -y -qq --no-install-recommends python3; } > /dev/null"""
INVENTORY = """all:
  vars:
    ansible_ssh_common_args: -F {home}/.ssh/config -o UserKnownHostsFile={home}/.ssh/known_hosts
    ansible_ssh_private_key_file: {home}/.ssh/id_ed25519
    ansible_python_interpreter: /usr/bin/python3
  children:
    web:
      hosts:
        "web[1:2]":
    db:
      hosts:
        db1: {{ansible_become_password: geheim-42}}
      vars: {{ansible_user: ops}}
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab with three machines, and Ansible beside it."""
    monkeypatch.setenv("SKILLRUN_MACHINES", str(cache_directory()))
    with lab(tmp_path / "home") as found:
        for name in ("web1", "web2"):
            found.add(name, setup=PYTHON)
        found.add("db1", user="ops", setup=f"{PYTHON}\nusermod -aG sudo ops; echo 'ops:geheim-42' | chpasswd")
        venv.create(found.home / "ansible", with_pip=True)
        pip = [str(found.home / "ansible/bin/pip"), "install", "-q", "ansible-core"]
        if subprocess.run(pip, capture_output=True, timeout=300, check=False).returncode:
            pytest.skip("ansible-core cannot be had")
        (found.home / "inventory.yml").write_text(INVENTORY.format(home=found.home))
        yield found


def did(made: Lab, *words: str, code: int = 0, ansible: bool = True) -> str:
    """What a program said in the lab's home. `ansible`: with Ansible's programs on PATH."""
    path = f"{made.home}/ansible/bin:" if ansible else ""
    env = {**made.env, "PYTHONPATH": str(Path(__file__).parents[1]), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": f"{made.home}/.a"}
    env["PATH"] = path + env["PATH"]
    with tempfile.TemporaryDirectory(prefix="cp-", dir="/tmp") as sockets:  # a socket's path may have 107 bytes
        env["ANSIBLE_SSH_CONTROL_PATH_DIR"] = sockets
        done = subprocess.run(words, env=env, cwd=made.home, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout + done.stderr


def test_a_session_with_an_own_inventory(made: Lab) -> None:
    """Export, check mode, play, play again; then the same inventory serves a rollout, with Ansible's programs and without."""
    spec = with_a_plan(made)
    ours = (sys.executable, "-m", "skillrun")
    did(made, *ours, "plan", f"{spec}/plans/debian.toml", "--export", "ansible", "-o", "site.yml")
    play = ("ansible-playbook", "-i", "inventory.yml", "site.yml")
    assert len(re.findall(r"^\w+ +: .*failed=0", did(made, *play, "--check", "--diff"), re.MULTILINE)) == 3
    assert all(machine.run("command -v greet").returncode for machine in made.machines.values()), "check mode changes nothing"
    first = did(made, *play)
    assert re.findall(r"^(\w+) +: .*changed=[1-9].*failed=0", first, re.MULTILINE) == ["db1", "web1", "web2"], first
    assert all(machine.run("greet").stdout.strip() == "hello" for machine in made.machines.values())
    second = did(made, *play)
    assert re.findall(r"^(\w+) +: .*changed=0 .*failed=0", second, re.MULTILINE) == ["db1", "web1", "web2"], second
    words = ("fleet", spec, "-i", "@ansible/inventory.yml", "--approve", "all")
    for ansible in (True, False):
        told = did(made, *ours, *words, ansible=ansible)
        assert "3 of 3 verified, 0 changed, 0 model requests" in told
    for machine in made.machines.values():
        machine.run("rm -rf /usr/local/bin/greet", root=True)
    told = did(made, *ours, *words, ansible=False)
    assert "3 of 3 verified, 3 changed, 0 model requests" in told, "db1's password for sudo is the inventory's"
