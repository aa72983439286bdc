"""What replaying a proven plan costs: a hundred trivial steps, against the same steps in one bash script.

    python benchmarks/plan.py [PAIRS]

The plan is proven first by a run of the built-in engine. Then whole processes, in pairs A B A B: the plan replayed by
skillrun (Python's start, the machine's facts, policy, journal with fsync, a terminal for every command, and the check
before and after), and `bash` carrying out the script that `skillrun plan --export bash` makes of the same plan. The
second script starts a new `bash -c` for every step, as installers that log their steps do. Every figure is the median
of the pairs' ratios.
"""

from __future__ import annotations

import os
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


def seconds(argv: list[str], home: Path) -> float:
    shutil.rmtree(home / "steps", ignore_errors=True)
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    begun = time.perf_counter()
    done = subprocess.run(argv, cwd=home, env=env, capture_output=True, text=True)
    took = time.perf_counter() - begun
    if done.returncode:
        sys.exit(f"{argv} ended with {done.returncode}:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return took


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    print(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        commands = [f'mkdir -p "$HOME/steps/{number}"' for number in range(STEPS)]
        skill = home / "skill/SKILL.md"
        skill.parent.mkdir()
        skill.write_text(HEAD.format(last=STEPS - 1) + "".join(f"\n```bash\n{command}\n```\n" for command in commands))
        ours = [sys.executable, "-m", "skillrun"]
        seconds([*ours, "install", str(skill), "--approve", "all", "--model", "builtin"], home)
        subprocess.run(
            [*ours, "plan", "last", "-o", "plan.json"],
            cwd=home,
            env={"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            check=True,
        )
        (home / "one.sh").write_text("set -e\n" + "".join(f"{command}\n" for command in commands))
        (home / "each.sh").write_text("set -e\n" + "".join(f"bash -c '{command}'\n" for command in commands))
        replay = [*ours, "install", str(skill), "--approve", "all", "--model", "plan:plan.json"]
        rounds = [
            (seconds(["bash", "one.sh"], home), seconds(["bash", "each.sh"], home), seconds(replay, home)) for _ in range(pairs)
        ]
    print(f"{STEPS} steps, {pairs} pairs{'':<12} median    of one script")
    for index, name in enumerate(("one bash script", "a bash -c for every step", "skillrun, plan replayed")):
        took = statistics.median(each[index] for each in rounds)
        ratio = statistics.median(each[index] / each[0] for each in rounds)
        print(f"{name:<28} {took * 1000:>8.0f} ms {ratio:>8.1f}x")


if __name__ == "__main__":
    main()
