"""Another machine, reached as `@local`, keeps the promises of a Target: in bash, and where there is only sh."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.fleet.reach import Host
from skillrun.fleet.target import RemoteTarget
from tests.contracts.target import TargetContract


class TestRemoteTarget(TargetContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[RemoteTarget]:
        """A shell on this machine, behind pyinfra's local connector."""
        target = RemoteTarget(Host("@local"), tmp_path / "outputs")
        yield target
        target.close()
