"""The pieces both views are built from: overlays and where their upper directories live, devices, masks, /proc.

Runs in the private mount namespace of a view that is being built; nothing here is seen outside.
Overlay options and their limits: the kernel's `filesystems/overlayfs.rst`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.kernel.mountinfo import Mounted, mount_of
from skillrun.overlay.kernel.remove import remove_tree, unnoticed
from skillrun.overlay.mount import canaries
from skillrun.overlay.mount.layers import Layer
from skillrun.overlay.mount.spec import Spec

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx"))
CHANNEL = "/dev/skillrun"
"""Where the stand-ins inside a view leave their notes and find the programs they stand for."""

UPPERS = ("ext4", "xfs", "btrfs", "tmpfs")
"""File systems that can hold an overlay's changes."""

COMES_APART = "a file with several names (hard links) that is written to comes apart: the other names keep the former content"
"""True of overlays without an index, which only root over the disk can have."""

UNSHOWN_PROC = ("keys", "sched_debug", "latency_stats")
"""Of /proc, besides what only root may read: others may read it too, and it tells of the whole machine."""


@dataclass
class Built:
    """A view under construction: what was mounted, and what a person must be told about it."""

    root: str
    """Directory that becomes `/`; empty when the view was built in place."""
    layers: list[Layer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    """Directories created outside the run folder, to be removed with the view."""
    bait: list[str] = field(default_factory=list)
    stood_for: list[str] = field(default_factory=list)
    """Real directories that the stand-ins' hidden layer has too."""


def give_up(built: Built, stage: str) -> None:
    """Remove what an unfinished view made outside the run folder."""
    with contextlib.suppress(OSError):
        ns.unmount(stage)
    for folder in [Path(layer.upper).parent for layer in built.layers]:
        with contextlib.suppress(OSError):
            remove_tree(folder)
    for path in reversed(built.made):
        with contextlib.suppress(OSError):
            os.rmdir(path)


def escape(path: str) -> str:
    """A path as overlay's mount options want it. Raises ValueError for the one thing they cannot carry."""
    if "\n" in path:
        raise ValueError(f"overlay cannot be mounted over a path with a line break: {path!r}")
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def upper_home(spec: Spec, mounted: Mounted, mounts: Sequence[Mounted], number: int) -> Path:
    """A directory for the upper and work directories of one layer, on the very mount it will be committed to.

    rename(2) does not cross mounts, not even two mounts of one file system, so the mount decides.
    """
    target = mounted.target
    changes = Path(spec.changes)
    if not spec.elevated and mount_of(spec.changes, mounts).target == target:
        return changes / "layers" / str(number)
    if target == "/" and mount_of("/var/lib", mounts).target == "/" and os.geteuid() == 0:
        return Path("/var/lib/skillrun/views") / spec.id / str(number)
    # Where everybody may write (/tmp), whoever is there first would own a directory whose name they can guess, and move
    # what lies in it.
    shared = f"-{spec.id}" if os.stat(target).st_mode & stat.S_IWOTH else ""
    return Path(target) / f".skillrun-{os.geteuid()}{shared}" / spec.id / str(number)


def spare_homes(spec: Spec, mounted: Mounted, mounts: Sequence[Mounted], number: int) -> list[Path]:
    """Other places for a layer's directories, where its own file system cannot hold them (an overlay, as in containers).

    Disks before memory, then by room. Their names cannot be guessed, since some of these places are open to all.
    """
    found = []
    for other in mounts:
        fit = other.fstype in UPPERS and not other.read_only and os.path.isdir(other.target) and other.target != "/dev"
        if fit and other.target != mounted.target and os.access(other.target, os.W_OK):
            room = os.statvfs(other.target)
            found.append((other.fstype == "tmpfs", -room.f_bavail * room.f_frsize, other.target))
    return [Path(target) / f".skillrun-{os.geteuid()}-{spec.id}" / str(number) for _, _, target in sorted(found)]


def make_private(folder: Path) -> list[str]:
    """Create a directory and its missing parents with mode 0700; the ones created, deepest last."""
    missing: list[Path] = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        with unnoticed(path.parent):
            path.mkdir(mode=0o700)
    return [str(path) for path in reversed(missing)]


def add_overlay(
    built: Built, home: Path, mounted: Mounted, at: str, lowers: Sequence[str] = (), own_space: bool = False
) -> None:
    """Mount an overlay over a real tree at `at`, its changes going below `home`. Raises OSError.

    `lowers`: what is shown instead of the tree alone, topmost first. `own_space`: the overlay keeps its notes in
    `user.` attributes; without root rights over the disk it must.
    """
    upper, work = home / "up", home / "wk"
    made = make_private(home)
    try:
        for folder in (upper, work):
            folder.mkdir(mode=0o700)
        like(mounted.target, str(upper))
        own_space = own_space or not _may_be_trusted(upper)
        _mount_overlay(mounted, at, str(upper), str(work), lowers or (mounted.target,), own_space)
    except OSError:
        remove_tree(home)
        for path in made[-2::-1]:
            os.rmdir(path)
        raise
    if own_space and built.root and COMES_APART not in built.notes:
        built.notes.append(COMES_APART)
    built.made += made
    built.layers.append(Layer(mounted.target, str(upper), str(work), mounted.fstype))


def _may_be_trusted(folder: Path) -> bool:
    """May this process write `trusted.` attributes there? Root of a user namespace may not (xattr(7))."""
    name = "trusted.overlay.skillrun"
    try:
        os.setxattr(folder, name, b"")
        os.removexattr(folder, name)
    except PermissionError:
        return False
    except OSError:
        return True  # no such attributes there at all, which the mount will say better
    return True


def _mount_overlay(mounted: Mounted, at: str, upper: str, work: str, lowers: Sequence[str], own_space: bool) -> None:
    lower = ":".join(escape(path) for path in lowers)
    # volatile: no sync when the view ends, the commit does its own. redirect_dir and metacopy would leave
    # entries in the upper that mean nothing without this mount.
    options = f"volatile,redirect_dir=off,metacopy=off,lowerdir={lower},upperdir={escape(upper)},workdir={escape(work)}"
    if own_space:
        options = "userxattr," + options.replace("redirect_dir=off,metacopy=off,", "")
    flags = sum(
        flag
        for name, flag in (("nosuid", ns.MS_NOSUID), ("nodev", ns.MS_NODEV), ("noexec", ns.MS_NOEXEC))
        if name in mounted.options
    )
    # index=on keeps hard links together when one of their names is written to. Without rights of root's it
    # cannot be had, and a mount that was refused leaves a work directory that would be refused again.
    ns.mount("overlay", at, "overlay", flags, options + (",index=off" if own_space else ",index=on"))


def like(model: str, path: str) -> None:
    """Give a directory the owner, mode and extended attributes of another one, as far as this process may."""
    status = os.stat(model)
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        try:
            os.chown(path, status.st_uid, status.st_gid)
        except OSError:
            if os.geteuid() == 0:
                raise
    for name in os.listxattr(model):
        if not name.startswith(("trusted.overlay.", "user.overlay.")):
            os.setxattr(path, name, os.getxattr(model, name))
    os.chmod(path, stat.S_IMODE(status.st_mode))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def make_devices(at: str, group: int | None, real: Sequence[str] | None = None) -> None:
    """A small /dev of its own: harmless nodes, a private devpts and /dev/shm; with stand-ins, their channel.

    `group`: owner group of terminals, None where only one group id exists. `real`: programs that stand-ins replace,
    None where there are no stand-ins.
    """
    ns.mount("tmpfs", at, "tmpfs", ns.MS_NOSUID, "mode=755,size=1m,nr_inodes=8192")
    for name in DEVICES:
        _touch(f"{at}/{name}")
        # Read-only, which lets a device be written to all the same: whoever is root inside owns the machine's own nodes.
        ns.bind(f"/dev/{name}", f"{at}/{name}", read_only=True)
    for name, destination in LINKS:
        os.symlink(destination, f"{at}/{name}")
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(f"{at}/{name}")
    options = "newinstance,ptmxmode=0666,mode=620" + ("" if group is None else f",gid={group}")
    ns.mount("devpts", f"{at}/pts", "devpts", ns.MS_NOSUID | ns.MS_NOEXEC, options)
    ns.mount("tmpfs", f"{at}/shm", "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=1777")
    if real is None:
        return
    channel = at + CHANNEL.removeprefix("/dev")
    os.makedirs(channel + "/real")
    os.mkdir(channel + "/asked")
    os.chmod(channel + "/asked", 0o1733)
    for program in real:
        place = f"{channel}/real/{os.path.basename(program)}"
        _touch(place)
        ns.bind(program, place, read_only=True)


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def mask(at: str, trees: Sequence[str], files: Sequence[str], empty: str, bait: bool = False) -> list[str]:
    """Show trees as empty directories and files as `empty`, read-only, keeping their owners; missing ones are skipped.

    A mount instead of a missing rule, since a rule can be forgotten and a mount cannot be looked through.
    With `bait`, directories of credentials are not empty; the paths (as seen inside) of what lies in them.
    """
    planted: list[str] = []
    for tree in trees:
        if _is_directory(at + tree):
            status = os.stat(at + tree)
            ns.mount("tmpfs", at + tree, "tmpfs", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC, "size=64k,mode=700")
            with contextlib.suppress(OSError):  # an owner without a number in this user namespace: it stays ours
                os.chown(at + tree, status.st_uid, status.st_gid)
            if bait:
                planted += canaries.plant(at + tree, tree, (status.st_uid, status.st_gid))
            ns.set_attributes(at + tree, ns.MOUNT_ATTR_RDONLY)
    for path in files:
        if os.path.isfile(at + path) and not os.path.islink(at + path):
            ns.bind(empty, at + path, read_only=True)
    return [path.removeprefix(at) for path in planted]


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def mount_proc(at: str) -> str:
    """The /proc of the PID namespace this process is in; where that may not be had, the outside's, and why.

    The kernel gives a new /proc only to who sees all of the old one (mount_too_revealing() in fs/namespace.c), and
    containers cover parts of theirs.
    """
    try:
        ns.mount("proc", at, "proc", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
    except PermissionError:
        if at != "/proc":
            ns.mount("/proc", at, None, ns.MS_BIND | ns.MS_REC)
        return "/proc shows the processes of the outside, under their numbers there (the container covers parts of its own)"
    return ""


def guard_proc(at: str) -> None:
    """Make every knob of the kernel in /proc read-only, and hide what only root may read: its memory, its log.

    Needed because root inside has the real root's number, and files in /proc ask for no more than that.
    """
    with os.scandir(at) as entries:
        for entry in entries:
            if entry.name.isdigit() or entry.is_symlink():
                continue
            if not entry.is_dir() and (entry.name in UNSHOWN_PROC or not entry.stat().st_mode & 0o044):
                ns.bind("/dev/null", entry.path, read_only=True)
            elif entry.is_dir() or entry.stat().st_mode & 0o222:
                ns.bind(entry.path, entry.path, read_only=True)


def show_sys(at: str) -> None:
    """The machine's /sys and its control groups, nothing of it writable.

    What else is mounted below it (debugfs, tracefs, efivarfs, pstore ...) shows root the memory and the secrets of the
    machine, and root inside has root's number. Where the kernel gives /sys only whole, all of it is there.
    """
    if not os.path.ismount("/sys"):
        return
    groups = "/sys/fs/cgroup"
    try:
        ns.mount("/sys", at, None, ns.MS_BIND)
        if os.path.ismount(groups):
            ns.mount(groups, at + groups.removeprefix("/sys"), None, ns.MS_BIND | ns.MS_REC)
    except OSError:
        ns.mount("/sys", at, None, ns.MS_BIND | ns.MS_REC)
    locked = ns.MOUNT_ATTR_RDONLY | ns.MOUNT_ATTR_NOSUID | ns.MOUNT_ATTR_NODEV | ns.MOUNT_ATTR_NOEXEC
    ns.set_attributes(at, locked, recursive=True)
