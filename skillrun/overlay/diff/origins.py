"""What a file of an upper was copied up from, as the overlay noted it, and whether that is still there."""

from __future__ import annotations

import os
import stat
from collections import Counter

from skillrun.overlay.diff.entries import Clash, Findings
from skillrun.overlay.kernel.dirfd import handle_of
from skillrun.overlay.kernel.inode import Inode, overlay_xattr
from skillrun.overlay.kernel.mountinfo import mount_of, read_mounts


class Origins:
    """Collects what came from elsewhere while a layer is walked, and tells in the end what lost its origin outside."""

    def __init__(self, findings: Findings) -> None:
        self._found = findings
        self._root = handle_of(findings.real.fd, ".")
        real = os.fstatvfs(findings.real.fd).f_fsid
        in_memory = mount_of(os.path.realpath(findings.real.path), read_mounts()).fstype == "tmpfs"
        self._in_memory = real if in_memory else None
        self._copied: list[tuple[str, bytes, int]] = []
        self._orphans: list[tuple[str, Inode, int]] = []
        """Copied up, from what is not known."""
        self._covered: list[tuple[str, Inode]] = []

    def cover(self, path: str, old: Inode) -> None:
        """A file on both sides."""
        self._covered.append((path, old))

    def of(self, path: str) -> bytes:
        """The handle of the real inode something was copied up from; b"" when unknown, or from a hidden lower layer."""
        return self._of_this_tree(overlay_xattr(self._found.upper.proc_path(path), "origin") or b"")

    def notice(self, path: str, new: Inode) -> None:
        """Something copied up from a name that is not there: moved inside the view, or removed outside meanwhile."""
        if not (new.is_directory or stat.S_ISREG(new.mode)) or (new.is_directory and self._found.is_opaque(path)):
            return
        noted = overlay_xattr(self._found.upper.proc_path(path), "origin")
        if noted == b"":
            self._orphans.append((path, new, self._found.next))
        elif noted is not None and (origin := self._of_this_tree(noted)):
            self._copied.append((path, origin, self._found.next))

    def settle(self) -> None:
        """What was moved has its former name among the removed ones; anything else lost its origin outside."""
        if not self._copied and not self._orphans:
            return
        base, scan = self._found.base, self._found.scan
        gone = [
            (entry.path[len(base) + 1 :], entry.old)
            for entry in scan.entries
            if entry.old and (entry.change == "removed" or "type" in entry.aspects)
        ]
        real = self._found.real
        handles = {handle_of(*real.place(path)) for path, _ in (*gone, *self._covered)} if self._copied else set()
        lost = [(path, op) for path, origin, op in self._copied if origin not in handles]
        lost += self._without_origin([old for _, old in gone])
        reason = "was removed on the machine after the view was opened"
        scan.clashes += [Clash(f"{base}/{path}", reason, op) for path, op in lost]

    def _without_origin(self, gone: list[Inode]) -> list[tuple[str, int]]:
        """Those of the orphans that cannot have been moved. A user's own overlay notes that there was an origin, but not which.

        One that was only moved still has its size and time; one that was written too may have been any that is gone or
        was made anew.
        """
        if not self._orphans:
            return []
        anew = (old for path, old in self._covered if overlay_xattr(self._found.upper.proc_path(path), "origin") is None)
        left = Counter((old.size, old.mtime) for old in (*gone, *anew))
        unlike = []
        for path, new, op in self._orphans:
            if left[new.size, new.mtime] > 0:
                left[new.size, new.mtime] -= 1
            else:
                unlike.append((path, op))
        return unlike[left.total() :]

    def _of_this_tree(self, noted: bytes) -> bytes:
        found = handle_in(noted)
        if found[:4] != self._root[:4] or len(found) != len(self._root):
            return b""
        # Where the machine lies in memory, its handles look like those of the view's own layer of stand-ins below.
        return found if self._in_memory in (None, _folded(noted[5:21])) else b""


def _folded(uuid: bytes) -> int:
    """The number that statfs(2) makes of a file system's UUID (linux/statfs.h, uuid_to_fsid)."""
    return int.from_bytes(uuid[:8], "little") ^ int.from_bytes(uuid[8:], "little")


def handle_in(origin: bytes) -> bytes:
    """Type and identifier out of an overlay's origin attribute (struct ovl_fb), as `handle_of` gives them."""
    if len(origin) < 22 or origin[1] != 0xFB:
        return b""
    return int(origin[4]).to_bytes(4, "little") + origin[21:]
