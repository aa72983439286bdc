"""Where an upper cannot be exchanged with the real tree by renaming: copy it beside the tree first, then exchange that.

Needed when the upper lies on another file system or mount than the tree it covers (a container whose
root is an overlay itself, an upper in memory). The copies are the store from then on.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from skillrun.overlay.diff.operations import Kind, Op, Store
from skillrun.overlay.kernel.dirfd import Tree
from skillrun.overlay.kernel.inode import Attributes, Inode, is_whiteout, read_xattrs
from skillrun.overlay.kernel.mountinfo import mount_of, read_mounts
from skillrun.overlay.kernel.walk import walk_tree
from skillrun.overlay.mount import kept_passwords
from skillrun.overlay.mount.layers import Layer
from skillrun.overlay.transaction.exchange import copy_bytes
from skillrun.overlay.transaction.wal import Plan

_PARTED = ".skillrun-parted-"


def can_rename(layer: Layer) -> bool:
    """Can a name move from the upper into the real tree? rename(2) wants both on one mount, not just one file system."""
    return _mount_of(layer.upper) == _mount_of(layer.target)


def _mount_of(path: str) -> str:
    """The mount a directory lies on (proc_pid_fdinfo(5))."""
    with Tree(path) as tree, open(f"/proc/self/fdinfo/{tree.fd}", encoding="ascii") as file:
        return next(line.split()[1] for line in file if line.startswith("mnt_id:"))


def stage(layer: Layer, number: int, name: str, ops: Sequence[Op]) -> tuple[Store, list[Op]]:
    """Copy what the operations of a layer need to a store on the tree's mount; the store and the operations on the copies.

    `name` is the run's own. Raises OSError (no room: the store is removed by whoever drops the run).
    """
    place = store_place(layer.target)
    if os.path.lexists(place) and (os.path.islink(place) or os.lstat(place).st_uid != os.geteuid()):
        raise PermissionError(errno.EPERM, "it was there already and belongs to somebody else", str(place))
    folder = place / f"{name}-{number}"
    if folder.exists():
        shutil.rmtree(folder)  # of a commit of this very run that was cut before it had a plan
    folder.mkdir(mode=0o700, parents=True)
    copier = _Copier(layer.upper, str(folder))
    changed: list[Op] = []
    for op in ops:
        if op.layer != number:
            changed.append(op)
            continue
        if op.kind is not Kind.ATTRIBUTES:
            copier.parents(op.slot)
        if op.new is not None and op.kind in (Kind.SWAP, Kind.REWRITE):
            op = op._replace(new=copier.copy(op.slot))
        changed += _dismantled(op, layer) if layer.fstype == "overlay" else [op]
    status = os.lstat(layer.target)
    here = Store(layer.target, status.st_dev, status.st_ino, str(folder), os.statvfs(layer.target).f_fsid)
    return here, changed


def store_place(target: str) -> Path:
    """Where copies for a tree are kept: on its mount, in a directory of skillrun's own."""
    top = mount_of(target, read_mounts()).target
    return Path(top if os.access(top, os.W_OK) else target) / f".skillrun-{os.geteuid()}"


def with_hashes(plan: Plan) -> Plan:
    """Put password hashes back where a view showed marks; the plan with what the store holds now. Raises OSError."""
    ops = list(plan.ops)
    for number, op in enumerate(ops):
        store = plan.stores[op.layer]
        outside = kept_passwords.FILES.get(f"{store.target.rstrip('/')}/{op.path}", ())
        if not outside or op.kind not in (Kind.SWAP, Kind.REWRITE) or op.new is None or not stat.S_ISREG(op.new.mode):
            continue
        with Tree(store.store) as tree:
            here = tree.proc_path(op.slot)
            data, status = Path(here).read_bytes(), os.stat(here)
            real = (Path(path) for path in reversed(outside) if os.path.isfile(path) and not os.path.islink(path))
            if (whole := kept_passwords.put_back(data, *(path.read_bytes() for path in real))) != data:
                Path(here).write_bytes(whole)
                os.utime(here, ns=(status.st_atime_ns, status.st_mtime_ns))
                ops[number] = op._replace(new=Inode.of(os.stat(here)))
    return replace(plan, ops=tuple(ops))


def _dismantled(op: Op, layer: Layer) -> list[Op]:
    """A directory that leaves, entry by entry: an overlay does not rename one that its lower layers know (EXDEV)."""
    if op.kind is not Kind.SWAP or op.old is None or not op.old.is_directory:
        return [op]
    files: list[Op] = []
    folders = [op]
    with Tree(layer.target) as real:
        for path, inode, _ in walk_tree(real, op.path):
            one = Op(op.layer, path, Kind.SWAP, inode, None, f"{_PARTED}{inode.ino:x}-{len(files)}", light=op.light)
            if inode.is_directory:
                folders.append(one)
            else:
                files.append(one)
        parted = [one._replace(kind=Kind.FOLDER, before=_attributes_of(real, one.path)) for one in reversed(folders)]
    return [*files, *parted]


def _attributes_of(tree: Tree, path: str) -> Attributes:
    return Attributes.of(os.lstat(tree.proc_path(path)), read_xattrs(tree.proc_path(path)))


class _Copier:
    """Copies trees whole: owners, modes, times, attributes, holes, and links among all that is copied."""

    def __init__(self, source: str, goal: str) -> None:
        self.source, self.goal = source, goal
        self._seen: dict[int, str] = {}

    def parents(self, path: str) -> None:
        """The directories a slot needs; they hold names only and are never committed."""
        os.makedirs(os.path.dirname(f"{self.goal}/{path}"), mode=0o700, exist_ok=True)

    def copy(self, path: str) -> Inode:
        """Copy one slot with all below it."""
        self.parents(path)
        self._one(path)
        folders = [path] if stat.S_ISDIR(os.lstat(f"{self.source}/{path}").st_mode) else []
        for folder in folders:
            for name in sorted(os.listdir(f"{self.source}/{folder}")):
                below = f"{folder}/{name}"
                here = f"{self.source}/{below}"
                status = os.lstat(here)
                if is_whiteout(here, status):
                    continue
                self._one(below)
                if stat.S_ISDIR(status.st_mode):
                    folders.append(below)
        for folder in reversed(folders):
            self._attributes(folder)
        return Inode.of(os.lstat(f"{self.goal}/{path}"))

    def _one(self, path: str) -> None:
        source, goal = f"{self.source}/{path}", f"{self.goal}/{path}"
        status = os.lstat(source)
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(goal, 0o700)
            return
        known = self._seen.get(status.st_ino)
        if known is not None:
            os.link(known, goal, follow_symlinks=False)
            return
        if stat.S_ISREG(status.st_mode):
            copy_bytes(os.open(source, os.O_RDONLY | os.O_CLOEXEC), os.open(goal, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(source), goal)
        else:
            os.mknod(goal, status.st_mode, status.st_rdev)
        if status.st_nlink > 1:
            self._seen[status.st_ino] = goal
        self._attributes(path)

    def _attributes(self, path: str) -> None:
        source, goal = f"{self.source}/{path}", f"{self.goal}/{path}"
        status = os.lstat(source)
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(goal, status.st_uid, status.st_gid, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(goal, stat.S_IMODE(status.st_mode))
        for name, value in read_xattrs(source).items():
            os.setxattr(goal, name, value, follow_symlinks=False)
        os.utime(goal, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
