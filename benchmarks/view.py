"""What a copy-on-write view costs, in ratios to the same thing done bare. Needs root.

Method: pairs A B A B in one process, medians, and the ratio pair by pair; whatever is compared runs in the
same minute. Start-up is measured inside the process, from the call to the view that is ready for its first
command. bwrap and try are measured where they are installed. `--install` adds real package installs, each
in a throw-away view (bare: a view that was left in place, so that both start from the same machine).
"""

from __future__ import annotations

import argparse
import os
import select
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

from skillrun.view.keeping import drop  # noqa: E402
from skillrun.view.spec import Account, Spec  # noqa: E402
from skillrun.view.view import View, new_id  # noqa: E402


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def open_view(folder: Path, **wishes: bool) -> View:
    changes = folder / new_id()
    changes.mkdir(mode=0o700)
    return View(Spec("R", new_id(), str(changes), Account.current(), **wishes))  # type: ignore[arg-type]


def run_inside(view: View, *argv: str) -> int:
    null = os.open("/dev/null", os.O_RDWR)
    spawned = view.spawn(argv, dict(os.environ), "/", {0: null, 1: null, 2: null})
    os.close(null)
    select.select([spawned.handle], [], [])
    os.close(spawned.handle)
    return view.status(spawned.inner) or 0


def end(view: View) -> None:
    view.close()
    drop(Path(view.spec.changes))
    shutil.rmtree(view.spec.changes)


def show(name: str, values: list[float], beside: str = "") -> None:
    print(f"{name:44} {statistics.median(values) * 1000:9.1f} ms  (best {min(values) * 1000:.1f}) {beside}")


def start_up(folder: Path, rounds: int) -> None:
    starts, spawns, ends = [], [], []
    for _ in range(rounds):
        views: list[View] = []
        starts.append(seconds(lambda views=views: views.append(open_view(folder))))  # type: ignore[misc]
        spawns.append(seconds(lambda views=views: run_inside(views[0], "true")))  # type: ignore[misc]
        ends.append(seconds(lambda views=views: end(views[0])))  # type: ignore[misc]
    show("view: start in process", starts)
    show("view: first command", spawns)
    show("view: end and drop", ends)
    show("bare: true", [seconds(lambda: subprocess.run(["true"], check=True)) for _ in range(rounds)])
    rivals = {
        "bwrap": ["bwrap", "--dev-bind", "/", "/", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "true"],
        "try": ["try", "-n", "true"],
    }
    for name, argv in rivals.items():
        if shutil.which(name):
            times = [seconds(lambda argv=argv: subprocess.run(argv, check=False)) for _ in range(rounds)]  # type: ignore[misc]
            show(f"{name}: whole process", times)
        else:
            print(f"{name}: not installed here, not compared")


def work_inside(folder: Path, name: str, command: str, rounds: int) -> None:
    """The same command in a view, and bare in the sense that matters: on the machine's own file system."""
    ratios, times = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            bare = seconds(lambda place=place: subprocess.run(["bash", "-c", command], cwd=place, check=True))  # type: ignore[misc]
        view = open_view(folder)
        inside = seconds(lambda view=view: run_inside(view, "bash", "-c", f"cd $(mktemp -d /var/tmp/b.XXXX) && {command}"))  # type: ignore[misc]
        end(view)
        ratios.append(inside / bare)
        times.append(inside)
    show(name, times, f"{statistics.median(ratios):.2f}x bare")


def install(folder: Path, package: str, rounds: int) -> None:
    """apt-get in a fresh view with downloads already there, against the same in a chroot without overlay options of ours."""
    times = []
    for _ in range(rounds):
        view = open_view(folder)
        run_inside(view, "bash", "-c", f"apt-get update; apt-get install -y --download-only {package}")
        times.append(seconds(lambda view=view: run_inside(view, "apt-get", "install", "-y", package)))  # type: ignore[misc]
        end(view)
    show(f"apt-get install {package} in a view", times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--install", metavar="PACKAGE", help="also install a package for real, in views")
    parser.add_argument("--folder", default="/var/tmp", help="where the layers go; on the file system of /")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        start_up(Path(folder), options.rounds)
        few = max(3, options.rounds // 5)
        write = "for i in $(seq 2000); do echo $i >f$i; done; rm -r f*"
        work_inside(Path(folder), "2,000 files written and removed", write, few)
        work_inside(Path(folder), "venv without pip", "python3 -m venv --without-pip v", few)
        work_inside(
            Path(folder),
            "read 2,000 old files",
            "find /usr/share/doc -type f -print0 2>/dev/null | head -zn 2000 | xargs -0 cat >/dev/null 2>&1; true",
            few,
        )
        if options.install:
            install(Path(folder), options.install, few)


if __name__ == "__main__":
    main()
