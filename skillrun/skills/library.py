"""The user's own library of skills: copies, pinned to the source, commit and digest they were added from.

A pin lies beside the library, not inside the skill, so that a skill's digest is that of its own files. It keeps the
document as it was reviewed, so that a change can be shown as a diff. Nothing is executed here.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from skillrun.skills.index import library
from skillrun.skills.remote import write_files
from skillrun.skills.skill import Skill, SkillError
from skillrun.skills.sources import files_of
from skillrun.text.invisible import reveal

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*$")


@dataclass(frozen=True, slots=True)
class Pin:
    """Where an added skill came from, and what it was then. `commit` is empty for what is not from a repository."""

    name: str
    source: str
    commit: str
    digest: str
    added: str
    text: str


def _pin_path(name: str) -> Path:
    return Path(library()) / ".pins" / f"{name}.json"


def pin_of(name: str) -> Pin | None:
    """The pin of an added skill; None when there is none or it cannot be read."""
    try:
        return Pin(**json.loads(_pin_path(name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def changed_since_added(name: str, digest: str) -> str:
    """A warning when an added skill is not what was reviewed; empty when it is."""
    pin = pin_of(name)
    if pin is None or pin.digest == digest:
        return ""
    return f"the added skill `{name}` changed since it was added from {pin.source}: `skillrun add {name} --diff` shows how"


def diff(before: str, after: str, name: str) -> str:
    """A unified diff of two documents with hidden characters made visible; empty when they are equal."""
    old, new = reveal(before).splitlines(), reveal(after).splitlines()
    return "\n".join(difflib.unified_diff(old, new, f"{name} (reviewed)", f"{name} (now)", lineterm=""))


def name_for(skill: Skill) -> str:
    """The name a skill is added under. Raises SkillError when it has none that is valid."""
    if not _NAME.match(skill.name) or len(skill.name) > 64:
        raise SkillError(f"its name `{skill.name}` is not valid: give one with --name (a-z, 0-9, single hyphens)", skill.source)
    return skill.name


def add(skill: Skill, name: str, now: datetime | None = None) -> Path:
    """Copy a skill's files into the library and pin them; what was there under that name is replaced.

    Raises SkillError, OSError.
    """
    document = skill.path
    if document is None:
        files = {"SKILL.md": skill.text.encode()}
    elif document.name == "SKILL.md":
        files = files_of(document.parent)
    else:
        files = {document.name: document.read_bytes()}
    place = Path(library()) / name
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    commit = found[1] if (found := re.search(r"#([0-9a-f]{40})\b", skill.source)) else ""
    when = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(prefix=".new-", dir=place.parent) as temporary:
        write_files(files, Path(temporary) / name)
        if place.exists():
            os.replace(place, Path(temporary) / "old")
        os.replace(Path(temporary) / name, place)
    pin = Pin(name, skill.source, commit, skill.digest, when, skill.text)
    path = _pin_path(name)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(json.dumps(asdict(pin), indent=1), encoding="utf-8")
    return place


def remove(name: str) -> Path:
    """Take a skill and its pin out of the library. Raises SkillError when it is not in the library."""
    place = Path(library()) / name
    if not _NAME.match(name) or not place.is_dir() or place.is_symlink():
        raise SkillError(f"no added skill `{name}`: `skillrun list` shows which ones are [added]")
    shutil.rmtree(place)
    _pin_path(name).unlink(missing_ok=True)
    return place


SCAFFOLD = """\
---
name: {name}
description: Installs {name}. Use it when someone wants {name} on this machine.
license: Apache-2.0
compatibility: Linux and macOS.
metadata:
  version: "0.1.0"
  skillrun-platforms: "linux macos"
  skillrun-privilege: "sudo"
  skillrun-effects: "packages"
  skillrun-verify: "{name} --version"
  skillrun-uninstall: "Uninstall"
---
# Install {name}

One sentence: what it is, and what this skill leaves on the machine.

## Install

### Debian, Ubuntu

```bash
sudo apt-get update
sudo apt-get install -y {name}
```

### macOS

```bash
brew install {name}
```

## Uninstall

### Debian, Ubuntu

```bash
sudo apt-get remove -y {name}
```

### macOS

```bash
brew uninstall {name}
```
"""


def scaffold(name: str, folder: Path) -> Path:
    """Write a new skill `folder/name/SKILL.md`. Raises SkillError for a bad name or when it is there already."""
    if not _NAME.match(name) or len(name) > 64:
        raise SkillError(f"`{name}` is not a valid name: a-z, 0-9 and single hyphens, at most 64 characters")
    document = folder / name / "SKILL.md"
    if document.exists():
        raise SkillError("is there already", str(document))
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(SCAFFOLD.format(name=name), encoding="utf-8")
    return document
