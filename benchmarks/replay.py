"""What replaying a real install costs: the bundled skills' own plans, against the bash export of the same plan.

    sudo python benchmarks/replay.py [--pairs N] [SKILL ...]

Each measurement has a fresh machine: the base `debian-12` (see docs/testing.md) under an overlay on a disk, without any
network, and its user `dev`, who has sudo. What is downloaded was fetched before: packages lie in a `file:` archive, wheels in
a directory, so that both programs install the same bytes from this disk. Then, in pairs A B A B, each as one process from its
start to its end:

    A  `bash install.sh`, what `skillrun plan FILE --export bash` writes
    B  `skillrun install SKILL --approve all --model plan:FILE`, and once more where all is there ("again")

Of each program both the seconds from its start to its end and the seconds of processor time (medians). `wall` and `processor`
are medians of the pairs' ratios; `quietest` is the ratio of the shortest times of each, which a busy machine changes least;
`more` is what a replay took more than its script, in both. Processor time is that of the process with all its children, also of
those that it left behind and that have ended. Bytecode is compiled beforehand, as that of an installed package is.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MACHINE = "debian-12"
ENTER = """
set -e
mkdir -p "$AT/up" "$AT/work" "$AT/root"
mount -t overlay overlay -o "lowerdir=$LOWERS,upperdir=$AT/up,workdir=$AT/work" "$AT/root"; cd "$AT/root"
mkdir -p tmp code packages old srv/local srv/bytecode srv/bench
mount --bind "$CODE" code; mount --bind "$SITE" packages
mount --bind "$KEPT/local" srv/local; mount --bind "$KEPT/bytecode" srv/bytecode; mount --bind "$KEPT/bench" srv/bench
mount -t proc proc proc; mount -t sysfs sysfs sys; mount --rbind /dev dev; mount -t tmpfs tmpfs run; chmod 1777 tmp
rm -f etc/resolv.conf; cp /etc/resolv.conf etc/resolv.conf
cp /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/ca-certificates.crt
printf '#!/bin/sh\\nexit 101\\n' > usr/sbin/policy-rc.d; chmod 755 usr/sbin/policy-rc.d
pivot_root . old; cd /; umount -l /old; rmdir /old
export LC_ALL=C.UTF-8
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PIP_CERT=/etc/ssl/certs/ca-certificates.crt
ip link set lo up 2> /dev/null || :
cd /; exec "$@"
"""
FETCH = """
set -e
echo 'Binary::apt-get::APT::Keep-Downloaded-Packages "true";' > /etc/apt/apt.conf.d/00keep
echo 'APT::Keep-Downloaded-Packages "true";' >> /etc/apt/apt.conf.d/00keep
rm -f /etc/apt/apt.conf.d/docker-clean
cd /home/dev
runuser -u dev -- env HOME=/home/dev bash /srv/bench/install.sh > /root/log 2>&1 || { tail -20 /root/log >&2; exit 1; }
mkdir -p /srv/local/debs /srv/local/wheels
for deb in /var/cache/apt/archives/*.deb; do
  [ -e "$deb" ] || continue
  cp "$deb" /srv/local/debs/
  name=$(dpkg-deb -f "$deb" Package); version=$(dpkg-deb -f "$deb" Version)
  apt-cache show "$name=$version" | sed -e "s|^Filename:.*|Filename: ./$(basename "$deb")|" -e '/^$/q'
  echo
done > /srv/local/debs/Packages
for pip in /home/dev/.local/share/*/bin/pip; do
  [ -x "$pip" ] || continue
  "$pip" list --format=freeze | grep -v '^pip=\\|^setuptools=' > /root/got
  "$pip" download -q --no-deps -d /srv/local/wheels -r /root/got
