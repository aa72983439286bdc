"""Password hashes stay outside a view: inside, the files that hold them show a mark instead, and a commit puts them back.

Format: shadow(5), gshadow(5). Whoever adds a user or locks one inside changes the rest of the files, which is committed.
"""

from __future__ import annotations

from collections.abc import Mapping

FILES: Mapping[str, tuple[str, ...]] = {
    "/etc/shadow": ("/etc/shadow",),
    "/etc/shadow-": ("/etc/shadow-", "/etc/shadow"),
    "/etc/gshadow": ("/etc/gshadow",),
    "/etc/gshadow-": ("/etc/gshadow-", "/etc/gshadow"),
}
"""A file, and the files outside whose hashes it may have inside, the later one before the earlier."""

MARK = b"*kept-by-skillrun*"
"""No password has this hash (crypt(5)): nobody can be logged in as inside who could not be with a locked password."""
_SHORTEST = 13


def marked(data: bytes) -> bytes:
    """The file as it is shown inside. A lock (`!` in front of a hash), an empty password and a refused one stay as they are."""
    return b"\n".join(_line(line, MARK) for line in data.split(b"\n"))


def put_back(data: bytes, *outside: bytes) -> bytes:
    """The file as it is committed: each mark becomes the hash that the same name has outside, where it has one."""
    hashes = {}
    for text in outside:
        for line in text.split(b"\n"):
            name, _, rest = line.partition(b":")
            hashes[name] = rest.partition(b":")[0].lstrip(b"!")
    found = []
    for line in data.split(b"\n"):
        name, _, rest = line.partition(b":")
        field = rest.partition(b":")[0]
        known = field.lstrip(b"!") == MARK and len(hashes.get(name, b"")) >= _SHORTEST
        found.append(line.replace(MARK, hashes[name], 1) if known else line)
    return b"\n".join(found)


def _line(line: bytes, mark: bytes) -> bytes:
    name, colon, rest = line.partition(b":")
    field, more, others = rest.partition(b":")
    bare = field.lstrip(b"!")
    if not colon or len(bare) < _SHORTEST:
        return line
    return name + colon + field[: len(field) - len(bare)] + mark + more + others
