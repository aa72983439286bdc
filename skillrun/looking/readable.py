"""What a look may read: everything but the places where secrets lie, as a list of trees for Landlock.

Landlock knows only what is allowed, so around each secret place its neighbours are listed, up to the root.
"""

from __future__ import annotations

import glob
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PLACES = Path(__file__).parents[1] / "policy" / "places.toml"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "fd", "shm")
_KINDS = ("secret", "protection")
_MOST = 4000
"""Entries of one directory beyond which it is not taken apart: it is then not readable at all."""


@dataclass(frozen=True, slots=True)
class Readable:
    """`trees` may be read whole; `split` are the directories that were taken apart, with the time of their last change."""

    trees: tuple[str, ...]
    split: tuple[tuple[str, int], ...]
    hidden: frozenset[str]

    def current(self, cwd: str) -> bool:
        """Is nothing new in any directory that was taken apart, and no other secret where one stands now?"""
        return all(_changed(path) == when for path, when in self.split) and beside(cwd) <= self.hidden


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return -1


@cache
def _patterns() -> tuple[str, ...]:
    """Glob patterns of secret places; alternatives in braces written out."""
    table = tomllib.loads(_PLACES.read_text("utf-8"))
    found: list[str] = []
    for kind in _KINDS:
        for pattern in table[kind]["paths"]:
            found.extend(_alternatives(pattern))
    return tuple(dict.fromkeys(found))


def _alternatives(pattern: str) -> Iterator[str]:
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        yield pattern
        return
    for choice in match[1].split(","):
        yield from _alternatives(pattern[: match.start()] + choice + pattern[match.end() :])


@cache
def _anywhere() -> re.Pattern[str]:
    """Names that are a secret wherever they lie (`**/.env`)."""
    names = [pattern[3:] for pattern in _patterns() if pattern.startswith("**/") and "/" not in pattern[3:]]
    return re.compile("(?:" + "|".join(re.escape(name).replace(r"\*", "[^/]*") for name in names) + r")\Z")


def homes(home: str) -> list[str]:
    """Home directories on this machine: one's own, root's, and the others'."""
    found = {os.path.realpath(home): None, "/root": None}
    for parent in ("/home", "/Users"):
        with_entries = os.scandir(parent) if os.path.isdir(parent) else None
        if with_entries is not None:
            with with_entries as entries:
                found.update({entry.path: None for entry in entries})
    return list(found)


def secret_places(home: str, others: Iterable[str] = ()) -> set[str]:
    """Every secret place that is there, as real paths. `others`: more of them (where skillrun keeps its own)."""
    found, whose = {os.path.realpath(path) for path in others if path}, homes(home)
    for pattern in _patterns():
        if pattern.startswith(("**/", "/proc/")):
            continue
        base = re.sub(r"(?:/?\*\*)+\Z", "" if "/**" in pattern else "*", pattern)
        for each in [base] if base.startswith("/") else [one + base[1:] for one in whose]:
            matching = glob.iglob(each, include_hidden=True) if "*" in each or "?" in each else [each]
            found.update(os.path.realpath(path) for path in matching if os.path.lexists(path))
    return found - {"/", *(os.path.realpath(each) for each in whose)}


def beside(cwd: str) -> set[str]:
    """Files with the name of a secret in this directory (`.env`, `*.pem`), as real paths."""
    try:
        with os.scandir(cwd) as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return set()
    where = os.path.realpath(cwd)
    return {os.path.join(where, name) for name in names if _anywhere().match(name)}


def readable(home: str, cwd: str, others: Iterable[str] = ()) -> Readable:
    """What may be read now. Directories that hold a secret somewhere below are taken apart."""
    hidden = secret_places(home, others) | beside(cwd)
    parents = {str(parent) for path in hidden for parent in Path(path).parents}
    parents.update(homes(home))
    trees: list[str] = [f"/dev/{name}" for name in _DEVICES]
    split: list[tuple[str, int]] = []

    def take(folder: str) -> None:
        try:
            split.append((folder, _changed(folder)))
            with os.scandir(folder) as scanned:
                entries = list(scanned)
        except OSError:
            return
        if len(entries) > _MOST:
            return
        for entry in entries:
            path = entry.path
            if entry.is_symlink() or path in hidden or path == "/dev" or _anywhere().match(entry.name):
                continue
            if path in parents and entry.is_dir(follow_symlinks=False):
                take(path)
            else:
                trees.append(path)

    take("/")
    return Readable(tuple(trees), tuple(split), frozenset(hidden))
