"""One change of the real side as it is carried out: what is to be renamed, rewritten or linked where."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from skillrun.overlay.kernel.inode import Attributes, Inode
from skillrun.overlay.kernel.mountinfo import mount_of, read_mounts


class Kind(StrEnum):
    """How a change is carried out on the real side."""

    SWAP = "swap"
    """The names at the real path and in the store change places; either may be absent."""
    ATTRIBUTES = "attributes"
    """Mode, owner, extended attributes and modification time of an inode that stays."""
    REWRITE = "rewrite"
    """The content of an inode that has other names: written in place, so that they see it too."""
    FOLDER = "folder"
    """A directory that goes entry by entry, each with an operation of its own, since it cannot be renamed as a whole."""
    LINK = "link"
    """A further name of an inode that is already there."""


class Op(NamedTuple):
    """One change of one path (`path`, `slot`: relative to the layer's target and store)."""

    layer: int
    path: str
    kind: Kind
    old: Inode | None = None
    """What is at the path before the commit."""
    new: Inode | None = None
    """What is at the path after it."""
    slot: str = ""
    """Where the new one waits before the commit, and the old one after it."""
    before: Attributes | None = None
    after: Attributes | None = None
    source: str = ""
    """LINK: a path that has the inode already. REWRITE, ATTRIBUTES: the name it has until `path` is made; "" for `path`."""
    light: bool = False
    """Only a time, or a log or cache: never worth refusing a commit for."""

    def to_json(self) -> list[Any]:
        """A compact JSON list."""
        return [
            self.layer, self.path, self.kind.value, self.old, self.new,
            self.slot, self.before, self.after, self.source, self.light,
        ]  # fmt: skip

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Op:
        """From `to_json`."""
        layer, path, kind, old, new, slot, before, after, source, light = data
        return cls(
            layer, path, Kind(kind), old and Inode(*old), new and Inode(*new), slot,
            before and Attributes(*before), after and Attributes(*after), source, light,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Folder:
    """A real directory whose entries change: its identity, and its modification time before and after (ns)."""

    layer: int
    path: str
    ino: int
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Store:
    """A layer as the commit uses it: the real tree, its identity, and the directory that holds the other side."""

    target: str
    dev: int
    ino: int
    store: str
    fsid: int = 0
    """What the file system calls itself; 0: nothing."""

    def is_tree(self, directory: int) -> bool:
        """Is this open directory the tree of the plan? A device may have another number after a restart or a new mount."""
        status = os.fstat(directory)
        same = status.st_dev == self.dev or (self.fsid != 0 and os.fstatvfs(directory).f_fsid == self.fsid)
        return same and status.st_ino == self.ino

    @property
    def is_forgotten(self) -> bool:
        """The tree lay in memory, and the machine was started anew since."""
        try:
            directory = os.open(self.target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            there = self.is_tree(directory) and os.path.isdir(self.store)
        finally:
            os.close(directory)
        return not there and mount_of(os.path.realpath(self.target), read_mounts()).fstype in ("tmpfs", "ramfs")
