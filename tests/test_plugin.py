"""Plugins and lists of plugins are read as their specification says: one level deep, nothing from outside."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from skillrun import __version__
from skillrun.lint.linter import documents_in, lint_path
from skillrun.skills.plugin import SCHEMAS, documents_of, read_plugin, scaffold_plugin
from skillrun.skills.skill import SkillError

ROOT = Path(__file__).parents[1]
GOOD: dict[str, Any] = {"$schema": SCHEMAS[0], "name": "tools"}


def plugin(folder: Path, manifest: object = GOOD, **skills: str) -> Path:
    """A plugin with these skills (directory -> name in the front matter)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plugin.json").write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    for place, name in skills.items():
        (folder / "skills" / place).mkdir(parents=True)
        (folder / "skills" / place / "SKILL.md").write_text(f"---\nname: {name}\ndescription: Installs it.\n---\n# {name}\n")
    return folder


def test_our_own_plugin_is_valid() -> None:
    """The repository is a plugin over its skills, without a complaint, and no skill of it is skipped by strict clients."""
    ours = read_plugin(ROOT)
    assert ours.name == "skillrun"
    assert len(ours.skills) == len([path for path in (ROOT / "skills").iterdir() if path.is_dir()])
    assert ours.problems == ()


def test_our_entry_for_the_registry_of_servers_says_what_the_package_says() -> None:
    """`server.json` has the package's version, starts `skillrun-agent mcp` with the extra, and the README carries its name."""
    entry = json.loads((ROOT / "server.json").read_text())
    package = entry["packages"][0]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {entry["version"], package["version"]} == {__version__}
    assert len(entry["description"]) <= 100
    assert f"<!-- mcp-name: {entry['name']} -->" in (ROOT / "README.md").read_text()
    assert package["runtimeArguments"][0]["value"] == f"{project['name']}[mcp]=={__version__}"
    assert package["identifier"] == project["name"]
    assert project["name"] in project["scripts"], "what starts a package's program starts the one of its name"
    assert package["packageArguments"] == [{"type": "positional", "value": "mcp"}]


@pytest.mark.parametrize(
    "manifest",
    [
        "", "[]", "{", {"name": "tools"}, {"$schema": "https://x.example", "name": "tools"}, {**GOOD, "name": ""},
        {**GOOD, "name": "Tools"}, {**GOOD, "name": "a--b"}, {**GOOD, "name": "a..b"}, {**GOOD, "name": "-a"},
        {**GOOD, "name": "a" * 65},
        {**GOOD, "version": 1}, {**GOOD, "author": "me"}, {**GOOD, "author": {"phone": "1"}}, {**GOOD, "keywords": [1]},
    ],
)  # fmt: skip
def test_a_broken_manifest_rejects_the_plugin(tmp_path: Path, manifest: object) -> None:
    """What the specification calls fatal is an error that names the file, for reading and for lint."""
    folder = plugin(tmp_path / "p", manifest, one="one")
    with pytest.raises(SkillError, match=r"plugin\.json"):
        read_plugin(folder)
    assert [finding.rule for finding in lint_path(folder / "plugin.json")] == ["plugin-manifest"]


def test_skills_lie_one_level_deep(tmp_path: Path) -> None:
    """A skill below another is supporting content; one whose name is not its directory's is said to be skipped."""
    folder = plugin(tmp_path / "p", {**GOOD, "more": 1}, one="one", two="other")
    (folder / "skills/one/deep").mkdir()
    (folder / "skills/one/deep/SKILL.md").write_text("---\nname: deep\ndescription: d\n---\n")
    read = read_plugin(folder)
    assert [path.parent.name for path in read.skills] == ["one", "two"]
    assert any("`more` is no field" in problem for problem in read.problems)
    assert any("skills/two/SKILL.md: strict clients skip it: it is named `other`" in problem for problem in read.problems)
    rules = [finding.rule for finding in lint_path(folder / "plugin.json")]
    assert rules == ["plugin-field", "plugin-skill"]
    assert [path.name for path in documents_in(folder)] == ["plugin.json", "SKILL.md", "SKILL.md"]


def test_nothing_outside_the_plugin_is_read(tmp_path: Path) -> None:
    """Links that lead outside are refused at the narrowest place: a document, all skills, the manifest."""
    outside = plugin(tmp_path / "outside", one="one")
    folder = plugin(tmp_path / "p", two="two")
    (folder / "skills/one").symlink_to(outside / "skills/one")
    read = read_plugin(folder)
    assert [path.parent.name for path in read.skills] == ["two"]
    assert any("leads outside" in problem for problem in read.problems)
    other = plugin(tmp_path / "q")
    (other / "skills").symlink_to(outside / "skills")
    assert read_plugin(other).skills == ()
    third = tmp_path / "r"
    third.mkdir()
    (third / "plugin.json").symlink_to(outside / "plugin.json")
    with pytest.raises(SkillError, match="leads outside"):
        read_plugin(third)


def test_a_list_of_plugins_stays_in_its_repository(tmp_path: Path) -> None:
    """Plugins of a marketplace are followed inside the same directory; addresses and `..` are left alone."""
    plugin(tmp_path / "elsewhere", far="far")
    root = tmp_path / "root"
    plugin(root / "plugins/a", one="one")
    (root / ".claude-plugin").mkdir()
    sources = ["./plugins/a", "../elsewhere", "https://h.example/x.git", {"source": "github", "repo": "a/b"}]
    rows = [{"name": "x", "source": source} for source in sources]
    (root / ".claude-plugin/marketplace.json").write_text(json.dumps({"name": "m", "plugins": rows}))
    found = documents_of(root)
    assert found is not None
    assert [path.parent.name for path in found] == ["one"]
    assert documents_of(tmp_path) is None


def test_the_scaffold_is_valid_and_never_overwrites(tmp_path: Path) -> None:
    """`init --plugin` writes what lint accepts, once."""
    path = scaffold_plugin("my-tools", tmp_path)
    assert lint_path(path) == []
    with pytest.raises(SkillError, match="there already"):
        scaffold_plugin("my-tools", tmp_path)
    with pytest.raises(SkillError, match="not a valid name"):
        scaffold_plugin("My Tools", tmp_path / "x")
