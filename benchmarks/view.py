"""What a copy-on-write view costs: its start, work inside it, and whole installs. Needs root.

Method: what is compared runs in the same minute, in pairs A B A B; the figure is the median, and the ratio is that of the
pairs, so that a busy machine slows both sides. Start-up is measured inside the process, from the call to the view that is
ready for its first command; `cpu` is the processor time all processes of the view used until it was gone. bwrap and try are
measured as whole processes where they are installed; try (binpash/try) is in no Debian archive and on no package index: it
is taken from PATH, or from `--try FILE`. What it needs (getfattr, and mergerfs for mounts below mounts) may lie beside it.

--installs measures `apt-get install` and `npm install -g` with everything downloaded before, on a throw-away machine: a
file system in a file, made from the base machine `debian-12-node` (built once, see docs/testing.md), a fresh copy for each
round. In a round each command runs in a view and under try (each once to warm the caches, once for the figure; neither
changes the machine), and then bare. bwrap has no layer over the whole machine (before 0.11 no overlay at all): it installs
bare, so it gets a copy of the machine of its own. Where a command fails under one of them, that is what is printed.

--real-time gives the measured processes a real-time priority (SCHED_FIFO), so that a machine that is shared with others
still shows what the work costs; without it, the machine should be quiet.

    python benchmarks/view.py [--rounds 15] [--real-time] [--try FILE] [--installs [--install-rounds 3]]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

BWRAP = ("bwrap", "--dev-bind", "/", "/", "--unshare-pid", "--unshare-ipc", "--unshare-uts")
TRY = ("try", "-n")

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from skillrun.overlay.mount.spec import Account, Spec  # noqa: E402
from skillrun.overlay.process.supervisor import View, new_id  # noqa: E402
from skillrun.overlay.transaction.retention import drop  # noqa: E402

INSTALLS = {
    "apt-get install redis-server": (
        "apt-get update -qq; apt-get install -qq -y --no-install-recommends --download-only redis-server",
        "apt-get install -qq -y --no-install-recommends redis-server",
    ),
    "apt-get install git": (
        "apt-get install -qq -y --no-install-recommends --download-only git",
        "apt-get install -qq -y --no-install-recommends git",
    ),
    "npm install -g eslint": (
        "npm install --silent --no-audit --no-fund -g eslint && npm uninstall --silent -g eslint",
        "npm install --silent --offline --no-audit --no-fund -g eslint",
    ),
}
"""Name -> what is done before (downloads), and what is measured."""

ENTER = """
set -e
mount -o loop "$IMAGE" "$AT"
mkdir -p "$AT/code" "$AT/packages" "$AT/peers" "$AT/old"
mount --bind "$PEERS" "$AT/peers"; mount -o remount,bind,ro "$AT/peers"
mount --bind "$CODE" "$AT/code"; mount -o remount,bind,ro "$AT/code"
mount --bind "$PACKAGES" "$AT/packages"; mount -o remount,bind,ro "$AT/packages"
mount -t proc proc "$AT/proc"; mount -t sysfs sysfs "$AT/sys"; mount --rbind /dev "$AT/dev"; mount -t tmpfs tmpfs "$AT/run"
rm -f "$AT/etc/resolv.conf"; cp /etc/resolv.conf "$AT/etc/resolv.conf"
cd "$AT"; pivot_root . old; cd /; umount -l /old; rmdir /old
export HOME=/root LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 DEBIAN_FRONTEND=noninteractive
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/peers PYTHONPATH=/code:/packages
export NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
cd /root; exec python3 /code/benchmarks/view.py --inside "$WHICH"
"""


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def open_view(folder: Path) -> View:
    changes = folder / new_id()
    changes.mkdir(mode=0o700)
    return View(Spec("R", new_id(), str(changes), Account.current()))


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
    print(f"{name:44} {statistics.median(values) * 1000:9.1f} ms  (best {min(values) * 1000:.1f})  {beside}", flush=True)


def processor_time() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def start_up(folder: Path, rounds: int) -> None:
    end(open_view(folder))
    rivals = {"bwrap": [*BWRAP, "true"], "try": [*TRY, "true"]}
    there = {name: argv for name, argv in rivals.items() if shutil.which(argv[0])}
    times: dict[str, list[float]] = {name: [] for name in ("start", "first", "end", "cpu", "true", *there)}
    for _ in range(rounds):
        before = processor_time()
        views: list[View] = []
        times["start"].append(seconds(lambda views=views: views.append(open_view(folder))))  # type: ignore[misc]
        times["first"].append(seconds(lambda views=views: run_inside(views[0], "true")))  # type: ignore[misc]
        times["end"].append(seconds(lambda views=views: end(views[0])))  # type: ignore[misc]
        times["cpu"].append(processor_time() - before)
        times["true"].append(seconds(lambda: subprocess.run(["true"], check=True)))
        for name, argv in there.items():
            times[name].append(seconds(lambda argv=argv: _rival(argv, folder)))  # type: ignore[misc]
    show("view: start in process", times["start"], "goal 25 ms")
    show("view: first command (true)", times["first"])
    show("view: end and drop", times["end"])
    show("view: processor time of all three", times["cpu"])
    show("bare: true", times["true"])
    for name in rivals:
        if name in there:
            show(f"{name}: true, whole process", times[name])
        else:
            print(f"{name}: not installed here, not compared")


def _rival(argv: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """try leaves its layers below TMPDIR for a later commit."""
    environment = {**os.environ, "TMPDIR": str(folder), "SHELL": "/bin/bash"}
    return subprocess.run(
        argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )


def work_inside(folder: Path, name: str, command: str, rounds: int) -> None:
    """The same command in a view and on the machine's own file system, both warm."""
    ratios, times = [], []
    for number in range(rounds + 1):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            bare = seconds(lambda place=place: subprocess.run(["bash", "-c", command], cwd=place, check=True))  # type: ignore[misc]
        view = open_view(folder)
        run_inside(view, "bash", "-c", "cd /var/tmp && mkdir bench")
        inside = seconds(lambda view=view: run_inside(view, "bash", "-c", f"cd /var/tmp/bench && {command}"))  # type: ignore[misc]
        end(view)
        if number:
            ratios.append(inside / bare)
            times.append(inside)
    show(name, times, f"{statistics.median(ratios):.2f}x bare")


