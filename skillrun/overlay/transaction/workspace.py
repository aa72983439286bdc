"""The place a transaction works in: alone with its trees, their package databases, and descriptors of both sides."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from skillrun.overlay.diff.operations import Folder, Kind, Store
from skillrun.overlay.kernel.dirfd import ASTRAY, sync_file_system
from skillrun.overlay.kernel.inode import inode_at
from skillrun.overlay.transaction.exchange import Lost, Side, set_folder_time
from skillrun.overlay.transaction.package_locks import Locked, guarded
from skillrun.overlay.transaction.wal import Plan

LOCK_WAIT_S = 30.0


class CommitError(Exception):
    """A commit, undo or redo that did not happen; the machine is as it was. `hint`: what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """The phase that ends here."""
        now = time.monotonic()
        self.times[name], self._last = now - self._last, now


def store_of(target: str, upper: str) -> Store:
    """A tree as it is now, and the upper as its store."""
    status = os.stat(target, follow_symlinks=False)
    return Store(target, status.st_dev, status.st_ino, upper, os.statvfs(target).f_fsid)


def set_times(plan: Plan, sides: Sequence[Side], forward: bool) -> None:
    """Give the directories that stay the times they are to have."""
    for op in plan.ops if not forward else ():
        here = inode_at(sides[op.layer].real, op.path) if op.kind is Kind.FOLDER else None
        if here is not None and here.is_directory and op.before is not None:
            set_folder_time(sides[op.layer], op.path, here.ino, None, op.before.mtime)
    for item in reversed(plan.folders):
        if item.after:
            set_folder_time(sides[item.layer], item.path, item.ino, None, item.after if forward else item.before)


def sync(plan: Plan) -> None:
    """Once per file system that the plan changes something on, both sides."""
    seen: set[int] = set()
    used = (
        {op.layer for op in plan.ops} | {item.layer for item in plan.folders if item.path} | {layer for layer, _ in plan.leave}
    )
    for store in (plan.stores[number] for number in sorted(used)):
        for path in (store.target, store.store):
            device = os.stat(path).st_dev
            if device not in seen:
                seen.add(device)
                sync_file_system(path)


@contextmanager
def working(stores: Sequence[Store], folders: Sequence[Folder], paths: Iterable[str]) -> Iterator[list[Side]]:
    """Alone with these trees and with the package databases they hold."""
    try:
        with locked([store.target for store in stores]), guarded(paths), opened(stores, folders) as sides:
            yield sides
    except Locked as error:
        raise CommitError(str(error), "wait for it to end, then try again") from error
    except OSError as error:
        if error.errno in ASTRAY:
            raise CommitError(f"a directory was replaced meanwhile: {error}", "run the installation again") from error
        raise


@contextmanager
def opened(stores: Sequence[Store], folders: Sequence[Folder] = ()) -> Iterator[list[Side]]:
    """Every layer's two sides. Raises CommitError when a tree is gone or another one."""
    sides: list[Side] = []
    try:
        try:
            for number, store in enumerate(stores):
                sides.append(Side(store, {item.path: item.ino for item in folders if item.layer == number}))
        except (Lost, FileNotFoundError, NotADirectoryError) as error:
            raise CommitError(str(error), "the kept files of this run are gone; nothing was changed") from error
        yield sides
    finally:
        for side in sides:
            side.close()


@contextmanager
def locked(targets: Sequence[str], wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """One commit at a time per tree: an flock on the tree itself, which dies with its holder. Raises CommitError."""
    held: list[int] = []
    end = time.monotonic() + wait_s
    try:
        for target in sorted(set(targets)):
            held.append(os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            while True:
                try:
                    fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise CommitError(f"another commit on {target} is under way", "wait for it, then try again") from None
                    time.sleep(0.02)
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
