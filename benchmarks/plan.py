"""What replaying a proven plan costs: a hundred trivial steps, against the same steps in one bash script.

    python benchmarks/plan.py [PAIRS]

The plan is proven first by a run of the built-in engine. Then whole processes, in pairs A B A B: the plan replayed by
skillrun (Python's start, the machine's facts, policy, journal with fsync, a terminal for every command, and the check
before and after), and `bash` carrying out the script that `skillrun plan --export bash` makes of the same plan. The
second script starts a new `bash -c` for every step, as installers that log their steps do. Every figure is the median
of the pairs' ratios; processor time is that of a whole process with all its children.

Real installs are measured by `benchmarks/replay.py`.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
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


def main() -> None:
    print(__doc__)
    trivial(int(sys.argv[1]) if sys.argv[1:] else 11)


if __name__ == "__main__":
    main()
