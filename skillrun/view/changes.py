"""What a view would change on the real machine: every path, and what it means."""

from __future__ import annotations

from dataclasses import dataclass

from skillrun.view.layers import Layers
from skillrun.view.ledger import Folder, Op
from skillrun.view.scan import Clash, Entry, scan_layer


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes of one view."""

    entries: tuple[Entry, ...]
    ops: tuple[Op, ...]
    folders: tuple[Folder, ...]
    clashes: tuple[Clash, ...] = ()
    unchanged: int = 0
    touched: int = 0


def scan(layers: Layers) -> Changes:
    """Read all layers against the real machine; nothing is changed. Raises OSError."""
    entries: list[Entry] = []
    ops: list[Op] = []
    folders: list[Folder] = []
    clashes: list[Clash] = []
    unchanged = touched = 0
    for number, layer in enumerate(layers.items):
        found = scan_layer(layer, number, layers.t0_ns, layers.ignore, first=len(ops))
        entries += found.entries
        ops += found.ops
        folders += found.folders
        clashes += found.clashes
        unchanged += found.unchanged
        touched += found.touched
    return Changes(tuple(entries), tuple(ops), tuple(folders), tuple(clashes), unchanged, touched)
