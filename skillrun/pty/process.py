"""One bash that lives through many commands, and its sibling that lives for a single one.

Neither is assumed to be a child of this process: its end is seen on a pidfd (or by its terminal
hanging up), its exit code on the report channel, and only as a last resort through waitpid.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from secrets import token_hex

from skillrun.pty import protocol
from skillrun.pty.launch import Launcher
from skillrun.pty.protocol import Report, ShellState
from skillrun.pty.terminal import Terminal

DRAIN_EVERY_S, DRAIN_AGAIN_S = 0.1, 0.01
"""How often an idle shell's terminal is emptied, and how soon again while there is something."""

DRAINED = 65_536
"""Bytes kept of what programs in the background wrote while no command ran: the latest."""

SETTLE_S = 0.5
"""How long a report may wait for the output that was written before it."""

REPORTING_S = 0.01
"""How long at most one sleeps while a report is on its way."""

HUNG_UP_S = 0.02
"""How often one looks at a program that has closed its terminal."""


def _text_file() -> int:
    """A descriptor for text that must not reach a disk where that can be had."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("skillrun", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _rewrite(descriptor: int, data: bytes) -> None:
    os.ftruncate(descriptor, 0)
    view, written = memoryview(data), 0
    while written < len(data):
        written += os.pwrite(descriptor, view[written:], written)
    os.lseek(descriptor, 0, os.SEEK_SET)


class Watched:
    """A program on a terminal with a report channel. `report` is set once it has said how it ended."""

    def __init__(
        self,
        launcher: Launcher,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        fds: Mapping[int, int],
        size: tuple[int, int],
        report_fd: int = protocol.REPORT_FD,
    ) -> None:
        self._reports, report_end = os.pipe()
        os.set_blocking(self._reports, False)
        try:
            launched = launcher(argv, env, cwd, {**fds, report_fd: report_end}, size)
        except BaseException:
            os.close(self._reports)
            raise
        finally:
            os.close(report_end)
        self.pid = launched.pid
        self.began = time.monotonic()
        self.terminal = Terminal(launched.master)
        self._pidfd = _pidfd(self.pid)
        self._poll = select.poll()
        for descriptor in (launched.master, self._reports, self._pidfd):
            if descriptor >= 0:
                self._poll.register(descriptor, select.POLLIN)
        self._ready: set[int] = set()
        self._received = b""
        self._held = b""
        self._typing = b""
        self.report: Report | None = None
        self.dead = False
        self._closed = False

    def wait(self, timeout_s: float, also: Sequence[int] = ()) -> list[int]:
        """Sleep until there is something to read or the program ended. Returns those of `also` that are ready."""
        poll, master = self._poll, self.terminal.master
        for descriptor in also:
            poll.register(descriptor, select.POLLIN)
        if self.terminal.hung_up:
            with contextlib.suppress(KeyError):
                poll.unregister(master)
            timeout_s = min(timeout_s, HUNG_UP_S)
        elif self._typing:
            poll.modify(master, select.POLLIN | select.POLLOUT)
        if self._received:
            # Half a report: the mark that follows it on the terminal is what to wake up for.
            poll.unregister(self._reports)
            timeout_s = min(timeout_s, REPORTING_S)
        ready = {descriptor for descriptor, _ in poll.poll(max(0.0, timeout_s) * 1000)}
        if self._received:
            poll.register(self._reports, select.POLLIN)
            ready.add(self._reports)
        for descriptor in also:
            poll.unregister(descriptor)
        if self._typing and not self.terminal.hung_up:
            poll.modify(master, select.POLLIN)
            self._typing = self.terminal.type(self._typing)
        self._ready = ready
        return [descriptor for descriptor in also if descriptor in ready]

    def type(self, data: bytes) -> None:
        """Type at the program; what does not fit at once follows while it is waited for."""
        self._typing = self.terminal.type(self._typing + data)

    def flow(self, until: float) -> Iterator[bytes]:
        """Output that is nothing but text, piece by piece while it flows; what ended it is left to `read`."""
        if not self._held:
            self._held = yield from self.terminal.flow(until)

    def read(self) -> bytes:
        """Output since the last read; notices a report or the program's end that `wait` woke up for."""
        data = self.terminal.read()
        if self._held:
            data, self._held = self._held + data, b""
        # After the terminal and not before: a report is written before the mark that follows it in the output.
        if self._reports in self._ready:
            self._receive()
        if self.report is None and not self.dead and (self._pidfd < 0 or self._pidfd in self._ready):
            self._receive()
            self.dead = not self._alive()
            if self.dead:
                data += self.terminal.drain()
        return data

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._reports, 65536):
                self._received += piece

    def _alive(self) -> bool:
        if self._pidfd >= 0:
            return not select.select([self._pidfd], [], [], 0)[0]
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return self._exit_code(keep=True) is None

    def _exit_code(self, keep: bool = False) -> int | None:
        """The exit code as a parent may learn it, in the shell's way of counting signals."""
        flags = os.WEXITED | os.WNOHANG | (os.WNOWAIT if keep else 0)
        with contextlib.suppress(ChildProcessError):
            if info := os.waitid(os.P_PID, self.pid, flags):
                return info.si_status if info.si_code == os.CLD_EXITED else 128 + info.si_status
        return None

    def close(self) -> None:
        """End the program and hang up. The rest of its tree is the caller's to end."""
        if self._closed:
            return
        self._closed = True
        for number in (signal.SIGHUP, signal.SIGKILL):
            if self._alive():
                with contextlib.suppress(OSError):
                    os.kill(self.pid, number)
                self._wait_dead(0.2)
        self._exit_code()
        self.terminal.close()
        for descriptor in (self._reports, self._pidfd):
            if descriptor >= 0:
                os.close(descriptor)
        self._pidfd = -1

    def _wait_dead(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self._alive() and time.monotonic() < deadline:
            self.terminal.drain()  # a program cannot end while its last words find no room
            time.sleep(0.002)


def _pidfd(pid: int) -> int:
    with contextlib.suppress(AttributeError, OSError):
        return os.pidfd_open(pid)
    return -1


class Bash(Watched):
    """A bash that carries out one command after the other. Raises OSError when it cannot be started."""

    def __init__(
        self, launcher: Launcher, env: Mapping[str, str], cwd: str, size: tuple[int, int], program: str = "bash"
    ) -> None:
        self._exit_token = token_hex(8)
        self._exit_mark = protocol.exit_mark(self._exit_token)
        self._token = ""
        self._end_mark = protocol.end_mark("")
        self._last_words = b""
        self._state = ShellState(cwd)
        self._text_size = 0
        self._text, self._stdin = _text_file(), _text_file()
        go, self._go = os.pipe()
        argv = [program, "--noprofile", "--norc", "-c", protocol.driver(self._exit_token), "bash"]
        fds = {protocol.GO_FD: go, protocol.TEXT_FD: self._text, protocol.STDIN_FD: self._stdin}
        try:
            super().__init__(launcher, argv, env, cwd, fds, size)
        except BaseException:
            for descriptor in (self._text, self._stdin, self._go):
                os.close(descriptor)
            raise
        finally:
            os.close(go)
        self._idle = False
        self._turn = threading.Lock()
        self._ending = threading.Event()
        self._drainer = threading.Thread(target=self._drain, name="idle shell", daemon=True)
        self._drainer.start()

    def _drain(self) -> None:
        """While no command runs here, programs in the background must not stand still because nobody reads them."""
        pause = DRAIN_EVERY_S
        while not self._ending.wait(pause):
            pause = min(2 * pause, DRAIN_EVERY_S)
            with self._turn:
                if self._idle and not self.terminal.hung_up and (data := self.terminal.drain()):
                    self._held = (self._held + data)[-DRAINED:]
                    pause = DRAIN_AGAIN_S

    def send(self, text: str, stdin: str | None = None) -> None:
        """Start a command. The one before must have been reported."""
        with self._turn:
            self._idle = False
        self._token = token_hex(8)
        self._end_mark = protocol.end_mark(self._token)
        self._received, self.report = b"", None
        written = text.encode("utf-8", "surrogateescape") + b"\0"
        _rewrite(self._text, written)
        self._text_size = len(written)
        if stdin is not None:
            _rewrite(self._stdin, stdin.encode("utf-8", "surrogateescape"))
        with contextlib.suppress(BrokenPipeError):
            os.write(self._go, f"{'go' if stdin is None else 'stdin'}\n{self._token}".encode())

    def flow(self, until: float) -> Iterator[bytes]:
        """Output that is nothing but text, piece by piece while it flows; what ended it is left to `read`."""
        if not self._last_words:
            yield from super().flow(until)

    def read(self) -> bytes:
        """Output of the command, without what the driver wrote; sets `report` or `dead`."""
        data = self._without_last_words(super().read())
        if b"\33" in data and self._end_mark in data:
            self._receive()  # it was written before the mark, and perhaps after `wait` had looked
        expected = self._received and self.report is None and self._token
        if expected and (code := protocol.read_status(self._received, self._token)) is not None:
            self._state = protocol.read_state(self._behind_text()) or self._state
            self.report = Report(code, self._state)
            data = self._up_to_mark(data)
            self._idle = True
        return data

    def _behind_text(self) -> bytes:
        return os.pread(self._text, os.fstat(self._text).st_size, self._text_size)

    def _up_to_mark(self, data: bytes) -> bytes:
        """The output up to the end of the command. What daemons write after it belongs to the next one."""
        mark = self._end_mark
        data, self._held = data + self._held, b""
        deadline = time.monotonic() + SETTLE_S
        while mark not in data and not self.terminal.hung_up and (left := deadline - time.monotonic()) > 0:
            select.select([self.terminal.master], [], [], left)
            data += self.terminal.read()
        before, _, after = data.partition(mark)
        self._held = after
        return before

    def _without_last_words(self, data: bytes) -> bytes:
        """Keep what the dying shell says of itself out of the output."""
        if self._last_words:
            self._last_words += data
            data = b""
        elif b"\33" in data:
            begin = data.find(self._exit_mark)
            if begin < 0 and not self.dead:
                begin = data.rfind(b"\33", -len(self._exit_mark))
                tail = data[begin:]
                if begin >= 0 and any(mark.startswith(tail) and mark != tail for mark in (self._exit_mark, self._end_mark)):
                    self._held = tail
                    return data[:begin]
                begin = -1
            if begin >= 0:
                self._last_words, data = data[begin:], data[:begin]
        if self._last_words and (end := self._last_words.find(b"\7")) >= 0 and not self.dead:
            data += self._last_words[end + 1 :]  # it is not dead after all, or not yet
            self._last_words = self._last_words[: end + 1]
        return data

    def last_report(self, before: ShellState) -> Report:
        """What is known of a shell that died: its own last words, else its exit status and the state before."""
        code = self._exit_code()
        words = self._last_words.removeprefix(self._exit_mark).rpartition(b"\7")[0].replace(b"\r\n", b"\n")
        if (report := protocol.read_last_words(words)) is not None:
            return report if code is None else Report(code, report.state)
        return Report(255 if code is None else code, before)

    def close(self) -> None:
        """End the shell and hang up."""
        if not self._closed:
            self._ending.set()
            self._drainer.join()
            for descriptor in (self._text, self._stdin, self._go):
                os.close(descriptor)
        super().close()


class Once(Watched):
    """A program that runs one command line and ends: login shells, jobs in the background."""

    def __init__(
        self, launcher: Launcher, argv: Sequence[str], env: Mapping[str, str], cwd: str, size: tuple[int, int]
    ) -> None:
        # The program may do to its descriptors what it likes: the sh around it is what reports.
        around = 'trap : INT QUIT TSTP; ( trap - INT QUIT TSTP; exec "$@" 9>&- ); echo $? >&9'
        super().__init__(launcher, ["sh", "-c", around, "sh", *argv], env, cwd, {}, size, report_fd=9)
        self._cwd = cwd

    def read(self) -> bytes:
        """Output of the program; sets `report` or `dead`."""
        data = super().read()
        if self.report is None and self._received.endswith(b"\n"):
            self.report = Report(int(self._received), ShellState(self._cwd))
            deadline = time.monotonic() + SETTLE_S
            while not self.terminal.hung_up and not self.dead and time.monotonic() < deadline:
                select.select([self.terminal.master], [], [], 0.02)
                data += self.terminal.read()
                self.dead = not self._alive()
            data += self.terminal.drain()
        return data

    def last_report(self, before: ShellState) -> Report:
        """What is known of a program whose sh was killed around it."""
        code = self._exit_code()
        return Report(255 if code is None else code, before)
