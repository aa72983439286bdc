"""Cutting a piece of work at its Nth change of the disk: killed, or refused by the system."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

from skillrun.view import swap, transaction

POINTS = [
    (os, name)
    for name in (
        "rename", "unlink", "link", "mkdir", "rmdir", "chmod", "chown", "utime",
        "setxattr", "removexattr", "fsync", "ftruncate", "pwrite", "symlink",
    )
] + [(swap, "rename"), (transaction, "sync_file_system")]  # fmt: skip


def cut(work: Callable[[], object], at: int, then: Callable[[], None]) -> tuple[int, int]:
    """Run `work` in a child that calls `then` at its Nth change; (exit status as waitpid gives it, changes seen).

    The child's status is 0 when the work ended well and 1 when it raised.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _watch(at, then, writer)
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


def _watch(at: int, then: Callable[[], None], writer: int) -> None:
    count = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            os.write(writer, b".")
            if count == at:
                then()
            return original(*args, **options)

        return call

    for module, name in POINTS:
        setattr(module, name, counted(getattr(module, name)))


def die() -> None:
    """kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)