done
"""
LOCAL = """
rm -rf /etc/apt/sources.list.d/* /var/lib/apt/lists/*
echo 'deb [trusted=yes] file:/srv/local/debs ./' > /etc/apt/sources.list
export PIP_NO_INDEX=1 PIP_FIND_LINKS=/srv/local/wheels PIP_DISABLE_PIP_VERSION_CHECK=1
cd /home/dev; exec runuser -u dev -- env HOME=/home/dev "$@"
"""
OURS = """
import sys
sys.pycache_prefix = "/srv/bytecode"
sys.path[:0] = ["/code", "/packages"]
from skillrun.cli import program
program()
"""
"""The command as it is installed: variables such as PYTHONPATH would change what a plan's own Python programs load, too."""
Figure = tuple[float, float]
"""Seconds, and seconds of processor time."""


def inside(argv: list[str]) -> None:
    """In the machine: run programs one after the other (`--` between them) and print what each cost, as JSON."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: whoever was left behind is ours to wait for, and to count
    found = []
    while argv:
        end = argv.index("--") if "--" in argv else len(argv)
        program, argv = argv[:end], argv[end + 1 :]
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        took = time.perf_counter() - begun
        time.sleep(0.3)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            sys.exit(f"{program} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        found.append((took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    print(json.dumps(found))


def fresh(kept: Path, lowers: str, script: str, argv: list[str], network: bool) -> str:
    """Run a program in a fresh machine; what it printed. Ends the benchmark where it fails."""
    with tempfile.TemporaryDirectory(dir=kept, prefix="machine-") as at:
        where = {"AT": at, "LOWERS": lowers, "CODE": str(ROOT), "SITE": sysconfig.get_paths()["purelib"], "KEPT": str(kept)}
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        command = [*apart, *([] if network else ["--net"]), "bash", "-c", ENTER, "enter", "bash", "-c", script, "local", *argv]
        done = subprocess.run(
            command, env={"PATH": os.environ["PATH"], **where}, stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{argv or 'fetching'} failed in the machine")
        return done.stdout


def measured(kept: Path, lowers: str, *programs: tuple[str, ...]) -> list[Figure]:
    """What programs cost, one after the other in one fresh machine."""
    joined = [word for program in programs for word in (*program, "--")][:-1]
    text = fresh(kept, lowers, LOCAL, ["python3", "/code/benchmarks/replay.py", "--inside", *joined], network=False)
    return [tuple(pair) for pair in json.loads(text)]


def of_skill(name: str, lowers: str, pairs: int, kept: Path) -> tuple[float, float, float]:
    """Measure one skill; the ratios of the pairs, of the shortest times, and of the processor time."""
    for folder in ("local", "bench"):
        (kept / folder).mkdir()
    plan = ROOT / "skills" / name / "plans" / f"{MACHINE}.toml"
    (kept / "bench/plan.toml").write_bytes(plan.read_bytes())
    script = kept / "bench/install.sh"
    subprocess.run([sys.executable, "-m", "skillrun", "plan", plan, "--export", "bash", "-o", script], cwd=ROOT, check=True)
    fresh(kept, lowers, FETCH, [], network=True)
    (kept / "bench/skillrun").write_text(OURS)
    replay = (
        "python3",
        "/srv/bench/skillrun",
        "install",
        f"/code/skills/{name}/SKILL.md",
        "--approve",
        "all",
        "--model",
        "plan:/srv/bench/plan.toml",
    )
    measured(kept, lowers, replay)  # so that bytecode and page cache are warm for both
    rows: list[tuple[Figure, Figure, Figure]] = []
    for _ in range(pairs):
        (script_cost,) = measured(kept, lowers, ("bash", "/srv/bench/install.sh"))
        first, again = measured(kept, lowers, replay, replay)
        rows.append((script_cost, first, again))
    took, used = ([statistics.median(row[i][kind] for row in rows) for i in range(3)] for kind in (0, 1))
    wall, cpu = (statistics.median(row[1][i] / row[0][i] for row in rows) for i in (0, 1))
    quiet = min(row[1][0] for row in rows) / min(row[0][0] for row in rows)
    cells = [f"{took[i]:>6.2f} {used[i]:>5.2f} s" for i in range(3)]
    more = [statistics.median(row[1][i] - row[0][i] for row in rows) for i in (0, 1)]
    cells += [f"{ratio:>9.2f}x" for ratio in (wall, quiet, cpu)] + [f"{more[0] * 1000:>5.0f} {more[1] * 1000:>4.0f} ms"]
    print(f"{name:<12} " + " ".join(cells), flush=True)
    return wall, quiet, cpu


def main() -> None:
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2:])
        return
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--pairs", type=int, default=5)
    reader.add_argument("skills", nargs="*")
    given = reader.parse_args()
    sys.path.insert(0, str(ROOT))
    from skillrun.sandbox.base import layers_of

    print(__doc__)
    names = given.skills or sorted(path.parent.parent.name for path in (ROOT / "skills").glob(f"*/plans/{MACHINE}.toml"))
    lowers = ":".join(str(path) for path in layers_of(MACHINE, print))
    print(f"{f'{given.pairs} pairs':<12} " + " ".join(f"{word:>14}" for word in ("script", "replay", "again")), end=" ")
    print(" ".join(f"{word:>10}" for word in ("wall", "quietest", "processor")), f"{'more':>13}")
    found = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp"), prefix="replay-") as folder:
        bytecode = Path(folder) / "bytecode"
        bytecode.mkdir()
        bytecode.chmod(0o777)
        for name in names:
            kept = Path(folder) / name
            kept.mkdir()
            (kept / "bytecode").symlink_to(bytecode)
            found.append(of_skill(name, lowers, given.pairs, kept))
    middle = [statistics.median(each) for each in zip(*found, strict=True)]
    print(f"median of {len(found)}: {middle[0]:.2f}x, quietest {middle[1]:.2f}x, processor {middle[2]:.2f}x")


if __name__ == "__main__":
    main()
