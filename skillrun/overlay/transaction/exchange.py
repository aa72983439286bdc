"""Carrying out one operation of a plan, in either direction, as often as needed.

Forward and backward are the same code with the two sides exchanged. Each step first looks which
inode is at the real name, so that doing it again after a crash does nothing twice.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress

from skillrun.overlay.diff.operations import Kind, Op, Store
from skillrun.overlay.kernel.dirfd import ASTRAY, EXCHANGE, NOREPLACE, Tree, rename
from skillrun.overlay.kernel.inode import Attributes, Inode, inode_at, is_whiteout, read_xattrs, set_attributes, strip_overlay
from skillrun.overlay.kernel.walk import walk_tree
from skillrun.overlay.transaction.wal import Plan

_NO_FLAGS = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
_CHUNK = 1 << 20
_ASIDE = ".skillrun-aside-"


class Lost(Exception):
    """The real path is neither what was there before nor what the plan puts there: somebody else was faster."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


class Side:
    """A layer opened for work: its real tree and its store."""

    def __init__(self, store: Store, folders: Mapping[str, int]) -> None:
        """Open both; `folders`: real directory -> the inode number it must have.

        Raises OSError, or Lost when the real tree is not the one of the plan.
        """
        self.base = store.target.rstrip("/")
        self.real = Tree(store.target, folders)
        try:
            if not store.is_tree(self.real.fd):
                raise Lost(store.target, "is another directory than the one the changes were made against")
            self.store = Tree(store.store)
            self.asides = {name for name in os.listdir(store.store) if name.startswith(_ASIDE)}
        except BaseException:
            os.close(self.real.fd)
            raise

    def forget(self, op: Op) -> None:
        """Look names up anew where a directory may have been exchanged."""
        if (op.old is not None and op.old.is_directory) or (op.new is not None and op.new.is_directory):
            self.real.forget(op.path)
            self.store.forget(op.slot)

    def close(self) -> None:
        """Close all descriptors."""
        for tree in (self.real, self.store):
            tree.forget()
            os.close(tree.fd)


def apply(op: Op, side: Side, forward: bool, number: int) -> bool:
    """Carry `op` out. True when something was done, False when it was done already.

    Raises Lost when the real path holds something else (nothing was changed then), OSError when the system refuses.
    """
    try:
        if op.kind is Kind.ATTRIBUTES:
            return _apply_attributes(op, side, forward)
        if op.kind is Kind.REWRITE:
            return _apply_rewrite(op, side, forward, number)
        if op.kind is Kind.FOLDER:
            return _apply_folder(op, side, forward)
        if op.kind is Kind.LINK:
            return _apply_link(op, side, forward, number)
        return _apply_swap(op, side, forward, number)
    except OSError as error:
        if error.errno in ASTRAY:
            raise Lost(f"{side.base}/{op.path}", "cannot be reached: a directory on the way was replaced") from error
        raise OSError(error.errno, os.strerror(error.errno or 0), f"{side.base}/{op.path}") from error


def _apply_swap(op: Op, side: Side, forward: bool, number: int) -> bool:
    want, other = (op.new, op.old) if forward else (op.old, op.new)
    _finish_three_step(op, side, want, number)
    now = inode_at(side.real, op.path)
    if (want is None and now is None) or (want is not None and want.is_object(now)):
        if want is not None and want.is_directory:
            _keep_as_it_was(side.real, op.path, want)
        return False
    if (other is None) != (now is None) or (other is not None and not other.is_object(now)):
        raise Lost(f"{side.base}/{op.path}", "was replaced by somebody else meanwhile")
    real, store = side.real.place(op.path), side.store.place(op.slot)
    _let_move(side, op)
    if want is None:
        _move(real, store)
    elif other is None:
        _move(store, real)
    else:
        _exchange(store, real, side, number)
    side.forget(op)
    if want is not None:
        _keep_as_it_was(side.real, op.path, want)
    if other is not None:
        _keep_as_it_was(side.store, op.slot, other)
    if other is not None and not other.is_untouched(inode_at(side.store, op.slot)):
        _take_back(want, real, store, side, number)
        side.forget(op)
        raise Lost(f"{side.base}/{op.path}", "was changed while the commit was under way")
    return True


