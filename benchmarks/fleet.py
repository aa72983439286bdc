"""A plan of twenty steps on many machines: skillrun's replay beside pyinfra's own operations.

One throw-away machine with a real sshd, and 200 addresses of it (127.2.0.1 and on, in the machine's own network namespace, in
which both controllers run). Each address counts as a machine; the steps make directories and files below /tmp/fleet-ADDRESS,
so every one of them is work that was not done before. Whole processes, wall and processor time of the controller with its
children, resident memory at its peak; pairs one after the other, skillrun first in one, pyinfra first in the next. pyinfra runs
the same twenty commands as `server.shell`, and the same check at the end. Needs root, overlayfs and pyinfra.

    python benchmarks/fleet.py [--machines 200] [--steps 20] [--pairs 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

SKILL = """---
name: load
description: Twenty small steps.
metadata:
  skillrun-verify: test -e /tmp/fleet-load/$(echo $SSH_CONNECTION | cut -d' ' -f3)/done
---
# load

## Install

```bash
true
```
"""
PLACE = "/tmp/fleet-load/$(echo $SSH_CONNECTION | cut -d' ' -f3)"


def commands(steps: int) -> list[str]:
    """The same shell text for both."""
    texts = [f"mkdir -p {PLACE}/d{number} && echo {number} > {PLACE}/d{number}/f" for number in range(steps - 1)]
    return [*texts, f"touch {PLACE}/done"]


def plan_of(steps: int, digest: str, arch: str) -> str:
    """A plan of these steps."""
    from skillrun.plans.file import to_toml
    from skillrun.plans.plan import Condition, Plan, Step

    about = {"distribution": "debian", "release": "12", "architecture": arch}
    conditions = tuple(Condition(name, needs, "measured") for name, needs in about.items())
    check = "test -e /tmp/fleet-load/$(echo $SSH_CONNECTION | cut -d' ' -f3)/done"
    return to_toml(Plan("load", digest, conditions, tuple(Step(run=text) for text in commands(steps)), (check,)))


def deploy_of(steps: int) -> str:
    """The same as pyinfra's own operations."""
    texts = [*commands(steps), f"test -e {PLACE}/done"]
    lines = [f"server.shell(name='step {number}', commands=[{text!r}])" for number, text in enumerate(texts, 1)]
    return "\n".join(["from pyinfra.operations import server", *lines, ""])


def measured(argv: list[str], env: dict[str, str], cwd: Path) -> tuple[float, float, int]:
    """(wall, processor seconds, peak resident KiB) of a process with its children, which must end well."""
    with open(cwd / "last.log", "w") as log:
        began = time.monotonic()
        process = subprocess.Popen(argv, env=env, cwd=cwd, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"{argv[:4]} ended with {process.returncode}:\n{(cwd / 'last.log').read_text()[-2000:]}")
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("--machines", type=int, default=200)
    words.add_argument("--steps", type=int, default=20)
    words.add_argument("--pairs", type=int, default=3)
    asked = words.parse_args()
    from tests.fleet_lab import Lab

    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        home = Path(place) / "home"
        lab = Lab(home)
        try:
            compare(lab, home, asked.machines, asked.steps, asked.pairs)
        finally:
            lab.close()


def compare(lab, home: Path, count: int, steps: int, pairs: int) -> None:  # type: ignore[no-untyped-def]
    machine = lab.add("base", user="root")
    names = [f"127.2.{number // 250}.{number % 250 + 1}" for number in range(count)]
    key = machine.run("cat /etc/ssh/ssh_host_ed25519_key.pub", root=True).stdout.split()
    (home / ".ssh/known_hosts").write_text("".join(f"{name} {key[0]} {key[1]}\n" for name in names))
    (home / ".ssh/config").write_text("Host *\n User root\n")
    (home / "inventory.py").write_text(f"machines = {names!r}\n")
    (home / "deploy.py").write_text(deploy_of(steps))
    folder = home / "load"
    (folder / "plans").mkdir(parents=True)
    (folder / "SKILL.md").write_text(SKILL)
    from skillrun.plans.store import identity_of
    from skillrun.skills.sources import find_skill

    (folder / "plans/debian-12.toml").write_text(plan_of(steps, identity_of(find_skill(str(folder))), os.uname().machine))
    env = {**lab.env, "PYTHONPATH": str(ROOT)}
    inside = ["nsenter", f"--net=/proc/{machine.view.builder}/ns/net"]
    ours = [*inside, sys.executable, "-m", "skillrun", "fleet", str(folder), "-i", "inventory.py", "--approve", "all",
            "--no-prove", "--serial", "100%", "--no-input"]  # fmt: skip
    theirs = [*inside, sys.executable, "-m", "pyinfra", "-y", "--no-wait", "inventory.py", "deploy.py"]
    found: dict[str, list[tuple[float, float, int]]] = {"skillrun": [], "pyinfra": []}
    for pair in range(pairs):
        for name in sorted(found, reverse=pair % 2 == 0):
            machine.run("rm -rf /tmp/fleet-load", root=True)
            found[name].append(measured(ours if name == "skillrun" else theirs, env, home))
            there = machine.run("ls -d /tmp/fleet-load/*/done | wc -l", root=True).stdout.strip()
            wall, used, kib = found[name][-1]
            spent = f"{wall:6.1f} s wall {used:6.1f} s processor {kib // 1024:5} MiB"
            print(f"{name:9} {spent}, {there} of {count} machines done")
    again = measured(ours, env, home)
    print(f"skillrun again, all there: {again[0]:.1f} s wall {again[1]:.1f} s processor")
    for index, what in ((0, "wall"), (1, "processor"), (2, "memory")):
        ratios = [mine[index] / other[index] for mine, other in zip(found["skillrun"], found["pyinfra"], strict=True)]
        told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{what}: {statistics.median(ratios):.2f} times pyinfra's (median of {pairs} pairs: {told})")
    print((home / "last.log").read_text().splitlines()[-2])


if __name__ == "__main__":
    main()
