"""This machine, as the user skillrun runs as."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from skillrun.pty.environment import Login, command_environment, login_environment, shell_of
from skillrun.pty.launch import Launcher, launch_local
from skillrun.pty.session import Limits, Session
from skillrun.pty.umask import own_umask
from skillrun.secrets import Vault


class LocalTarget(Session):
    """Commands run here and at once. `env` is the person's environment; what is in it and secret must be granted."""

    name = "local"
    tier = "live"
    contained = False
    here = True

    def __init__(
        self,
        outputs: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        launcher: Launcher = launch_local,
        vault: Vault | None = None,
        granted: Iterable[str] = (),
        keep: Iterable[str] = (),
        limits: Limits | None = None,
        password: Callable[[str], str | None] | None = None,
    ) -> None:
        env = os.environ if env is None else env
        user, home, shell = _account(env)
        super().__init__(
            outputs,
            command_environment(env, granted),
            cwd or os.getcwd(),
            Login(shell, home, login_environment(env, user, home, shell)),
            launcher=launcher,
            vault=vault,
            limits=limits,
            keep=keep,
            password=password,
        )

    def get(self, path: str, limit: int | None = None) -> bytes:
        """A file's bytes, the first `limit` of them. A relative path starts at the shell's directory. Raises OSError."""
        with open(os.path.join(self.cwd, path), "rb") as file:
            return file.read(-1 if limit is None else limit)

    def put(self, path: str, data: bytes, mode: int | None = None) -> None:
        """Write a file whole or not at all; an existing file keeps its mode unless one is given. Raises OSError."""
        target = Path(os.path.realpath(os.path.join(self.cwd, path)))
        if mode is None:
            try:
                mode = stat.S_IMODE(target.stat().st_mode)
            except FileNotFoundError:
                mode = 0o666 & ~(int(self._state.umask, 8) if self._state.umask else own_umask())
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)
                with contextlib.suppress(OSError):  # root keeps a file with whom it belongs to
                    owner = target.stat()
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        with contextlib.suppress(OSError):
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _account(env: Mapping[str, str]) -> tuple[str, str, str]:
    """(name, home, login shell) of the user this process runs as."""
    try:
        entry = pwd.getpwuid(os.getuid())
        user, home, shell = entry.pw_name, env.get("HOME") or entry.pw_dir, entry.pw_shell
    except KeyError:
        user, home, shell = env.get("USER") or str(os.getuid()), env.get("HOME", "/"), ""
    return user, home, shell_of(shell)
