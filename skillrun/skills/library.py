"""The skills that were added: copies in the user's library, or where an agent looks for them, each held by a lock.

A lock lies beside the copies, not inside a skill, so that a skill's digest is that of its own files. Nothing is executed here.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from skillrun.skills.folder import write_files
from skillrun.skills.frontmatter import split
from skillrun.skills.index import AGENTS, library
from skillrun.skills.lock import NAME as LOCK
from skillrun.skills.lock import Locked, locked, own_files, read_lock, user_lock
from skillrun.skills.remote import repository_of
from skillrun.skills.signature import signer_of
from skillrun.skills.skill import Skill, SkillError
from skillrun.text.invisible import reveal

_HOST = re.compile(rb"\b(?:https?|ssh|git|ftp)://(?:[^\s/@]+@)?([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
"""A host in an address, anywhere in a skill's files: also in prose and in scripts, which an agent may follow."""

_NAME = re.compile(r"(?=.{1,64}$)[a-z0-9]+(?:-[a-z0-9]+)*$")


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where added skills are put, and the lock that holds them."""

    folder: Path
    lock: Path


def shelf(agent: str = "", project: bool = False) -> Shelf:
    """The shelf of the user, or of the project in the working directory; `agent`: where it looks. Raises SkillError."""
    if agent and agent not in AGENTS:
        raise SkillError(f"no agent `{agent}` is known here: {', '.join(sorted(AGENTS))}")
    if project:
        return Shelf(Path.cwd() / AGENTS[agent or "agents"][0], Path.cwd() / LOCK)
    return Shelf(Path.home() / AGENTS[agent][1] if agent else Path(library()), user_lock())


def entry_for(skill: Skill, name: str, spec: str, effects: Mapping[str, Sequence[str]], now: datetime | None = None) -> Locked:
    """What the lock says of this skill, named by `spec`. Raises SkillError where a signature does not hold too, and OSError."""
    where = repository_of(spec) if "#" in skill.source else None
    files = own_files(skill)
    hosts = {host for host in effects.get("network", ()) if "." in host} | set(skill.declared.hosts or ())
    hosts |= {found[1].decode().lower() for data in files.values() for found in _HOST.finditer(data)}
    signer = signer_of(files)
    entry = locked(
        name,
        skill.source if "://" in skill.source or skill.path is None else str(skill.path.absolute()),
        files,
        effects={kind: sorted(subjects) for kind, subjects in sorted(effects.items())},
        hosts=sorted(hosts),
        signer=signer.name,
        issuer=signer.issuer,
        license=split(skill.text).text("license") or "",
        added=(now or datetime.now(UTC)).isoformat(timespec="seconds"),
    )
    ref = where.ref if where and where.ref != entry.commit else ""
    return replace(entry, ref=ref)


def diff(before: str, after: str, name: str) -> str:
    """A unified diff of two documents with hidden characters made visible; empty when they are equal."""
    old, new = reveal(before).splitlines(), reveal(after).splitlines()
    return "\n".join(difflib.unified_diff(old, new, f"{name} (reviewed)", f"{name} (now)", lineterm=""))


def name_for(skill: Skill) -> str:
    """The name a skill is added under. Raises SkillError when it has none that is valid."""
    if not _NAME.match(skill.name):
        raise SkillError(f"its name `{skill.name}` is not valid: give one with --name (a-z, 0-9, single hyphens)", skill.source)
    return skill.name


def add(skill: Skill, entry: Locked, place: Shelf) -> Path:
    """Copy a skill's files to a shelf and hold them in its lock; what was there under that name is replaced.

    Raises SkillError, OSError. What is copied is what the entry says, or nothing.
    """
    if not _NAME.match(entry.name):
        raise SkillError(f"`{entry.name}` is not a valid name: a-z, 0-9 and single hyphens")
    files = own_files(skill)
    if entry.differs(files):
        raise SkillError("changed while it was being added: try again", skill.source)
    folder = place.folder / entry.name
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as temporary:
        write_files(files, Path(temporary) / entry.name)
        if folder.exists() or folder.is_symlink():
            os.replace(folder, Path(temporary) / "old")
        os.replace(Path(temporary) / entry.name, folder)
    inside = folder.is_relative_to(place.lock.parent)
    where = folder.relative_to(place.lock.parent) if inside else folder
    read_lock(place.lock).with_entry(replace(entry, place=str(where))).save()
    return folder


def copy_of(entry: Locked, lock: Path) -> Path | None:
    """Where the copy of a locked skill lies; None where it is not on this machine."""
    place = lock.parent / entry.place
    return place if entry.place and place.is_dir() else None


def remove(name: str, lock: Path | None = None) -> Path:
    """Take a skill's copy and its entry in the lock away. Raises SkillError when no such skill was added."""
    path = lock or user_lock()
    held = read_lock(path)
    entry = held.skills.get(name)
    place = copy_of(entry, path) if entry else None
    if entry is None or place is None or place.is_symlink() or place.name != name:
        raise SkillError(f"no added skill `{name}`: `skillrun list` shows which ones are [added]")
    shutil.rmtree(place)
    held.without(name).save()
    return place


SCAFFOLD_DESCRIPTION = "Installs {name}. Use it when someone wants {name} on this machine."
SCAFFOLD_SENTENCE = "One sentence: what it is, and what this skill leaves on the machine."
"""What an author has to write, and lint looks for."""
SCAFFOLD = f"""\
---
name: {{name}}
description: {SCAFFOLD_DESCRIPTION}
license: Apache-2.0
compatibility: Linux and macOS.
metadata:
  version: "0.1.0"
  skillrun-platforms: "linux macos"
  skillrun-privilege: "sudo"
  skillrun-effects: "packages"
  skillrun-verify: "{{name}} --version"
  skillrun-uninstall: "Uninstall"
---
# Install {{name}}

{SCAFFOLD_SENTENCE}

## Install

### Debian, Ubuntu

```bash
sudo apt-get update
sudo apt-get install -y {{name}}
```

### macOS

```bash
brew install {{name}}
```

## Uninstall

### Debian, Ubuntu

```bash
sudo apt-get remove -y {{name}}
```

### macOS

```bash
brew uninstall {{name}}
```
"""


def scaffold(name: str, folder: Path) -> Path:
    """Write a new skill `folder/name/SKILL.md`. Raises SkillError for a bad name or when it is there already."""
    if not _NAME.match(name):
        raise SkillError(f"`{name}` is not a valid name: a-z, 0-9 and single hyphens, at most 64 characters")
    document = folder / name / "SKILL.md"
    if document.exists():
        raise SkillError("is there already", str(document))
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(SCAFFOLD.format(name=name), encoding="utf-8")
    return document