def _let_move(side: Side, op: Op) -> None:
    """A directory that its owner may not write cannot be moved by an ordinary user: lend the right for a moment."""
    if os.geteuid() == 0:
        return
    for tree, path in ((side.real, op.path), (side.store, op.slot)):
        here = inode_at(tree, path)
        if here is not None and here.is_directory and not here.mode & stat.S_IWUSR and here.uid == os.geteuid():
            with _opened(tree, path) as (name, status):
                os.chmod(name, stat.S_IMODE(status.st_mode) | stat.S_IWUSR)


def _keep_as_it_was(tree: Tree, path: str, wanted: Inode) -> None:
    """Take a lent right back, also after a crash; and the time that some file systems (xfs) give a moved directory."""
    here = inode_at(tree, path) if wanted.is_directory else None
    if here is None or not wanted.is_object(here):
        return
    lent = os.geteuid() != 0 and here.mode == wanted.mode | stat.S_IWUSR and here.mode != wanted.mode
    if lent or here.mtime != wanted.mtime:
        with _opened(tree, path) as (name, status):
            if here.mtime != wanted.mtime:
                os.utime(name, ns=(status.st_atime_ns, wanted.mtime))
            if lent:
                os.chmod(name, stat.S_IMODE(wanted.mode))


def _take_back(want: Inode | None, real: tuple[int, str], store: tuple[int, str], side: Side, number: int) -> None:
    if want is None:
        _move(store, real)
    else:
        _exchange(store, real, side, number)


def _move(source: tuple[int, str], goal: tuple[int, str]) -> None:
    """Rename onto a free name; FileExistsError when it is not free."""
    try:
        rename(*source, *goal, NOREPLACE)
    except OSError as error:
        if error.errno not in _NO_FLAGS:
            raise
        with suppress(FileNotFoundError):
            os.lstat(goal[1], dir_fd=goal[0])
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), goal[1]) from None
        os.rename(source[1], goal[1], src_dir_fd=source[0], dst_dir_fd=goal[0])


def _aside(number: int) -> str:
    return f"{_ASIDE}{number}"


def _exchange(store: tuple[int, str], real: tuple[int, str], side: Side, number: int) -> None:
    """Exchange two names at once; in three steps where the file system cannot."""
    try:
        rename(*store, *real, EXCHANGE)
    except OSError as error:
        if error.errno not in _NO_FLAGS:
            raise
        aside = (side.store.fd, _aside(number))
        side.asides.add(aside[1])
        if stat.S_ISDIR(os.lstat(real[1], dir_fd=real[0]).st_mode) or stat.S_ISDIR(os.lstat(store[1], dir_fd=store[0]).st_mode):
            os.rename(real[1], aside[1], src_dir_fd=real[0], dst_dir_fd=aside[0])
        else:
            os.link(real[1], aside[1], src_dir_fd=real[0], dst_dir_fd=aside[0], follow_symlinks=False)
        os.rename(store[1], real[1], src_dir_fd=store[0], dst_dir_fd=real[0])
        os.rename(aside[1], store[1], src_dir_fd=aside[0], dst_dir_fd=store[0])


def _finish_three_step(op: Op, side: Side, want: Inode | None, number: int) -> None:
    """Bring an exchange that was cut in the middle to one of its ends."""
    aside = _aside(number)
    parked = inode_at(side.store, aside) if aside in side.asides else None
    if parked is None:
        return
    now, slot = inode_at(side.real, op.path), inode_at(side.store, op.slot)
    real, store = side.real.place(op.path), side.store.place(op.slot)
    if now is None:
        os.rename(aside, real[1], src_dir_fd=side.store.fd, dst_dir_fd=real[0])
    elif parked.is_object(now):
        os.unlink(aside, dir_fd=side.store.fd)
    elif slot is None:
        os.rename(aside, store[1], src_dir_fd=side.store.fd, dst_dir_fd=store[0])
    else:
        raise Lost(f"{side.base}/{op.path}", "and both its versions are in the store")