def installs(folder: Path, rounds: int) -> None:
    """On fresh copies of a throw-away machine each round."""
    image, peers = _image(folder), _peers(folder)
    found: dict[str, list[dict[str, float]]] = {}
    said: dict[str, str] = {}
    for number in range(rounds):
        for which in ("layered", "bwrap") if (peers / "bwrap").exists() else ("layered",):
            copy, at = folder / "copy", folder / f"at{number}{which}"
            subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
            at.mkdir()
            packages = sysconfig.get_paths()["purelib"]
            where = {"IMAGE": str(copy), "AT": str(at), "CODE": str(ROOT), "PACKAGES": packages, "PEERS": str(peers)}
            apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "bash", "-c", ENTER]
            done = subprocess.run(apart, env={**os.environ, **where, "WHICH": which}, stdout=subprocess.PIPE, check=True)
            told = json.loads(done.stdout.splitlines()[-1])
            said |= told["said"]
            for name, figures in told["figures"].items():
                each = found.setdefault(name, [])
                if which == "layered":
                    each.append(figures)
                else:
                    each[-1].update(figures)
            copy.unlink()
    for name, each in found.items():
        show(f"bare: {name}", [one["bare"] for one in each])
        for rival in ("view", "try", "bwrap"):
            ran = [one for one in each if rival in one]
            if not ran:
                print(f"{rival}: {name}: " + (said.get(f"{rival} {name}") or "not installed here, not compared"))
                continue
            walls = [one[rival] / one["bare"] for one in ran]
            ratio = f"{statistics.median(walls):.2f}x bare"
            if rival == "view":
                used = statistics.median(one["view_cpu"] / one["bare_cpu"] for one in ran)
                ratio += f" (goal 1.05), processor {used:.2f}x"
            pairs = " ".join(f"{wall:.2f}" for wall in walls)
            show(f"{rival}: {name}", [one[rival] for one in ran], f"{ratio}; pairs {pairs}")


def _peers(folder: Path) -> Path:
    """The other programs, in a folder that the throw-away machine gets to see."""
    found = folder / "peers"
    found.mkdir()
    for name in ("try", "bwrap", "getfattr", "mergerfs"):
        if place := shutil.which(name):
            shutil.copy(place, found)
    return found


