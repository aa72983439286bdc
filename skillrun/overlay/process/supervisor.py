"""A view as the supervisor holds it: start it, start commands in it, end it without a trace."""

from __future__ import annotations

import os
import secrets
import select
import signal
import socket
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.kernel.channel import Gone, receive, send
from skillrun.overlay.mount.canaries import Bait, read_touched
from skillrun.overlay.mount.layers import Layer, Layers
from skillrun.overlay.mount.service_request import Refused, ServiceRequest, from_json
from skillrun.overlay.mount.spec import Spec
from skillrun.overlay.transaction.root import Root, RootError, RootRefused

GONE = 0x7FFFFFFF
"""Stands for a process that had ended before its number was read. No process has it (proc(5): pid_max is 4194304 at most), so
a signal to it is refused; the -1 the kernel gives would send that signal to every process there is."""


class ViewError(Exception):
    """A view could not be built or was lost. `errno` is the kernel's, 0 when there is none."""

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class NoRoot(ViewError):
    """sudo was asked for root and did not give it; the message is sudo's."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """A process inside. `pid` counts in the supervisor's PID namespace (GONE: it has ended), `inner` in the view's."""

    pid: int
    inner: int
    handle: int
    """A pidfd: readable when the process has ended."""
    master: int | None
    """The terminal's master side, where one was asked for."""


class View:
    """A running view. Not to be shared between threads without care: requests are answered one at a time."""

    def __init__(self, spec: Spec, root: Root | None = None) -> None:
        """Build it. `root`: who builds it, when this process may not. Raises ViewError, NoRoot."""
        self.spec = spec
        self.root = root
        self._lock = threading.Lock()
        self.started_ns = time.time_ns()
        self._channel, theirs = socket.socketpair()
        self._roots: int | None = None
        """The builder where it is root's: readable when it has ended."""
        self._child = 0
        try:
            if root is not None:
                self._roots = _have_built(root, theirs)
            else:
                self._child = _fork_builder(theirs)
            theirs.close()
            built, _ = self._ask(spec.to_json())
            self.layers = self._record(built)
            ready, files = self._answer()
        except ViewError:
            theirs.close()
            self.close()
            raise
        self.notes: tuple[str, ...] = tuple(ready["notes"])
        self.confined_by: tuple[str, ...] = tuple(ready["confined_by"])
        self._bait: int | None = files[0]
        self._watches = {int(number): str(path) for number, path in ready["bait"]}
        self._touched: dict[Bait, None] = {}
        self.listener: int | None = files[1] if spec.closed_network else None

    def _record(self, built: Mapping[str, Any]) -> Layers:
        """Write down what the view is made of, while its first process starts."""
        tx = Path(self.spec.changes)
        items = tuple(Layer(*fields) for fields in built["layers"])
        ours = tuple(sorted({str(Path(item.upper).parent.parent) for item in items} | {self.spec.changes, *built["made"]}))
        user_map = "self" if self.spec.tier == "U" else "identity"
        layers = Layers(tx, self.started_ns, self.spec.tier, user_map, items, ours, tuple(built["stood_for"]))
        try:
            layers.save(tx)
        except OSError as error:
            raise ViewError(f"the view cannot be recorded in {tx}: {error.strerror}", error.errno or 0) from None
        return layers

    def spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        fds: Mapping[int, int] | None = None,
        size: tuple[int, int] | None = None,
        as_root: bool = False,
    ) -> Spawned:
        """Start a command inside, on a new terminal of `size` (rows, columns) or without one.

        `fds`: number inside -> descriptor here. `as_root` counts in a machine of its own only (tier M).
        Raises ViewError, also when the view has ended.
        """
        files = dict(fds or {})
        request = {
            "op": "spawn",
            "argv": list(argv),
            "env": dict(env),
            "cwd": cwd,
            "fds": list(files),
            "size": size,
            "as_root": as_root,
        }
        reply, received = self._ask(request, list(files.values()))
        handle = received[0]
        return Spawned(_pid_of(handle), reply["pid"], handle, received[1] if size else None)

    def status(self, inner: int) -> int | None:
        """Exit status of a process started here (negative: the signal that ended it), None while it runs."""
        status = self._ask({"op": "status", "pid": inner})[0]["status"]
        return None if status is None else int(status)

    def open(self, path: str) -> int:
        """A descriptor to read a file inside, with the person's rights. Raises OSError."""
        return self._ask({"op": "read", "path": path}, as_os_error=path)[1][0]

    def write(self, path: str, data: bytes, mode: int | None = None) -> None:
        """Replace a file inside atomically, with the person's rights. Raises OSError."""
        source = os.memfd_create("skillrun-put", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(source), "wb") as file:
                file.write(data)
            self._ask({"op": "write", "path": path, "mode": mode}, [source], as_os_error=path)
        finally:
            os.close(source)

    def asked(self) -> tuple[ServiceRequest | Refused, ...]:
        """What stand-ins were asked for so far, to be done on the real machine after a commit, or never. Raises ViewError."""
        return tuple(from_json(item) for item in self._ask({"op": "asked"})[0]["asked"])

    def still(self) -> None:
        """End everything that runs inside; the view stays, and commands can be started again. Raises ViewError.

        Only then is what was read of its files what is in them: who has mapped a file writes it without a trace in its times.
        """
        self._ask({"op": "still"})

    @property
    def builder(self) -> int:
        """The process that holds the view's network namespace, 0 when it was built through sudo."""
        return self._child

    def touched(self) -> tuple[Bait, ...]:
        """Bait that was opened inside so far."""
        if self._bait is not None:
            self._touched.update(dict.fromkeys(read_touched(self._bait, self._watches)))
        return tuple(self._touched)

    def take_listener(self) -> int:
        """The egress proxy's listening socket, which is the caller's from now on."""
        assert self.listener is not None
        listener, self.listener = self.listener, None
        return listener

    def close(self) -> None:
        """End everything inside and let go of every mount; the layers stay. Safe to call twice."""
        self._channel.close()
        for name in ("_bait", "listener"):
            descriptor = getattr(self, name, None)
            if descriptor is not None:
                os.close(descriptor)
                setattr(self, name, None)
        if self._child:
            _end_child(self._child)
            self._child = 0
        if self._roots is not None:
            select.select([self._roots], [], [])
            os.close(self._roots)
            self._roots = None
        stage = Path(self.spec.changes) / "stage"
        if stage.is_dir():
            stage.rmdir()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(
        self, request: Mapping[str, Any], files: Sequence[int] = (), as_os_error: str = ""
    ) -> tuple[dict[str, Any], list[int]]:
        with self._lock:
            try:
                send(self._channel, request, files)
            except Gone as error:
                raise ViewError(f"the view was lost: {error}") from None
            return self._answer(as_os_error)

    def _answer(self, as_os_error: str = "") -> tuple[dict[str, Any], list[int]]:
        try:
            reply, received = receive(self._channel)
        except Gone as error:
            raise ViewError(f"the view was lost: {error}") from None
        if "error" in reply:
            if as_os_error:
                raise OSError(reply["errno"] or 5, reply["error"], as_os_error)
            raise ViewError(reply["error"], reply["errno"])
        return reply, received


