"""What a view would change on the real machine: every path, and what it means."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from skillrun.overlay.diff.accounts import AccountChange, explain_accounts
from skillrun.overlay.diff.both_sides import Both, Sides
from skillrun.overlay.diff.deferred import read_deferred
from skillrun.overlay.diff.entries import Clash, Entry
from skillrun.overlay.diff.highlights import PERSISTENCE, TRUST, gains_privilege, meaning, weighty
from skillrun.overlay.diff.operations import Folder, Op
from skillrun.overlay.diff.packages import Package, explain_packages
from skillrun.overlay.diff.scan import scan_layer
from skillrun.overlay.diff.text import Diff, explain_text
from skillrun.overlay.mount.layers import Layers
from skillrun.overlay.mount.service_request import Refused, ServiceRequest


@dataclass(frozen=True, slots=True)
class Notable:
    """A path that deserves a look: set-user-ID, starts by itself, decides what is trusted. `change` as in Entry."""

    path: str
    what: str
    change: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes of one view."""

    entries: tuple[Entry, ...] = ()
    ops: tuple[Op, ...] = ()
    folders: tuple[Folder, ...] = ()
    clashes: tuple[Clash, ...] = ()
    """Where the machine changed while the view was open."""
    unchanged: int = 0
    touched: int = 0
    tier: str = ""
    packages: tuple[Package, ...] = ()
    accounts: tuple[AccountChange, ...] = ()
    deferred: tuple[ServiceRequest, ...] = ()
    """What services are told after the commit."""
    refused: tuple[Refused, ...] = ()
    """What they were to be told and will not be."""
    privileged: tuple[Notable, ...] = ()
    persistence: tuple[Notable, ...] = ()
    trust: tuple[Notable, ...] = ()
    diffs: tuple[Diff, ...] = ()
    owners: Mapping[str, str] = field(default_factory=dict)
    """Path -> the package it belongs to."""

    def count(self, change: str) -> int:
        """Paths that were added, changed or removed; those where only a time differs do not count."""
        return sum(entry.change == change and entry.aspects != ("time",) for entry in self.entries)

    @property
    def new_bytes(self) -> int:
        """Disk space the new and changed files take."""
        return sum(entry.new.blocks * 512 for entry in self.entries if entry.new is not None and not entry.new.is_directory)


def scan(layers: Layers, changes_folder: Path | None = None) -> Changes:
    """Read all layers against the real machine and explain them; nothing is changed.

    `changes_folder` is the run's `changes/`, where deferred service actions are noted. Raises OSError.
    """
    with _no_collection():
        return _scan(layers, changes_folder)


def _scan(layers: Layers, changes_folder: Path | None) -> Changes:
    entries: list[Entry] = []
    ops: list[Op] = []
    folders: list[Folder] = []
    clashes: list[Clash] = []
    unchanged = touched = 0
    for number, layer in enumerate(layers.items):
        found = scan_layer(layer, number, layers.t0_ns, layers, first=len(ops))
        entries += found.entries
        ops += found.ops
        folders += found.folders
        clashes += found.clashes
        unchanged += found.unchanged
        touched += found.touched
    asked = read_deferred(changes_folder) if changes_folder else ()
    with Both(layers) as both:
        whole = explained(entries, both, asked, layers.tier)
    return replace(whole, ops=tuple(ops), folders=tuple(folders), clashes=tuple(clashes), unchanged=unchanged, touched=touched)


def explained(entries: Sequence[Entry], both: Sides, asked: Iterable[ServiceRequest | Refused], tier: str) -> Changes:
    """What these changed paths mean: packages, accounts, what starts something, what a person would want to read."""
    paths = {entry.path for entry in entries}
    packages, owners = explain_packages(entries, both)
    heavy = weighty(entries)
    asked = tuple(asked)
    return Changes(
        entries=tuple(entries),
        tier=tier,
        packages=packages,
        accounts=explain_accounts(paths, both),
        deferred=tuple(item for item in asked if isinstance(item, ServiceRequest)),
        refused=tuple(item for item in asked if isinstance(item, Refused)),
        privileged=tuple(Notable(e.path, what, e.change) for e in entries if (what := gains_privilege(e))),
        persistence=_notable(heavy, PERSISTENCE),
        trust=_notable(heavy, TRUST),
        diffs=explain_text(entries, {entry.path for entry in heavy}, owners, both),
        owners=owners,
    )


@contextmanager
def _no_collection() -> Iterator[None]:
    """A scan makes objects by the hundred thousand and throws none away: looking for some to free takes a tenth of it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _notable(entries: Iterable[Entry], table: str) -> tuple[Notable, ...]:
    return tuple(
        Notable(entry.path, what, entry.change)
        for entry in entries
        if not entry.inode.is_directory and entry.aspects != ("time",) and (what := meaning(table, entry.path))
    )


def broken_packages(changes: Changes, left: Sequence[str]) -> tuple[str, ...]:
    """Packages a partial commit would leave inconsistent: some of their paths, or their record, stay out."""
    out = set(left)
    names = {changes.owners[path] for path in out if path in changes.owners}
    changed = {package.name.partition(":")[0] for package in changes.packages if package.manager == "dpkg"}
    if "/var/lib/dpkg/status" in out:
        return tuple(sorted(changed))
    return tuple(sorted(names & changed))
