"""Paths: made absolute against facts that are passed in, and sorted into kinds by a table."""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path

from skillrun.policy.unknown import ANY, BRACKET, GLOBS, QUESTION, STAR
from skillrun.ports import Place
from skillrun.text.patterns import later

_HERE = Path(__file__).parent
HARMLESS = later(r"/dev/(?:null|zero|full|u?random|tty|stdin|stdout|stderr|fd/.*|ptmx)\Z|/proc/self/fd/.*\Z")
_VAGUE = later(f"[{GLOBS}]|{ANY.pattern}")
_SET = later(BRACKET + r"[!^]?\]?[^\]/]*\]")
_RUNS = later(f"[{STAR}{QUESTION}]*{STAR}[{STAR}{QUESTION}]*")
_THROUGH_PROC = later(r"\A//?proc/(?:self|thread-self|\d+)(?:/task/\d+)?/(root|cwd)(?=/|\Z)")
"""Another way to say `/`, or the directory a program stands in (proc_pid_root(5))."""
_SLOW = later(r"//|/\.|\A[^/]")


def absolute(path: str, cwd: str, place: Place) -> str:
    """The path without `.`, `..` and known symbolic links. Unknown parts stay where they are."""
    if "/proc/" in path and path.startswith(("/proc/", "//", "/.")):
        path = _THROUGH_PROC.sub(lambda match: "" if match[1] == "root" else cwd, posixpath.normpath(path)) or "/"
    if not path.startswith("/") and not (path and ANY.match(path[0])):
        path = cwd.rstrip("/") + "/" + path if path else cwd
    if _SLOW.search(path):
        lead = "" if ANY.match(path[:1]) else "/"
        if lead and place.links and ".." in path:
            return _walk(path, place)
        normal = posixpath.normpath(path)
        path = normal if not lead else "/" + normal.lstrip("/")
    elif len(path) > 1:
        path = path.rstrip("/") or "/"
    return _walk(path, place) if place.links else path


def _walk(path: str, place: Place) -> str:
    """As the kernel resolves it: link by link, `..` after links."""
    done: list[str] = []
    todo = path.split("/")[::-1]
    jumps = 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if done:
                done.pop()
            continue
        done.append(part)
        target = place.links.get("/" + "/".join(done))
        if target is not None and jumps < 40:
            jumps += 1
            if target.startswith("/"):
                done.clear()
            else:
                done.pop()
            todo.extend(target.split("/")[::-1])
    return "/" + "/".join(done) if not (done and ANY.match(done[0]) and not path.startswith("/")) else "/".join(done)


@cache
def _table() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads((_HERE / "places.toml").read_text("utf-8"))


def listed(kind: str, key: str = "paths") -> tuple[str, ...]:
    """The patterns of a kind as the list has them; `whole` of `secret`: directories that hold nothing else."""
    return tuple(_table()[kind][key])


def pattern(text: str) -> str:
    """`**` any path, `*` within one name, `{a,b}` alternatives."""
    out = []
    for piece in re.split(r"(\*\*|\*|\?|\{[^}]*\})", text):
        if piece == "**":
            out.append(".*")
        elif piece == "*":
            out.append("[^/]*")
        elif piece == "?":
            out.append("[^/]")
        elif piece.startswith("{"):
            out.append("(?:" + "|".join(pattern(choice) for choice in piece[1:-1].split(",")) + ")")
        else:
            out.append(re.escape(piece))
    return "".join(out)


_HOMES = re.compile(r"~|/home/[^/]+|/root|/Users/[^/]+|/var/root")
_PLAIN_FIRST = re.compile(r"/([^/*?{]+)(?=/|\Z)")
"""How a pattern begins that can only match below one directory of the root."""


