"""The project inside a throw-away machine: a root that is an overlay, in a user namespace, its mounts locked."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skillrun.sandbox.base import layers_of
from skillrun.sandbox.machine import Machine

ROOT = Path(__file__).parents[1]
CODE, PACKAGES = "/code", "/packages"
ENVIRONMENT = {"PYTHONPATH": f"{CODE}:{PACKAGES}", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C", "NO_COLOR": "1"}


@contextmanager
def box(user: str = "dev", name: str = "debian-12", network: str = "none", **furnishing: object) -> Iterator[Machine]:
    """A machine that has this checkout and what it depends on, read-only; `python3 -m skillrun` works in it."""
    binds = ((str(ROOT), CODE), (sysconfig.get_paths()["purelib"], PACKAGES))
    with Machine(
        layers_of(name), user=user, network=network, furnishing={"binds": binds, **furnishing}, env=ENVIRONMENT
    ) as machine:
        yield machine


def said(machine: Machine, text: str, root: bool = True, code: int | None = 0, timeout: float = 280) -> str:
    """What shell text wrote, both streams; `code` is the exit status it must have, None for any."""
    done = machine.run(text, root=root, env=ENVIRONMENT, timeout=timeout)
    assert code is None or done.returncode == code, done.stdout[-6000:]
    return done.stdout


def read(machine: Machine, path: str) -> bytes:
    """A file inside, as its user may read it."""
    with os.fdopen(machine.view.open(path), "rb") as file:
        return file.read()
