"""Rules on a plugin: its manifest, and skills that strict clients would skip."""

from __future__ import annotations

from pathlib import Path

from skillrun.lint.finding import Finding, catalogue
from skillrun.skills.plugin import read_plugin
from skillrun.skills.skill import SkillError


def lint_manifest(manifest: Path) -> list[Finding]:
    """What is wrong with the plugin of a `plugin.json`."""
    try:
        plugin = read_plugin(manifest.parent)
    except SkillError as error:
        return [_finding("plugin-manifest", error.message, manifest)]
    found = []
    for problem in plugin.problems:
        name, _, what = problem.partition(": ")
        rule = "plugin-field" if name == manifest.name else "plugin-skill"
        found.append(_finding(rule, what, manifest.parent / name))
    return found


def _finding(rule: str, message: str, path: Path) -> Finding:
    return Finding(rule, message, str(path), 1, 1, catalogue()[rule].level)
