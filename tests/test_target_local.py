"""This machine keeps the promises of a Target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.targets.local import LocalTarget
from tests.contracts.target import TargetContract


class TestLocalTarget(TargetContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[LocalTarget]:
        """A shell on this machine."""
        target = LocalTarget(tmp_path / "outputs", cwd=str(tmp_path))
        yield target
        target.close()
