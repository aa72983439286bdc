"""A throw-away machine with a disk of its own: a whole Debian in a directory, entered as root with mounts of its own.

Unlike `skillrun.sandbox` machines, which are overlays and therefore like a container, everything works in it that
works on a person's machine, copy-on-write views included. It is a directory: its manifest is taken from outside.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from skillrun.overlay.process.probe import probe
from skillrun.sandbox.base import BuildError, layers_of
from tests.lab import Manifest, manifest
from tests.terminal import Terminal

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_ON_DISK = ("proc", "sys", "dev", "run")
"""The kernel's own, and what is in memory: mounted anew for each command."""

FLATTEN = 'mount -t overlay overlay -o "ro,lowerdir=$1" "$2" && cp -a "$2/." "$3/"'
ENTER = """
set -e
cd "$1"; shift
mount --bind . .; cd "$PWD"
while [ "$1" != -- ]; do mkdir -p ".$2"; mount --bind -o ro "$1" ".$2"; mount -o remount,bind,ro ".$2"; shift 2; done; shift
mount -t proc proc proc; mount -t sysfs -o ro sysfs sys; mount --rbind /dev dev; mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/old; pivot_root . run/old; umount -l /run/old; rmdir /run/old
user=$1; shift
exec setpriv --reuid="$user" --regid="$user" --init-groups -- "$@"
"""


def roomy() -> str:
    """In memory where there is plenty of it: thousands of small files are copied and read again and again."""
    return "/dev/shm" if shutil.disk_usage("/dev/shm").free > 4 << 30 else "/var/tmp"


class Box:
    """One machine. `root` is where its files lie; they are removed by `close`."""

    def __init__(self, name: str = "debian-12-node", binds: Sequence[tuple[str, str]] = (), place: str = "") -> None:
        """`binds`: directories shown inside, read-only: (outside, inside). `place`: on which disk; empty: the roomiest.

        Raises BuildError when the machine it is a copy of cannot be built.
        """
        self.binds = tuple(binds)
        lowers = ":".join(map(str, layers_of(name)))
        self.folder = Path(tempfile.mkdtemp(prefix="skillrun-box-", dir=place or roomy()))
        self.root, stage = self.folder / "root", self.folder / "stage"
        for folder in (self.root, stage):
            folder.mkdir()
        self.root.chmod(0o755)
        apart = ["unshare", "--mount", "--propagation", "private", "sh", "-c", FLATTEN, "sh"]
        subprocess.run([*apart, lowers, str(stage), str(self.root)], check=True)
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        with (self.root / "etc/hosts").open("a") as hosts:
            hosts.write(f"127.0.0.1 {os.uname().nodename}\n")  # the name of the machine around it is its name

    def run(
        self,
        words: list[str],
        *,
        user: str = "dev",
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        timeout_s: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as a user, without standard input; both outputs together. What it leaves running is ended."""
        given, argv = self.entered(words, user, env, cwd)
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            env=given,
            check=False,
        )

    def entered(
        self, words: Sequence[str], user: str, env: Mapping[str, str] | None = None, cwd: str = ""
    ) -> tuple[dict[str, str], list[str]]:
        """Environment and command line, for a process of this machine, that run a program inside as a user."""
        home = "/root" if user == "root" else f"/home/{user}"
        given = {"PATH": PATH, "HOME": home, "USER": user, "LOGNAME": user, "LC_ALL": "C.UTF-8", **(env or {})}
        go = ["sh", "-c", f'cd {shlex.quote(cwd or home)} && exec "$@"', "sh", *words]
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        binds = [place for pair in self.binds for place in pair]
        return given, [*apart, "sh", "-c", ENTER, "sh", str(self.root), *binds, "--", user, *go]

    def terminal(self, words: Sequence[str], user: str = "dev", env: Mapping[str, str] | None = None, **size: int) -> Terminal:
        """Run a program inside as a user, on a terminal of its own."""
        given, argv = self.entered(words, user, env)
        return Terminal(argv, environment={"TERM": "xterm-256color", **given}, **size)

    def manifest(self, skip: tuple[str, ...] = ()) -> Manifest:
        """Every file on its disk: type, mode, owner, size, time, content, link target, attributes, hard links."""
        return manifest(self.root, skip=(*NOT_ON_DISK, *skip))

    def write(self, path: str, text: str, mode: int = 0o644, user: int = 1000) -> None:
        """Put a file into it, in directories of the same user. `path` is as seen inside."""
        place = self.root / path.lstrip("/")
        missing = [folder for folder in place.parents if not folder.exists()]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)
        for made in (place, *missing):
            os.chown(made, user, user)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.folder)


def box_or_skip(name: str = "debian-12-node", binds: Sequence[tuple[str, str]] = (), place: str = "") -> Box:
    """A machine, or why there can be none here."""
    if probe().tier != "R":
        pytest.skip(f"a machine of its own needs root and overlayfs: {'; '.join(probe().reasons)}")
    try:
        return Box(name, binds, place)
    except BuildError as error:
        pytest.skip(f"the machine cannot be built: {error}")
