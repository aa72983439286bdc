"""A skill's folder on disk: its files within limits, the skill they make, and writing them elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from skillrun.skills.index import skills_in
from skillrun.skills.skill import Skill, SkillError, digest_of, document_in

MAX_FILES = 500


MAX_TOTAL = 16 << 20
"""Limits of a skill directory: files, and bytes of all of them."""


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a skill directory, relative path -> bytes; `.git` is left out.

    Raises SkillError for a symbolic link that leads outside, and for a directory beyond the limits.
    """
    root = folder.resolve()
    files: dict[str, bytes] = {}
    total = 0
    for base, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in (".git", "__pycache__"))
        for name in [*names, *(link for link in folders if (Path(base) / link).is_symlink())]:
            path = Path(base) / name
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise SkillError(f"the link {path.relative_to(root)} leads outside the skill", str(folder))
            if not path.is_file():
                continue
            total += path.stat().st_size
            if len(files) >= MAX_FILES or total > MAX_TOTAL:
                raise SkillError(f"more than {MAX_FILES} files or {MAX_TOTAL >> 20} MiB: not a skill directory", str(folder))
            files[path.relative_to(root).as_posix()] = path.read_bytes()
    return files


def read_path(path: Path, source: str = "") -> Skill:
    """Read a skill from a file or a directory; a directory's digest, and that of a SKILL.md, covers all its files.

    Raises SkillError.
    """
    from skillrun.skills.parser.read import read_skill

    document = document_in(path) if path.is_dir() else path
    if document is None and (inside := list(skills_in(str(path)))):
        if len(inside) == 1:
            return read_path(Path(inside[0][1]).parent, source)
        names = ", ".join(f"{path}/{name}" for name, _ in inside[:8])
        raise SkillError(f"holds {len(inside)} skills, name one: {names}{', ...' if len(inside) > 8 else ''}", str(path))
    if document is None:
        raise SkillError(f"no SKILL.md, install.md or other single Markdown file in {path}", str(path))
    if path.is_dir() or document.name == "SKILL.md":
        folder = path if path.is_dir() else document.parent
        return read_skill(document, source or str(path), lambda: digest_of(files_of(folder)))
    return read_skill(document, source or str(path))


def write_files(files: dict[str, bytes], folder: Path) -> None:
    """Write a skill's files below a new folder; scripts that begin with `#!` become executable for their owner."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o700 if data.startswith(b"#!") else 0o600)
