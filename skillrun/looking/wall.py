"""The wall a look stands behind, as the run sees it: what this machine has, how a program is started there, what it tried."""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from skillrun.looking import passing
from skillrun.looking.readable import Readable, readable
from skillrun.looking.tries import Try
from skillrun.pty.launch import Launched, set_size

_KEEPER = "import sys; sys.path.insert(0, sys.argv[1]); from skillrun.looking.keeper import main; main(int(sys.argv[2]))"
_ROOT = str(Path(__file__).parents[2])
_LONGEST = 10.0
"""Seconds the keeper may take for an answer before the wall counts as broken."""


def means() -> tuple[str, str]:
    """(what holds a look on this machine, why nothing does): one of the two is empty."""
    if sys.platform != "linux":
        return "", "this system has no Landlock and no seccomp"
    if platform.machine() not in ("x86_64", "aarch64"):
        return "", f"the system calls of {platform.machine()} processors are not known here"
    from skillrun.looking import notify
    from skillrun.overlay.kernel import landlock

    version = landlock.landlock_version()
    if version < 1:
        return "", "this kernel has no Landlock, or it is switched off (Linux 5.13, `lsm=` of its command line)"
    why = notify.why_not()
    if why:
        return "", f"seccomp notification does not work here: {why}"
    missing = [text for least, text in ((3, "truncation"), (5, "devices"), (6, "signals")) if version < least]
    by_filter = f"; {', '.join(missing)} by the filter alone" if missing else ""
    return f"Landlock {version} and seccomp{by_filter}", ""


class WallBroken(OSError):
    """The keeper ended or does not answer."""


class Wall:
    """The keeper process, started at the first use. `others`: more places that no look may read."""

    def __init__(self, home: str, others: Sequence[str] = ()) -> None:
        self.home, self.others = home, tuple(others)
        self.cwd = ""
        """Where the next program will look around; empty: where it starts."""
        self.private = tempfile.mkdtemp(prefix="skillrun-look-")
        self.begins = os.path.join(os.path.realpath(self.private), f"begins-{secrets.token_hex(8)}")
        """A command behind a login shell's start-up files opens this for writing first: what they tried is then forgotten."""
        self._keeper: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None
        self._bell = -1
        """Rung by the keeper when there is something to tell: so a look that tried nothing costs no word with it."""
        self._loopback = False
        self._turn = threading.Lock()
        self._readable: Readable | None = None

    def environment(self) -> dict[str, str]:
        """Variables that point programs at private places for what they insist on writing."""
        within = self.private
        caches = ("XDG_CACHE_HOME", "npm_config_cache", "PIP_CACHE_DIR", "GOCACHE", "CCACHE_DIR", "DENO_DIR")
        return {
            "TMPDIR": within,
            "GIT_OPTIONAL_LOCKS": "0",
            "LESSHISTFILE": "-",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HISTFILE": "/dev/null",
            "npm_config_update_notifier": "false",
            **{name: f"{within}/{name.lower()}" for name in caches},
        }

    def fresh(self, cwd: str) -> bool:
        """Is what may be read still what was listed when the shell was started, for a command in this directory?"""
        return self._readable is not None and self._readable.current(cwd)

    def launch(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: str, fds: Mapping[int, int], size: tuple[int, int]
    ) -> Launched:
        """`skillrun.pty.launch.Launcher`: start a program behind the wall. Raises OSError."""
        self._readable = readable(self.home, self.cwd or cwd, self.others)
        master, slave = os.openpty()
        try:
            set_size(master, size)
            variables = [f"{name}={value}" for name, value in {**env, **self.environment()}.items()]
            places = (cwd, os.path.realpath(self.private), self.begins)
            wish = (["start"], argv, variables, places, [str(number) for number in fds], self._readable.trees)
            ((what, said),) = self._ask(wish, [slave, *fds.values()])
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        if what == "error":
            os.close(master)
            raise OSError(f"the shell that only looks did not start: {said}")
        return Launched(int(said), master)

    def begin(self, loopback: bool) -> None:
        """A look begins: what was tried before it is forgotten. `loopback`: it may connect to this machine itself."""
        if self._rung() or loopback != self._loopback:
            self._ask([("begin", "loopback" if loopback else "")], [])
        self._loopback = loopback

    def tried(self) -> list[Try]:
        """What was tried since the look began."""
        keeper = self._keeper
        if not (self._rung() or self._loopback) and keeper is not None and keeper.poll() is None:
            return []
        self._loopback = False
        _, *tries = self._ask([("take",)], [])
        return [Try(*each) for each in tries]

    def end(self) -> None:
        """End what a shell that was closed has left behind."""
        if self._requests is not None:
            with contextlib.suppress(WallBroken):
                self._ask([("end",)], [], answered=False)

    def _rung(self) -> bool:
        try:
            return self._bell >= 0 and os.eventfd_read(self._bell) > 0
        except BlockingIOError:
            return False

    def _ask(self, wish: Sequence[Sequence[str]], files: Sequence[int], answered: bool = True) -> list[list[str]]:
        with self._turn:
            requests = self._requests or self._start()
            try:
                passing.send(requests, passing.packed(*wish), files)
                data = requests.recv(passing.MOST) if answered else passing.packed([])
            except OSError as error:
                raise WallBroken(error.errno or 5, f"the keeper of the looking shell: {error.strerror}") from None
            if not data:
                raise WallBroken(5, "the keeper of the looking shell has ended")
            return passing.unpacked(data)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 21)
        ours.settimeout(_LONGEST)
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        with theirs:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _KEEPER, _ROOT, str(self._bell)],
                pass_fds=[self._bell],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                start_new_session=True,  # what a person presses on the terminal is for the run, which ends it
            )
        self._requests = ours
        return ours

    def close(self) -> None:
        """End the keeper and whatever it started, and remove the private place."""
        if self._requests is not None:
            self._requests.close()
        if self._keeper is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._keeper.wait(1.0)
            if self._keeper.poll() is None:
                self._keeper.kill()
                self._keeper.wait()
        if self._bell >= 0:
            os.close(self._bell)
            self._bell = -1
        shutil.rmtree(self.private, ignore_errors=True)
