"""Where the overlays of one mount are laid, and covering a mount in parts where the kernel does not give it whole.

In a user namespace the mounts that were there before it are locked together (mount_namespaces(7)): no overlay can be
laid over a directory with such a mount below it, since it would show what that mount covers. Every directory without
one can still be covered. A directory on the way to a mount is stood for by a copy of its own entries, so that what
appears in it or leaves it is a change like any other.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.kernel.mountinfo import Mounted, below, mount_of
from skillrun.overlay.mount.mounts import Built, add_overlay, like, spare_homes, upper_home
from skillrun.overlay.mount.spec import Spec
from skillrun.text.escape import size

COPIED_BYTES = 1 << 20
"""A larger file beside a mount is shown read-only instead of being copied for the view."""


@dataclass
class Place:
    """One real mount that is being covered."""

    spec: Spec
    built: Built
    mounted: Mounted
    mounts: Sequence[Mounted]
    note: str = ""
    """What a person must know of where the changes are kept."""
    ways: tuple[str, ...] = field(init=False)
    """The mount's directories that have another mount below them, parents first."""

    def __post_init__(self) -> None:
        top, found = self.mounted.target, set()
        for other in self.mounts:
            folder = os.path.dirname(other.target)
            if other.target != top and mount_of(folder, self.mounts) is self.mounted:
                while folder not in found and below(folder, top):
                    found.add(folder)
                    folder = os.path.dirname(folder)
        self.ways = tuple(sorted(found, key=lambda path: path.rstrip("/").count("/")))

    def lay(self, folder: str, lowers: Sequence[str] = ()) -> None:
        """An overlay over one directory of the mount; its changes on that mount, else wherever they can be kept.

        Raises OSError or ValueError when it cannot be mounted.
        """
        part = Mounted(folder, self.mounted.fstype, self.mounted.options, self.mounted.device)
        at = self.built.root + (folder if folder != "/" else "")
        number = len(self.built.layers)
        own = upper_home(self.spec, self.mounted, self.mounts, number)
        if not self.note:
            try:
                add_overlay(self.built, own, part, at, lowers)
                return
            except (OSError, ValueError) as error:
                refused = error
        for home in spare_homes(self.spec, self.mounted, self.mounts, number):
            try:
                add_overlay(self.built, home, part, at, lowers)
            except (OSError, ValueError) as error:
                refused = error
                continue
            self.note = self.note or self._note(home)
            return
        raise refused

    def _note(self, home: Path) -> str:
        holder = mount_of(str(home), self.mounts)
        room = os.statvfs(home)
        kind = "memory, " if holder.fstype == "tmpfs" else ""
        where = f"{holder.target} ({kind}{size(room.f_bavail * room.f_frsize)} free)"
        mounted = self.mounted
        return f"changes of {mounted.target} are kept in {where}, since {mounted.fstype} cannot; a commit copies them"


def lay_in_parts(place: Place, shim: str) -> None:
    """Cover a mount directory by directory; what goes away meanwhile is left out. Raises OSError, ValueError."""
    for number, folder in enumerate(place.ways):
        stands_for = f"{os.path.dirname(place.built.root)}/parts{len(place.built.layers)}-{number}"
        os.mkdir(stands_for, 0o755)
        large = _stand_in(folder, stands_for)
        place.lay(folder, [stands_for])
        base = folder.rstrip("/")
        for name in large:
            ns.bind(f"{base}/{name}", f"{place.built.root}{base}/{name}", read_only=True)
        taken = {*place.ways, *(mounted.target for mounted in place.mounts)}
        for entry in sorted(os.scandir(folder), key=lambda found: found.name):
            path = f"{base}/{entry.name}"
            if entry.is_dir(follow_symlinks=False) and path not in taken:
                ours = shim + path
                with _there(path):
                    place.lay(path, [ours, path] if shim and os.path.isdir(ours) else [])


@contextmanager
def _there(path: str) -> Iterator[None]:
    """What fails for a path that is not there any more has not failed: other programs' temporary files come and go."""
    try:
        yield
    except (OSError, ValueError):
        if os.path.lexists(path):
            raise


def _stand_in(folder: str, goal: str) -> list[str]:
    """Make `goal` look like `folder`, its directories empty; the names of files too large to copy."""
    large = []
    for entry in os.scandir(folder):
        with _there(entry.path):
            status = entry.stat(follow_symlinks=False)
            _copy(entry.path, status, f"{goal}/{entry.name}")
            if _is_large(status):
                large.append(entry.name)
    like(folder, goal)
    return large


def _is_large(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_size > COPIED_BYTES


def _copy(path: str, status: os.stat_result, copy: str) -> None:
    """One entry of a directory that is stood for; a directory and a large file without what they hold."""
    if stat.S_ISLNK(status.st_mode):
        shutil.copy2(path, copy, follow_symlinks=False)
        os.chown(copy, status.st_uid, status.st_gid, follow_symlinks=False)
    elif stat.S_ISDIR(status.st_mode):
        os.mkdir(copy)
        like(path, copy)
    elif stat.S_ISREG(status.st_mode):
        if _is_large(status):
            Path(copy).touch()
        else:
            shutil.copyfile(path, copy)
        like(path, copy)
