"""Removing trees of skillrun's own, whatever their modes, without leaving traces beside them."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def unnoticed(folder: Path) -> Iterator[None]:
    """Keep a directory's times while a name of skillrun's own comes or goes in it, where this process may."""
    status = folder.stat()
    yield
    with suppress(OSError):
        os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns))


def remove_tree(top: Path) -> None:
    """Remove a tree, its unwritable directories too (overlay's own work directory has mode 000). Raises OSError."""
    try:
        status = os.lstat(top)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(top)
        return
    try:
        _remove_folders(top)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        shutil.rmtree(top)  # slower, by descriptors, which a path longer than PATH_MAX needs


def _remove_folders(top: Path) -> None:
    pending, seen = [os.fspath(top)], []
    while pending:
        path = pending.pop()
        seen.append(path)
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            os.chmod(path, 0o700)
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    os.unlink(entry.path)
    for path in reversed(seen):
        os.rmdir(path)
