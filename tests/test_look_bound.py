"""A look has a bounded number of processes: the kernel stops what starts itself without end, and it ends with the look."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.looking.bound import MOST, Bound
from skillrun.looking.shell import LookingShell
from skillrun.looking.wall import means
from skillrun.ports import Command, Result, result_of
from skillrun.targets.local import LocalTarget
from tests.forks import FORKS

pytestmark = pytest.mark.skipif(not means()[0], reason=f"no wall on this machine: {means()[1]}")


def group_of(keeper: int) -> str:
    """The control group of a keeper as root; empty for an account, which the kernel counts itself."""
    trial = Bound()
    trial.close()
    if os.getuid() == 0 and not trial.group:
        pytest.skip("no control group for processes can be made here, and the kernel holds root to no other bound")
    return trial.group.replace(str(os.getpid()), str(keeper))


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[LookingShell]:
    """A looking shell beside an acting one."""
    acting = LocalTarget(tmp_path / "outputs", cwd=str(tmp_path))
    looking = LookingShell(acting, str(tmp_path))
    yield looking
    looking.close()
    acting.close()


def looked(shell: LookingShell, command: str) -> Result:
    """What came of a look."""
    return result_of(shell.run(Command(command)))


def left() -> str:
    """Who is still there of what the command started."""
    return subprocess.run(["pgrep", "-f", "forks-of-a-look"], capture_output=True, text=True, check=False).stdout


def test_the_machine_keeps_room(shell: LookingShell) -> None:
    """As many as may be are started and no more; nothing of the look and no group stays behind."""
    looked(shell, "true")
    keeper = shell.wall._keeper
    assert keeper is not None
    group = group_of(keeper.pid)
    assert os.path.isdir(group) or not group
    assert 0 < int(looked(shell, FORKS).output) <= MOST
    shell.close()
    assert not os.path.exists(f"/proc/{keeper.pid}")
    assert not os.path.isdir(group)
    assert left() == ""


def test_the_next_look_has_room_again(shell: LookingShell) -> None:
    """What took every place is ended with its look, sessions of its own included, and the keeper answers on."""
    looked(shell, "true")
    keeper = shell.wall._keeper
    assert keeper is not None
    group_of(keeper.pid)
    assert int(looked(shell, FORKS).output) > 0
    shell.forget()
    assert looked(shell, "echo hello | cat").output.strip() == "hello"
    assert left() == ""
    assert keeper.poll() is None
