"""Taking a rollout back on one machine: the packages that came, the paths that were made; and what cannot be taken back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from skillrun.fleet.preview.record import COMMITTED, NotCommitted, Record
from skillrun.fleet.preview.rights import Rights
from skillrun.fleet.reach import Host
from skillrun.fleet.removal import Came, remove
from skillrun.fleet.rollout.machine import Machine
from skillrun.record.journal import RunFolder


def wish(machine: Machine) -> list[str]:
    """What would be taken back there, in lines for a person."""
    lines = [f"{machine.name}: remove {' '.join(machine.packages)}"] if machine.packages else []
    return lines + ([f"{machine.name}: delete {' '.join(machine.made)}"] if machine.made else [])


def take_back(machine: Machine, host: Host, password: str | None, runs: Sequence[RunFolder] = ()) -> tuple[bool, str]:
    """Remove exactly what came. (did all of it go, what to tell the person). Raises Unreachable.

    `runs`: what was done there, newest first. What a canary's view committed is taken back whole, if nothing of it was
    changed since.
    """
    rights = Rights(host, lambda: password)
    for folder in runs:
        with suppress(NotCommitted):
            record = Record.load(folder.changes)
            if record is not None and record.phase(rights) == COMMITTED and not record.edited(rights):
                left = record.undo(rights, ())
                return not left, "put back as it was before" + (f", but for {' '.join(left[:5])}" if left else "")
    done = remove(host, Came(machine.packages, machine.made), rights.run)
    told = [f"removed {len(done.packages)} packages (their settings stay)"] if done.packages else []
    told += [f"deleted {len(done.paths)} paths"] if machine.made else []
    told += done.failed
    if machine.changed and not told:
        return False, "nothing of it is known that could be taken back: commands changed it"
    if machine.changed:
        told.append("not taken back: what commands changed in files that were there before, services, accounts")
    return not done.failed, "; ".join(told) or "nothing that is known came here"
