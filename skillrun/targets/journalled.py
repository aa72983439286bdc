"""This machine, for real, with every file saved the moment before it changes, so that the run can be undone.

For machines that cannot do a copy-on-write view. It is not a dry run and never calls itself one: effects
are live while it runs. What could not be looked into is counted, and said.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from skillrun.overlay.kernel import seccomp
from skillrun.overlay.kernel.syscalls import in_child
from skillrun.overlay.mount.spec import Account
from skillrun.overlay.process.exec import execute, take_files
from skillrun.overlay.record.recorder import Recorder
from skillrun.pty.environment import Login, command_environment, login_environment
from skillrun.pty.launch import Launched, set_size
from skillrun.pty.session import Limits, Session
from skillrun.secrets import Vault


class JournalledTarget(Session):
    """Commands run here and at once, under notification. `changes/` in the run folder holds the way back."""

    name = "journalled"
    tier = "J"
    contained = False
    here = True

    def __init__(
        self,
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        granted: Sequence[str] = (),
        vault: Vault | None = None,
        limits: Limits | None = None,
        keep: Sequence[str] = (),
    ) -> None:
        """Raises OSError where the kernel has no notifications."""
        reason = seccomp.try_notifications()
        if reason:
            raise OSError(38, f"this machine cannot journal a run: {reason}")
        env = os.environ if env is None else env
        account = Account.current()
        shell = account.shell()
        (folder / "changes").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._recorder: Recorder | None = Recorder(folder / "changes")
        self.heard = self.unread = 0
        super().__init__(
            folder / "outputs",
            command_environment(env, granted),
            cwd or os.getcwd(),
            Login(shell, account.home, login_environment(env, account.name, account.home, shell)),
            launcher=self._launch,
            vault=vault,
            limits=limits,
            keep=keep,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person must know of this run."""
        notes = ["every command runs for real, at once; files are saved before they change, so that the run can be undone"]
        if os.geteuid() != 0:
            notes.append("sudo cannot work here; start skillrun itself with sudo where root rights are needed")
        recorder = self._recorder
        unread = recorder.unread if recorder is not None else self.unread
        if unread:
            notes.append(f"the journal is incomplete: {unread} events could not be read, undo will not take them back")
        return tuple(notes)

    def get(self, path: str, limit: int | None = None) -> bytes:
        """A file's bytes, the first `limit` of them. Raises OSError."""
        with open(os.path.join(self.cwd, path), "rb") as file:
            return file.read(-1 if limit is None else limit)

    def put(self, path: str, data: bytes, mode: int | None = None) -> None:
        """Write a file whole or not at all, saved before like any other change. Raises OSError."""
        target = os.path.realpath(os.path.join(self.cwd, path))
        if mode is None:
            mode = os.stat(target).st_mode & 0o7777 if os.path.exists(target) else 0o644
        assert self._recorder is not None
        self._recorder.will_replace(target)
        beside = f"{target}.skillrun-{os.getpid()}"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.replace(beside, target)
        except BaseException:
            os.unlink(beside)
            raise

    def close(self) -> None:
        """End what was started and finish the journal."""
        super().close()
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.stop()
            self.heard, self.unread = recorder.heard, recorder.unread

    def _launch(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: str, fds: Mapping[int, int], size: tuple[int, int]
    ) -> Launched:
        assert self._recorder is not None
        ours, theirs = socket.socketpair()
        master, slave = os.openpty()

        def child() -> None:
            take_files(list(fds.values()), list(fds), slave)
            listener = seccomp.install()
            socket.send_fds(theirs, [b"+"], [listener])
            execute(argv, env, (cwd, "/"))

        try:
            set_size(master, size)
            pid = os.fork()
            if pid == 0:
                in_child(child)
            theirs.close()
            listeners = socket.recv_fds(ours, 1, 1)[1]
            if not listeners:
                raise OSError(38, "the shell could not be put under notification")
            self._recorder.add(listeners[0])
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
            theirs.close()
            ours.close()
        return Launched(pid, master)
