"""What is in a directory, and below it, without following links."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from skillrun.overlay.kernel.dirfd import Tree
from skillrun.overlay.kernel.inode import Inode, is_whiteout, may_be_whiteout


def walk_tree(tree: Tree, top: str) -> Iterator[tuple[str, Inode, bool]]:
    """Everything below a directory, parents first: path, inode, is it a whiteout. Links are not followed."""
    pending = [top]
    while pending:
        path = pending.pop()
        found: list[str] = []
        for name, status in listing(tree, path):
            below = f"{path}/{name}"
            hidden = may_be_whiteout(status) and is_whiteout(tree.proc_path(below), status)
            yield below, Inode.of(status), hidden
            if stat.S_ISDIR(status.st_mode):
                found.append(below)
        pending += reversed(found)


def listing(tree: Tree, path: str) -> list[tuple[str, os.stat_result]]:
    """Names and lstat of a directory's entries, sorted by name."""
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree.directory(path))
    try:
        with os.scandir(directory) as found:
            return sorted(((entry.name, entry.stat(follow_symlinks=False)) for entry in found), key=lambda item: item[0])
    finally:
        os.close(directory)
