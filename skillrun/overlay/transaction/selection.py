"""Committing a part: which operations a choice of path patterns leaves, and what that would break."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import filterfalse

from skillrun.overlay.diff.entries import Entry
from skillrun.overlay.diff.operations import Kind, Op


@dataclass(frozen=True, slots=True)
class Selection:
    """Operations to carry out, and (layer, path) of what is taken out of new directories first."""

    numbers: tuple[int, ...]
    leave: tuple[tuple[int, str], ...] = ()
    left: tuple[str, ...] = ()
    """Absolute paths that are not committed."""
    warnings: tuple[str, ...] = ()


class Choice:
    """`--only` and `--except` as a question about paths. A pattern also means everything below what it matches."""

    def __init__(self, only: Sequence[str], except_: Sequence[str]) -> None:
        self._only, self._except = [_compiled(p) for p in only], [_compiled(p) for p in except_]

    def __bool__(self) -> bool:
        """Does it choose at all?"""
        return bool(self._only or self._except)

    def __call__(self, path: str) -> bool:
        """Is this path wanted?"""
        if any(pattern.match(path) for pattern in self._except):
            return False
        return not self._only or any(pattern.match(path) for pattern in self._only)


def _compiled(pattern: str) -> re.Pattern[str]:
    stem = pattern.rstrip("/")
    for tail in ("/**", "/*"):
        stem = stem.removesuffix(tail)
    body = fnmatch.translate(stem or "/").removeprefix("(?s:").removesuffix(r")\Z")
    return re.compile(f"(?s:{body})(?:/.*)?\\Z" if stem else "(?s:/.*)\\Z")


def select(ops: Sequence[Op], entries: Sequence[Entry], bases: Sequence[str], choice: Choice) -> Selection:
    """Apply a choice. What lies in a new directory can be left out one by one; a directory that is
    removed or replaced as a whole is taken or left as a whole."""
    if not choice:
        return Selection(tuple(range(len(ops))))
    below: dict[int, list[str]] = {}
    for entry in entries:
        below.setdefault(entry.op, []).append(entry.path)
    numbers: list[int] = []
    leave: list[tuple[int, str]] = []
    left: list[str] = []
    warnings: list[str] = []
    for number, op in enumerate(ops):
        top, inside = f"{bases[op.layer]}/{op.path}", below.get(number, [])
        wanted = list(filter(choice, inside))
        unwanted = list(filterfalse(choice, inside))
        if not wanted:
            left += unwanted or [top]
        elif unwanted and op.kind is Kind.SWAP and op.old is None:
            numbers.append(number)
            dropped = list(filterfalse(_with_parents(wanted).__contains__, unwanted))
            leave += [(op.layer, path[len(bases[op.layer]) + 1 :]) for path in _tops(dropped)]
            left += dropped
        elif not choice(top):
            left += inside
            warnings.append(f"{top} is replaced as a whole: parts of it cannot be chosen, so it is left as it is")
        else:
            numbers.append(number)
            if unwanted:
                warnings.append(f"{top} is replaced as a whole: parts of it cannot be left out, so all of it is taken")
    return Selection(tuple(numbers), tuple(leave), tuple(left), tuple(warnings))


def _with_parents(paths: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        while path and path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    return found


def _tops(paths: Sequence[str]) -> list[str]:
    """Only those that are not below another one of them."""
    known = set(paths)
    found = []
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in known:
            parent = parent.rpartition("/")[0]
        if not parent:
            found.append(path)
    return found
