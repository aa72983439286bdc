#!/usr/bin/env python3
"""skillrun as the installer in somebody else's scenarios, as any installer would be: nothing of `skillrun test` takes part.

    sudo python benchmarks/scenario_driver.py FOLDER [ID ...] [--jobs N] [--model builtin]

FOLDER holds one directory for each scenario (task.md, setup.sh, verify.sh and others) and `run_scenario.sh`, which makes a
throw-away machine, runs `run_scenario.sh ID -- COMMAND` in it as the machine's user, verifies from outside, and prints one
line of JSON with id, cmd_rc, verify and secs. BINDS="outside:inside ..." brings files in, read-only.

Method: a copy of this checkout and the directory of its installed dependencies are shown inside as /opt/skillrun and
/opt/packages; the machine needs a Python of the same version as this one's, and nothing else. COMMAND is
`/opt/skillrun/start install /task/task.md --approve all --no-input`. Every scenario is run once, and one line of a table
printed: its verdict, skillrun's exit code, seconds. A false "done" is exit code 0 where the verifier says no.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
START = """#!/usr/bin/python3 -B
import sys
sys.path[:0] = ["/opt/skillrun", "/opt/packages"]
from skillrun.cli import main
sys.exit(main())
"""


def lay_out(folder: Path) -> None:
    """A copy of what is needed, readable for whoever runs it inside."""
    shutil.copytree(ROOT / "skillrun", folder / "skillrun", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("skills", "sandbox"):
        shutil.copytree(ROOT / name, folder / "skillrun" / f"_{name}")
    (folder / "start").write_text(START)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path.name == "start" else 0o644)


def run(folder: Path, scenario: str, code: Path, model: str) -> dict[str, Any]:
    """One scenario's line, with `error` where the driver printed none."""
    binds = f"{code}:/opt/skillrun {sysconfig.get_paths()['purelib']}:/opt/packages"
    words = ["/opt/skillrun/start", "install", "/task/task.md", "--approve", "all", "--no-input", "--model", model]
    env = {"TIMEOUT": "600", **os.environ, "BINDS": binds}
    done = subprocess.run(["./run_scenario.sh", scenario, "--", *words], cwd=folder, env=env, capture_output=True, text=True)
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("{"):
            return dict(json.loads(line))
    return {"id": scenario, "cmd_rc": -1, "verify": False, "secs": 0.0, "why": done.stderr.strip()[-100:]}


def main() -> int:
    """0 when every scenario was verified and none was called done that was not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("ids", nargs="*")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--model", default="builtin")
    given = parser.parse_args()
    folder = given.folder.resolve()
    if not (folder / "run_scenario.sh").exists():
        print(f"{folder} has no run_scenario.sh", file=sys.stderr)
        return 2
    ids = given.ids or sorted(path.parent.name for path in folder.glob("*/task.md"))
    rows = []
    with tempfile.TemporaryDirectory(dir="/var/tmp") as code, ThreadPoolExecutor(given.jobs) as pool:
        lay_out(Path(code))
        for row in pool.map(lambda name: run(folder, name, Path(code), given.model), ids):
            verdict = "verified" if row["verify"] else "FALSE DONE" if row["cmd_rc"] == 0 else "not verified"
            print(f"{row['id']:38} {verdict:12} exit {row['cmd_rc']:<4} {row['secs']:7.1f} s  {row.get('why', '')}", flush=True)
            rows.append(row)
    verified, done = sum(row["verify"] for row in rows), sum(row["cmd_rc"] == 0 for row in rows)
    false = sum(row["cmd_rc"] == 0 and not row["verify"] for row in rows)
    print(f"{verified} of {len(rows)} verified, {done} ended with 0, {false} said done and were not")
    return 0 if verified == len(rows) and not false else 3


if __name__ == "__main__":
    sys.exit(main())
