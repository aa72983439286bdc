"""The mount table: which file systems are really visible, and which of them holds a path.

Source of the format: proc_pid_mountinfo(5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

VIRTUAL = frozenset(
    ("proc", "sysfs", "cgroup", "cgroup2", "devpts", "devtmpfs", "securityfs", "debugfs", "tracefs", "pstore", "bpf", "mqueue",
     "hugetlbfs", "fusectl", "configfs", "efivarfs", "binfmt_misc", "autofs", "nsfs", "rpc_pipefs", "selinuxfs", "nfsd")
)  # fmt: skip
"""File systems that hold kernel state, not files an install could change."""

REMOTE = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "afs", "sshfs", "glusterfs", "lustre")
)  # fmt: skip
"""File systems of other machines: shown read-only, since nothing done there can be taken back by a rename."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """One mount. `options` are those of the mount itself (ro, nosuid, ...)."""

    target: str
    fstype: str
    options: frozenset[str]
    device: str
    source: str = ""

    @property
    def read_only(self) -> bool:
        """True when nothing can be written through this mount."""
        return "ro" in self.options

    @property
    def remote(self) -> bool:
        """True for network and FUSE file systems."""
        return self.fstype in REMOTE or self.fstype.partition(".")[0] in ("fuse", "fuseblk")


def read_mounts(text: str | None = None) -> tuple[Mounted, ...]:
    """The mounts that path lookup really reaches, parents before children; covered ones are left out."""
    if text is None:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    rows = {number: (parent, mounted) for number, parent, mounted in map(_parse, text.splitlines())}
    children: dict[str, list[str]] = {}
    for number, (parent, _) in rows.items():
        children.setdefault(parent if parent in rows else "", []).append(number)
    visible: list[Mounted] = []
    waiting = _uncovered(children.get("", []), rows)
    while waiting:
        number = waiting.pop()
        mounted = rows[number][1]
        while above := [child for child in children.get(number, []) if rows[child][1].target == mounted.target]:
            number, mounted = above[-1], rows[above[-1]][1]
        visible.append(mounted)
        waiting += _uncovered(children.get(number, []), rows)
    if not any(mounted.target == "/" for mounted in visible):
        visible.append(_root_of_a_chroot())
    return tuple(sorted(visible, key=lambda mounted: mounted.target.rstrip("/").count("/")))


def _uncovered(siblings: Sequence[str], rows: Mapping[str, tuple[str, Mounted]]) -> list[str]:
    """The children of one mount that no sibling closer to the root covers."""
    targets = {rows[number][1].target for number in siblings}
    return [
        number
        for number in siblings
        if not any(other != rows[number][1].target and below(rows[number][1].target, other) for other in targets)
    ]


def _parse(line: str) -> tuple[str, str, Mounted]:
    before, _, after = line.partition(" - ")
    fields, rest = before.split(), after.split()
    mounted = Mounted(_plain(fields[4]), rest[0], frozenset(fields[5].split(",")), fields[2], _plain(rest[1]))
    return fields[0], fields[1], mounted


def _root_of_a_chroot() -> Mounted:
    """In a chroot that is no mount point the table has no line for `/`."""
    status = os.stat("/")
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    return Mounted("/", "", frozenset({"rw"}), device)


def _plain(text: str) -> str:
    """Undo the octal escapes of blanks, tabs, newlines and backslashes."""
    if "\\" not in text:  # the rule, and a start of a view must not wait for a pattern to be compiled
        return text
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def below(path: str, folder: str) -> bool:
    """True when `path` is `folder` or lies in it. Both absolute and normal."""
    return path == folder or folder == "/" or path.startswith(folder + "/")


def mount_of(path: str, mounts: Sequence[Mounted]) -> Mounted:
    """The mount that holds an absolute path (which need not exist)."""
    return max((mounted for mounted in mounts if below(path, mounted.target)), key=lambda mounted: len(mounted.target))


def is_kernel_state(mounted: Mounted) -> bool:
    """True for what a view replaces as a whole: /proc, /sys, /dev and other kernel file systems."""
    return mounted.fstype in VIRTUAL or any(below(mounted.target, place) for place in ("/proc", "/sys", "/dev", "/run/netns"))
