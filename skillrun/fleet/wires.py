"""Programs at work on a machine, whatever carries them there: a channel of SSH, a terminal or pipes of this machine."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from skillrun.fleet.unreachable import Unreachable, lost
from skillrun.pty.launch import launch_local

if TYPE_CHECKING:
    import paramiko
    from paramiko import SSHClient

SIZE = (40, 120)
"""(rows, columns) of the terminals programs run on there."""

SSH_OPENING_S = 30
"""How long a server may take to open a channel."""


class Wire(Protocol):
    """A program at work on a machine: what it writes comes in, what is sent it reads."""

    def fileno(self) -> int:
        """A descriptor that is readable while there is something to receive, or its end."""
        ...

    def receive(self) -> bytes:
        """What has come, b"" at its end. Blocks when nothing has. Raises Unreachable when the machine was lost."""
        ...

    def send(self, data: bytes) -> None:
        """Give it these bytes to read. Raises Unreachable when it is gone."""
        ...

    def ended(self) -> int | None:
        """Its exit code once it has ended; 255 where nobody can say."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program on a machine ended: exit code (-1: nobody said), its output and what it complained of."""

    code: int
    output: bytes = b""
    errors: str = ""


class Reached(Protocol):
    """A machine, or a view of one, that programs can be started on."""

    name: str

    @property
    def alive(self) -> bool:
        """Is it there, as far as is known here?"""
        ...

    def start(self, text: str, *, terminal: bool = False) -> Wire:
        """Start shell text on pipes or a terminal. Raises Unreachable."""
        ...

    def run(self, text: str, stdin: bytes = b"", *, limit: int | None = None, seconds: float | None = None) -> Ran:
        """Run shell text to its end. Raises Unreachable."""
        ...


class Channel:
    """A program behind a channel of an SSH connection."""

    def __init__(self, name: str, client: SSHClient, command: str, terminal: bool) -> None:
        self._name = name
        self._channel = _open(name, client)
        try:
            if terminal:
                self._channel.get_pty("xterm-256color", SIZE[1], SIZE[0])
                self._channel.set_combine_stderr(True)
            self._channel.exec_command(command)
        except Exception as error:  # noqa: BLE001 - as in `_open`
            raise lost(name, error) from None

    def fileno(self) -> int:
        """Readable while there is something to receive."""
        return self._channel.fileno()

    def receive(self) -> bytes:
        """What has come; nothing at its end."""
        try:
            return self._channel.recv(32_768)
        except OSError as error:
            raise lost(self._name, error) from None

    def send(self, data: bytes) -> None:
        """Give it bytes to read."""
        try:
            self._channel.sendall(data)
        except OSError as error:
            raise lost(self._name, error) from None

    def ended(self) -> int | None:
        """Its exit code once it has ended."""
        if self._channel.exit_status_ready():
            code = self._channel.recv_exit_status()
            return 255 if code < 0 else code
        return 255 if self._channel.closed else None

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(Exception):
            self._channel.close()


class Terminal:
    """A program of this machine on a terminal of its own: `@local`'s, or what leads into a container or a root directory."""

    def __init__(self, argv: list[str]) -> None:
        launched = launch_local(argv, {**os.environ, "TERM": "xterm-256color"}, os.getcwd(), {}, SIZE)
        self._pid, self._master, self._code = launched.pid, launched.master, -1

    def fileno(self) -> int:
        """Readable while there is something to receive."""
        return self._master

    def receive(self) -> bytes:
        """What has come; nothing at its end."""
        try:
            return os.read(self._master, 32_768)
        except OSError:  # EIO: the last holder of the terminal has gone
            return b""

    def send(self, data: bytes) -> None:
        """Give it bytes to read."""
        _write(self._master, data)

    def ended(self) -> int | None:
        """Its exit code once it has ended."""
        if self._code < 0:
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(self._pid, os.WNOHANG)
                if pid:
                    code = os.waitstatus_to_exitcode(status)
                    self._code = code if code >= 0 else 128 - code
        return self._code if self._code >= 0 else None

    def close(self) -> None:
        """Hang up."""
        if self._master < 0:
            return
        os.close(self._master)
        self._master = -1
        for number in (signal.SIGHUP, signal.SIGKILL):
            deadline = time.monotonic() + 0.3
            while self.ended() is None and time.monotonic() < deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, number)
                time.sleep(0.005)


class Pipes:
    """The same on pipes, without a terminal."""

    def __init__(self, argv: list[str]) -> None:
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, start_new_session=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def fileno(self) -> int:
        """Readable while there is something to receive."""
        return self._out.fileno()

    def receive(self) -> bytes:
        """What has come; nothing at its end."""
        return self._out.read(32_768) or b""

    def send(self, data: bytes) -> None:
        """Give it bytes to read."""
        _write(self._in.fileno(), data)

    def ended(self) -> int | None:
        """Its exit code once it has ended."""
        code = self._process.poll()
        return None if code is None else code if code >= 0 else 128 - code

    def close(self) -> None:
        """Hang up."""
        self._in.close()
        self._out.close()
        try:
            self._process.wait(0.3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:
                select.select([], [descriptor], [], 1)
    except OSError as error:
        raise Unreachable(f"the program on this machine has ended: {error}", kind="lost") from None


def alive(client: SSHClient) -> bool:
    """Is the connection up, as far as is known here?"""
    transport = client.get_transport()
    return transport is not None and transport.is_active()


def _open(name: str, client: SSHClient) -> paramiko.Channel:
    transport = client.get_transport()
    if transport is None or not transport.is_active():
        raise lost(name, "the connection is down")
    try:
        return transport.open_session(timeout=SSH_OPENING_S)
    except Exception as error:  # noqa: BLE001 - EOFError, SSHException, OSError: it is lost, whatever paramiko calls it
        raise lost(name, error) from None


def run_channel(name: str, client: SSHClient, command: str, stdin: bytes, limit: int | None, seconds: float | None) -> Ran:
    """Run a command on a channel of its own to its end. Raises Unreachable."""
    channel = _open(name, client)
    until = time.monotonic() + seconds if seconds is not None else None
    try:
        channel.settimeout(seconds)
        channel.exec_command(command)
        if stdin:
            channel.sendall(stdin)
        channel.shutdown_write()
        pieces: list[bytes] = []
        size = 0
        while data := channel.recv(65_536):
            pieces.append(data)
            size += len(data)
            if limit is not None and size >= limit:
                return Ran(0, b"".join(pieces)[:limit])
            if until is not None and time.monotonic() > until:
                raise lost(name, f"it took more than {seconds:.0f} s")
        errors = b"".join(iter(lambda: channel.recv_stderr(65_536), b""))
        code = channel.recv_exit_status()
    except Unreachable:
        raise
    except Exception as error:  # noqa: BLE001 - as in `_open`
        raise lost(name, str(error) or f"it took more than {seconds} s") from None
    finally:
        channel.close()
    if code < 0 and not alive(client):
        raise lost(name, "the connection broke while it worked")
    return Ran(code, b"".join(pieces), errors.decode("utf-8", "replace"))
