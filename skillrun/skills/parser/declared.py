"""What a skill's front matter declares, before anybody reads its body."""

from __future__ import annotations

from skillrun.skills.frontmatter import FrontMatter
from skillrun.skills.skill import Check, Declared


def metadata_of(front: FrontMatter) -> dict[str, str]:
    """The flat string metadata of a skill; values that are no text are left out."""
    meta = front.fields.get("metadata")
    return {key: value for key, value in meta.items() if isinstance(value, str)} if isinstance(meta, dict) else {}


def declared_by(front: FrontMatter) -> Declared:
    """What the front matter says that the skill will do."""
    meta = metadata_of(front)

    def words(key: str) -> tuple[str, ...] | None:
        return tuple(meta[key].split()) if key in meta else None

    platforms = words("skillrun-platforms") or _foreign(front, "platforms") or _foreign(front, "metadata", "openclaw", "os")
    requires = words("skillrun-requires") or _foreign(front, "metadata", "openclaw", "requires", "bins")
    return Declared(
        platforms, requires, words("skillrun-hosts"), words("skillrun-writes"), meta.get("skillrun-privilege"),
        words("skillrun-effects"),
    )  # fmt: skip


def _foreign(front: FrontMatter, *keys: str) -> tuple[str, ...] | None:
    value: object = front.fields
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    names = value.split() if isinstance(value, str) else value
    return tuple(str(name) for name in names if isinstance(name, str)) or None if isinstance(names, list) else None


def line_of(front: FrontMatter, key: str) -> int:
    """The line of a key of the metadata, 0 where it is not there."""
    return front.lines.get(f"metadata.{key}", front.lines.get(key, 0))


def declared_checks(front: FrontMatter) -> tuple[Check, ...]:
    """The checks of `skillrun-verify`, one a line; empty where none is declared."""
    commands = metadata_of(front).get("skillrun-verify", "").split("\n")
    line = line_of(front, "skillrun-verify")
    return tuple(Check(command.strip(), "declared", line) for command in commands if command.strip())
