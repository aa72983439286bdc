"""What a view of another machine would change: read there by a script, explained as a view at home is."""

from __future__ import annotations

import io
import re
import stat
import tarfile
from collections.abc import Iterable, Mapping, Sequence

from skillrun.fleet.preview.view import View, script
from skillrun.overlay.diff.both_sides import LIMIT
from skillrun.overlay.diff.changes import Changes, explained
from skillrun.overlay.diff.entries import Entry
from skillrun.overlay.diff.highlights import weighty
from skillrun.overlay.diff.packages import DPKG_INFO, is_record
from skillrun.overlay.kernel.inode import Inode
from skillrun.overlay.mount.service_request import Refused, ServiceRequest, understand
from skillrun.overlay.mount.shims import LONGEST_NOTE, parse_note
from skillrun.pty.protocol import quote

SCAN_S = 600.0
_READ = 256 << 10
"""Larger files are not brought here to be shown, but for the records of packages."""
_ASKED = "/dev/skillrun/asked"
_LINE = re.compile(r"([AMD]) (-|\S+(?: \S+){6}) = (-|\S+(?: \S+){6}) (/.*)")


class Unreadable(Exception):
    """What a view changed cannot be told: why."""


def read_changes(view: View) -> tuple[Changes, bool]:
    """All that differs, and whether temporary files are among it, which stay out. Raises Unreadable, Unreachable."""
    given = {"D": view.folder, "inside": str(view.pid)}
    text = "\n".join([*(f"{name}={quote(value)}" for name, value in given.items()), script("changes.sh")])
    done = view.rights.run(text, seconds=SCAN_S)
    told = done.output.decode("utf-8", "surrogateescape")
    entries: dict[str, Entry] = {}
    for line in told.split("\n"):
        if line.startswith("E "):
            raise Unreadable(line[2:])
        if match := _LINE.fullmatch(line):
            kind, old, new, path = match.groups()
            entries[path] = _entry(kind, _inode(old), _inode(new), path)
    if done.code:
        raise Unreadable(done.errors.strip()[-200:] or f"it ended with {done.code}")
    found = [entries[path] for path in sorted(entries)]
    sides = _Fetched(view, found)
    changes = explained(found, sides, requests(view), "U" if view.own else "R")
    return changes, any(line.startswith("T ") for line in told.split("\n"))


def requests(view: View) -> tuple[ServiceRequest | Refused, ...]:
    """What services were told inside, to be done after a commit, in order. Raises Unreachable."""
    if view.own:
        return ()
    found = []
    for member, data in _members(view, f"/proc/{view.pid}/root", [_ASKED]):
        if member.isreg() and member.size <= LONGEST_NOTE and (words := parse_note(data)) is not None:
            found.append((member.mtime, member.name, understand(words, member.uid, view.rights.account.uid)))
    told = (item for _, _, item in sorted(found, key=lambda row: row[:2]))
    return tuple(_not_a_users(item) for item in told)


def _not_a_users(item: ServiceRequest | Refused) -> ServiceRequest | Refused:
    """A user's own service manager is out of reach of a command that nobody is logged in for."""
    if isinstance(item, ServiceRequest) and item.of_user:
        return Refused(str(item), "a user's own services are not started from here", item.by)
    return item


def _inode(words: str) -> Inode | None:
    if words == "-":
        return None
    mode, uid, gid, size, links, blocks, mtime = words.split()
    kind = int(mode, 16)
    return Inode(
        0, kind, int(uid), int(gid), 0 if stat.S_ISDIR(kind) else int(size), int(mtime) * 10**9, 0, int(links), 0, int(blocks)
    )


def _entry(kind: str, old: Inode | None, new: Inode | None, path: str) -> Entry:
    aspects: tuple[str, ...] = ()
    if old is not None and new is not None:
        if stat.S_IFMT(old.mode) != stat.S_IFMT(new.mode):
            aspects = ("type",)
        else:
            aspects = () if old.is_directory else ("content",)
            aspects += ("mode",) if old.mode != new.mode else ()
            aspects += ("owner",) if (old.uid, old.gid) != (new.uid, new.gid) else ()
    return Entry(path, {"A": "added", "M": "changed", "D": "removed"}[kind], old, new, aspects)


class _Fetched:
    """Both sides of what is worth reading, brought here at once."""

    def __init__(self, view: View, entries: Sequence[Entry]) -> None:
        heavy = {entry.path for entry in weighty(entries)}
        wanted = [entry for entry in entries if _worth_reading(entry, heavy)]
        self._new = _files(view, f"/proc/{view.pid}/root", [entry.path for entry in wanted if entry.new is not None])
        self._old = _files(view, "", [entry.path for entry in wanted if entry.old is not None])

    def old(self, path: str, limit: int = LIMIT) -> bytes | None:
        """The machine's version."""
        return _content(self._old, path, limit)

    def new(self, path: str, limit: int = LIMIT) -> bytes | None:
        """The view's version, or the machine's where the view left it alone."""
        return _content(self._new if path in self._new else self._old, path, limit)

    def link(self, path: str, new: bool) -> str:
        """Where a symbolic link points."""
        found = (self._new if new else self._old).get(path)
        return found[0].linkname if found is not None and found[0].issym() else ""


_Files = Mapping[str, tuple[tarfile.TarInfo, bytes]]


def _content(files: _Files, path: str, limit: int) -> bytes | None:
    found = files.get(path)
    return found[1][:limit] if found is not None and found[0].isreg() else None


def _worth_reading(entry: Entry, heavy: Iterable[str]) -> bool:
    if entry.path in ("/etc/passwd", "/etc/group") or is_record(entry.path):
        return True
    small = entry.inode.size <= _READ and not entry.inode.is_directory
    read = entry.path.startswith("/etc/") or (entry.path.startswith(DPKG_INFO) and entry.path.endswith(".list"))
    return small and (read or entry.path in heavy or entry.change == "changed")


def _files(view: View, root: str, paths: Sequence[str]) -> _Files:
    return {f"/{member.name.removeprefix('./')}": (member, data) for member, data in _members(view, root, paths)}


def _members(view: View, root: str, paths: Sequence[str]) -> Iterable[tuple[tarfile.TarInfo, bytes]]:
    """Files below a root there, by their absolute paths. What is gone meanwhile is left out. Raises Unreachable."""
    if not paths:
        return
    names = "\n".join(f".{path}" for path in paths).encode("utf-8", "surrogateescape")
    packed = f"cd {quote(root or '/')} && tar -c --numeric-owner -T - -f - 2> /dev/null"
    done = view.rights.run(packed, names + b"\n", seconds=SCAN_S)
    try:
        with tarfile.open(fileobj=io.BytesIO(done.output), errors="surrogateescape") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                yield member, file.read() if file is not None else b""
    except tarfile.TarError as error:
        raise Unreadable(f"its files cannot be read: {error}") from None
