"""What the view tests share: a view over this very machine, and ways to look at what it left."""

from __future__ import annotations

import hashlib
import os
import select
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from skillrun.overlay.mount.spec import Account, Spec
from skillrun.overlay.process.supervisor import View, new_id


@contextmanager
def root_view(folder: Path, **wishes: object) -> Iterator[View]:
    """A root view whose run folder is `folder`, ended at the end of the block."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    spec = Spec("R", new_id(), str(folder), Account.current(), **wishes)  # type: ignore[arg-type]
    with View(spec) as view:
        yield view


def run_in(view: View, command: str | Sequence[str], env: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit status and output (both streams) of a command inside a view."""
    argv = ["bash", "-c", command] if isinstance(command, str) else list(command)
    read, write = os.pipe()
    null = os.open("/dev/null", os.O_RDONLY)
    environment = {"PATH": os.environ["PATH"], "HOME": view.spec.account.home, "LC_ALL": "C", **(env or {})}
    spawned = view.spawn(argv, environment, "/", {0: null, 1: write, 2: write})
    os.close(write)
    os.close(null)
    with os.fdopen(read, "rb") as stream:
        output = stream.read().decode("utf-8", "replace")
    select.select([spawned.handle], [], [])
    os.close(spawned.handle)
    status = view.status(spawned.inner)
    assert status is not None
    return status, output


def manifest(places: Iterable[str], leave_out: Iterable[str] = ()) -> dict[str, tuple[object, ...]]:
    """Kind, mode, owner, size, content, link and attributes of everything below some places."""
    skipped = {os.path.realpath(path) for path in leave_out}
    found: dict[str, tuple[object, ...]] = {}
    for place in places:
        for folder, folders, files in os.walk(place):
            folders[:] = [name for name in folders if os.path.join(folder, name) not in skipped]
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                if path not in skipped:
                    found[path] = _facts(path)
    return found


def _facts(path: str) -> tuple[object, ...]:
    status = os.lstat(path)
    facts: tuple[object, ...] = (status.st_mode, status.st_uid, status.st_gid, status.st_ino, status.st_nlink)
    if stat.S_ISREG(status.st_mode):
        content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        names = tuple(sorted(os.listxattr(path, follow_symlinks=False)))
        return (*facts, status.st_size, status.st_mtime_ns, content, names)
    if stat.S_ISLNK(status.st_mode):
        return (*facts, os.readlink(path))
    return facts