class Places:
    """Patterns, `~` for any home directory. They are compiled by where they begin, as paths come that begin so.

    One expression of all of them takes 15 ms, anew in every process, and most paths have nothing to do with most of it.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._texts: dict[str, list[str]] = {}
        self._made: dict[str, re.Pattern[str]] = {}
        for text in patterns:
            plain = _PLAIN_FIRST.match(text)
            key = "~" if text == "~" or text.startswith("~/") else plain[1] if plain else "*"
            self._texts.setdefault(key, []).append(text)

    def match(self, path: str) -> bool:
        """Is the whole path one of these?"""
        first = path[1:].partition("/")[0]
        if path.startswith("/") and first.isascii():
            keys: Iterable[str] = ("*", first, *(["~"] if _HOMES.match(path) else []))
        else:  # what is not known may be any of them
            keys = self._texts
        return any(self._of(key).match(path) for key in keys if key in self._texts)

    def _of(self, key: str) -> re.Pattern[str]:
        if key not in self._made:
            home = f"(?:{_HOMES.pattern})" if key == "~" else ""
            texts = "|".join(pattern(text[1:] if home else text) for text in self._texts[key])
            self._made[key] = re.compile(rf"{home}(?s:{texts})\Z")  # a name may hold a line break
        return self._made[key]


@cache
def _places(kind: str, key: str = "paths") -> Places:
    return Places(_table()[kind].get(key, ()))


def in_home(path: str, home: str) -> str:
    """The path with this home directory written as `~`."""
    if home not in ("", "/") and (path == home or path.startswith(home + "/")):
        return "~" + path[len(home) :]
    return path


@lru_cache(maxsize=8192)
def is_kind(path: str, kind: str, home: str) -> bool:
    """Does a path, or a glob or half-known path that could become one, belong to a kind of `places.toml`?"""
    path = _RUNS.sub(STAR, in_home(path[:4096], home))
    if _places(kind, "except").match(path):
        return False
    if _places(kind).match(path):
        return True
    if path.isascii() or not _VAGUE.search(path):
        return False
    if len(path) > 256 or sum(path.count(mark) for mark in GLOBS) > 8:
        return True
    expression = _loosely(path)
    return any(expression.match(sample) for sample in _table()[kind]["samples"])


def is_protected(path: str, place: Place) -> bool:
    """Does a path, or a glob or half-known path that could become one, belong to the protection that is asking?"""
    if is_kind(path, "protection", place.home):
        return True
    if any(path == root or path.startswith(root + "/") for root in place.protected):
        return True
    if not place.protected or path.isascii() or not _VAGUE.search(path):
        return False
    expression = _loosely(path[:256])
    return any(expression.match(sample) for root in place.protected for sample in (root, f"{root}/rules.toml"))


_OTHER_HOME = re.compile(r"/(?:home/[^/]+|Users/[^/]+|root|var/root)(?=/)")
LISTENS = re.compile(
    r"/dev/(?!(?:null|zero|full|u?random|tty|ptmx|std(?:in|out|err)|(?:fd|pts)/\d+|(?:shm|mqueue)/.*)\Z)[^/]|/proc/kmsg\Z",
    re.DOTALL,
)
"""Devices: to open one may do something (a watchdog), and what comes out of it is typed, spoken or seen somewhere."""


def holds_secrets(directory: str, home: str) -> bool:
    """Do secrets usually lie below this directory (a home, `~/.config`, `/etc`)? Whoever reads it whole reads them."""
    below = directory.rstrip("/") + "/"
    owner = _OTHER_HOME.match(below)
    homes = (home, owner[0], "/home/user", "/Users/user") if owner else (home, "/home/user", "/Users/user")
    known = (each.rstrip("/") + sample[1:] for sample in _table()["secret"]["samples"] if sample[:3] == "~/." for each in homes)
    return any(sample.startswith(below) for sample in (*known, "/etc/shadow", "/root/.ssh/id_rsa", "/run/secrets/token"))


def _loosely(path: str) -> re.Pattern[str]:
    """What a glob or a half-known path may become."""
    path = _SET.sub(QUESTION, path)
    return re.compile("".join(_loose(mark) for mark in path) + r"\Z", re.DOTALL)


def _loose(mark: str) -> str:
    if mark == STAR:
        return "[^/]*"
    if mark in (QUESTION, BRACKET):
        return "[^/]"
    return ".*" if ANY.match(mark) else re.escape(mark)


def roots() -> Places:
    """Directories whose removal ends the machine or the user's life on it."""
    return _places("roots")


def glob_hits_root(path: str, place: Place) -> bool:
    """Could this glob expand to a directory whose removal ends the machine?"""
    path = _RUNS.sub(STAR, path)
    if len(path) > 256 or sum(path.count(mark) for mark in GLOBS) > 8:
        return True
    expression = _loosely(path)
    tops = ("bin", "boot", "dev", "etc", "home", "lib", "lib64", "opt", "proc", "root", "sbin", "srv", "sys", "usr", "var")
    below = ("usr/bin", "usr/lib", "usr/local", "usr/share", "usr/sbin", "var/lib")
    samples = [*("/" + name for name in tops + below), "/home/user", place.home, *place.mounts]
    return any(expression.match(sample) for sample in samples)
