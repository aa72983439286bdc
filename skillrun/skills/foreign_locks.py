"""Lock files that other programs write, read so that what they pin holds here too; never written.

`skills-lock.json` (the npm program `skills`, version 1): per name `source`, `ref`, `sourceType` and `computedHash`, a SHA-256
over path and bytes of every file, in the order JavaScript's `localeCompare` gives.
`toolhive.lock.yaml` (ToolHive, version 1): a list with `name`, `source`, `resolvedReference`, `digest` (a commit) and
`contentDigest`, a SHA-256 over `path NUL sha256 LF` of every file, the inner hash as 32 raw bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skillrun.skills.skill import SkillError

SKILLS, TOOLHIVE = "skills-lock.json", "toolhive.lock.yaml"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A skill as another program's lock pins it."""

    lock: Path
    name: str
    source: str
    digest: str
    """As that program writes it; empty: it pins no bytes."""
    commit: str = ""

    def refuse_what_differs(self, files: Mapping[str, bytes]) -> None:
        """Raises SkillError unless these are the bytes that were locked."""
        orders = _dirhash(files) if self.lock.name == TOOLHIVE else _folder_hashes(files)
        if self.digest and self.digest not in orders:
            raise SkillError(f"`{self.name}` is not what {self.lock} holds. Nothing was run", self.source)


def foreign_locks(folder: Path) -> Iterator[Foreign]:
    """Everything the lock files of a directory pin. Raises SkillError for one that cannot be understood."""
    for name, read in ((SKILLS, _skills), (TOOLHIVE, _toolhive)):
        path = folder / name
        if not path.is_file():
            continue
        try:
            yield from read(path, path.read_text(encoding="utf-8"))
        except SkillError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SkillError(
                f"is not a lock file ({error}): take it back from version control, or remove it", str(path)
            ) from None


def _versioned(path: Path, version: Any) -> None:
    if str(version) != "1":
        raise SkillError(f"is a lock of version {version}, and this skillrun knows 1", str(path))


def _skills(path: Path, text: str) -> Iterator[Foreign]:
    data = json.loads(text)
    _versioned(path, data["version"])
    for name, row in data["skills"].items():
        yield Foreign(path, name, str(row["source"]), str(row.get("computedHash", "")))


def _toolhive(path: Path, text: str) -> Iterator[Foreign]:
    from skillrun.skills.frontmatter import plain_yaml

    data: Any = plain_yaml(text)
    _versioned(path, data.get("version") or 1)
    for row in data.get("skills") or ():
        commit = str(row["digest"]) if not str(row["digest"]).startswith("sha256:") else ""
        yield Foreign(path, str(row["name"]), str(row["source"]), str(row.get("contentDigest", "")), commit)


def _dirhash(files: Mapping[str, bytes]) -> set[str]:
    whole = hashlib.sha256()
    for name in sorted(files, key=lambda one: one.encode()):
        whole.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest() + b"\n")
    return {f"sha256:{whole.hexdigest()}"}


def _folder_hashes(files: Mapping[str, bytes]) -> set[str]:
    """The hash in the orders these names can have come in: by bytes, and as `localeCompare` has them."""
    found = set()
    for key in (str.encode, _collation):
        whole = hashlib.sha256()
        for name in sorted(files, key=key):
            whole.update(name.encode() + files[name])
        found.add(whole.hexdigest())
    return found


_SIGNS = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789"
"""ASCII before the letters, in the order of the Unicode Collation Algorithm's default table (DUCET)."""


def _collation(name: str) -> tuple[list[tuple[int, str]], str]:
    """A name's place by the Unicode collation: signs, digits, letters; lower case first where all else is the same."""
    return [(_SIGNS.find(sign) if sign in _SIGNS else len(_SIGNS), sign.casefold()) for sign in name], name.swapcase()