def _image(folder: Path) -> Path:
    """The base machine as a file system in a file."""
    from skillrun.sandbox.base import layers_of

    image, merged = folder / "image", folder / "merged"
    merged.mkdir()
    with image.open("wb") as file:
        file.truncate(3 << 30)
    lowers = ":".join(str(path) for path in layers_of("debian-12-node", print))
    script = 'mount -t overlay overlay -o "ro,lowerdir=$1" "$2" && mkfs.ext4 -q -F -d "$2" "$3"'
    subprocess.run(["unshare", "-m", "bash", "-c", script, "bash", lowers, str(merged), str(image)], check=True)
    return image


def inside(which: str) -> None:
    """On the throw-away machine: each install by each program; the figures as JSON on the last line."""
    folder = Path("/var/lib/bench")
    folder.mkdir()
    # Nothing starts in a view; bare neither, so that both do the same.
    Path("/usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    Path("/usr/sbin/policy-rc.d").chmod(0o755)
    figures: dict[str, dict[str, float]] = {}
    said: dict[str, str] = {}
    for name, (before, command) in INSTALLS.items():
        _quietly(before)
        figures[name] = _in_a_view(folder, command)
        if which == "bwrap":
            figures[name] = _by_rival("bwrap", [*BWRAP, "bash", "-c", command], 1, folder, name, said)
            continue
        if shutil.which("try"):
            figures[name] |= _by_rival("try", [*TRY, command], 2, folder, name, said)
        began = processor_time()
        bare = seconds(lambda command=command: _quietly(command))  # type: ignore[misc]
        figures[name] |= {"bare": bare, "bare_cpu": processor_time() - began}
    print(json.dumps({"figures": figures, "said": said}))


def _in_a_view(folder: Path, command: str) -> dict[str, float]:
    for _ in range(2):
        view = open_view(folder)
        used = processor_time()
        wall = seconds(lambda view=view: _inside_or_stop(view, command))  # type: ignore[misc]
        view.close()
        used = processor_time() - used
        drop(Path(view.spec.changes))
    return {"view": wall, "view_cpu": used}


def _by_rival(rival: str, argv: list[str], times: int, folder: Path, name: str, said: dict[str, str]) -> dict[str, float]:
    """Seconds of the last time; nothing when it failed, with the reason in `said`."""
    for _ in range(times):
        done: list[subprocess.CompletedProcess[str]] = []
        wall = seconds(lambda done=done: done.append(_rival(argv, folder)))  # type: ignore[misc]
        if done[0].returncode:
            last = (done[0].stderr.strip().splitlines() or [""])[-1]
            said[f"{rival} {name}"] = f"failed, exit code {done[0].returncode}: {last}"
            return {}
    return {rival: wall}


def _inside_or_stop(view: View, command: str) -> None:
    if status := run_inside(view, "bash", "-c", command):
        sys.exit(f"`{command}` in a view: exit code {status}")


def _quietly(command: str) -> None:
    done = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"`{command}`: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--installs", action="store_true", help="also whole installs, on a throw-away machine")
    parser.add_argument("--install-rounds", type=int, default=3)
    parser.add_argument("--real-time", action="store_true", help="measure with a real-time priority")
    parser.add_argument("--folder", default="/var/tmp", help="where the layers go; on the file system of /")
    parser.add_argument("--try", type=Path, dest="peer", help="the program `try`, where it is not on PATH")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("needs root, for views of the whole machine")
    if options.inside:
        inside(options.inside)
        return
    if options.peer:
        os.environ["PATH"] = f"{options.peer.resolve().parent}:{os.environ['PATH']}"
    print(__doc__)
    if options.real_time:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        start_up(Path(folder), options.rounds)
        few = max(3, options.rounds // 5)
        write = "for i in $(seq 2000); do echo $i >f$i; done; rm -r f*"
        work_inside(Path(folder), "2,000 files written and removed", write, few)
        work_inside(Path(folder), "venv without pip", "python3 -m venv --without-pip v", few)
        read = "find /usr/share/doc -type f -print0 2>/dev/null | head -zn 2000 | xargs -0 cat >/dev/null 2>&1; true"
        work_inside(Path(folder), "read 2,000 old files", read, few)
        if options.installs:
            installs(Path(folder), options.install_rounds)


if __name__ == "__main__":
    main()
