"""The write-ahead record of a commit: what is to be renamed where, and how far it came.

`plan.jsonl` is written once, durable, before anything on the real side is touched; `state.json`
is replaced (durably) at each turning point. Recovery needs no more than these two and a look at
which inode is at which name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from skillrun.overlay.diff.operations import Folder, Op, Store
from skillrun.overlay.mount.layers import write_durably

PLAN, STATE, AFTER = "plan.jsonl", "state.json", "after.jsonl"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a commit is going to do."""

    stores: tuple[Store, ...]
    ops: tuple[Op, ...]
    folders: tuple[Folder, ...]
    leave: tuple[tuple[int, str], ...] = ()
    """(layer, path) that is taken out of a new directory before it is committed."""

    def save(self, folder: Path) -> None:
        """Write `plan.jsonl`, durable before it returns. Raises OSError."""
        stores = [[s.target, s.dev, s.ino, s.store, s.fsid] for s in self.stores]
        lines = [json.dumps({"schema": SCHEMA, "stores": stores, "leave": self.leave})]
        lines += [json.dumps({"folder": [f.layer, f.path, f.ino, f.before, f.after]}) for f in self.folders]
        lines += [json.dumps(op.to_json()) for op in self.ops]
        write_durably(folder / PLAN, ("\n".join(lines) + "\n").encode())

    def ways_back(self) -> list[tuple[str, str]]:
        """What undo does with each path: (take away | bring back | put back, absolute path)."""
        found = []
        for op in self.ops:
            word = "take away" if op.old is None else "bring back" if op.new is None else "put back"
            found.append((word, f"{self.stores[op.layer].target.rstrip('/')}/{op.path}"))
        return found

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """Read `plan.jsonl`. Raises OSError, or ValueError when it is damaged."""
        with (folder / PLAN).open("rb") as file:
            head = json.loads(next(file))
            if head.get("schema") != SCHEMA:
                raise ValueError(f"{folder / PLAN}: written by another version of skillrun (schema {head.get('schema')})")
            folders: list[Folder] = []
            ops: list[Op] = []
            for line in file:
                data = json.loads(line)
                if isinstance(data, dict):
                    folders.append(Folder(*data["folder"]))
                else:
                    ops.append(Op.from_json(data))
        stores = tuple(Store(*item) for item in head["stores"])
        return cls(stores, tuple(ops), tuple(folders), tuple((n, p) for n, p in head["leave"]))._since_a_restart()

    def _since_a_restart(self) -> Plan:
        """Without the layers that lay in memory and went with a restart: what was committed there is gone by itself.

        Their numbers stand for a layer that is there, so that all others keep theirs.
        """
        gone = {number for number, store in enumerate(self.stores) if store.is_forgotten}
        there = next((store for number, store in enumerate(self.stores) if number not in gone), None)
        if not gone or there is None:
            return self
        return replace(
            self,
            stores=tuple(there if number in gone else store for number, store in enumerate(self.stores)),
            ops=tuple(op for op in self.ops if op.layer not in gone),
            folders=tuple(item for item in self.folders if item.layer not in gone),
            leave=tuple((number, path) for number, path in self.leave if number not in gone),
        )


class Phase(StrEnum):
    """How far a transaction came. The real side is whole in all phases but COMMITTING and UNDOING."""

    NONE = "none"
    PREPARED = "prepared"
    COMMITTING = "committing"
    COMMITTED = "committed"
    UNDOING = "undoing"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class Progress:
    """The content of `state.json`."""

    phase: Phase = Phase.NONE
    left: tuple[str, ...] = ()
    """Real paths that were left as they are (edited later, or filtered out)."""
    services: tuple[dict[str, Any], ...] = ()
    """Deferred service actions that were carried out, as `services.Carried` writes them."""
    kept: dict[str, str] = field(default_factory=dict)
    """Edited path -> where its later version is kept."""
    pending: bool = False
    """The deferred actions have not been carried out yet."""

    def save(self, folder: Path) -> None:
        """Replace `state.json`, durable before it returns. Raises OSError."""
        record = {
            "schema": SCHEMA,
            "phase": self.phase.value,
            "left": self.left,
            "services": self.services,
            "kept": self.kept,
            "pending": self.pending,
        }
        write_durably(folder / STATE, json.dumps(record).encode())

    @classmethod
    def load(cls, folder: Path) -> Progress:
        """Read `state.json`; phase NONE when there is none. Raises OSError, ValueError."""
        try:
            record = json.loads((folder / STATE).read_bytes())
        except FileNotFoundError:
            return cls()
        return cls(
            Phase(record["phase"]),
            tuple(record["left"]),
            tuple(record["services"]),
            dict(record["kept"]),
            bool(record.get("pending")),
        )

    def at(self, phase: Phase) -> Progress:
        """The same, at another phase."""
        return replace(self, phase=phase)
