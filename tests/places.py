"""The gate in places where it never ran: `python -m tests.places [PLACE ...] [-- PYTEST ARGUMENTS]`.

Clones this checkout (what is committed) to each place, runs `.ci/run` there with nothing kept from before, and prints a
line for each: how many tests passed, failed and were skipped, the time on the clock, and the processor time of all that it
ran. Below it stand the tests that failed and why others were skipped; the whole output is kept in a file that is named.

Nothing kept from before: the clone has no virtual environment and no caches of tools, HOME's caches are elsewhere and empty
(XDG_CACHE_HOME), and so is the directory of built machines (SKILLRUN_MACHINES), so that each place builds its own.

Places: `tmp`, `home`, `srv` (beside other files) and `umlaut` (a path with a blank and an umlaut) on this machine as root;
`user` on this machine as an ordinary user, in a mount namespace with an /etc and a /home of its own; `debian-12` and
`debian-13` in a throw-away machine (tests/box.py) as root, `debian-12-user` and `debian-13-user` as its ordinary user.
All but `user` need root; those on a machine also debootstrap and a mirror. Without names: all, one after another, about
ten minutes each on two cores; for times that mean something the machine has to be quiet.

With arguments for pytest only a part of the tests runs, for example `python -m tests.places srv -- -k shell_real`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.box import PATH, Box

ROOT = Path(__file__).resolve().parents[1]
HERE = {"tmp": "/tmp", "home": str(Path.home()), "srv": "/srv", "umlaut": "/var/tmp"}
"""Places on this machine as root -> the directory they lie in."""
PLACES = (*HERE, "user", "debian-12", "debian-13", "debian-12-user", "debian-13-user")
USER_ID = 1000
LONGEST_S = 3000
AS_USER = """
set -e
mount -t tmpfs -o mode=755 tmpfs /mnt; cp -a /etc/. /mnt/; mount --move /mnt /etc
mount --bind "$1" /home
sed -i '/^[^:]*:[^:]*:1000:/d' /etc/passwd; useradd -M -s /bin/bash -u 1000 -d /home/dev dev
shift; cd /home/dev; exec setpriv --reuid dev --regid dev --init-groups -- "$@"
"""


@dataclass(frozen=True, slots=True)
class Gate:
    """A clone, and how a command is run in it: `command` and `environment` for a process of this machine."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path


@contextmanager
def place(name: str, scratch: Path, arguments: list[str]) -> Iterator[Gate]:
    """A place with a clone in it, and nothing of it afterwards."""
    log = scratch / f"{name}.log"
    if name in HERE:
        folder = Path(tempfile.mkdtemp(prefix="Prüf stand " if name == "umlaut" else "skillrun-place-", dir=HERE[name]))
        folder.chmod(0o755)
        try:
            clone(folder / "skillrun")
            if name == "srv":
                (folder.parent / f"{folder.name}-beside").write_text("somebody else's\n")
            machines = tempfile.mkdtemp(prefix="skillrun-place-", dir="/var/tmp")  # debootstrap takes no path with a blank
            caches = {"XDG_CACHE_HOME": str(folder / "cache"), "SKILLRUN_MACHINES": machines}
            yield Gate(gate(f"{folder}/skillrun", arguments), {**os.environ, **caches}, log)
        finally:
            shutil.rmtree(folder)
            shutil.rmtree(caches["SKILLRUN_MACHINES"], ignore_errors=True)
            (folder.parent / f"{folder.name}-beside").unlink(missing_ok=True)
    elif name == "user":
        homes = Path(tempfile.mkdtemp(prefix="skillrun-place-", dir="/var/tmp"))
        try:
            homes.chmod(0o755)
            clone(homes / "dev/skillrun")
            given_to(homes / "dev", USER_ID)
            as_user = ("unshare", "--mount", "--propagation", "private", "sh", "-c", AS_USER, "sh", str(homes))
            asked = {key: os.environ[key] for key in os.environ if key.startswith(("PIP_", "SSL_", "NODE_")) or key == "CI"}
            environment = {**asked, "PATH": PATH, "HOME": "/home/dev", "USER": "dev", "LOGNAME": "dev", "LC_ALL": "C.UTF-8"}
            yield Gate((*as_user, *gate("/home/dev/skillrun", arguments)), environment, log)
        finally:
            shutil.rmtree(homes)
    else:
        user = "dev" if name.endswith("-user") else "root"
        with in_a_machine(name.removesuffix("-user"), user, arguments, log) as found:
            yield found


