"""Text files as differences, private ones without."""

from __future__ import annotations

import difflib
import stat
from collections.abc import Container, Iterable
from dataclasses import dataclass

from skillrun.overlay.diff.both_sides import Sides
from skillrun.overlay.diff.entries import Entry
from skillrun.overlay.diff.highlights import FOLDED, PRIVATE, meaning
from skillrun.text.escape import shown

_FILE, _LINES, _FILES = 128 << 10, 60, 200


@dataclass(frozen=True, slots=True)
class Diff:
    """The lines that differ. `lines` start with " ", "+", "-" or "@"; `note` says why there are none, or fewer."""

    path: str
    lines: tuple[str, ...] = ()
    note: str = ""


def explain_text(entries: Iterable[Entry], weighty: Container[str], owned: Iterable[str], both: Sides) -> tuple[Diff, ...]:
    """Differences of the text files a person would want to read: configuration and start-up files that changed,
    and new ones outside packages where they start something or decide what is trusted (`weighty`: the paths that do)."""
    packaged = set(owned)
    looked = frozenset(("content", "type"))
    found: list[Diff] = []
    for entry in entries:
        if len(found) >= _FILES:
            break
        telling = looked.intersection(entry.aspects) if entry.change == "changed" else entry.path in weighty
        if not telling or entry.path in packaged or not stat.S_ISREG(entry.inode.mode) or meaning(FOLDED, entry.path):
            continue
        diff = _difference(entry, both)
        if diff is not None:
            found.append(diff)
    return tuple(found)


def _difference(entry: Entry, both: Sides) -> Diff | None:
    if PRIVATE.fullmatch(entry.path) or not entry.inode.mode & 0o044:
        return Diff(entry.path, note="private: its content is not shown")
    if max((entry.old or entry.inode).size, entry.inode.size) > _FILE:
        return None
    sides = [both.old(entry.path) or b"", both.new(entry.path) or b""]
    if any(b"\0" in side for side in sides):
        return None
    old, new = (side.decode("utf-8", "backslashreplace").splitlines() for side in sides)
    lines = [shown(line) for line in difflib.unified_diff(old, new, lineterm="", n=2)][2:]
    note = "" if len(lines) <= _LINES else f"{len(lines) - _LINES} more lines"
    return Diff(entry.path, tuple(lines[:_LINES]), note)