def new_id() -> str:
    """A name for a view's directories outside the run folder."""
    return secrets.token_hex(6)


def _fork_builder(channel: socket.socket) -> int:
    # Imported before the fork: the child must not meet an import lock that another thread held.
    from skillrun.overlay.process.init import build_and_serve

    with warnings.catch_warnings():
        # A fork beside other threads is safe here: the child only makes system calls and never returns.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        ns.in_child(lambda: build_and_serve(channel))
    return pid


def _have_built(root: Root, channel: socket.socket) -> int:
    """Let root's process build it; the builder's pidfd. Raises ViewError, NoRoot."""
    try:
        return root.ask({"verb": "view"}, [channel.fileno()])[1][0]
    except RootRefused as error:
        raise NoRoot(str(error)) from error
    except RootError as error:
        raise ViewError(str(error), error.errno) from error


def _pid_of(handle: int) -> int:
    """The process a pidfd stands for, in this process's PID namespace (proc_pid_fdinfo(5)); GONE when it has ended."""
    with open(f"/proc/self/fdinfo/{handle}", encoding="ascii") as file:
        for line in file:
            if line.startswith("Pid:"):
                pid = int(line.split()[1])
                return pid if pid > 0 else GONE
    return GONE


def _end_child(pid: int) -> None:
    """Wait for the builder to end, as it does when the channel closes; help it along after two seconds."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        handle = -1
    if handle >= 0:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        if not poller.poll(2000):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return