def _apply_attributes(op: Op, side: Side, forward: bool) -> bool:
    want = op.after if forward else op.before
    assert want is not None
    assert op.old is not None
    with _opened(side.real, _name_of(op, side)) as (path, status):
        if not op.old.is_object(Inode.of(status)):
            raise Lost(f"{side.base}/{op.path}", "was replaced by somebody else meanwhile")
        keep_time = stat.S_ISDIR(status.st_mode)
        set_attributes(path, want, time=not keep_time)
    return True


def _name_of(op: Op, side: Side) -> str:
    """The name an inode that stays has at this moment: when a commit was cut, `path` may not be made yet."""
    assert op.old is not None
    return op.source if op.source and not op.old.is_object(inode_at(side.real, op.path)) else op.path


def _apply_rewrite(op: Op, side: Side, forward: bool, number: int) -> bool:
    want = op.after if forward else op.before
    assert want is not None
    assert op.old is not None
    source = op.slot if forward else backup_name(number)
    with _opened(side.real, _name_of(op, side)) as (path, status):
        if not op.old.is_object(Inode.of(status)):
            raise Lost(f"{side.base}/{op.path}", "was replaced by somebody else meanwhile")
        content = op.new if forward else op.old
        assert content is not None
        if (status.st_size, status.st_mtime_ns) != (content.size, content.mtime):
            directory, name = side.store.place(source)
            copy_bytes(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory), os.open(path, os.O_WRONLY))
        set_attributes(path, want)
    return True


def _apply_folder(op: Op, side: Side, forward: bool) -> bool:
    """An emptied directory goes, or is made again; what takes its place waits in the store as with any exchange."""
    assert op.before is not None
    now = inode_at(side.real, op.path)
    arrived = op.new is not None and op.new.is_object(now)
    real, store = side.real.place(op.path), side.store.place(op.slot)
    if now is not None and not arrived and not now.is_directory:
        raise Lost(f"{side.base}/{op.path}", "was replaced by somebody else meanwhile")
    side.forget(op)
    if forward:
        if arrived or (now is None and op.new is None):
            return False
        if now is not None:
            _remove_empty(op, side, real)
        if op.new is not None:
            _move(store, real)
        return True
    if arrived:
        _move(real, store)
    if arrived or now is None:
        os.mkdir(real[1], 0o700, dir_fd=real[0])
    with _opened(side.real, op.path) as (path, _):
        set_attributes(path, op.before, time=False)
    return arrived or now is None


def _remove_empty(op: Op, side: Side, real: tuple[int, str]) -> None:
    try:
        os.rmdir(real[1], dir_fd=real[0])
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        raise Lost(f"{side.base}/{op.path}", "got new entries while the commit was under way") from error


def _apply_link(op: Op, side: Side, forward: bool, number: int) -> bool:
    """A link waits in the store only while it is needed: the inode's count of names is part of what undo puts back."""
    directory, name = side.store.place(op.slot)
    now = inode_at(side.real, op.path)
    assert op.new is not None
    if forward and not op.new.is_object(now) and not op.new.is_object(inode_at(side.store, op.slot)):
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
        source = side.real.place(op.source)
        os.link(source[1], name, src_dir_fd=source[0], dst_dir_fd=directory, follow_symlinks=False)
    done = _apply_swap(op, side, forward, number)
    if not forward and op.new.is_object(inode_at(side.store, op.slot)):
        os.unlink(name, dir_fd=directory)
    return done


def backup_name(number: int) -> str:
    """Where the former content of a rewritten inode is kept, relative to the store."""
    return f".skillrun-former-{number}"


