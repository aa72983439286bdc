"""Cutting a piece of work at its Nth change of the disk: killed, or refused by the system."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any

from skillrun.overlay.transaction import exchange, workspace

POINTS = [
    (os, name)
    for name in (
        "rename", "unlink", "link", "mkdir", "rmdir", "chmod", "chown", "utime",
        "setxattr", "removexattr", "fsync", "ftruncate", "pwrite", "symlink",
    )
] + [(exchange, "rename"), (workspace, "sync_file_system")]  # fmt: skip


def cut(work: Callable[[], object], at: int, then: Callable[[], None], forever: bool = False) -> tuple[int, int]:
    """Run `work` in a child that calls `then` at its Nth change (`forever`: and at every later one).

    Returns the exit status as waitpid gives it, and the number of changes seen.

    The child's status is 0 when the work ended well and 1 when it raised.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _watch(at, then, writer, forever)
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - a child must never come back into the test
            if os.environ.get("SHOW"):
                traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    seen = 0
    while chunk := os.read(reader, 65536):
        seen += len(chunk)
    os.close(reader)
    return os.waitpid(child, 0)[1], seen


def _watch(at: int, then: Callable[[], None], writer: int, forever: bool) -> None:
    count = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            os.write(writer, b".")
            if count == at or (forever and 0 < at < count):
                then()
            return original(*args, **options)

        return call

    for module, name in POINTS:
        setattr(module, name, counted(getattr(module, name)))


def die() -> None:
    """kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(number: int) -> Callable[[], None]:
    """The system says no, with this errno."""

    def then() -> None:
        raise OSError(number, os.strerror(number))

    return then


def kill_after(work: Callable[[], object], seconds: float) -> int:
    """Run `work` in a child and kill it after a time, whatever it is doing; its status as waitpid gives it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - a child must never come back into the test
            os._exit(1)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]
