"""A machine that a container engine has made: its namespaces are joined, and what the engine cannot furnish is added."""

from __future__ import annotations

import os
from pathlib import Path

from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.mount.machine import open_loopback
from skillrun.overlay.mount.mounts import Built
from skillrun.overlay.mount.spec import Spec

_ALL = ns.CLONE_NEWNS | ns.CLONE_NEWPID | ns.CLONE_NEWIPC | ns.CLONE_NEWUTS | ns.CLONE_NEWCGROUP


def join_container(spec: Spec) -> Built:
    """Enter it; the caller's next child is in its PID namespace too. Raises OSError."""
    machine = spec.machine
    assert machine is not None
    shown = {inside: _read(Path(outside)) for outside, inside in machine.copies}
    ns.join(machine.joins, ns.CLONE_NEWNET)
    open_loopback()  # while /proc/sys is still ours
    ns.join(machine.joins, _ALL)
    os.chdir("/")
    for inside, files in shown.items():
        os.makedirs(inside, exist_ok=True)
        ns.mount("tmpfs", inside, "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=755")
        for path, mode, data in files:
            _write(Path(inside) / path, mode, data)
        ns.set_attributes(inside, ns.MOUNT_ATTR_RDONLY)
    for path in machine.read_only:
        ns.bind(path, path, read_only=True)
    return Built("")


def _read(folder: Path) -> list[tuple[str, int, bytes]]:
    """Everything in a directory: path, mode, content; read before its file system is out of sight."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path.relative_to(folder)), path.stat().st_mode & 0o7777, path.read_bytes()) for path in found]


def _write(path: Path, mode: int, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
