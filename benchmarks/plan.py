"""What replaying a proven plan costs: a hundred trivial steps, against the same steps in one bash script.

    python benchmarks/plan.py [PAIRS]
    sudo python benchmarks/plan.py --installs [PAIRS]

The plan is proven first by a run of the built-in engine. Then whole processes, in pairs A B A B: the plan replayed by
skillrun (Python's start, the machine's facts, policy, journal with fsync, a terminal for every command, and the check
before and after), and `bash` carrying out the script that `skillrun plan --export bash` makes of the same plan. The
second script starts a new `bash -c` for every step, as installers that log their steps do. Every figure is the median
of the pairs' ratios; processor time is that of a whole process with all its children.

--installs does the same with real packages, in a throw-away machine: the base machine `debian-12-node` (built once, see
docs/testing.md) under an overlay in memory, with the packages downloaded before, so that the network is not measured.
Between two measurements what was installed is purged again.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEPS = 100
HEAD = """---
name: steps
description: A hundred small steps.
metadata:
  skillrun-verify: 'test -d "$HOME/steps/{last}"'
  skillrun-privilege: "none"
---
# Steps

## Install
"""


INSTALL = """---
name: {name}
description: Installs {name}.
metadata:
  skillrun-verify: '{check}'
---
# {name}

## Install

```bash
apt-get install -y --no-install-recommends {name}
```
"""
PACKAGES = {"ripgrep": "rg --version", "git": "git --version", "redis-server": "redis-server --version"}
"""Debian package -> a check of it."""
ENTER = """
set -e
mount -t tmpfs tmpfs "$AT"; mkdir "$AT/up" "$AT/work" "$AT/root"
mount -t overlay overlay -o "lowerdir=$LOWERS,upperdir=$AT/up,workdir=$AT/work" "$AT/root"; cd "$AT/root"
mkdir -p code packages old
mount --bind "$CODE" code; mount --bind "$SITE" packages
mount -t proc proc proc; mount -t sysfs sysfs sys; mount --rbind /dev dev; mount -t tmpfs tmpfs run
rm -f etc/resolv.conf; cp /etc/resolv.conf etc/resolv.conf
printf '#!/bin/sh\\nexit 101\\n' > usr/sbin/policy-rc.d; chmod 755 usr/sbin/policy-rc.d
pivot_root . old; cd /; umount -l /old; rmdir /old
export HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive PYTHONPYCACHEPREFIX=/run/bytecode
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH=/code:/packages
cd /root; exec python3 /code/benchmarks/plan.py --inside "$PAIRS"
"""


def used() -> float:
    """Processor time of all children so far."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def measured(argv: list[str], home: Path) -> tuple[float, float]:
    """Seconds, and seconds of processor time, of a whole process. Ends the benchmark where it fails."""
    shutil.rmtree(home / "steps", ignore_errors=True)
    path = {"PYTHONPATH": os.environ.get("PYTHONPATH") or str(ROOT)}
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **path}
    env |= {name: os.environ[name] for name in ("DEBIAN_FRONTEND", "PYTHONPYCACHEPREFIX") if name in os.environ}
    before, begun = used(), time.perf_counter()
    done = subprocess.run(argv, cwd=home, env=env, capture_output=True, text=True)
    took = time.perf_counter() - begun, used() - before
    if done.returncode:
        sys.exit(f"{argv} ended with {done.returncode}:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return took


OURS = [sys.executable, "-m", "skillrun"]


def proven(skill: Path, home: Path) -> list[str]:
    """Prove a plan with the built-in engine, write it and its script; the command that replays it."""
    measured([*OURS, "install", str(skill), "--approve", "all", "--model", "builtin"], home)
    measured([*OURS, "plan", "last", "-o", "plan.toml"], home)
    measured([*OURS, "plan", "last", "--export", "bash", "-o", "one.sh"], home)
    return [*OURS, "install", str(skill), "--approve", "all", "--model", "plan:plan.toml"]


Pair = list[tuple[float, float]]


def show(title: str, names: tuple[str, ...], rounds: list[Pair]) -> None:
    print(f"{title:<30} {'median':>9} {'of the first':>14} {'processor time':>16}")
    for index, name in enumerate(names):
        took = statistics.median(each[index][0] for each in rounds)
        wall, cpu = (statistics.median(each[index][i] / each[0][i] for each in rounds) for i in (0, 1))
        print(f"{name:<30} {took * 1000:>6.0f} ms {wall:>13.2f}x {cpu:>15.2f}x", flush=True)


def trivial(pairs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        commands = [f'mkdir -p "$HOME/steps/{number}"' for number in range(STEPS)]
        skill = home / "skill/SKILL.md"
        skill.parent.mkdir()
        skill.write_text(HEAD.format(last=STEPS - 1) + "".join(f"\n```bash\n{command}\n```\n" for command in commands))
        replay = proven(skill, home)
        (home / "each.sh").write_text("set -e\n" + "".join(f"bash -c '{command}'\n" for command in commands))
        programs = (["bash", "one.sh"], ["bash", "each.sh"], replay)
        rounds = [[measured(argv, home) for argv in programs] for _ in range(pairs)]
    show(f"{STEPS} steps, {pairs} pairs", ("one bash script", "a bash -c for every step", "skillrun, plan replayed"), rounds)


def installs(pairs: int) -> None:
    sys.path.insert(0, str(ROOT))
    from skillrun.sandbox.base import layers_of

    lowers = ":".join(str(path) for path in layers_of("debian-12-node", print))
    with tempfile.TemporaryDirectory() as at:
        where = {"AT": at, "LOWERS": lowers, "CODE": str(ROOT), "SITE": sysconfig.get_paths()["purelib"], "PAIRS": str(pairs)}
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "bash", "-c", ENTER]
        subprocess.run(apart, env={**os.environ, **where}, check=True)


def inside(pairs: int) -> None:
    """In the throw-away machine."""
    home = Path("/root")
    measured(["apt-get", "update", "-qq"], home)
    for name, check in PACKAGES.items():
        install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends"]
        purge = ["apt-get", "purge", "-qq", "-y", "--autoremove", name]
        measured([*install, "--download-only", name], home)
        skill = home / name / "SKILL.md"
        skill.parent.mkdir()
        skill.write_text(INSTALL.format(name=name, check=check))
        replay = proven(skill, home)
        rounds: list[Pair] = []
        for _ in range(pairs):
            rounds.append([])
            for argv in (["bash", "one.sh"], replay):
                measured(purge, home)
                measured([*install, "--download-only", name], home)
                rounds[-1].append(measured(argv, home))
        show(f"apt-get install {name}", ("its script", "skillrun, plan replayed"), rounds)


def main() -> None:
    words = sys.argv[1:]
    pairs = int(words.pop()) if words and words[-1].isdigit() else 11
    if words == ["--inside"]:
        inside(pairs)
        return
    print(__doc__)
    if words == ["--installs"]:
        installs(pairs)
    else:
        trivial(pairs)


if __name__ == "__main__":
    main()
