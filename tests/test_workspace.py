"""What a commit does around its operations."""

from __future__ import annotations

from pathlib import Path

import pytest

from skillrun.overlay.diff.operations import Folder, Kind, Op, Store
from skillrun.overlay.transaction.wal import Plan
from skillrun.overlay.transaction.workspace import sync


def test_only_file_systems_with_changes_are_synced(tmp_path: Path) -> None:
    """A layer that the plan changes nothing on is not touched: syncing somebody else's disk may take minutes."""
    status = tmp_path.stat()
    here = Store(str(tmp_path), status.st_dev, status.st_ino, str(tmp_path))
    gone = Store(str(tmp_path / "gone"), 0, 0, str(tmp_path / "gone"))
    root = Folder(1, "", 1, 0, 0)
    sync(Plan((here, gone), (Op(0, "a", Kind.SWAP),), (root,)))
    for plan in (
        Plan((here, gone), (Op(1, "a", Kind.SWAP),), ()),
        Plan((here, gone), (), (Folder(1, "etc", 1, 0, 0),)),
        Plan((here, gone), (), (), ((1, "etc/a"),)),
    ):
        with pytest.raises(FileNotFoundError):
            sync(plan)
