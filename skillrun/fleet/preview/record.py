"""Carrying a view's changes over to its machine, and taking them back: by a record there that a cut leaves whole.

The record (`before.tar`, `after.tar`, lists) is on that machine's disk before anything is changed; from it alone the
change is carried out, finished by whoever comes next, or taken back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from skillrun.fleet.preview.rights import Rights
from skillrun.fleet.preview.view import View, script
from skillrun.overlay.diff.entries import Entry, is_passing
from skillrun.overlay.transaction.deferred_services import Carried
from skillrun.pty.protocol import quote
from skillrun.record.journal import ELSEWHERE, RunFolder

PREPARED, CARRYING, COMMITTED, UNDOING, UNDONE = "prepared", "carrying", "committed", "undoing", "undone"
"""How far a record is: until it is carried nothing was changed there."""
LONGEST_S = 1800.0


def name_of(folder: RunFolder) -> str:
    """What a run's record is called on its machine: two runs never share one, whatever their folders are called."""
    return f"{folder.id}-{sha256(str(folder.path).encode()).hexdigest()[:8]}"


class NotCommitted(Exception):
    """The changes could not be carried over, or back: why."""


@dataclass(frozen=True, slots=True)
class Record:
    """Where the record of a run lies on its machine, and what was done to services after it."""

    machine: str
    """By the name it is reached with."""
    run: str
    """Whose changes they are."""
    own: bool = False
    """Without root's rights, so in the account's home."""
    services: tuple[Carried, ...] = ()

    def place(self, rights: Rights) -> str:
        """Its directory."""
        return (
            f"{rights.account.home}/.local/state/skillrun/there/{self.run}"
            if self.own
            else f"/var/lib/skillrun/there/{self.run}"
        )

    def save(self, changes: Path) -> None:
        """Keep it with the run. Raises OSError."""
        data = {
            "machine": self.machine,
            "run": self.run,
            "own": self.own,
            "services": [item.to_json() for item in self.services],
        }
        (changes / ELSEWHERE).write_text(json.dumps(data), encoding="utf-8")

    @classmethod
    def load(cls, changes: Path) -> Record | None:
        """Read it back; None of a run on this machine. Raises OSError, ValueError."""
        try:
            data: dict[str, Any] = json.loads((changes / ELSEWHERE).read_bytes())
        except FileNotFoundError:
            return None
        return cls(data["machine"], data["run"], data["own"], tuple(Carried.from_json(item) for item in data["services"]))

    # --- on the machine -------------------------------------------------------------------------

    def phase(self, rights: Rights) -> str:
        """How far it is; empty where there is none. Raises Unreachable."""
        return self._do(rights, "look")[0]

    def prepare(self, view: View, entries: Iterable[Entry]) -> None:
        """Write the record, while the view is there. Raises NotCommitted, Unreachable."""
        lines = []
        for entry in entries:
            passing = is_passing("", entry.path.removeprefix("/"))
            if entry.new is not None:
                lines.append(f"{'~' if passing else '+'} {entry.path}")
            elif not passing:
                lines.append(f"- {entry.path}")
        given = {"D": view.folder, "inside": str(view.pid)}
        self._do(view.rights, "prepare", "\n".join([*lines, ""]).encode("utf-8", "surrogateescape"), **given)

    def carry(self, rights: Rights) -> None:
        """Make the machine as the record has it; again does no harm. Raises NotCommitted, Unreachable."""
        self._do(rights, "carry")

    def edited(self, rights: Rights) -> list[str]:
        """Files of it that were changed since. Raises Unreachable."""
        return self._do(rights, "edited")[1]

    def undo(self, rights: Rights, keep: Sequence[str]) -> list[str]:
        """Make the machine as it was, but for `keep`; directories that had to stay. Raises NotCommitted, Unreachable."""
        return [line[2:] for line in self._do(rights, "undo", keep="\n".join(keep))[1] if line.startswith("L ")]

    def _do(self, rights: Rights, what: str, stdin: bytes = b"", **given: str) -> tuple[str, list[str]]:
        return _do(rights, {"S": self.place(rights), "what": what, **given}, stdin)


def finish_cut(rights: Rights) -> list[str]:
    """Carry over to their end all commits on a machine that were begun and cut, whoever began them: their records' names.

    Without root's rights only the account's own are seen. Raises NotCommitted, Unreachable.
    """
    places = f"/var/lib/skillrun/there/* {quote(rights.account.home)}/.local/state/skillrun/there/*"
    look = f'for S in {places}; do [ "$(cat "$S/phase" 2> /dev/null)" != carrying ] || printf "%s\n" "$S"; done'
    cut = rights.run(look).output.decode("utf-8", "surrogateescape").splitlines()
    for place in cut:
        _do(rights, {"S": place, "what": "finish"})
    return [place.rpartition("/")[2] for place in cut]


def _do(rights: Rights, given: Mapping[str, str], stdin: bytes = b"") -> tuple[str, list[str]]:
    text = "\n".join([*(f"{name}={quote(value)}" for name, value in given.items()), script("commit.sh")])
    done = rights.run(text, stdin, seconds=LONGEST_S)
    lines = done.output.decode("utf-8", "surrogateescape").splitlines()
    if clashes := [line[2:] for line in lines if line.startswith("C ")]:
        raise NotCommitted(f"changed on the machine after the view was opened: {', '.join(clashes[:5])}")
    if errors := [line[2:] for line in lines if line.startswith("E ")]:
        raise NotCommitted(errors[0])
    if done.code:
        raise NotCommitted(done.errors.strip()[-200:] or f"it ended with {done.code}")
    phase = next((line[2:] for line in lines if line.startswith("P ")), "")
    return phase, [line for line in lines if not line.startswith("P ")]
