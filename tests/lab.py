"""Sacrificial trees: a real overlay over a directory, and a manifest that misses nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.mount.layers import Layer, Layers

CASES = Path(__file__).parent / "cases" / "commit"

needs_overlay = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root on Linux, to mount an overlay over a sacrificial tree"
)

on_a_machine = [
    needs_overlay,
    pytest.mark.root,
    pytest.mark.overlay,
    pytest.mark.network,
    pytest.mark.skipif(not shutil.which("debootstrap"), reason="needs debootstrap, to build the machine once"),
]
"""Marks of the tests that work on a throw-away machine."""

real_installs = [*on_a_machine, pytest.mark.slow, pytest.mark.timeout(900)]
"""Marks of those that carry real installs out there."""


def apart(work: Callable[[], object], network: bool = False) -> int:
    """Do something in a child with mounts of its own, which no other process can keep busy or add to; its exit status.

    With `network` the devices are its own too, none but loopback.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            ns.unshare(ns.CLONE_NEWNS | (ns.CLONE_NEWNET if network else 0))
            ns.mount("none", "/", None, ns.MS_REC | ns.MS_PRIVATE)
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - a child must never come back into the test
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


Manifest = dict[str, tuple[object, ...]]


@contextmanager
def ground() -> Iterator[Path]:
    """An empty directory that is no place for temporary files: there, later changes never count as conflicts."""
    base = Path(tempfile.mkdtemp(prefix="lab-", dir="/dev/shm"))
    try:
        yield base
    finally:
        shutil.rmtree(base)


class Lab:
    """`real`: the tree that stands for the machine; `tx`: uppers; `changes`: the run's records."""

    def __init__(self, base: Path, options: str = "index=on") -> None:
        self.base, self.options = base, options
        self.real, self.tx, self.changes = base / "real", base / "tx", base / "changes"
        self.upper, self.work = self.tx / "upper", self.tx / "work"
        for folder in (self.real, self.tx, self.changes, self.upper, self.work):
            folder.mkdir(mode=0o755, parents=True)
        self.tx.chmod(0o700)
        self.layers = self._layers()

    def _layers(self) -> Layers:
        layer = Layer(str(self.real), str(self.upper), str(self.work), "ext4")
        return Layers(self.tx, time.time_ns(), "R", "identity", (layer,))

    def bash(self, script: str, cwd: Path | None = None) -> None:
        """Run a script on the real tree."""
        subprocess.run(["bash", "-c", script], cwd=cwd or self.real, check=True, stdout=subprocess.DEVNULL)

    def view(self, script: str, user: int = 0, above: Path | None = None) -> None:
        """Run a script in a copy-on-write view of the real tree; `above`: another tree laid over that one in the view."""
        time.sleep(0.03)
        self.layers = self._layers()
        lower = f"{above}:{self.real}" if above else str(self.real)
        folders = f"lowerdir={lower},upperdir={self.upper},workdir={self.work}"
        options = f"{self.options},redirect_dir=off,metacopy=off,volatile,{folders}"
        mount = f"mount -t overlay overlay -o '{options}' '{self.real}' && cd '{self.real}' && exec bash -c \"$1\""
        command = ["unshare", "-m", "--propagation", "private", "bash", "-c", mount, "view", script]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        self.layers.save(self.changes)

    def view_as_user(self, script: str, user: int = 1000) -> None:
        """Run a script in an ordinary user's view: a user namespace of their own, no rights outside."""
        time.sleep(0.03)
        self.layers = self._layers()
        folders = f"lowerdir={self.real},upperdir={self.upper},workdir={self.work}"
        overlay = f"mount -t overlay overlay -o 'userxattr,{folders}' '{self.real}' && cd '{self.real}'"
        mount = f'{overlay} && exec setpriv --inh-caps=-all --ambient-caps=-all bash -c "$1"'
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        apart = ["unshare", "--user", "--map-current-user", "--keep-caps", "--mount"]
        subprocess.run([*become, *apart, "bash", "-c", mount, "view", script], check=True, stdout=subprocess.DEVNULL)

    def as_user(self, work: Callable[[], object], user: int = 1000) -> int:
        """Do something in a child that is an ordinary user; its exit status."""
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                work()
                status = 0
            except BaseException:  # noqa: BLE001 - a child must never come back into the test
                traceback.print_exc()
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def manifest(top: Path, times: bool = True, skip: Collection[str] = ()) -> Manifest:
    """Everything lstat, readlink, listxattr and read can tell, by path; hard links as groups of names."""
    found: Manifest = {}
    links: dict[tuple[int, int], list[str]] = {}
    todo = [os.fsencode(top)]
    while todo:
        path = todo.pop()
        status = os.lstat(path)
        name = os.fsdecode(os.path.relpath(path, os.fsencode(top)))
        kind = stat.S_IFMT(status.st_mode)
        content: object = None
        if kind == stat.S_IFREG:
            with open(path, "rb") as file:
                content = hashlib.sha256(file.read()).hexdigest()
            links.setdefault((status.st_dev, status.st_ino), []).append(name)
        elif kind == stat.S_IFLNK:
            content = os.readlink(path)
        elif kind == stat.S_IFDIR:
            below = [os.path.join(path, entry) for entry in os.listdir(path)]
            todo += [entry for entry in below if os.path.relpath(os.fsdecode(entry), top) not in skip]
        names = os.listxattr(path, follow_symlinks=False)
        xattrs = tuple(sorted((n, os.getxattr(path, n, follow_symlinks=False)) for n in names))
        size = status.st_size if kind != stat.S_IFDIR else None
        when = status.st_mtime_ns if times else None
        found[name] = (oct(status.st_mode), status.st_uid, status.st_gid, size, when, status.st_rdev, content, xattrs)
    groups = {name: tuple(sorted(names)) for names in links.values() if len(names) > 1 for name in names}
    return {name: (*facts, groups.get(name)) for name, facts in found.items()}


def difference(one: Manifest, other: Manifest) -> dict[str, object]:
    """Where two manifests differ; empty when they are equal."""
    return {p: (one.get(p), other.get(p)) for p in sorted(one.keys() | other.keys()) if one.get(p) != other.get(p)}
