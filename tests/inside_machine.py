"""Runs inside a throw-away machine: carries a script out directly, or in a view with commit and undo. JSON on stdout."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from skillrun.ports import Command
from skillrun.targets.preview import PreviewTarget
from skillrun.view.deputy import Work
from tests.lab import Manifest, manifest

SKIP = ("proc", "sys", "dev", "run", "tmp", "code", "packages", "lost+found", "root/.local/state", "var/lib/skillrun")


def machine() -> Manifest:
    """Everything of this machine but kernel state, temporary files and skillrun's own."""
    return manifest(Path("/"), skip=SKIP)


def main() -> None:
    """`direct SCRIPT` or `view SCRIPT`."""
    os.environ.pop("PYTHONPATH")
    how, script = sys.argv[1], Path(sys.argv[2]).read_text()
    folder = Path("/root/.local/state/skillrun/runs/one")
    folder.mkdir(parents=True)
    report: dict[str, object] = {"before": machine()}
    if how == "direct":
        report["status"] = os.waitstatus_to_exitcode(os.system(f"bash {sys.argv[2]} >&2"))
        report["after"] = machine()
    else:
        in_view(folder, script, report)
    json.dump(report, sys.stdout, default=repr)


def in_view(folder: Path, script: str, report: dict[str, object]) -> None:
    """Preview, list, commit, undo, redo; what the machine was at each stage."""
    target = PreviewTarget.open(folder)
    stream = target.run(Command(script, quiet_s=300))
    try:
        while True:
            next(stream)
    except StopIteration as stop:
        report["status"], report["output"] = stop.value.exit_code, stop.value.output[-3000:]
    target.close()
    report["previewed"] = machine()
    work = Work(folder / "changes")
    began = time.perf_counter()
    report["changes"] = work.scan()
    listed = time.perf_counter()
    done = work.commit()
    report["committed"] = machine()
    report["times"] = {"list": listed - began, **done.times}
    report["left"], report["warnings"] = done.left, done.warnings
    report["dpkg"] = os.system("dpkg --audit >&2; dpkg --verify redis-server >&2")
    began = time.perf_counter()
    work.undo()
    report["undo"] = time.perf_counter() - began
    report["undone"] = machine()
    work.redo()
    report["redone"] = machine()


main()
