"""Answers the notices of a run that happens for real: saves what each call is about to change, then lets it go on."""

from __future__ import annotations

import contextlib
import os
import select
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from skillrun.overlay.kernel import seccomp
from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.kernel.seccomp import Notice
from skillrun.overlay.record.preimages import Preimages

_Action = Callable[[Preimages, Notice], None]
_HERE = 0xFFFFFF9C
"""AT_FDCWD as the 32 bits a call passes."""
_NO_FOLLOW, _TMPFILE, _UNIX = 0x100, 0o20200000, 1


class Recorder:
    """A thread that serves any number of listeners until `stop`. `unread` counts calls it could not look into."""

    def __init__(self, folder: Path) -> None:
        self._before = Preimages(folder)
        self._poll = select.poll()
        self._wake_read, self._wake_write = os.pipe()
        self._poll.register(self._wake_read, select.POLLIN)
        self._listeners: set[int] = set()
        self._lock = threading.Lock()
        self.heard = 0
        self.unread = 0
        self.examples: list[str] = []
        self._thread = threading.Thread(target=self._serve, name="preimages", daemon=True)
        self._thread.start()

    def add(self, listener: int) -> None:
        """Serve a listener; it belongs to the recorder from now on."""
        self._listeners.add(listener)
        self._poll.register(listener, select.POLLIN)
        os.write(self._wake_write, b"+")

    def will_replace(self, path: str) -> None:
        """Save what this process itself is about to replace or create. Raises OSError."""
        with self._lock:
            self._before.will_leave(path)

    def stop(self) -> None:
        """End the record. What still runs (a service that stays) goes on unrecorded. Raises OSError."""
        os.write(self._wake_write, b"x")
        self._thread.join()
        self._before.finish(self.heard, self.unread, self.examples)
        alive = [listener for listener in self._listeners if _is_alive(listener)]
        if alive:
            _wave_through(alive)
        for descriptor in (*self._listeners, self._wake_read, self._wake_write):
            os.close(descriptor)

    def _serve(self) -> None:
        while True:
            for descriptor, event in self._poll.poll():
                if descriptor == self._wake_read:
                    if b"x" in os.read(self._wake_read, 100):
                        return
                elif event & select.POLLIN:
                    self._serve_one(descriptor)
                else:
                    self._poll.unregister(descriptor)

    def _serve_one(self, listener: int) -> None:
        try:
            notice = seccomp.receive(listener)
        except OSError:
            return
        if notice is None:
            return
        self.heard += 1
        try:
            with self._lock:
                _ACTIONS[notice.call](self._before, notice)
        except (OSError, KeyError, ValueError) as error:
            self.unread += 1
            if len(self.examples) < 20:
                self.examples.append(f"{notice.call} by process {notice.thread}: {error}")
        seccomp.go_on(listener, notice)


def _is_alive(listener: int) -> bool:
    poll = select.poll()
    poll.register(listener, 0)
    return not any(event & select.POLLHUP for _, event in poll.poll(0))


def _wave_through(listeners: list[int]) -> None:
    """Leave a process behind that answers for those still under notification, until the last of them ends.

    Nobody else can: without a listener their calls would fail, and a filter cannot be taken off.
    """

    def answer() -> None:
        if os.fork():
            return
        os.setsid()
        ns.set_name("skillrun-after")
        left = set(listeners)
        highest = os.sysconf("SC_OPEN_MAX")
        for low, high in zip([-1, *sorted(left)], [*sorted(left), highest], strict=True):
            os.closerange(low + 1, high)
        while left:
            poll = select.poll()
            for listener in left:
                poll.register(listener, select.POLLIN)
            for listener, event in poll.poll():
                if event & select.POLLIN:
                    with contextlib.suppress(OSError):
                        if notice := seccomp.receive(listener):
                            seccomp.go_on(listener, notice)
                else:
                    left.discard(listener)

    pid = os.fork()
    if pid == 0:
        ns.in_child(answer)
    os.waitpid(pid, 0)


def _path(notice: Notice, text: int, directory: int | None = None) -> str:
    """The absolute path an argument names, links in its last part not followed. Raises OSError."""
    name = os.fsdecode(seccomp.read_text(notice.thread, notice.arguments[text]))
    base = _HERE if directory is None else notice.arguments[directory] & 0xFFFFFFFF
    root = os.readlink(f"/proc/{notice.thread}/root").rstrip("/")
    if name.startswith("/"):
        return os.path.normpath(root + name)
    place = os.readlink(f"/proc/{notice.thread}/cwd") if base == _HERE else _of_descriptor(notice, base)
    if not place.startswith("/"):
        raise ValueError(f"{place} is no directory")
    folder, last = os.path.split(os.path.normpath(os.path.join(place, name)) if ".." not in name else os.path.join(place, name))
    return os.path.join(os.path.realpath(folder), last)


