"""The changes a person must not miss, and those that need not be looked at. The rules are data: highlights.toml."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Iterable
from functools import lru_cache
from importlib import resources

from skillrun.overlay.diff.entries import Entry
from skillrun.overlay.kernel.inode import Inode
from skillrun.policy.paths import is_kind

PERSISTENCE, TRUST, FOLDED = "persistence", "trust", "folded"
PROTECTS = "what protects this machine"
_BY_POLICY = {
    PERSISTENCE: (("persistence", "read or run by itself"),),
    TRUST: (("agent", "what agents may do"), ("sudoers", "who may become root"), ("defence", PROTECTS)),
}
"""What the policy asks about in a command deserves a look in what a command left behind, too: table -> its kinds."""
_MAY_BE_OF_POLICY = re.compile(
    r"^/(?:etc|run|var/spool)/|/\.(?!bin/)|/(?:systemd|[a-z-]+\.d|dbus-1|polkit-1|security)/|[A-Z]\.md$|mcp|\.pth$|customize|libnss"
)
"""In every path that is of one of those kinds, and in few others."""
_HOMES = ("/root", "/home/[^/]+")
_LITERAL = re.compile(r"(?:[A-Za-z0-9_/-]|\\\.)+")

PRIVATE = re.compile(
    r"(?s)/etc/(?:g?shadow-?|security/opasswd|ssh/ssh_host_.*_key|sudoers.*)"
    r"|.*/(?:\.netrc|\.pgpass|\.npmrc|\.pypirc|\.env(?:\..*)?|credentials(?:\.json|\.toml)?|id_[a-z0-9]+"
    r"|[^/]*(?:secret|password|token)[^/]*)"
    r"|.*\.(?:pem|key|p12|pfx|kdbx|jks|ovpn)|.*/\.(?:ssh|gnupg|aws|azure|kube|docker)/.*"
)
"""Files whose content is never shown."""


def meaning(table: str, path: str) -> str:
    """What a changed path means by one of the tables, "" when no rule knows it."""
    known = _rules(table).get(path[1:].partition("/")[0])
    if known is not None and (found := known[0].fullmatch(path)):
        return known[1][(found.lastindex or 1) - 1]
    for what, literal, pattern in _anywhere(table):
        if literal in path and pattern.fullmatch(path):
            return what
    if not _MAY_BE_OF_POLICY.search(path):
        return ""
    return next((what for kind, what in _BY_POLICY.get(table, ()) if is_kind(path, kind, "")), "")


def weighty(entries: Iterable[Entry]) -> list[Entry]:
    """Those entries whose path starts something or decides what is trusted: most of a large change is neither."""
    worth_a_look = _quick().search
    found = [entry for entry in entries if worth_a_look(entry.path)]
    return [entry for entry in found if meaning(PERSISTENCE, entry.path) or meaning(TRUST, entry.path)]


@lru_cache
def _quick() -> re.Pattern[str]:
    """Finds something in every path that a rule of persistence or trust fits, and in few others."""
    tables = (PERSISTENCE, TRUST)
    tops = {re.escape(top) for table in tables for top in _rules(table)}
    literals = {re.escape(literal) for table in tables for _, literal, _ in _anywhere(table)}
    return re.compile(rf"^/(?:{'|'.join(sorted(tops))})(?:/|$)|{'|'.join(sorted(literals))}|{_MAY_BE_OF_POLICY.pattern}")


@lru_cache
def _groups(table: str) -> list[tuple[str, str]]:
    """(what, pattern) of one table, homes filled in."""
    text = resources.files("skillrun.overlay.diff").joinpath("highlights.toml").read_text()
    found = []
    for group in tomllib.loads(text)[table]:
        for pattern in group["paths"]:
            homes = _HOMES if "{home}" in pattern else ("",)
            found += [(group["what"], pattern.replace("{home}", home)) for home in homes]
    return found


@lru_cache
def _rules(table: str) -> dict[str, tuple[re.Pattern[str], list[str]]]:
    """By the first directory of the paths they fit: one pattern with a group for each rule, and what the groups mean."""
    found: dict[str, list[tuple[str, str]]] = {}
    for what, pattern in _groups(table):
        if pattern.startswith("/(?:"):
            tops = {part.partition("/")[0] for part in pattern[4:].partition(")")[0].split("|")}
        elif pattern.startswith("/"):
            tops = {pattern[1:].partition("/")[0]}
        else:
            continue
        for top in tops:
            found.setdefault(top, []).append((what, pattern))
    return {
        top: (re.compile("|".join(f"({pattern})" for _, pattern in rules), re.DOTALL), [what for what, _ in rules])
        for top, rules in found.items()
    }


@lru_cache
def _anywhere(table: str) -> list[tuple[str, str, re.Pattern[str]]]:
    """Rules for any directory, each with a piece of text such a path must contain."""
    found = []
    for what, pattern in _groups(table):
        if pattern.startswith(".*"):
            literal = max(_LITERAL.findall(pattern[2:]), key=len).replace("\\.", ".")
            found.append((what, literal, re.compile(pattern, re.DOTALL)))
    return found


_TELLING = stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH


def gains_privilege(entry: Entry) -> str:
    """What makes a file dangerous that was not so before: set-user-ID, set-group-ID, capabilities, writable by others."""
    new, old = entry.new, entry.old
    if new is None or not (new.mode & _TELLING or entry.capability or entry.shared or new.rdev) or stat.S_ISLNK(new.mode):
        return ""
    before = old.mode if old is not None else 0
    found = _gained_by_program(entry, new, before) if stat.S_ISREG(new.mode) else []
    if new.mode & stat.S_IWOTH and not before & stat.S_IWOTH and not new.mode & stat.S_ISVTX and not stat.S_ISSOCK(new.mode):
        found.append("anybody may write it")
    if entry.shared:
        found.append("a list of its own lets others write it")
    if stat.S_ISCHR(new.mode) or stat.S_ISBLK(new.mode):
        found.append("is a device")
    return ", ".join(found)


def _gained_by_program(entry: Entry, new: Inode, before: int) -> list[str]:
    """Whose rights a regular file runs with; the same file keeps the bits that the mode `before` had."""
    old = entry.old
    same = old is not None and (old.uid, old.gid) == (new.uid, new.gid) and "content" not in entry.aspects
    gained = new.mode & ~(before if same else 0)
    found = []
    if gained & stat.S_ISUID:
        found.append(f"runs as user {new.uid}" if new.uid else "runs as root")
    if gained & stat.S_ISGID:
        found.append(f"runs as group {new.gid}")
    if entry.capability:
        found.append("has capabilities")
    return found
