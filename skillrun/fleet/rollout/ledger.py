"""What is on record of a rollout: who is in it, and every change of a machine's stand, one JSON object a line.

A rollout's folder holds `fleet.json` (what was asked), `fleet.jsonl` (what became of it), `skill/` (the bytes), `plans/`
(what was learnt) and `machines/NAME/RUN/` (a run folder for everything that was done on a machine).
"""

from __future__ import annotations

import datetime
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from skillrun.errors import Problem
from skillrun.events import SCHEMA
from skillrun.fleet.inventories.member import Member
from skillrun.fleet.inventories.secret_data import to_keep
from skillrun.fleet.rollout.machine import Machine, Stand
from skillrun.record.journal import RunFolder
from skillrun.record.place import state_directory

FLEETS = "fleets"


class Ledger:
    """The record of one rollout, which outlives this process. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: Mapping[str, Any] = json.loads((folder / "fleet.json").read_text("utf-8"))
        self._file = os.open(folder / "fleet.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._file).st_size
        if size and not (folder / "fleet.jsonl").read_bytes().endswith(b"\n"):  # a torn last line
            os.write(self._file, b"\n")

    @property
    def id(self) -> str:
        """The rollout's name."""
        return self.folder.name

    def write(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Keep one line; it is on disk when this returns. The line as it is kept."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        whole = {"schema": SCHEMA, "t": now, **row}
        os.write(self._file, json.dumps(whole, ensure_ascii=False).encode() + b"\n")
        return whole

    def sync(self) -> None:
        """Have what was written on disk even if the power fails."""
        os.fdatasync(self._file)

    def run_folder(self, machine: Machine) -> RunFolder:
        """A folder for the next thing that is done on a machine."""
        number = len(machine.runs) + 1
        folder = RunFolder(self.machine_folder(machine.name) / f"{number:02d}-{secrets.token_hex(2)}")
        for place in (folder.path, folder.outputs, folder.skill, folder.changes):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        machine.runs = (*machine.runs, folder.id)
        return folder

    def machine_folder(self, name: str) -> Path:
        """Where a machine's own record lies; two names never share one."""
        plain = re.sub(r"[^A-Za-z0-9.-]+", "_", name)[:60]
        return self.folder / "machines" / (plain if plain == name else f"{plain}-{sha256(name.encode()).hexdigest()[:8]}")

    def members(self) -> list[Member]:
        """Who is in it."""
        return [Member(row["name"], row["data"], tuple(row["groups"])) for row in self.asked["members"]]

    def machines(self) -> list[Machine]:
        """Every machine as it last stood. One that was at work when the record stops is unknown."""
        found = {member.name: Machine(member) for member in self.members()}
        for row in _rows(self.folder / "fleet.jsonl"):
            if (machine := found.get(row.get("host", ""))) is None:
                continue
            for name in ("group", "step", "reason", "changed", "requests", "cost_usd", "seconds"):
                setattr(machine, name, row[name])
            machine.stand = Stand(row["state"])
            machine.steps = tuple((number, code) for number, code in row["steps"])
            machine.runs, machine.packages, machine.made = (tuple(row[name]) for name in ("runs", "packages", "made"))
        for machine in found.values():
            if machine.stand is Stand.WORKING and machine.runs:
                machine.stand, machine.reason = Stand.UNKNOWN, "skillrun ended while it was at work"
        return list(found.values())

    @property
    def end(self) -> Mapping[str, Any] | None:
        """The last line about the whole, once it is over."""
        rows = [row for row in _rows(self.folder / "fleet.jsonl") if row.get("type") == "FleetEnded"]
        return rows[-1] if rows else None

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    if file.exists():
        for line in file.read_bytes().splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # a line that a crash tore
                continue
            if isinstance(row, dict):
                yield row


def new_ledger(skill: str, members: Sequence[Member], asked: Mapping[str, Any]) -> Ledger:
    """Begin the record of a rollout. Raises Problem where it cannot be kept."""
    now = datetime.datetime.now(datetime.UTC)
    folder = state_directory() / FLEETS / f"{now:%Y%m%d-%H%M%S}{now.microsecond // 1000:03}-{skill[:40]}-{secrets.token_hex(2)}"
    rows = [{"name": m.name, "data": to_keep(m.data), "groups": list(m.groups)} for m in members]
    try:
        folder.mkdir(parents=True, mode=0o700)
        whole = {"schema": SCHEMA, "id": folder.name, "skill": skill, **asked, "members": rows}
        (folder / "fleet.json").write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
        return Ledger(folder)
    except OSError as error:
        raise Problem(f"a rollout needs its record on disk: {error}", "make room or check the rights", code=4) from error


def all_fleets() -> list[Path]:
    """Every rollout's folder, newest first."""
    root = state_directory() / FLEETS
    return sorted((path for path in root.glob("*") if (path / "fleet.json").exists()), reverse=True) if root.is_dir() else []


def find_fleet(word: str) -> Ledger:
    """A rollout by its id, a part of it, or `last`. Raises Problem when there is none, or several."""
    folders = all_fleets()
    found = folders[:1] if word == "last" else [path for path in folders if word in path.name]
    if len(found) != 1:
        known = ", ".join(path.name for path in folders[:3]) or "there is none yet"
        raise Problem(f"{len(found) or 'no'} rollouts are called {word!r}", f"the latest: {known}")
    return Ledger(found[0])


def resumed(ledger: Ledger) -> list[Machine]:
    """The machines of a rollout that is gone on with, each as it stood; who is not verified begins anew."""
    machines = ledger.machines()
    for machine in machines:
        if machine.stand not in (Stand.VERIFIED, Stand.UNKNOWN):
            machine.stand, machine.reason = Stand.WAITING, ""
    return machines
