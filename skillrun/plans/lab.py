"""Fresh places to try a plan in: throw-away machines, or views of this machine, each with what was changed in it."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from skillrun.events import Result, State
from skillrun.overlay.diff.highlights import FOLDED, meaning
from skillrun.overlay.kernel.inode import is_whiteout, may_be_whiteout
from skillrun.ports import Command, Target, result_of

if TYPE_CHECKING:
    from skillrun.sandbox.machine import Machine

NOISE = frozenset(("logs", "caches", "caches of the linker", "temporary files", "package records, lists and downloads"))
"""Changes that may differ from one run to the next and mean nothing: as the folded groups of a preview are called."""
HASHED = 64 << 10
"""Files up to this size are told apart by content."""
QUIET_S = 600.0


@dataclass(slots=True)
class Room:
    """One fresh place. `uppers`: what was changed in it, as (mount point, directory)."""

    target: Target
    uppers: Sequence[tuple[str, Path]]
    home: str
    user: str
    services: bool
    """Services can really be started in it."""
    lowers: Sequence[Path] = ()
    """What it is laid over, topmost first."""
    baseline: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """What making the place wrote itself."""

    def run(self, text: str, answers: Sequence[tuple[str, str]] = ()) -> Result:
        """Carry a command out; `answers`: what is typed when its screen shows a text. What waits for another is ended."""
        result = result_of(self.target.run(Command(text, quiet_s=QUIET_S)))
        left = list(answers)
        while result.state in (State.WAITING, State.QUIET):
            answer = next((pair for pair in left if pair[0] in f"{result.output}\n{result.screen}"), None)
            if answer is None or result.state is State.QUIET:
                return result_of(self.target.interrupt())
            left.remove(answer)
            result = result_of(self.target.answer(answer[1] + "\n"))
        return result

    def check(self, text: str) -> Result:
        """A check, in a login shell of its own as skillrun runs them."""
        result = result_of(self.target.run(Command(text, login=True, quiet_s=QUIET_S)))
        return result_of(self.target.interrupt()) if result.state in (State.WAITING, State.QUIET) else result

    def get(self, path: str) -> bytes:
        """A file's bytes, empty when it cannot be read."""
        try:
            return self.target.get(path)
        except OSError:
            return b""

    def changed(self) -> dict[str, tuple[int, int, int]]:
        """Every path that was written, with what tells two states of it apart; without what is only noise."""
        found: dict[str, tuple[int, int, int]] = {}
        for base, upper in self.uppers:
            _walk(upper, base.rstrip("/"), found, f"{self.home}/")
        return {path: state for path, state in found.items() if self.baseline.get(path) != state}

    def existed(self, path: str) -> bool:
        """Was it there before anything was done?"""
        return any(os.path.lexists(lower / path.lstrip("/")) for lower in self.lowers)

    def where(self, path: str) -> Path | None:
        """Where a changed path lies outside; None when it was not changed."""
        for base, upper in sorted(self.uppers, key=lambda pair: -len(pair[0])):
            inner = path.removeprefix(base.rstrip("/"))
            if path.startswith(base.rstrip("/") + "/") and os.path.lexists(upper / inner.lstrip("/")):
                return upper / inner.lstrip("/")
        return None


Lab = Callable[[], AbstractContextManager[Room]]
"""Makes a fresh place. Raises ViewError, BuildError, NoNetwork, OSError where it cannot."""


def _walk(upper: Path, base: str, found: dict[str, tuple[int, int, int]], home: str) -> None:
    pending = [str(upper)]
    start = len(str(upper))
    while pending:
        with suppress(FileNotFoundError), os.scandir(pending.pop()) as entries:  # what still runs there may remove its own
            for entry in entries:
                path = f"{base}{entry.path[start:]}"
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    kind = meaning(FOLDED, path)
                    passing = kind in NOISE and not (kind == "temporary files" and path.startswith(home))
                    if not passing and not path.endswith(("/__pycache__", "/.cache")):
                        found[path] = (status.st_mode, status.st_size, status.st_mtime_ns)


def is_gone(path: Path) -> bool:
    """Does an upper directory's entry stand for something that was removed?"""
    status = os.lstat(path)
    return may_be_whiteout(status) and is_whiteout(str(path), status)


def digest(path: Path) -> str:
    """The SHA-256 of a small regular file; empty for anything else."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size > HASHED:
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- the places -----------------------------------------------------------------------------------


BARE = "rm -rf /var/lib/apt/lists/*"
"""As the distributions' images come: without package lists, so that a step which fetches them is seen to be needed."""


def machine_lab(name: str, tell: Callable[[str], None] = lambda text: None, setup: str = BARE) -> Lab:
    """Fresh throw-away machines of one base. Needs root, overlayfs and, the first time, the distribution's mirror."""

    @contextmanager
    def fresh() -> Iterator[Room]:
        from skillrun.sandbox.machine import Machine
        from skillrun.sandbox.recipes import machine

        with Machine(ground(name, tell, setup), user=machine(name).user) as made, room_in(made) as room:
            yield room

    return fresh


def ground(name: str, tell: Callable[[str], None] = lambda text: None, setup: str = BARE) -> list[Path]:
    """The layers a fresh machine of one base stands on, topmost first. Raises RecipeError, BuildError."""
    from skillrun.sandbox.base import layer, layers_of

    lowers = layers_of(name, tell)
    return [layer(lowers, setup, tell), *lowers] if setup else lowers


@contextmanager
def room_in(machine: Machine) -> Iterator[Room]:
    """A throw-away machine that is there already as a place to try a plan in."""
    from skillrun.targets.machine import MachineTarget

    with tempfile.TemporaryDirectory(prefix="skillrun-plan-") as outputs:
        target = MachineTarget(machine, Path(outputs))
        account = machine.account
        try:
            room = Room(target, [("", machine.upper)], account.home, account.name, services=True)
            room.lowers = [Path(lower) for lower in machine.view.spec.machine.lowers] if machine.view.spec.machine else ()
            room.baseline = room.changed()
            yield room
        finally:
            target.close()


def view_lab(
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    network: tuple[Sequence[str] | None, Sequence[str]] = (None, ()),
) -> Lab:
    """Fresh views of this machine as it is. What services were told is not done in them.

    `network`: what they may contact, as `skillrun.sandbox.reach` says it; whatever this machine can, if it is left out.
    """

    @contextmanager
    def fresh() -> Iterator[Room]:
        from skillrun.targets.preview import PreviewTarget

        with tempfile.TemporaryDirectory(prefix=f"skillrun-plan-{os.getpid()}-", dir="/var/tmp") as folder:
            os.mkdir(f"{folder}/outputs")
            tier = "" if os.geteuid() == 0 else "U"  # what sudo's view changed only root can read
            target = PreviewTarget.open(
                Path(folder), env=env, cwd=cwd, tier=tier, hosts=network[0], named=network[1], ask=False
            )
            try:
                uppers = [(layer.target, Path(layer.upper)) for layer in target.layers.items]
                account = target.view.spec.account
                room = Room(target, uppers, account.home, account.name, services=False, lowers=[Path("/")])
                room.baseline = room.changed()
                yield room
            finally:
                target.close()

    return fresh
