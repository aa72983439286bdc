"""What lint finds, and the catalogue of its rules."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from skillrun.skills.frontmatter import FrontMatter
from skillrun.skills.skill import Skill

LEVELS = ("note", "warning", "error")
"""From harmless to grave; the names are those of SARIF."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the catalogue. `fixed`: neither a suppression nor a configuration takes it back."""

    id: str
    level: str
    title: str
    why: str
    fix: str
    example: str = ""
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A complaint about a place (line and column from 1)."""

    rule: str
    message: str
    path: str
    line: int = 1
    column: int = 1
    level: str = "warning"

    @property
    def fix(self) -> str:
        """How to mend it."""
        return catalogue()[self.rule].fix


@cache
def catalogue() -> Mapping[str, Rule]:
    """Every rule by its id, in the catalogue's order."""
    page = tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text(encoding="utf-8"))
    return {name: Rule(name, **fields) for name, fields in page.items()}


def rule_page(rule: Rule) -> str:
    """The documentation page of a rule, as Markdown."""
    lines = [
        f"# {rule.id}",
        "",
        f"{rule.title}. Level: **{rule.level}**.",
        "",
        rule.why,
        "",
        "## What to do",
        "",
        rule.fix,
    ]
    if rule.example:
        shown = rule.example.encode("ascii", "backslashreplace").decode().rstrip("\n")
        lines += ["", "## An example that breaks it", "", "````markdown", shown, "````"]
    if rule.fixed:
        lines += ["", "It can be neither suppressed nor turned off."]
    else:
        lines += ["", "## When it is meant", "", "```", f"<!-- skillrun-lint: ignore {rule.id} because REASON -->", "```"]
        lines += ["", "on the line before the one it is about (in a block of code: the same words after `#`)."]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Document:
    """A document under complaint: its text (line ends normalised), front matter, and the Skill when it can be read."""

    path: str
    text: str
    front: FrontMatter
    skill: Skill
    folder: Path | None = None
    lines: tuple[str, ...] = ()
    is_skill: bool = True
    """True for a SKILL.md, which the standard's rules hold for."""


@dataclass(slots=True)
class Complaints:
    """Findings on their way: rules add, the document's path and the rule's level are filled in."""

    path: str
    found: list[Finding] = field(default_factory=list)

    def add(self, rule: str, message: str, line: int = 1, column: int = 1, path: str = "") -> None:
        """Note a finding; the same one is noted once."""
        finding = Finding(rule, message, path or self.path, max(line, 1), max(column, 1), catalogue()[rule].level)
        if finding not in self.found:
            self.found.append(finding)
