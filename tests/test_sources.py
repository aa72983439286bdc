import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from skillrun.skills.folder import read_path
from skillrun.skills.skill import SkillError, digest_of
from skillrun.skills.sources import find_skill, list_skills

SKILL = "---\nname: {name}\ndescription: {text}\n---\n# {name}\n```bash\ntrue\n```\n"


def make(folder: Path, name: str, text: str = "A skill.") -> Path:
    """A minimal skill directory."""
    (folder / name).mkdir(parents=True)
    (folder / name / "SKILL.md").write_text(SKILL.format(name=name, text=text))
    return folder / name


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a home of its own."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SKILLRUN_SKILLS", str(tmp_path / "library"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_digest_is_that_of_the_discovery_proposal(tmp_path: Path) -> None:
    """SHA-256 over `path NUL hexsha256 LF` lines in bytewise order of paths, computed here by other means."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.txt").write_bytes(b"one")
    (tmp_path / "SKILL.md").write_text(SKILL.format(name="a", text="t"))
    script = "for f in SKILL.md b/x.txt; do printf '%s\\0%s\\n' $f $(sha256sum < $f | cut -d' ' -f1); done | sha256sum"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert read_path(tmp_path).digest == "sha256:" + done.stdout.split()[0]


def test_digest_changes_with_every_file_and_name() -> None:
    """Content and path both count."""
    one = digest_of({"a": b"1", "b": b"2"})
    assert len({one, digest_of({"a": b"2", "b": b"1"}), digest_of({"a": b"1", "c": b"2"}), digest_of({"a": b"1"})}) == 4


def test_a_project_skill_that_shadows_another_is_named(project: Path) -> None:
    """The first match wins, and the warning names the one it hides."""
    mine = make(project / ".claude" / "skills", "demo", "Mine.")
    other = make(Path(os.environ["SKILLRUN_SKILLS"]), "demo", "Other.")
    skill = find_skill("demo")
    assert skill.description == "Mine."
    assert skill.path == mine / "SKILL.md"
    assert any(str(other) in warning for warning in skill.warnings)
    entry = next(entry for entry in list_skills() if entry.name == "demo")
    assert entry.shadows == (str(other / "SKILL.md"),)


def test_a_directory_that_holds_one_skill_is_that_skill(project: Path) -> None:
    """`NAME/SKILL.md` below what was named, as `init --in` leaves it; of several one has to be named."""
    make(project / "shelf", "demo")
    skill = find_skill("./shelf")
    assert (skill.name, skill.path) == ("demo", Path("shelf/demo/SKILL.md"))
    make(project / "shelf", "other")
    with pytest.raises(SkillError) as refused:
        find_skill("./shelf")
    assert "demo" in str(refused.value)
    assert "other" in str(refused.value)


def test_install_documents_of_a_directory_are_found(project: Path) -> None:
    """A directory without SKILL.md may hold one of the names under which instructions circulate."""
    for name in ("install.md", "INSTALL_FOR_AGENTS.md", ".codex/INSTALL.md"):
        folder = project / name.replace("/", "_").replace(".", "")
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("# Install foo\n```\npip install foo\n```\n")
        assert find_skill(str(folder)).name == "foo"


def test_what_is_not_there_says_what_is_near(project: Path) -> None:
    """An unknown name is an error that names the nearest ones."""
    make(project / "skills", "ripgrep")
    with pytest.raises(SkillError, match="did you mean ripgrep"):
        find_skill("ripgrp")


def test_a_link_that_leads_outside_is_refused(project: Path) -> None:
    """A skill cannot bring files in from elsewhere."""
    folder = make(project / "skills", "demo")
    (folder / "secret").symlink_to("/etc/passwd")
    with pytest.raises(SkillError, match="leads outside"):
        find_skill("demo")


def test_standard_input_is_a_skill(project: Path) -> None:
    """`-` reads the skill from standard input."""
    text = "# Install foo\n```\npip install foo\n```\n"
    done = subprocess.run(
        [sys.executable, "-m", "skillrun", "show", "--json", "-"], input=text, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}, check=True,
    )  # fmt: skip
    skill = json.loads(done.stdout)["skill"]
    assert (skill["name"], skill["source"]) == ("foo", "stdin")
