"""A plain `bash` behind ports.Target, for tests that need a real shell and nothing else of the house."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from skillrun.events import Result, State
from skillrun.ports import Command, Stream
from skillrun.secrets import Vault


class BashTarget:
    """One bash over a pipe that keeps directory and exports; no terminal, so nothing ever waits.

    `argv` is the command that starts a shell (a chroot, a namespace, another user).
    """

    tier, contained, here = "test", True, False

    def __init__(self, argv: tuple[str, ...] = ("bash",), env: Mapping[str, str] | None = None, name: str = "test") -> None:
        self.name = name
        self.vault = Vault()
        self._login = (*argv, "-l")
        self._env = dict(os.environ if env is None else env)
        self._shell = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._env,
            errors="replace",
        )

    @property
    def cwd(self) -> str:
        """Where it was started; not followed."""
        return os.getcwd()

    @property
    def variables(self) -> Mapping[str, str]:
        """What the shell was started with."""
        return self._env

    def run(self, command: Command) -> Stream:
        """Run it with standard input at its end; a login command gets a shell of its own."""
        if command.login:
            done = subprocess.run(
                self._login, input=command.text, capture_output=True, text=True, env=self._env, timeout=120, errors="replace"
            )
            return Result(State.EXITED, done.returncode, done.stdout + done.stderr)
        mark = uuid.uuid4().hex
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{{ eval {_quote(command.text)}; }} </dev/null 2>&1\nprintf '\\n%s %s\\n' {mark} $?\n")
        self._shell.stdin.flush()
        lines: list[str] = []
        for line in self._shell.stdout:
            if line.startswith(mark):
                return Result(State.EXITED, int(line.split()[1]), "".join(lines).removesuffix("\n"))
            lines.append(line)
        return Result(State.ERROR, None, "".join(lines) + "the shell ended")
        yield  # a Stream without events

    def answer(self, text: str) -> Stream:
        """Nothing waits here."""
        raise NotImplementedError(text)

    def wait(self, quiet_s: float | None = None) -> Stream:
        """Nothing waits here."""
        raise NotImplementedError

    def interrupt(self) -> Stream:
        """Nothing waits here."""
        raise NotImplementedError

    def output_of(self, job: str) -> Result:
        """No background jobs here."""
        raise KeyError(job)

    def get(self, path: str, limit: int | None = None) -> bytes:
        """A file's bytes."""
        with Path(path).open("rb") as file:
            return file.read(-1 if limit is None else limit)

    def put(self, path: str, data: bytes, mode: int | None = None) -> None:
        """Write a file."""
        Path(path).write_bytes(data)
        if mode is not None:
            Path(path).chmod(mode)

    def end_background(self) -> list[str]:
        """Nothing runs in the background here."""
        return []

    def left_running(self) -> list[tuple[int, str]]:
        """Nothing runs in the background here."""
        return []

    def close(self) -> None:
        """End the shell."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.close()
        self._shell.stdout.close()
        self._shell.wait(timeout=10)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
