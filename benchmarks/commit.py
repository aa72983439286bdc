"""Figures of listing, commit and undo. Run as root: python benchmarks/commit.py [--at FOLDER] [--quick]

Each case builds a sacrificial tree below FOLDER (default: a new one in the home directory), changes it in a real overlay view
in a mount namespace of its own, and measures scan (with explanation), commit, undo and redo in this process, `--rounds` times;
medians in milliseconds. `swap` is the part of a commit in which names are exchanged; `sync` is the time the disk takes to
have the new content before that; `cp` is the same changes carried over by `cp -a` and `sync`, which neither checks, records
nor can be undone. `cpu` is the processor time of the listing before it. Figures of a busy machine vary by a third;
--real-time gives the measured process a real-time priority (SCHED_FIFO), so that others do not get in between.
Goals: listing 50,000 changes in 2,000 ms, undo of a package in 100 ms.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from skillrun.overlay.diff.changes import scan  # noqa: E402
from skillrun.overlay.kernel.dirfd import sync_file_system  # noqa: E402
from skillrun.overlay.transaction.commit import Done, commit, redo, undo  # noqa: E402
from tests.lab import Lab  # noqa: E402

PACKAGE_SETUP = "mkdir -p etc usr/bin usr/lib usr/share/doc var/lib; for i in $(seq 40); do echo $i > etc/conf$i; done"
PACKAGE = """
for i in $(seq 20); do echo new > etc/conf$i; done
for i in $(seq 30); do head -c 60000 /dev/zero > usr/lib/lib$i.so; head -c 20000 /dev/zero > usr/bin/tool$i; done
for i in $(seq 30); do mkdir usr/share/doc/p$i; echo doc > usr/share/doc/p$i/README; done
for i in 21 22 23; do rm etc/conf$i; done
"""
_WRITE = """python3 -c "
import os
for d in range(500):
    os.makedirs(f'{0}/{{d}}', exist_ok=True)
    for f in range(100):
        open(f'{0}/{{d}}/{{f}}', 'w').write('{1}')
"
"""
BIG = "for i in 1 2 3 4; do head -c 268435456 /dev/zero | tr '\\0' x > big$i; done"

CASES = {
    "a package: 113 paths": (PACKAGE_SETUP, PACKAGE),
    "50,000 files added": ("true", _WRITE.format("n", "new")),
    "50,000 files changed": (_WRITE.format("t", "old"), _WRITE.format("t", "new!")),
    "1 GB in 4 files": ("true", BIG),
}

COLUMNS = ("list", "cpu", "commit", "sync", "swap", "undo", "redo", "cp")


def timed(work: Callable[[], object]) -> tuple[float, object]:
    began = time.perf_counter()
    result = work()
    return (time.perf_counter() - began) * 1000, result


def by_copying(lab: Lab, base: Path) -> float:
    """The peers' way: copy the upper over the tree. Measured on a copy of the tree, whiteouts left aside."""
    goal = base / "copied"
    subprocess.run(["cp", "-a", str(lab.real), str(goal)], check=True)
    sync_file_system(str(base))

    def copy() -> None:
        command = ["cp", "-a", "--remove-destination", f"{lab.upper}/.", str(goal)]
        subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
        sync_file_system(str(base))

    return timed(copy)[0]


def measure(name: str, setup: str, work: str, base: Path, rounds: int) -> None:
    figures: dict[str, list[float]] = {}

    def note(key: str, value: float) -> None:
        figures.setdefault(key, []).append(value)

    for number in range(rounds):
        place = base / str(number)
        lab = Lab(place / "lab")
        lab.bash(setup)
        sync_file_system(str(base))
        lab.view(work)
        if number == 0:
            note("cp", by_copying(lab, place))
        used = time.process_time()
        spent, changes = timed(lambda lab=lab: scan(lab.layers))  # type: ignore[misc]
        note("list", spent)
        note("cpu", (time.process_time() - used) * 1000)
        spent, done = timed(lambda lab=lab, changes=changes: commit(lab.layers, changes, lab.changes))  # type: ignore[misc]
        assert isinstance(done, Done)
        note("commit", spent)
        note("sync", done.times["sync"] * 1000)
        note("swap", done.times["swap"] * 1000)
        note("undo", timed(lambda lab=lab: undo(lab.changes))[0])  # type: ignore[misc]
        note("redo", timed(lambda lab=lab: redo(lab.changes))[0])  # type: ignore[misc]
        shutil.rmtree(place)
    medians = {key: statistics.median(values) for key, values in figures.items()}
    print(f"{name:22}" + "".join(f"{medians[key]:10.1f}" for key in COLUMNS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--at", type=Path, help="a folder on the file system to measure")
    parser.add_argument("--quick", action="store_true", help="one round, no large cases")
    parser.add_argument("--rounds", type=int, default=3, help="how often each case is measured")
    parser.add_argument("--real-time", action="store_true", help="measure with a real-time priority")
    asked = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("needs root, to mount overlays")
    if asked.real_time:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    print(__doc__)
    base = Path(tempfile.mkdtemp(prefix="skillrun-benchmark-", dir=asked.at or Path.home()))
    print("milliseconds          " + "".join(f"{key:>10}" for key in COLUMNS))
    try:
        for name, (setup, work) in CASES.items():
            if not (asked.quick and name[0] in "51"):
                measure(name, setup, work, base, 1 if asked.quick else asked.rounds)
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
