"""Both versions of a path: as the machine has it, and as the view would leave it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from skillrun.overlay.kernel.dirfd import Tree
from skillrun.overlay.kernel.inode import is_whiteout
from skillrun.overlay.mount.layers import Layer, Layers

LIMIT = 32 << 20
"""No file is read beyond this many bytes for an explanation."""


class Sides(Protocol):
    """Whatever can read both versions of a path; None where there is no such regular file, or it is too large."""

    def old(self, path: str, limit: int = LIMIT) -> bytes | None:
        """The machine's version."""
        ...

    def new(self, path: str, limit: int = LIMIT) -> bytes | None:
        """The view's version."""
        ...

    def link(self, path: str, new: bool) -> str:
        """Where a symbolic link of a side points, "" when it is none."""
        ...


class Both:
    """Reads files of either side by their absolute path; links are not followed."""

    def __init__(self, layers: Layers) -> None:
        """Open all layers. Raises OSError."""
        self._opened: list[tuple[Layer, Tree, Tree]] = []
        for layer in sorted(layers.items, key=lambda item: -len(item.target)):
            self._opened.append((layer, Tree(layer.upper), Tree(layer.target)))

    def __enter__(self) -> Both:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Close all layers."""
        for _, upper, real in self._opened:
            for tree in (upper, real):
                tree.__exit__(None, None, None)

    def old(self, path: str, limit: int = LIMIT) -> bytes | None:
        """The machine's version; None when there is no such regular file, or it cannot be read."""
        found = self._place(path)
        return None if found is None else _read(found[1], found[2], limit)

    def new(self, path: str, limit: int = LIMIT) -> bytes | None:
        """The view's version; None when there is no such regular file."""
        found = self._place(path)
        if found is None:
            return None
        upper, real, below = found
        status = upper.status(below)
        if status is None:
            return _read(real, below, limit)
        if is_whiteout(upper.proc_path(below), status):
            return None
        return _read(upper, below, limit)

    def link(self, path: str, new: bool) -> str:
        """Where a symbolic link of a side points, "" when it is none."""
        found = self._place(path)
        if found is not None:
            with suppress(OSError):
                return os.readlink((found[0] if new else found[1]).proc_path(found[2]))
        return ""

    def _place(self, path: str) -> tuple[Tree, Tree, str] | None:
        for layer, upper, real in self._opened:
            base = layer.target.rstrip("/")
            if path.startswith(base + "/"):
                return upper, real, path[len(base) + 1 :]
        return None


def _read(tree: Tree, path: str, limit: int) -> bytes | None:
    try:
        directory, name = tree.place(path)
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit)