class _opened:  # noqa: N801 - reads as a verb
    """A real name pinned by a descriptor: a path to it that follows nothing, and its status."""

    def __init__(self, tree: Tree, path: str) -> None:
        directory, name = tree.place(path)
        flags = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW
        self.fd = os.open(name, flags, dir_fd=directory) if path else os.dup(tree.fd)

    def __enter__(self) -> tuple[str, os.stat_result]:
        return f"/proc/self/fd/{self.fd}", os.fstat(self.fd)

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def copy_bytes(source: int, goal: int) -> None:
    """Make the open file `goal` hold what `source` holds, holes kept, durable; closes both. Raises OSError."""
    with os.fdopen(source, "rb", buffering=0) as ours, os.fdopen(goal, "wb", buffering=0) as theirs:
        size = os.fstat(ours.fileno()).st_size
        at = 0
        os.ftruncate(theirs.fileno(), 0)
        while at < size:
            try:
                at = os.lseek(ours.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                break
            data = os.pread(ours.fileno(), _CHUNK, at)
            if not data:
                break
            written = 0
            while written < len(data):
                written += os.pwrite(theirs.fileno(), data[written:], at + written)
            at += len(data)
        os.ftruncate(theirs.fileno(), size)
        os.fsync(theirs.fileno())


def make_ready(op: Op, side: Side, number: int) -> None:
    """Make the store's side of an operation fit to be swapped in: no whiteouts, no attributes of the overlay.

    Touches the store alone, and may be repeated. Raises OSError.
    """
    if op.kind is Kind.REWRITE:
        _back_up(op, side, number)
        return
    if op.kind is not Kind.SWAP:
        return
    status = side.store.status(op.slot)
    if status is None:
        return
    here = side.store.proc_path(op.slot)
    if op.new is None:
        if is_whiteout(here, status):
            directory, name = side.store.place(op.slot)
            os.unlink(name, dir_fd=directory)
        return
    strip_overlay(here)
    if stat.S_ISDIR(status.st_mode):
        for path, _, hidden in list(walk_tree(side.store, op.slot)):
            if hidden:
                directory, name = side.store.place(path)
                os.unlink(name, dir_fd=directory)
            else:
                strip_overlay(side.store.proc_path(path))


def take_out(plan: Plan, sides: Sequence[Side]) -> None:
    """Move what is not wanted out of new directories, within the store. May be repeated. Raises OSError."""
    for number, (layer, path) in enumerate(plan.leave):
        store = sides[layer].store
        if store.status(path) is not None:
            directory, name = store.place(path)
            _move((directory, name), (store.fd, f".skillrun-unwanted-{number}"))
            store.forget(path)


def _back_up(op: Op, side: Side, number: int) -> None:
    """Keep the content of an inode that is going to be written in place."""
    assert op.old is not None
    name = backup_name(number)
    if inode_at(side.store, name) is not None:
        return
    directory, real_name = side.real.place(_name_of(op, side))
    source = os.open(real_name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    if not op.old.is_untouched(Inode.of(os.fstat(source))):
        os.close(source)
        raise Lost(f"{side.base}/{op.path}", "was changed while the commit was under way")
    draft = os.open(name + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=side.store.fd)
    copy_bytes(source, draft)
    os.rename(name + ".new", name, src_dir_fd=side.store.fd, dst_dir_fd=side.store.fd)


def set_folder_time(side: Side, path: str, ino: int, expected: int | None, wanted: int) -> None:
    """Give a directory that stays its modification time; not when somebody else changed it after us."""
    try:
        opened = _opened(side.real, path)
    except OSError as error:
        if error.errno in (*ASTRAY, errno.ENOENT, errno.ENOTDIR):
            return
        raise
    with opened as (here, status):
        if status.st_ino != ino or (expected is not None and status.st_mtime_ns != expected) or status.st_mtime_ns == wanted:
            return
        with suppress(PermissionError):
            os.utime(here, ns=(status.st_atime_ns, wanted))


def attributes_of(side: Side, path: str) -> Attributes | None:
    """The attributes of a real path, None when there is none."""
    status = side.real.status(path)
    return None if status is None else Attributes.of(status, read_xattrs(side.real.proc_path(path)))
