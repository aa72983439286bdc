"""What the first process inside a view does all day: start commands, open files, reap the dead."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.kernel.channel import Gone, receive, send
from skillrun.overlay.mount.root import TERMINAL_GROUP
from skillrun.overlay.mount.shims import read_asked
from skillrun.overlay.mount.spec import Spec
from skillrun.overlay.process.exec import execute, take_files

_SIGNALFD_FLAGS = 0o2000000 | 0o4000  # SFD_CLOEXEC | SFD_NONBLOCK

LONGEST_END_S = 10.0
"""How long it may take until everybody who was killed is gone: their memory is given back first."""


class Server:
    """Answers the supervisor's requests one at a time until its end of the channel closes."""

    def __init__(self, channel: socket.socket, spec: Spec, asked: int = -1) -> None:
        """`asked`: the open directory of the stand-ins' notes, -1 where there are no stand-ins."""
        self._channel, self._asked = channel, asked
        self._spec = spec
        self._running: set[int] = set()
        self._ended: dict[int, int] = {}

    def serve(self) -> None:
        """Return when the supervisor is gone; the view ends with this process."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        mask = ctypes.c_uint64(1 << (signal.SIGCHLD - 1))
        children = ns.call("signalfd", -1, ctypes.byref(mask), _SIGNALFD_FLAGS)
        poller = select.poll()
        poller.register(self._channel, select.POLLIN)
        poller.register(children, select.POLLIN)
        try:
            while True:
                for descriptor, _ in poller.poll():
                    if descriptor == children:
                        os.read(children, 4096)
                        self._reap()
                    else:
                        self._answer(*receive(self._channel))
        except Gone:
            return

    def _reap(self) -> bool:
        """Collect everyone who ended, orphans of the view included, remembering those the supervisor knows; is nobody left?"""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid in self._running:
                self._running.discard(pid)
                self._ended[pid] = os.waitstatus_to_exitcode(status)

    def _end_everybody(self) -> None:
        """End whatever runs inside but this process. Raises OSError where it is not the view's first, or somebody stays."""
        if os.getpid() != 1:
            raise OSError(errno.EPERM, "not the first process")
        end = time.monotonic() + LONGEST_END_S
        while True:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            if self._reap():
                return
            if time.monotonic() > end:
                raise OSError(errno.EBUSY, "something inside cannot be ended")
            time.sleep(0.002)

    def _answer(self, request: Mapping[str, Any], files: list[int]) -> None:
        attached: list[int] = []
        try:
            reply, attached = self._carry_out(request, files)
        except OSError as error:
            reply = {"error": os.strerror(error.errno) if error.errno else str(error), "errno": error.errno or 0}
        send(self._channel, reply, attached)
        for descriptor in [*files, *attached]:
            os.close(descriptor)

    def _carry_out(self, request: Mapping[str, Any], files: list[int]) -> tuple[dict[str, Any], list[int]]:
        match request["op"]:
            case "spawn":
                return self._spawn(request, files)
            case "status":
                self._reap()
                return {"status": self._ended.get(int(request["pid"]))}, []
            case "asked":
                found = read_asked(self._asked, self._spec.account.uid) if self._asked >= 0 else ()
                return {"asked": [item.to_json() for item in found]}, []
            case "still":
                self._end_everybody()
                return {}, []
            case "read":
                return {}, self._as_person(lambda: [os.open(request["path"], os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)])
            case "write":
                return {}, self._as_person(lambda: _replace(request["path"], files[0], request["mode"], self._spec.umask))
            case other:
                raise OSError(22, f"unknown request {other!r}")

    def _spawn(self, request: Mapping[str, Any], files: list[int]) -> tuple[dict[str, Any], list[int]]:
        size = request.get("size")
        terminal = self._terminal(size) if size else None
        pid = os.fork()
        if pid == 0:
            ns.in_child(lambda: self._become_command(request, files, terminal[1] if terminal else None))
        self._running.add(pid)
        attached = [os.pidfd_open(pid)]
        if terminal:
            os.close(terminal[1])
            attached.append(terminal[0])
        return {"pid": pid}, attached

    def _terminal(self, size: Sequence[int]) -> tuple[int, int]:
        """A terminal of the view's own devpts, so that programs inside can name and open it."""
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[0], size[1], 0, 0))
        if self._spec.tier != "U":
            os.fchown(slave, self._spec.account.uid, TERMINAL_GROUP)
        return master, slave

    def _become_command(self, request: Mapping[str, Any], files: list[int], terminal: int | None) -> None:
        take_files(files, [int(number) for number in request["fds"]], terminal)
        if not (request.get("as_root") and self._spec.tier == "M"):
            self._become_person()
        os.umask(self._spec.umask)
        execute(request["argv"], request["env"], (request["cwd"], self._spec.account.home, "/"))

    def _become_person(self) -> None:
        if self._spec.tier != "U":
            account = self._spec.account
            os.setgroups(account.groups)
            os.setresgid(account.gid, account.gid, account.gid)
            os.setresuid(account.uid, account.uid, account.uid)

    def _as_person(self, work: Callable[[], list[int]]) -> list[int]:
        """Do a small thing with the person's rights in a child; the files it opened. Raises OSError as the work did."""
        ours, theirs = socket.socketpair()

        def child() -> None:
            self._become_person()
            try:
                send(theirs, {}, work())
            except OSError as error:
                send(theirs, {"errno": error.errno or 5})

        pid = os.fork()
        if pid == 0:
            ns.in_child(child)
        theirs.close()
        with ours:
            try:
                reply, files = receive(ours)
            except Gone:
                reply, files = {"errno": 5}, []
        os.waitpid(pid, 0)
        if "errno" in reply:
            raise OSError(reply["errno"], os.strerror(reply["errno"]))
        return files


def _replace(path: str, source: int, mode: int | None, umask: int) -> list[int]:
    """Write a file so that readers see the old one or the new one, keeping an existing one's mode unless told otherwise."""
    path = os.path.realpath(path)
    os.umask(umask)
    if mode is None:
        try:
            mode = os.stat(path).st_mode & 0o7777
        except FileNotFoundError:
            mode = 0o666 & ~umask
    beside = f"{path}.skillrun-{os.getpid()}"
    target = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.lseek(source, 0, os.SEEK_SET)
        while os.sendfile(target, source, None, 1 << 20):
            pass
        os.fchmod(target, mode)
        os.rename(beside, path)
    except OSError:
        os.unlink(beside)
        raise
    finally:
        os.close(target)
    return []
