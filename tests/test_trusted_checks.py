"""A program that an earlier run installed and verified is checked again without a question."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SKILL = """---
name: note
description: A program in the home directory.
metadata:
  skillrun-verify: '{check}'
  skillrun-privilege: "none"
---
# Note
## Install
```bash
printf '#!/bin/sh\\necho installed\\n' > "$HOME/note" && chmod +x "$HOME/note"
```
"""
RUNS_IT = '"$HOME/note" | grep -q installed'
WRITES_TOO = '"$HOME/note" > "$HOME/said" && grep -q installed "$HOME/said"'


def skillrun(folder: Path, *words: str) -> int:
    """One unattended call of the command line; its exit code."""
    environment = {**os.environ, "HOME": str(folder / "home"), "XDG_STATE_HOME": str(folder / "state")}
    argv = [sys.executable, "-m", "skillrun", *words, str(folder / "note"), "--no-input"]
    return subprocess.run(argv, env=environment, capture_output=True, timeout=120).returncode


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A home, a state directory and the skill."""
    (tmp_path / "home").mkdir()
    (tmp_path / "note").mkdir()
    write(tmp_path, RUNS_IT)
    return tmp_path


def write(folder: Path, check: str) -> None:
    """The skill with this check."""
    (folder / "note/SKILL.md").write_text(SKILL.format(check=check))


def test_what_passed_once_is_verified_unattended(folder: Path) -> None:
    """Installed and verified once, `verify` and a second `install` need nobody; without the program they fail."""
    assert skillrun(folder, "install", "--approve", "all", "--model", "builtin") == 0
    assert skillrun(folder, "verify") == 0
    assert skillrun(folder, "install", "--model", "builtin") == 0
    (folder / "home/note").unlink()
    assert skillrun(folder, "verify") == 3


def test_an_unread_program_still_needs_a_person(folder: Path) -> None:
    """Where it changes something: no run has verified it yet, or the skill's text is another by now."""
    program = folder / "home/note"
    program.write_text("#!/bin/sh\ndate >> ~/ran && echo installed\n")
    program.chmod(0o755)
    assert skillrun(folder, "verify") == 4
    assert skillrun(folder, "verify", "--approve", "all") == 0
    assert skillrun(folder, "verify") == 0
    (folder / "note/SKILL.md").write_text(SKILL.format(check=RUNS_IT) + "\nAnother word.\n")
    assert skillrun(folder, "verify") == 4


def test_a_check_that_changes_something_is_asked_about_again(folder: Path) -> None:
    """Only running code nobody has read is agreed to by having passed."""
    write(folder, WRITES_TOO)
    assert skillrun(folder, "install", "--approve", "all", "--model", "builtin") == 0
    assert skillrun(folder, "verify") == 4
