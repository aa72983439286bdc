"""Temporary folders that know whether their owner still lives, so that what a killed process left is removed later."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "skillrun-machine-"
OWNER = "owner"
_MAKING_S = 3600
"""A folder without an owner is being made, unless it is older than this."""


class Folder:
    """A folder of this process in a roomy place; gone when it is closed.

    Its file `owner` names the process and is locked by it. The kernel lets go of the lock when the process ends, also
    by SIGKILL, which no number of a process can say as surely: numbers are used again, and differ between namespaces.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=roomy()))
        self._lock = os.open(self.path / OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.write(self._lock, f"{os.getpid()}\n".encode())

    def close(self) -> None:
        """Remove it. Safe to call twice."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def roomy() -> Path:
    """A directory on a real disk: overlay cannot use a temporary file system that is an overlay itself."""
    return Path("/var/tmp") if os.path.isdir("/var/tmp") else Path(tempfile.gettempdir())


def sweep() -> list[Path]:
    """Remove the folders of processes that are gone, and say which; another user's are left alone."""
    gone = []
    for path in sorted(roomy().glob(f"{PREFIX}*")):
        with contextlib.suppress(OSError):
            info = path.lstat()
            if path.is_dir() and not path.is_symlink() and info.st_uid == os.getuid() and is_orphaned(path):
                shutil.rmtree(path, ignore_errors=True)
                gone.append(path)
    return gone


def remove_own() -> None:
    """Remove this process's folders, whoever uses them: for its last moment."""
    for path in roomy().glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if (path / OWNER).read_text() == f"{os.getpid()}\n":
                shutil.rmtree(path, ignore_errors=True)


def is_orphaned(path: Path) -> bool:
    """Is its owner gone? Raises OSError when it cannot be known."""
    try:
        owner = os.open(path / OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - path.stat().st_mtime > _MAKING_S
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(owner)
    return True
