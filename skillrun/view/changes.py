"""What a view would change on the real machine: every path, and what it means."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skillrun.view.accounts import Account, explain_accounts
from skillrun.view.both import Both
from skillrun.view.highlights import FOLDED, PERSISTENCE, TRUST, gains_privilege, meaning
from skillrun.view.layers import Layers
from skillrun.view.ledger import Folder, Op
from skillrun.view.packages import Package, explain_packages
from skillrun.view.scan import Clash, Entry, scan_layer
from skillrun.view.services import Action, read_deferred
from skillrun.view.text import Diff, explain_text
from skillrun.visible import shown

SCHEMA = 1
LISTED = 2000
"""At most this many single paths go into an event; `changes.json` in the run folder has them all."""


@dataclass(frozen=True, slots=True)
class Notable:
    """A path that deserves a look: set-user-ID, starts by itself, decides what is trusted. `change` as in Entry."""

    path: str
    what: str
    change: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, safe to print."""
        return {"path": shown(self.path), "what": self.what, "change": self.change}


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
    accounts: tuple[Account, ...] = ()
    deferred: tuple[Action, ...] = ()
    privileged: tuple[Notable, ...] = ()
    persistence: tuple[Notable, ...] = ()
    trust: tuple[Notable, ...] = ()
    diffs: tuple[Diff, ...] = ()
    folded: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """What -> (paths, bytes) of those that are counted, not listed."""
    owners: Mapping[str, str] = field(default_factory=dict)
    """Path -> the package it belongs to."""

    def count(self, change: str) -> int:
        """Paths that were added, changed or removed; those where only a time differs do not count."""
        return sum(entry.change == change and entry.aspects != ("time",) for entry in self.entries)

    @property
    def new_bytes(self) -> int:
        """Disk space the new and changed files take."""
        return sum(entry.new.blocks * 512 for entry in self.entries if entry.new is not None and not entry.new.is_directory)

    def listed(self) -> list[Entry]:
        """The paths worth listing one by one: not folded away, not a package's own new files, not only a time."""
        noted = {item.path for item in (*self.privileged, *self.persistence, *self.trust)}
        return [
            entry
            for entry in self.entries
            if entry.path in noted
            or not (
                entry.aspects == ("time",)
                or (entry.path in self.owners and entry.change != "changed")
                or meaning(FOLDED, entry.path)
            )
        ]

    def to_dict(self, limit: int | None = LISTED) -> dict[str, Any]:
        """Plain data for the Changed event, reports and JSON. Names are made safe to print.

        `limit`: how many single paths are given (None: every one); `paths_omitted` says how many are missing.
        """
        listed = list(self.entries) if limit is None else self.listed()
        kept = listed if limit is None else listed[:limit]
        return {
            "schema": SCHEMA,
            "tier": self.tier,
            "added": self.count("added"),
            "changed": self.count("changed"),
            "removed": self.count("removed"),
            "new_bytes": self.new_bytes,
            "packages": [package.to_dict() for package in self.packages],
            "users": [account.to_dict() for account in self.accounts if account.kind == "user"],
            "groups": [account.to_dict() for account in self.accounts if account.kind == "group"],
            "services": [{"argv": list(action.argv), "cwd": action.cwd} for action in self.deferred],
            "privileged": [item.to_dict() for item in self.privileged],
            "persistence": [item.to_dict() for item in self.persistence],
            "trust": [item.to_dict() for item in self.trust],
            "diffs": [diff.to_dict() for diff in self.diffs],
            "commands": commands_of(self.entries),
            "paths": [entry_to_dict(entry, self.owners) for entry in kept],
            "paths_omitted": len(self.entries) - len(kept),
            "folded": {what: {"paths": count, "bytes": size} for what, (count, size) in self.folded.items()},
            "conflicts": [{"path": shown(clash.path), "reason": clash.reason} for clash in self.clashes],
            "same": self.unchanged,
            "only_time": self.touched,
        }


def scan(layers: Layers, changes_folder: Path | None = None) -> Changes:
    """Read all layers against the real machine and explain them; nothing is changed.

    `changes_folder` is the run's `changes/`, where deferred service actions are noted. Raises OSError.
    """
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
    paths = {entry.path for entry in entries}
    with Both(layers) as both:
        packages, owners = explain_packages(entries, both)
        accounts = explain_accounts(paths, both)
        diffs = explain_text(entries, owners, both)
    return Changes(
        tuple(entries), tuple(ops), tuple(folders), tuple(clashes), unchanged, touched, layers.tier,
        packages, accounts, read_deferred(changes_folder) if changes_folder else (),
        tuple(Notable(e.path, what, e.change) for e in entries if (what := gains_privilege(e))),
        _notable(entries, PERSISTENCE), _notable(entries, TRUST), diffs, _fold(entries), owners,
    )  # fmt: skip


def _notable(entries: Iterable[Entry], table: str) -> tuple[Notable, ...]:
    return tuple(
        Notable(entry.path, what, entry.change)
        for entry in entries
        if not entry.inode.is_directory and entry.aspects != ("time",) and (what := meaning(table, entry.path))
    )


def _fold(entries: Iterable[Entry]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for entry in entries:
        what = meaning(FOLDED, entry.path)
        if what:
            count, size = found.get(what, (0, 0))
            found[what] = (count + 1, size + (entry.new.blocks * 512 if entry.new is not None else 0))
    return found


def commands_of(entries: Iterable[Entry]) -> list[str]:
    """Names a shell can newly run: executables and links added to a directory of programs."""
    found = set()
    for entry in entries:
        folder, _, name = entry.path.rpartition("/")
        if entry.change == "added" and folder.endswith(("/bin", "/sbin")) and entry.new is not None:
            program = stat.S_ISREG(entry.new.mode) and entry.new.mode & 0o111
            if program or stat.S_ISLNK(entry.new.mode):
                found.add(shown(name))
    return sorted(found)


KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def entry_to_dict(entry: Entry, owners: Mapping[str, str]) -> dict[str, Any]:
    """One path as plain data: `mode` and `owner` of both sides where they differ."""
    now = entry.inode
    data: dict[str, Any] = {
        "path": shown(entry.path),
        "change": entry.change,
        "kind": KINDS.get(stat.S_IFMT(now.mode), "other"),
        "size": now.size,
    }
    if entry.aspects:
        data["aspects"] = list(entry.aspects)
    if entry.change != "removed":
        data["mode"] = f"{stat.S_IMODE(now.mode):04o}"
        data["owner"] = f"{now.uid}:{now.gid}"
    if entry.old is not None and entry.new is not None:
        old = entry.old
        data["old_size"] = old.size
        if "mode" in entry.aspects:
            data["old_mode"] = f"{stat.S_IMODE(old.mode):04o}"
        if "owner" in entry.aspects:
            data["old_owner"] = f"{old.uid}:{old.gid}"
    if entry.path in owners:
        data["package"] = owners[entry.path]
    return data


def broken_packages(changes: Changes, left: Sequence[str]) -> tuple[str, ...]:
    """Packages a partial commit would leave inconsistent: some of their paths, or their record, stay out."""
    out = set(left)
    names = {changes.owners[path] for path in out if path in changes.owners}
    changed = {package.name.partition(":")[0] for package in changes.packages if package.manager == "dpkg"}
    if "/var/lib/dpkg/status" in out:
        return tuple(sorted(changed))
    return tuple(sorted(names & changed))
