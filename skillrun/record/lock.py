"""One run at a time for each user: two would take each other's work for their own."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from skillrun.record.place import lockable_directory


class Busy(Exception):
    """Another run holds the lock; `holder` says which one and its process id."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"another run is in progress ({holder})")
        self.holder = holder


@contextmanager
def lock(run_id: str, wait: bool = False) -> Iterator[None]:
    """Hold the one-run-at-a-time lock of this user. Raises Busy naming the holder, or waits for it to end."""
    root = lockable_directory()
    holder = root / "lock.holder"
    with open(root / "lock", "a", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise Busy(holder.read_text() if holder.exists() else "unknown holder") from None
        try:
            with suppress(OSError):  # a full disk: who waits then does not learn the name of the holder
                holder.write_text(f"run {run_id}, process {os.getpid()}")
            yield
        finally:
            holder.unlink(missing_ok=True)
