"""Machines that are no SSH away: a root directory (`@chroot`) and a container (`@docker`), by pyinfra's connectors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.fleet.inventories.inventory import read_inventory
from skillrun.fleet.reach import Host
from skillrun.fleet.target import RemoteTarget
from skillrun.ports import Command, result_of
from skillrun.sandbox.base import layers_of
from tests.test_fleet import GREET

pytestmark = [pytest.mark.root, pytest.mark.overlay]

DOCKER = """#!/bin/sh
# Stands in for Docker's client where there is no daemon: its one container is a root directory, entered by chroot.
case "$1 $2" in
"container inspect") [ "$3" = box ] && echo '[{"State": {"Running": true}}]' ;;
"exec -i" | "exec -it") [ "$3" = box ] || exit 1; shift 3; exec chroot ROOT "$@" ;;
*) echo "docker: no daemon: $*" >&2; exit 1 ;;
esac
"""
SKILL = f"""---
name: greet
description: Says hello.
license: MIT
metadata:
  skillrun-verify: greet | grep -q hello
  skillrun-effects: write run-code
---
# greet

```bash
{GREET}
```
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A root directory with Debian in it."""
    lowers = ":".join(map(str, layers_of("debian-12")))
    for name in ("mem", "root"):
        (tmp_path / name).mkdir()
    at = tmp_path / "root"
    script = f"""set -e; mount -t tmpfs tmpfs {tmp_path}/mem; mkdir {tmp_path}/mem/up {tmp_path}/mem/wk
mount -t overlay overlay -o lowerdir={lowers},upperdir={tmp_path}/mem/up,workdir={tmp_path}/mem/wk {at}
mount -t proc proc {at}/proc; mount --bind /dev {at}/dev; mount --bind /dev/pts {at}/dev/pts"""
    subprocess.run(["sh", "-c", script], check=True)
    try:
        yield at
    finally:
        for place in (at / "dev/pts", at / "dev", at / "proc", at, tmp_path / "mem"):
            subprocess.run(["umount", "-l", str(place)], check=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["chroot", "docker"])
def test_a_root_directory_and_a_container_are_machines(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Commands, state, a question, files; and a whole rollout on them, which a second run leaves alone."""
    name = f"@chroot/{str(root)[1:]}" if kind == "chroot" else "@docker/box"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text(DOCKER.replace("ROOT", str(root)))
    (tmp_path / "bin/docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    host = Host(name)
    target = RemoteTarget(host, tmp_path / "out")
    try:
        run = lambda text: result_of(target.run(Command(text, id="c")))  # noqa: E731
        assert run("cd /usr; export COLOUR='deep blue'; (exit 7)").exit_code == 7
        assert run('pwd; echo "$COLOUR"').output == "/usr\ndeep blue"
        assert str(run("read name; echo hello $name").state) == "waiting"
        assert "hello Ada" in result_of(target.answer("Ada\n")).output
        target.put("/root/f", b"bytes \xff\n", 0o640)
        assert (root / "root/f").read_bytes() == target.get("/root/f") == b"bytes \xff\n"
    finally:
        target.close()
        host.close()
    (tmp_path / "greet").mkdir()
    (tmp_path / "greet/SKILL.md").write_text(SKILL)
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(Path(__file__).parents[1])}
    for changed in (True, False):
        words = ["fleet", "./greet", "-i", name, "--approve", "all", "--no-prove", "--json", "--model", "builtin"]
        argv = [sys.executable, "-m", "skillrun", *words]
        done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        last = [json.loads(line) for line in done.stdout.splitlines() if '"Machine"' in line][-1]
        assert (last["host"], last["state"], last["changed"]) == (name, "verified", changed)
    assert (root / "usr/local/bin/greet").exists()


def test_ansible_names_containers_and_this_machine(tmp_path: Path) -> None:
    """`ansible_connection` of an inventory leads to the connector of that kind, in INI and in YAML alike."""
    (tmp_path / "i.ini").write_text("[all]\nbox ansible_connection=docker ansible_host=c1\nhome ansible_connection=local\n")
    (tmp_path / "i.yml").write_text(
        "all:\n  hosts:\n    box: {ansible_connection: community.docker.docker, ansible_host: c1}\n"
        "    home: {ansible_connection: local}\n"
    )
    for name in ("i.ini", "i.yml"):
        assert [member.name for member in read_inventory(f"@ansible/{tmp_path / name}")] == ["@docker/c1", "@local"]
