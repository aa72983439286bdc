"""Where runs are kept: the state directory of this user, or memory where the disk cannot hold them."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

ROOM = 65_536
"""Bytes that a place must be able to take before a run is kept there."""


class JournalError(Exception):
    """A journal that cannot be read or written: which file, which line, why."""


def state_directory() -> Path:
    """Where runs, plans and the lock live: the platform's state directory for this user.

    An account that cannot write there (no home, or root's leftovers in it) keeps them in a directory of its own in
    /var/tmp, which survives a restart. Raises JournalError when somebody else's directory has that name.
    """
    usual = _usual()
    nearest = next(path for path in (usual, *usual.parents) if path.exists())
    if os.access(nearest, os.W_OK) or not hasattr(os, "getuid"):
        return usual
    own = Path("/var/tmp") / f"skillrun-{os.getuid()}"
    try:
        own.mkdir(mode=0o700, exist_ok=True)
        if own.is_symlink() or own.stat().st_uid != os.getuid():
            raise JournalError(f"cannot write {nearest}, and {own} belongs to somebody else")
    except OSError as error:
        raise JournalError(f"cannot write {nearest}, nor make {own}: {error.strerror}") from error
    return own


def memory_directory(make: bool = True) -> Path | None:
    """What stands in for this user's state directory on a file system in memory; None where there is none to be had.

    It is named for that directory: another state directory has other runs, and none of them is `last` here. `make` False:
    only one that is there.
    """
    if not hasattr(os, "getuid"):
        return None
    of = hashlib.sha256(os.fsencode(state_directory())).hexdigest()[:12]
    for parent in (Path("/dev/shm"), Path(f"/run/user/{os.getuid()}")):
        own = parent / f"skillrun-{os.getuid()}-{of}"
        try:
            if make:
                own.mkdir(mode=0o700, exist_ok=True)
            if not own.is_symlink() and own.stat().st_uid == os.getuid():
                return own
        except OSError:
            continue
    return None


def _usual() -> Path:
    import platformdirs

    return Path(platformdirs.user_state_dir("skillrun"))


def why_there(path: Path) -> str:
    """Why a run is kept at a path rather than in this user's own state directory; empty where it is there."""
    memory = memory_directory(make=False)
    if memory is not None and memory in path.parents:
        return f"{what_is_short(state_directory())}: this run is kept in memory ({path}), until the machine restarts"
    other = state_directory()
    return f"{what_is_short(_usual())}: this run is kept in {path}" if other in path.parents and other != _usual() else ""


def check_room(folder: Path) -> None:
    """Raises OSError when a file of ROOM bytes cannot be written there; nothing of it stays."""
    file = folder / ".room"
    try:
        with open(file, "wb", buffering=0) as opened:
            opened.write(b"\0" * ROOM)
            os.fdatasync(opened.fileno())
    finally:
        file.unlink(missing_ok=True)


def what_is_short(path: Path) -> str:
    """Why nothing can be written at a path, in words: read-only, no inodes, or no space."""
    nearest = next(place for place in (path, *path.parents) if place.exists())
    told = os.statvfs(nearest)
    if told.f_flag & os.ST_RDONLY:
        return f"{nearest} is on a file system that is mounted read-only"
    if told.f_files and not told.f_favail:
        free = told.f_bavail * told.f_frsize >> 20
        return f"the file system of {nearest} has no inodes left, so that no file can be made there, though {free} MB are free"
    if told.f_bavail * told.f_frsize < 2 * ROOM:
        return f"the file system of {nearest} is full"
    return f"{nearest} takes no file"


def make_private(folder: Path) -> None:
    """Make a directory and those missing above it, closed to others whatever the umask (as the XDG specification has it).

    Of those that are there, skillrun's own that somebody else could write to are closed as well. Raises OSError.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
    chain = (folder, *folder.parents)
    own = next((count for count, path in enumerate(chain, 1) if path.name.startswith("skillrun")), 0)
    for path in chain[:own]:
        status = path.stat()
        if status.st_mode & 0o022 and hasattr(os, "getuid") and status.st_uid == os.getuid():
            path.chmod(stat.S_IMODE(status.st_mode) & ~0o077)


def lockable_directory() -> Path:
    """The state directory, or the one in memory where no lock can be made on disk. Raises JournalError."""
    root = state_directory()
    try:
        make_private(root)
        (root / "lock").touch(mode=0o600)
        return root
    except OSError as error:
        own = memory_directory()
        if own is None:
            raise JournalError(f"cannot write in {root}: {error.strerror}: {what_is_short(root)}") from error
        return own
