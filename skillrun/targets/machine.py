"""A throw-away machine as a target: the loop stays outside, its commands run in the machine's own namespaces."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from skillrun.overlay.process.supervisor import ViewError
from skillrun.pty.environment import Login, command_environment, login_environment, shell_of
from skillrun.pty.launch import Launched
from skillrun.pty.session import Session
from skillrun.sandbox.machine import PATH, Machine
from skillrun.secrets import Vault


class MachineTarget(Session):
    """Commands run as the machine's user; what they change is gone with the machine."""

    name = "throw-away machine"
    tier = "M"
    contained = False
    """Judged like a real machine: what is tested is what a person's machine would be asked."""
    here = False

    def __init__(self, machine: Machine, outputs: Path, *, vault: Vault | None = None) -> None:
        self.machine = machine
        account = machine.account
        own = {"PATH": PATH, "HOME": account.home, "USER": account.name, "LOGNAME": account.name, **machine.env}
        shell = shell_of(self._shell_of(account.name))
        login = Login(shell, account.home, login_environment(own, account.name, account.home, shell))
        super().__init__(outputs, command_environment(own), account.home, login, launcher=self._launch, vault=vault)

    def _shell_of(self, user: str) -> str:
        """The login shell that the machine's own list of accounts names for a user; empty where it names none."""
        with os.fdopen(self.machine.view.open("/etc/passwd"), encoding="utf-8", errors="surrogateescape") as accounts:
            rows = (line.rstrip("\n").split(":") for line in accounts)
            return next((row[6] for row in rows if row[0] == user and len(row) > 6), "")

    def get(self, path: str, limit: int | None = None) -> bytes:
        """A file's bytes as the user sees them inside. Raises OSError."""
        with os.fdopen(self.machine.view.open(os.path.join(self.cwd, path)), "rb") as file:
            return file.read(-1 if limit is None else limit)

    def put(self, path: str, data: bytes, mode: int | None = None) -> None:
        """Write a file inside, whole or not at all, as the user. Raises OSError."""
        self.machine.view.write(os.path.join(self.cwd, path), data, mode)

    def _launch(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: str, fds: Mapping[int, int], size: tuple[int, int]
    ) -> Launched:
        try:
            spawned = self.machine.view.spawn(argv, env, cwd, fds, size)
        except ViewError as error:
            raise OSError(error.errno or 5, str(error)) from None
        os.close(spawned.handle)
        assert spawned.master is not None
        return Launched(spawned.pid, spawned.master)
