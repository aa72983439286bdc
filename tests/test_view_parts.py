"""A mount that is covered directory by directory, while other programs come and go in it."""

import errno
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import pytest

from skillrun.overlay.kernel.mountinfo import Mounted
from skillrun.overlay.mount.mounts import Built
from skillrun.overlay.mount.parts import Place, lay_in_parts
from skillrun.overlay.mount.spec import Spec


class Laid(Place):
    """A place whose first directory takes another with it, and in which one directory is refused."""

    def lay(self, folder: str, lowers: Sequence[str] = ()) -> None:
        """Notes what is covered instead of covering it."""
        if folder.endswith("/first"):
            (Path(folder).parent / "goes").rmdir()
        if folder.endswith(self.note):
            raise OSError(errno.ENOENT, "cannot mount", folder)
        self.built.made.append(Path(folder).name)


@pytest.mark.parametrize("refused", ["goes", "stays"])
def test_what_goes_away_while_it_is_covered_is_left_out(tmp_path: Path, refused: str) -> None:
    """Another program's temporary directory that vanishes meanwhile stops nothing; one that is there and refused does."""
    real, root = tmp_path / "real", tmp_path / "stage" / "root"
    for folder in (real / "first" / "inner", real / "goes", real / "stays", root):
        folder.mkdir(parents=True)
    (real / "loose").symlink_to("gone")
    mounts = (
        Mounted(str(real), "ext4", frozenset(), "8:1"),
        Mounted(str(real / "first" / "inner"), "tmpfs", frozenset(), "0:2"),
    )
    place = Laid(cast("Spec", None), Built(str(root)), mounts[0], mounts, note=f"/{refused}")
    place.ways = (str(real),)
    with nullcontext() if refused == "goes" else pytest.raises(OSError, match="cannot mount"):
        lay_in_parts(place, "")
    assert place.built.made == ["real", "first", "stays" if refused == "goes" else "goes"]
