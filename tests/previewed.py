"""Carries cases of a preview out and reports on each: in a view, committed, undone, and the same bare.

A program, so that it can be run as any user on a machine of its own: python -m tests.previewed CASES TIER FOLDER.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
import tomllib
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from skillrun.overlay.diff.changes import Changes, scan
from skillrun.overlay.mount.layers import Layers
from skillrun.overlay.mount.spec import Account, Spec
from skillrun.overlay.process.supervisor import View, new_id
from skillrun.overlay.transaction.commit import Conflict, commit, undo
from skillrun.overlay.transaction.retention import drop
from tests.lab import difference, manifest

Told = list[tuple[int, str]]


class Ground:
    """Where one case takes place: a directory to work in (with a name that must be quoted) and an empty home."""

    def __init__(self, folder: Path, tier: str) -> None:
        self.folder, self.tier = folder, tier
        self.work, self.home, self.changes = folder / "a 'wörk' dir", folder / "home", folder / "run" / "changes"
        for place in (self.work, self.home, self.changes):
            place.mkdir(mode=0o755, parents=True)
        self.env = {
            "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "PYTHON": sys.executable,
        }

    def bare(self, scripts: Sequence[str], stdin: str = "") -> Told:
        """Run scripts as anybody would."""
        told = []
        for script in scripts:
            with _input(stdin) as given:
                argv = ["bash", "-c", script]
                done = subprocess.run(
                    argv,
                    cwd=self.work,
                    env=self.env,
                    stdin=given,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            told.append((done.returncode, done.stdout.decode("utf-8", "backslashreplace")))
        return told

    def viewed(self, scripts: Sequence[str], stdin: str = "") -> tuple[Told, Layers]:
        """Run them in one view, one after another; what they said, and the layers they left."""
        with View(Spec(self.tier, new_id(), str(self.changes), Account.current())) as view:
            return [self._in(view, script, stdin) for script in scripts], view.layers

    def _in(self, view: View, script: str, stdin: str) -> tuple[int, str]:
        read, write = os.pipe()
        with _input(stdin) as given:
            spawned = view.spawn(["bash", "-c", script], self.env, str(self.work), {0: given.fileno(), 1: write, 2: write})
        os.close(write)
        with os.fdopen(read, "rb") as stream:
            output = stream.read()
        select.select([spawned.handle], [], [])
        os.close(spawned.handle)
        status = view.status(spawned.inner)
        assert status is not None
        return status, output.decode("utf-8", "backslashreplace")

    def state(self, times: bool = True) -> dict[str, Any]:
        """Everything about the directory."""
        found = manifest(self.work, times=times)
        return {path: facts for path, facts in found.items() if ".skillrun-" not in path}  # a view's own, until it is dropped

    def listed(self, changes: Changes) -> tuple[dict[str, str], list[str]]:
        """What changes below the directory by name, and what changes anywhere else."""
        top = f"{self.work}/"
        real = [entry for entry in changes.entries if entry.aspects != ("time",)]
        below = {entry.path.removeprefix(top): entry.change for entry in real if entry.path.startswith(top)}
        return below, [entry.path for entry in real if not entry.path.startswith((top, str(self.work)))]


def _input(text: str) -> Any:
    file = os.fdopen(os.memfd_create("input"), "w+b")
    file.write(text.encode())
    file.flush()
    file.seek(0)
    return file


def carry_out(case: Mapping[str, Any], ground: Ground) -> dict[str, Any]:
    """The report on one case; see tests/test_view_try.py for what must hold of it."""
    scripts = [case["run"]] if isinstance(case["run"], str) else case["run"]
    ground.bare([case.get("before", "true")])
    before = ground.state()
    time.sleep(0.03)  # what changes within a tick of the clock before the view opens counts as a conflict
    inside, layers = ground.viewed(scripts, case.get("stdin", ""))
    report: dict[str, Any] = {"inside": inside, "leaked": difference(before, ground.state())}
    changes = scan(layers)
    report["told"], report["elsewhere"] = ground.listed(changes)
    if "meanwhile" in case:
        ground.bare([case["meanwhile"]])
        return {**report, **_refused(ground, layers)}
    part = replace(layers, items=tuple(layer for layer in layers.items if _holds(layer.target, str(ground.work))))
    part.save(ground.changes)
    changes = scan(part)
    done = commit(part, changes, ground.changes, case.get("only", ()), case.get("except", ()))
    report["warnings"] = done.warnings
    committed = ground.state(times=False)
    undo(ground.changes)
    report["after_undo"] = difference(before, ground.state())
    layers.save(ground.changes)
    drop(ground.changes)
    report["bare"] = ground.bare([case["same_as"]] if "same_as" in case else scripts, case.get("stdin", ""))
    report["unlike_bare"] = difference(ground.state(times=False), committed)
    report["left_over"] = sorted(str(path) for path in ground.folder.parent.rglob(".skillrun*"))
    return report


def _holds(target: str, work: str) -> bool:
    """Is the directory, or a part of it, on this mount? The machine's own root is not committed to."""
    return target.startswith(work) or (work.startswith(f"{target}/") and target != "/")


def _refused(ground: Ground, layers: Layers) -> dict[str, Any]:
    """Try to commit over what was changed meanwhile."""
    now = ground.state()
    try:
        commit(layers, scan(layers), ground.changes)
        refusal = ""
    except Conflict as conflict:
        refusal = "; ".join(f"{clash.path} {clash.reason}" for clash in conflict.clashes)
    report = {"refusal": refusal, "touched": difference(now, ground.state())}
    drop(ground.changes)
    return report


def main() -> None:
    """Carry out all cases of a file that are for this tier; one line of JSON for each."""
    cases, tier, folder = tomllib.loads(Path(sys.argv[1]).read_text()), sys.argv[2], Path(sys.argv[3])
    for number, (name, case) in enumerate(cases.items()):
        if tier not in case.get("tiers", ("R", "U")):
            continue
        missing = [program for program in case.get("needs", ()) if not shutil.which(program)]
        place = folder / str(number) / "case"
        try:
            report = {"missing": missing} if missing else carry_out(case, Ground(place, tier))
        except Exception:  # noqa: BLE001 - the next case is to be carried out all the same
            report = {"broke": traceback.format_exc()}
        print(json.dumps({"name": name, **report}, default=repr), flush=True)


if __name__ == "__main__":
    main()
