"""Committing a part of a preview from the command line: what is chosen, what is named as left out, what reports show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from skillrun.overlay.process.probe import probe

pytestmark = [
    pytest.mark.root,
    pytest.mark.overlay,
    pytest.mark.skipif(probe().tier not in ("R", "U"), reason=f"no view here: {'; '.join(probe().reasons)}"),
]

SKILL = """---
name: parts
description: A few files in the home directory.
metadata:
  skillrun-verify: 'test -e "$HOME/note"'
  skillrun-privilege: "none"
---
# Parts
## Install
```bash
echo installed > "$HOME/note"
mkdir -p "$HOME/extra/deep" && echo more > "$HOME/extra/deep/file" && echo second > "$HOME/extra/wanted"
```
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def skillrun(tmp_path: Path) -> Run:
    """Runs the command line with a home directory of its own."""
    (tmp_path / "home").mkdir()
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/SKILL.md").write_text(SKILL)
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "XDG_STATE_HOME": str(tmp_path / "state")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "skillrun", *words]
        return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    return run


def _install(run: Run, folder: Path, *choice: str) -> subprocess.CompletedProcess[str]:
    return run("install", str(folder / "parts"), "--preview", "--model", "builtin", "--approve", "all", *choice)


def _made(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


def test_except_leaves_a_part_out_and_names_it(skillrun: Run, tmp_path: Path) -> None:
    """The rest is committed and verified; the screen, the JSON report and the HTML page name what was not."""
    done = _install(skillrun, tmp_path, "--except", "*/extra/deep")
    assert done.returncode == 0, done.stdout + done.stderr
    assert _made(tmp_path / "home") == {"note", "extra/wanted"}
    left = f"{tmp_path}/home/extra/deep"
    assert f"not committed: {left}: not chosen" in done.stdout
    assert "deep/file: not chosen" not in done.stdout
    told = json.loads(skillrun("report", "last", "--json").stdout)["changes"]
    assert told["kept_out"] == [{"path": left, "reason": "not chosen"}]
    assert told["counts"]["added"] == 5
    page = tmp_path / "page.html"
    assert skillrun("report", "last", "--html", str(page)).returncode == 0
    assert "What changed" in page.read_text()
    assert left in page.read_text()


def test_only_commits_what_is_named(skillrun: Run, tmp_path: Path) -> None:
    """Everything else stays out, and undo takes the part back."""
    done = _install(skillrun, tmp_path, "--only", "*/home/note")
    assert done.returncode == 0, done.stdout + done.stderr
    assert _made(tmp_path / "home") == {"note"}
    assert f"not committed: {tmp_path}/home/extra: not chosen" in done.stdout
    assert skillrun("undo", "last", "--approve", "all").returncode == 0
    assert _made(tmp_path / "home") == set()


def test_a_choice_the_checks_cannot_pass_with_is_said(skillrun: Run, tmp_path: Path) -> None:
    """The checks run again after the commit, on the machine: a part without what they look for has failed."""
    done = _install(skillrun, tmp_path, "--except", "*/home/note")
    assert done.returncode == 3, done.stdout + done.stderr
    assert _made(tmp_path / "home") == {"extra/wanted", "extra/deep/file"}
