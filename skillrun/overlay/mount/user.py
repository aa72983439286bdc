"""The user view: the home directory and the temporary directories under overlays, everything else read-only.

Built by an ordinary user without any rights, in a user namespace that knows only the user's own numbers.
A file there that belongs to somebody else cannot be changed inside (EOVERFLOW); `foreign_owned` finds them.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.kernel.mountinfo import Mounted, below, mount_of, read_mounts
from skillrun.overlay.mount.mounts import Built, add_overlay, give_up, make_devices, make_private, mask, upper_home
from skillrun.overlay.mount.spec import Spec

TEMPORARY = ("/tmp", "/var/tmp")
KEPT_OF_RUN = ("systemd/resolve", "NetworkManager/resolv.conf", "resolvconf", "utmp")
"""What programs read below /run; all else there is sockets and state of the outside."""


def covered_places(home: str) -> tuple[str, ...]:
    """The directories a user view covers: home first, none inside or around another."""
    places: list[str] = []
    for path in (home, *TEMPORARY):
        real = os.path.realpath(path)
        known = any(below(real, other) or below(other, real) for other in places)
        if os.path.isdir(real) and os.access(real, os.W_OK) and not known:
            places.append(real)
    return tuple(places)


def build_user_view(spec: Spec) -> Built:
    """Build the view in place, in the calling process's (private) namespaces. Raises OSError when home cannot be covered."""
    ns.mount("none", "/", None, ns.MS_REC | ns.MS_PRIVATE)
    stage = f"{spec.changes}/stage"
    built = Built("")
    try:
        _build(spec, built, stage)
    except (OSError, ValueError):
        give_up(built, stage)
        raise
    return built


def _build(spec: Spec, built: Built, stage: str) -> None:
    mounts = read_mounts()
    built.made += make_private(Path(stage))
    ns.mount("tmpfs", stage, "tmpfs", 0, "mode=700")
    for name in ("dev", "run"):
        os.mkdir(f"{stage}/{name}", 0o755)
    empty = f"{stage}/empty"
    Path(empty).touch(mode=0o600)
    make_devices(f"{stage}/dev", None)
    _fill_run(f"{stage}/run")
    # All is made ready on the stage and moved into place afterwards, since the first overlay
    # that is in place hides the directories the next one would be made from.
    ready = [(f"{stage}/dev", "/dev"), (f"{stage}/run", "/run")]
    places = covered_places(spec.account.home)
    ready += [(_cover(spec, built, place, mounts, f"{stage}/{number}"), place) for number, place in enumerate(places)]
    _lock_the_rest(mounts, places, built)
    kept = os.open(empty, os.O_PATH | os.O_CLOEXEC)
    handles = [(os.open(source, os.O_PATH | os.O_CLOEXEC), target) for source, target in ready]
    for handle, target in handles:
        ns.mount(f"/proc/self/fd/{handle}", target, None, ns.MS_BIND | ns.MS_REC)
        os.close(handle)
    own = {spec.changes, *(str(Path(layer.upper).parents[2]) for layer in built.layers)}
    built.bait += mask("", [*sorted(own), *spec.hide], spec.hide_files, f"/proc/self/fd/{kept}", spec.canaries)
    os.close(kept)


def _cover(spec: Spec, built: Built, place: str, mounts: tuple[Mounted, ...], at: str) -> str:
    """Make the overlay of one place at `at`. A temporary directory that cannot be covered starts empty."""
    os.mkdir(at)
    mounted = mount_of(place, mounts)
    part = Mounted(place, mounted.fstype, mounted.options, mounted.device)
    try:
        if mount_of(spec.changes, mounts).target == mounted.target:
            home = Path(spec.changes) / "layers" / str(len(built.layers))
        else:
            home = upper_home(spec, part, mounts, len(built.layers))
        add_overlay(built, home, part, at, own_space=True)
    except (OSError, ValueError) as error:
        if place not in TEMPORARY:
            raise
        built.notes.append(f"{place} starts empty inside ({error})")
        ns.mount("tmpfs", at, "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=1777")
    return at


def _lock_the_rest(mounts: tuple[Mounted, ...], places: tuple[str, ...], built: Built) -> None:
    """Make every other mount read-only: what cannot be shown as a change cannot happen."""
    for mounted in mounts:
        if any(below(mounted.target, place) for place in ("/dev", "/proc", "/run", *places)):
            continue
        try:
            ns.set_attributes(mounted.target, ns.MOUNT_ATTR_RDONLY)
        except OSError as error:
            built.notes.append(f"{mounted.target} stays writable inside ({error})")


def _fill_run(at: str) -> None:
    ns.mount("tmpfs", at, "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=755")
    for name in KEPT_OF_RUN:
        source, target = Path("/run") / name, Path(at) / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=_only_plain_files)
            elif source.is_file():
                shutil.copyfile(source, target)
        except (OSError, shutil.Error):
            continue  # unreadable for this user, so no program of theirs reads it either
    runtime = Path(at) / "user" / str(os.getuid())
    runtime.mkdir(parents=True)
    runtime.chmod(0o700)
    (Path(at) / "lock").mkdir(mode=0o1777)


def _only_plain_files(folder: str, names: list[str]) -> list[str]:
    kept = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)
    modes = {name: os.lstat(os.path.join(folder, name)).st_mode for name in names}
    return [name for name, mode in modes.items() if not any(kind(mode) for kind in kept)]


def foreign_owned(place: str, uid: int, gid: int, most: int = 20_000) -> tuple[str, ...]:
    """Paths below `place` whose owner or group is not the user's own; looks at `most` entries, then stops."""
    found: list[str] = []
    waiting, seen = [place], 0
    while waiting and seen < most:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            seen += 1
            status = entry.stat(follow_symlinks=False)
            if (status.st_uid, status.st_gid) != (uid, gid):
                found.append(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
    return tuple(found)
