"""A container engine, Podman or Docker, by the words both know: images, and containers that end with who started them.

A container here is only the ground a machine stands on. What runs in it is started by the view's own first process, which
joins the container's namespaces and gives up the same powers as in a machine without an engine; so the engine has to be on
this machine, and this process root.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from skillrun.overlay.mount.spec import Furnishing

NAMES = ("podman", "docker")
_STARTED_WITHIN_S = 60
# It reaps what is left to it, and ends when its standard input does: with the process that started it, SIGKILL included.
_FIRST_PROCESS = ("bash", "-c", 'exec -a /sbin/init bash -c "trap : TERM; read -r end"')


class EngineError(Exception):
    """A container engine is not there or refused: what was asked of it, and the end of what it said."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image, and what has to be known of it outside."""

    engine: Engine
    tag: str
    files: Path
    """A directory with a copy of some of its files: etc/passwd, etc/group, etc/apt."""


class Engine:
    """One engine's command line. Raises EngineError when it is not there."""

    def __init__(self, name: str) -> None:
        program = shutil.which(name)
        if program is None:
            raise EngineError(f"{name} is not installed")
        self.name = name
        self.program = program

    def ask(self, *words: str, stdin: int | None = None, timeout: float = 600) -> str:
        """What it prints. Raises EngineError when it ends with another code than 0."""
        done = subprocess.run(
            [self.program, *words], stdin=subprocess.DEVNULL if stdin is None else stdin, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip
        if done.returncode:
            told = "\n".join((done.stderr or done.stdout).strip().splitlines()[-4:])
            raise EngineError(f"{self.name} {words[0]} ended with {done.returncode}: {told}")
        return done.stdout.strip()

    def has(self, tag: str) -> bool:
        """Is there such an image here?"""
        try:
            self.ask("image", "inspect", "--format", "{{.Id}}", tag)
        except EngineError:
            return False
        return True

    def load(self, root: Path, tag: str) -> None:
        """Make an image of a root directory. Raises EngineError."""
        with subprocess.Popen(["tar", "--numeric-owner", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as packed:
            assert packed.stdout
            self.ask("import", "-", tag, stdin=packed.stdout.fileno())
        if packed.returncode:
            raise EngineError(f"{root} could not be packed for {self.name}")

    def fetch(self, name: str, tag: str) -> None:
        """Have an image of a registry (or of this machine) under a tag of ours. Raises EngineError."""
        if not self.has(name):
            self.ask("pull", "-q", name)
        self.ask("tag", name, tag)

    def export(self, tag: str, root: Path) -> None:
        """Unpack an image into a directory. Raises EngineError, also when it is not here and cannot be fetched."""
        if not self.has(tag):
            self.ask("pull", "-q", tag)
        name = self.ask("create", tag, "true")
        try:
            root.mkdir(exist_ok=True)
            words = [self.program, "export", name]
            with subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as packed:
                unpacked = subprocess.run(["tar", "--numeric-owner", "-C", str(root), "-xp"], stdin=packed.stdout, check=False)
            if packed.returncode or unpacked.returncode:
                raise EngineError(f"{self.name} could not export {tag}")
        finally:
            self.ask("rm", "-f", name)

    def copy_out(self, container: Container, path: str, to: Path) -> None:
        """A file or directory of a container, to a place here. Raises EngineError."""
        self.ask("cp", f"{container.name}:{path}", str(to))

    def commit(self, container: Container, tag: str) -> None:
        """Keep what a container has become as an image. Raises EngineError."""
        self.ask("commit", "--pause=false", container.name, tag)


class Container:
    """A running container without a network, until `close` or until this process ends. Raises EngineError."""

    def __init__(self, image: Image, machine: Furnishing) -> None:
        if machine.disk_mb:
            raise EngineError(f"{image.engine.name} gives no disk of {machine.disk_mb} MB; `--engine namespaces` does")
        self.engine = image.engine
        self.name = f"machine-{secrets.token_hex(6)}"
        words = ["run", "--rm", "-i", "--pull=never", "--network=none", "--hostname=box", f"--name={self.name}"]
        words += ["--tmpfs=/run:rw,nosuid,nodev,mode=755,size=64m"]
        if machine.tmp_options:
            words.append(f"--tmpfs=/tmp:rw,mode=1777,{machine.tmp_options}")
        words += [f"--volume={outside}:{inside}:ro" for outside, inside in machine.binds]
        self._process = subprocess.Popen(
            [image.engine.program, *words, image.tag, *_FIRST_PROCESS],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            self.pid = self._wait()
        except BaseException:
            self.close()
            raise

    def _wait(self) -> int:
        """Until it runs: its first process, as counted here."""
        end = time.monotonic() + _STARTED_WITHIN_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                assert self._process.stderr
                raise EngineError(f"{self.engine.name} run: {self._process.stderr.read().strip()[-400:]}")
            try:
                pid = int(self.engine.ask("inspect", "--format", "{{.State.Pid}}", self.name))
            except EngineError:
                pid = 0  # not made yet
            if pid > 0 and os.path.exists(f"/proc/{pid}"):
                return pid
            time.sleep(0.1)
        raise EngineError(f"{self.engine.name} started no container within {_STARTED_WITHIN_S} s")

    def close(self) -> None:
        """End it; nothing of it stays. Safe to call twice."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.engine.ask("rm", "-f", self.name)
                self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()


def find_engine(name: str) -> Engine | None:
    """The engine to make machines with; None: namespaces of our own.

    `name`: namespaces, podman, docker, or auto: namespaces where they can be had, else the first engine there is.
    Raises EngineError.
    """
    if name == "auto":
        from skillrun.overlay.process.probe import probe

        there = [engine for engine in NAMES if shutil.which(engine)]
        if probe().tier == "R" or not there:
            return None
        name = there[0]
    return None if name == "namespaces" else Engine(name)
