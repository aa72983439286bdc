"""Which real tree is covered by which upper directory: what a view leaves behind for scan, commit and undo.

The record is written before the first command runs in the view, so that a view whose supervisor
was killed can still be listed, committed or discarded.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

FILE = "layers.json"


@dataclass(frozen=True, slots=True)
class Layer:
    """One overlay: everything that changed below `target` lies in `upper`.

    `upper` is best kept on the file system of `target` (then a commit moves nothing but names) and
    below a directory of mode 0700. Mounted with `index=on` a hard link that was changed in place can
    be told from one that was replaced; `redirect_dir` and `metacopy` must be off.
    """

    target: str
    """Absolute path of the real mount point (or directory) as seen from outside the view."""
    upper: str
    work: str = ""
    fstype: str = ""
    """File system of `target` as /proc/self/mountinfo names it."""


@dataclass(frozen=True, slots=True)
class Layers:
    """All layers of one view."""

    tx: Path
    """The directory that holds uppers, works and mount points; removed when the view is discarded."""
    t0_ns: int
    """`time.time_ns()` right before the first layer was mounted: what changes on the real side later is a conflict."""
    tier: str
    """R | U | P | J | S"""
    user_map: str
    """identity | self | root | sub: whose numbers the files in the uppers carry."""
    items: tuple[Layer, ...]
    ignore: tuple[str, ...] = ()
    """Absolute paths (trees) that are the view's own doing and never part of the changes."""
    stood_for: tuple[str, ...] = ()
    """Directories whose entries a hidden layer adds to: the overlay takes that layer's for what it showed."""

    def save(self, folder: Path) -> Path:
        """Write `layers.json` into a run's `changes/` folder, durable before it returns. Raises OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        record: dict[str, Any] = {**asdict(self), "tx": str(self.tx), "schema": 1}
        write_durably(folder / FILE, json.dumps(record, indent=1).encode())
        return folder / FILE

    def standing(self) -> Layers:
        """Those whose file system is still mounted; what was changed on one that was taken away is out of reach."""
        return replace(self, items=tuple(layer for layer in self.items if os.path.isdir(layer.upper)))

    @classmethod
    def load(cls, folder: Path) -> Layers:
        """The record of a run's `changes/` folder. Raises OSError, or ValueError when it is damaged."""
        record = json.loads((folder / FILE).read_bytes())
        try:
            return cls(
                Path(record["tx"]),
                int(record["t0_ns"]),
                record["tier"],
                record["user_map"],
                tuple(Layer(**item) for item in record["items"]),
                tuple(record.get("ignore", ())),
                tuple(record.get("stood_for", ())),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{folder / FILE}: not a record of layers: {error}") from None


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file so that after a power cut it is either the old or the new one. Raises OSError."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
