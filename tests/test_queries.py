"""Short questions of our own: the shell of a target and this process say the same of the same files."""

from __future__ import annotations

from pathlib import Path

import pytest

from skillrun.host.queries import Queries
from skillrun.targets.local import LocalTarget

ASKED = ["file", "folder", "link", "dangling", "folder/inside", "link/inside", "missing", "missing/below", "a b\n'c"]


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """A file, a directory, links whole and broken, what is reached through a link, what is not there, an odd name."""
    for name in ("file", "a b\n'c"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/inside").write_text("")
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "dangling").symlink_to("nowhere")
    return [str(tmp_path / name) for name in ASKED]


@pytest.mark.parametrize("question", ["there", "own", "straight"])
def test_the_shell_and_the_process_agree(question: str, paths: list[str], tmp_path: Path) -> None:
    """Where the target's files are this process's own, asking without the shell changes no answer."""
    target = LocalTarget(tmp_path / "outputs", cwd=str(tmp_path))
    try:
        quick = getattr(Queries(target), question)(paths)
        target.here = False
        assert quick == getattr(Queries(target), question)(paths)
    finally:
        target.close()
    assert 0 < len(quick) < len(paths)