def _of_descriptor(notice: Notice, descriptor: int) -> str:
    return os.readlink(f"/proc/{notice.thread}/fd/{descriptor & 0xFFFFFFFF}")


def _opened(before: Preimages, notice: Notice, path: str, flags: int) -> None:
    if flags & _TMPFILE != _TMPFILE:
        before.will_write(path)


def _open2(before: Preimages, notice: Notice) -> None:
    flags = struct.unpack("=Q", seccomp.read_memory(notice.thread, notice.arguments[2], 8))[0]
    if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
        _opened(before, notice, _path(notice, 1, 0), flags)


def _bind(before: Preimages, notice: Notice) -> None:
    size = notice.arguments[2] & 0xFFFFFFFF
    address = seccomp.read_memory(notice.thread, notice.arguments[1], min(size, 110)) if size > 2 else b""
    if len(address) > 2 and struct.unpack("=H", address[:2])[0] == _UNIX and address[2]:
        name = os.fsdecode(address[2:].partition(b"\0")[0])
        before.will_create(os.path.join(os.readlink(f"/proc/{notice.thread}/cwd"), name))


def _descriptor_attributes(before: Preimages, notice: Notice) -> None:
    path = _of_descriptor(notice, notice.arguments[0])
    if path.startswith("/"):
        before.will_change_attributes(path.removesuffix(" (deleted)"), follow=False)


def _attributes(text: int, directory: int | None, flags: int | None = None, follow: bool = True) -> _Action:
    def action(before: Preimages, notice: Notice) -> None:
        if not notice.arguments[text] and directory is not None:  # utimensat on an open file
            _descriptor_attributes(before, notice)
            return
        followed = follow and not (flags is not None and notice.arguments[flags] & _NO_FOLLOW)
        before.will_change_attributes(_path(notice, text, directory), followed)

    return action


def _creates(text: int, directory: int | None) -> _Action:
    return lambda before, notice: before.will_create(_path(notice, text, directory))


def _leaves(text: int, directory: int | None) -> _Action:
    return lambda before, notice: before.will_leave(_path(notice, text, directory))


def _writes(text: int, directory: int | None) -> _Action:
    return lambda before, notice: before.will_write(_path(notice, text, directory))


def _moves(source: tuple[int, int | None], target: tuple[int, int | None]) -> _Action:
    return lambda before, notice: before.will_move(_path(notice, *source), _path(notice, *target))


_ACTIONS: dict[str, _Action] = {
    "open": lambda before, notice: _opened(before, notice, _path(notice, 0), notice.arguments[1]),
    "openat": lambda before, notice: _opened(before, notice, _path(notice, 1, 0), notice.arguments[2]),
    "openat2": _open2,
    "creat": _writes(0, None),
    "truncate": _writes(0, None),
    "mkdir": _creates(0, None),
    "mkdirat": _creates(1, 0),
    "mknod": _creates(0, None),
    "mknodat": _creates(1, 0),
    "symlink": _creates(1, None),
    "symlinkat": _creates(2, 1),
    "link": _creates(1, None),
    "linkat": _creates(3, 2),
    "bind": _bind,
    "unlink": _leaves(0, None),
    "unlinkat": _leaves(1, 0),
    "rmdir": _leaves(0, None),
    "rename": _moves((0, None), (1, None)),
    "renameat": _moves((1, 0), (3, 2)),
    "renameat2": _moves((1, 0), (3, 2)),
    "chmod": _attributes(0, None),
    "fchmod": _descriptor_attributes,
    "fchmodat": _attributes(1, 0),
    "fchmodat2": _attributes(1, 0, flags=3),
    "chown": _attributes(0, None),
    "lchown": _attributes(0, None, follow=False),
    "fchown": _descriptor_attributes,
    "fchownat": _attributes(1, 0, flags=4),
    "setxattr": _attributes(0, None),
    "lsetxattr": _attributes(0, None, follow=False),
    "fsetxattr": _descriptor_attributes,
    "removexattr": _attributes(0, None),
    "lremovexattr": _attributes(0, None, follow=False),
    "fremovexattr": _descriptor_attributes,
    "utime": _attributes(0, None),
    "utimes": _attributes(0, None),
    "futimesat": _attributes(1, 0),
    "utimensat": _attributes(1, 0, flags=3),
}
"""What each call of `notify.CALLS` is about to do."""
