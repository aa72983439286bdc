"""Locks of package managers, held while their databases change under them."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class Locked(Exception):
    """A package manager is at work. `path` is its lock."""

    def __init__(self, path: str, manager: str) -> None:
        super().__init__(f"{manager} is at work on this machine (it holds {path})")
        self.path, self.manager = path, manager


@dataclass(frozen=True, slots=True)
class Guard:
    """Changes below `tree` are made with `lock` held, in the way the manager itself does it."""

    manager: str
    tree: str
    lock: str
    how: str = "record"
    """record (fcntl), whole (flock), or exists (the file's presence is the lock)"""


GUARDS = (
    Guard("dpkg", "/var/lib/dpkg", "/var/lib/dpkg/lock-frontend"),
    Guard("dpkg", "/var/lib/dpkg", "/var/lib/dpkg/lock"),
    Guard("apt", "/var/lib/apt/lists", "/var/lib/apt/lists/lock"),
    Guard("apt", "/var/cache/apt", "/var/cache/apt/archives/lock"),
    Guard("rpm", "/var/lib/rpm", "/var/lib/rpm/.rpm.lock"),
    Guard("rpm", "/usr/lib/sysimage/rpm", "/usr/lib/sysimage/rpm/.rpm.lock"),
    Guard("apk", "/lib/apk/db", "/lib/apk/db/lock", "whole"),
    Guard("pacman", "/var/lib/pacman", "/var/lib/pacman/db.lck", "exists"),
)
"""dpkg(1), apt-get(8), rpm's lib/rpmlock.c, apk's database.c, pacman(8)."""


@contextmanager
def guarded(paths: Iterable[str], wait_s: float = 10.0, guards: Iterable[Guard] = GUARDS) -> Iterator[tuple[str, ...]]:
    """Hold the locks that belong to these absolute paths; yields them. Raises Locked after `wait_s` seconds.

    A lock that does not exist, or may not be opened by this user, guards nothing and is passed over.
    """
    guards = tuple(guards)
    trees = tuple(guard.tree for guard in guards)
    changed = [path for path in paths if path.startswith(trees)]
    needed = [g for g in guards if any(path == g.tree or path.startswith(g.tree + "/") for path in changed)]
    held: list[int] = []
    made: list[str] = []
    end = time.monotonic() + wait_s
    try:
        for guard in needed:
            _take(guard, held, made, end)
        yield tuple(guard.lock for guard in needed)
    finally:
        for descriptor in held:
            os.close(descriptor)
        for path in made:
            os.unlink(path)


def _take(guard: Guard, held: list[int], made: list[str], end: float) -> None:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if guard.how == "exists" else 0)
    while True:
        try:
            descriptor = os.open(guard.lock, flags, 0o600)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.ELOOP, errno.EROFS):
                return
            raise
        else:
            if guard.how == "exists":
                made.append(guard.lock)
            if _lock(descriptor, guard.how):
                held.append(descriptor)
                return
            os.close(descriptor)
        if time.monotonic() > end:
            raise Locked(guard.lock, guard.manager)
        time.sleep(0.1)


def _lock(descriptor: int, how: str) -> bool:
    """Without waiting. The open-file kind of record lock: closing another descriptor of the file must not free it."""
    try:
        if how == "whole":
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif how == "record":
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except (BlockingIOError, PermissionError):
        return False
    return True
