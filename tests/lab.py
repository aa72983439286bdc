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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skillrun.view.layers import Layer, Layers

CASES = Path(__file__).parent / "cases" / "commit"

needs_overlay = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root on Linux, to mount an overlay over a sacrificial tree"
)


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

    def view(self, script: str, user: int = 0) -> None:
        """Run a script in a copy-on-write view of the real tree."""
        time.sleep(0.03)
        self.layers = self._layers()
        folders = f"lowerdir={self.real},upperdir={self.upper},workdir={self.work}"
        options = f"{self.options},redirect_dir=off,metacopy=off,volatile,{folders}"
        mount = f"mount -t overlay overlay -o '{options}' '{self.real}' && cd '{self.real}' && exec bash -c \"$1\""
        command = ["unshare", "-m", "--propagation", "private", "bash", "-c", mount, "view", script]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        self.layers.save(self.changes)


def manifest(top: Path, times: bool = True) -> Manifest:
    """Everything lstat, readlink, listxattr and read can tell, by path; hard links as groups of names."""
    found: Manifest = {}
    links: dict[int, list[str]] = {}
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
            links.setdefault(status.st_ino, []).append(name)
        elif kind == stat.S_IFLNK:
            content = os.readlink(path)
        elif kind == stat.S_IFDIR:
            todo += [os.path.join(path, entry) for entry in os.listdir(path)]
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
