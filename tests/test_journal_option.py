"""`--journal`: an installation that happens for real, and an undo that puts every file back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from skillrun.cli import main
from skillrun.overlay.kernel import seccomp
from tests.lab import difference, manifest

pytestmark = pytest.mark.skipif(bool(seccomp.try_notifications()), reason=seccomp.try_notifications() or "-")

ROOT = Path(__file__).parents[1]
SKILL = """---
name: tool
description: A small tool in the home directory.
metadata:
  skillrun-verify: '"$HOME/.local/bin/tool"'
  skillrun-privilege: "{privilege}"
---
# Tool
## Install
```bash
mkdir -p "$HOME/.local/bin" "$HOME/share"
printf '#!/bin/sh\\necho tool 1.0\\n' > "$HOME/.local/bin/tool"
chmod 755 "$HOME/.local/bin/tool"
echo 'export PATH="$HOME/.local/bin:$PATH"' >> "$HOME/.bashrc"
mv "$HOME/old" "$HOME/share/kept"
rm "$HOME/gone"
```
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with files that the installation changes, moves and removes."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".bashrc").write_text("alias ll='ls -l'\n")
    (home / "old").write_text("old\n")
    (home / "gone").write_text("gone\n")
    os.link(home / "gone", home / "other-name")
    return home


def skillrun(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, state beside the home directory."""
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    env |= {"XDG_STATE_HOME": str(home.parent / "state"), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-m", "skillrun", *words]
    return subprocess.run(argv, env=env, cwd=home, capture_output=True, text=True, timeout=120)


def skill(home: Path, privilege: str = "none") -> str:
    """The document, beside the home directory."""
    path = home.parent / "tool" / "SKILL.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(SKILL.format(privilege=privilege))
    return str(path.parent)


def install(home: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """A journalled installation by the rules alone."""
    return skillrun(home, "install", skill(home), "--journal", "--approve", "all", "--model", "builtin", *more)


def test_it_installs_says_its_tier_first_and_undo_puts_everything_back(home: Path) -> None:
    """Content, modes, times and links are as before; undoing the undo brings the installation back."""
    before = manifest(home)
    done = install(home)
    assert done.returncode == 0, done.stdout + done.stderr
    first = done.stdout.splitlines()[0]
    assert "(tier J)" in first
    assert "for real" in first
    assert "dry" not in first
    assert "view" not in first
    assert "every command runs for real" in done.stdout
    assert "incomplete" not in done.stdout
    installed = manifest(home, times=False)
    assert ".local/bin/tool" in installed
    assert "gone" not in installed

    undone = skillrun(home, "undo", "last", "--approve", "all")
    assert undone.returncode == 0, undone.stdout + undone.stderr
    assert difference(before, manifest(home)) == {}, undone.stdout + undone.stderr
    back = skillrun(home, "undo", "last", "--approve", "all")
    assert back.returncode == 0, back.stdout + back.stderr
    assert difference(installed, manifest(home, times=False)) == {}


def test_reports_carry_the_tier(home: Path) -> None:
    """The events and the HTML report say for what they are: live, tier J."""
    events = [json.loads(line) for line in install(home, "--json").stdout.splitlines()]
    assert (events[0]["mode"], events[0]["tier"], events[0]["target"]) == ("live", "J", "journalled")
    page = home.parent / "page.html"
    assert skillrun(home, "report", "last", "--html", str(page)).returncode == 0
    assert "(tier J)" in page.read_text()


def test_later_edits_stop_the_undo_and_both_versions_are_kept(home: Path) -> None:
    """An edit of a changed file and a new file in a new directory: asked about, left alone, or kept beside the run."""
    assert install(home).returncode == 0
    (home / ".bashrc").write_text("mine\n")
    (home / "share/notes").write_text("notes\n")
    stopped = skillrun(home, "undo", "last", "--approve", "all")
    assert stopped.returncode == 4
    assert "2 paths were changed after the run" in stopped.stderr
    assert (home / ".bashrc").read_text() == "mine\n"

    done = skillrun(home, "undo", "last", "--approve", "all", "--edited", "replace", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    kept = json.loads(done.stdout)["undo"]["kept"]
    assert {Path(path).name: Path(place).read_text() for path, place in kept.items()} == {
        ".bashrc": "mine\n",
        "notes": "notes\n",
    }
    assert (home / ".bashrc").read_text() == "alias ll='ls -l'\n"
    assert not (home / "share").exists()
    assert (home / "old").read_text() == "old\n"


def test_edited_leave_keeps_them_where_they_are(home: Path) -> None:
    """What was edited stays, all else is put back."""
    assert install(home).returncode == 0
    (home / ".bashrc").write_text("mine\n")
    (home / "share/notes").write_text("notes\n")
    done = skillrun(home, "undo", "last", "--approve", "all", "--edited", "leave")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (home / ".bashrc").read_text() == "mine\n"
    assert (home / "share/notes").read_text() == "notes\n"
    assert not (home / ".local").exists()
    assert (home / "gone").read_text() == "gone\n"


def test_a_second_undo_names_the_run_that_did_it(home: Path) -> None:
    """Nothing is put back twice."""
    assert install(home).returncode == 0
    first = json.loads(skillrun(home, "runs", "--json").stdout)["runs"][0]["id"]
    assert skillrun(home, "undo", first, "--approve", "all").returncode == 0
    again = skillrun(home, "undo", first, "--approve", "all")
    assert again.returncode != 0
    assert "was turned back already, by 20" in again.stderr.replace("\n", " ")


def test_a_skill_that_needs_sudo_is_refused_for_an_ordinary_user(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything runs, with the reason and what to type instead."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(home.parent / "state"))
    monkeypatch.setenv("HOME", str(home))
    code = main(["install", skill(home, "sudo"), "--journal", "--approve", "all", "--model", "builtin", "--no-input"])
    said = capsys.readouterr().err
    assert code == 2, said
    assert "sudo cannot work in a journalled run" in said
    assert "sudo skillrun install" in said
    assert (home / "gone").exists()


def test_it_excludes_what_is_not_real(home: Path) -> None:
    """`--journal --dry-run` is a contradiction."""
    done = install(home, "--dry-run")
    assert done.returncode == 2
    assert "--journal runs for real" in done.stderr