@contextmanager
def in_a_machine(name: str, user: str, arguments: list[str], log: Path) -> Iterator[Gate]:
    """A Debian with what the README wants there, and the clone in the user's home."""
    box = Box(name, place="/var/tmp")
    try:
        wanted = "apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv git"
        ready = box.run(["sh", "-c", wanted], user="root", env={"DEBIAN_FRONTEND": "noninteractive"}, timeout_s=900)
        if ready.returncode:
            raise RuntimeError(f"{name} could not be made ready:\n{ready.stdout[-2000:]}")
        home = "root" if user == "root" else f"home/{user}"
        clone(box.root / home / "skillrun")
        given_to(box.root / home / "skillrun", 0 if user == "root" else USER_ID)
        environment, command = box.entered(gate(f"/{home}/skillrun", arguments), user, {"CI": os.environ.get("CI", "1")})
        yield Gate(tuple(command), environment, log)
    finally:
        box.close()


def clone(folder: Path) -> None:
    """What is committed here, as anybody gets it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True)


def given_to(folder: Path, owner: int) -> None:
    """The directory and all in it belong to somebody else."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner, owner, follow_symlinks=False)


def gate(folder: str, arguments: list[str]) -> tuple[str, ...]:
    """The command line of the gate in a clone. The shell stays: as first process of a machine it takes leave of orphans."""
    return ("bash", "-c", f'cd {shlex.quote(folder)} && .ci/run "$@"; exit $?', "bash", *arguments)


def run(gate: Gate) -> tuple[int, float, float]:
    """Exit status, seconds on the clock, and seconds of processor time with all children that were waited for."""
    began = time.monotonic()
    with gate.log.open("wb") as log:
        process = subprocess.Popen(
            ["timeout", str(LONGEST_S), *gate.command],
            env=dict(gate.environment), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, time.monotonic() - began, used.ru_utime + used.ru_stime


def report(name: str, code: int, clock_s: float, processor_s: float, text: str) -> str:
    """The line of a place, and what stands below it."""
    counts = {word: number for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)s?\b(?=.* in \d)", text)}
    told = ", ".join(f"{counts[word]} {word}" for word in ("passed", "failed", "error", "skipped") if word in counts)
    took = f"{clock_s / 60:.1f} min · {processor_s:.0f} s of processor time · exit code {code}"
    lines = [f"{'ok  ' if code == 0 else 'FAIL'} {name:<15} {told or 'no tests ran'} · {took}"]
    lines += [f"     {line}" for line in re.findall(r"^(?:FAILED|ERROR) .*$", text, re.MULTILINE)]
    reasons: Counter[str] = Counter()
    for number, reason in re.findall(r"^SKIPPED \[(\d+)\] [^:]*:(?:\d+:)? (.*)$", text, re.MULTILINE):
        reasons[reason] += int(number)
    lines += [f"     {number} skipped: {reason}" for reason, number in reasons.most_common()]
    return "\n".join(lines)


def main(words: list[str]) -> int:
    """Run the places that are named; 1 when one of them failed."""
    until = words.index("--") if "--" in words else len(words)
    names, arguments = words[:until], words[until + 1 :]
    if unknown := [name for name in names if name not in PLACES]:
        print(f"no such place: {', '.join(unknown)}; there are {', '.join(PLACES)}", file=sys.stderr)
        return 2
    scratch = Path(tempfile.mkdtemp(prefix="skillrun-places-", dir="/var/tmp"))
    print(f"the whole output of each: {scratch}", flush=True)
    failed = 0
    for name in names or PLACES:
        try:
            with place(name, scratch, arguments) as made:
                code, clock_s, processor_s = run(made)
                text = made.log.read_text(encoding="utf-8", errors="replace")
            print(report(name, code, clock_s, processor_s, text), flush=True)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            code = 1
            print(f"FAIL {name:<15} could not be made: {error}", flush=True)
        failed += code != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
