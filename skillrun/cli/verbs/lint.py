"""The verb lint: complaints about skills, for people, programs, code scanning and annotations."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skillrun import __version__
from skillrun.cli.page import Page
from skillrun.events import SCHEMA

if TYPE_CHECKING:
    from skillrun.lint.finding import Finding

CONFIGURATION = "skillrun-lint.toml"


@click.command(
    "lint",
    cls=Page,
    examples=(
        "skillrun lint skills/*",
        "skillrun lint --strict --format sarif . > lint.sarif",
    ),
)
@click.argument("paths", nargs=-1, required=False)
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    show_default=True,
    help="As what.",
)
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option(
    "--fail-on", type=click.Choice(["note", "warning", "error", "never"]), help="Exit 1 from this level on. [default: error]"
)
@click.option("--config", type=click.Path(dir_okay=False), help=f"Levels of rules. [default: ./{CONFIGURATION} if there]")
@click.option(
    "--effects", "base", help="Compare with an earlier version of the skill, or a report: what does it do now that it did not?"
)
@click.option("--rules", "list_rules", is_flag=True, help="List the rules and what they are about.")
@click.option("--json", "as_json", is_flag=True, help="Same as --format json.")
def lint_command(
    paths: tuple[str, ...],
    style: str,
    strict: bool,
    fail_on: str | None,
    config: str | None,
    base: str | None,
    list_rules: bool,
    as_json: bool,
) -> int:
    """Complaints about skills, with line numbers: format and trust. Exit 1 when one reaches the threshold."""
    from skillrun.lint.finding import LEVELS, catalogue
    from skillrun.lint.linter import documents_in, lint_path

    if list_rules:
        if as_json or style == "json":
            rules = [{"id": rule.id, "level": rule.level, "title": rule.title} for rule in catalogue().values()]
            print(json.dumps({"schema": SCHEMA, "rules": rules}))
            return 0
        for rule in catalogue().values():
            print(f"{rule.id:<22} {rule.level:<8} {rule.title}")
        return 0
    levels = _levels(config)
    findings: list[Finding] = []
    documents: list[Path] = []
    for name in paths or (".",):
        found = documents_in(_existing(name))
        if not found:
            raise _problem(f"no skill in `{name}`", "name a SKILL.md, an install.md or a directory that holds one")
        documents += found
    if base and len(documents) != 1:
        raise _problem(f"--effects compares one skill, and there are {len(documents)}", "name the one document")
    for document in documents:
        try:
            findings += lint_path(document, levels)
            findings += _drifted(document, base) if base else []
        except OSError as error:
            raise _problem(f"{document} cannot be read: {error.strerror}", "check the path and its rights") from None
    _print("json" if as_json else style, findings, len(documents))
    threshold = fail_on or ("warning" if strict else "error")
    if threshold == "never":
        return 0
    return int(any(LEVELS.index(finding.level) >= LEVELS.index(threshold) for finding in findings))


def _drifted(document: Path, base: str) -> list[Finding]:
    """What the document does that its base (a Markdown document, or a report or events as JSON) did not."""
    from skillrun.lint.effects import drifted, effects_of_skill
    from skillrun.skills.parser.read import read_skill

    if base.endswith(".md") or Path(base).is_dir():
        before = effects_of_skill(read_skill(Path(base))).kinds
    else:
        from skillrun.cli.report_files import effects_of

        before = effects_of(base)
    return drifted(read_skill(document), before, str(document))


def _problem(message: str, hint: str) -> Exception:
    from skillrun.errors import Problem

    return Problem(message, hint)


def _existing(name: str) -> Path:
    path = Path(name)
    if path.exists():
        return path
    from skillrun.skills.sources import find_skill

    found = find_skill(name).path if "/" not in name and not name.endswith(".md") else None
    if found is None:
        raise _problem(f"no file or directory `{name}`", "lint reads files that are here")
    return found


def _levels(config: str | None) -> dict[str, str]:
    """Levels from the configuration: a table `[rules]` of rule = off | note | warning | error."""
    from skillrun.lint.finding import LEVELS, catalogue

    path = Path(config) if config else Path(CONFIGURATION)
    if not config and not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("rules", {})
    except (OSError, ValueError) as error:
        raise _problem(f"{path} cannot be read: {error}", "it is TOML with a table [rules]") from None
    for rule, level in table.items():
        if rule not in catalogue() or level not in ("off", *LEVELS):
            raise _problem(
                f"{path}: `{rule} = {level!r}` is no rule with a level", "levels: off, note, warning, error; rules: --rules"
            )
    return dict(table)


def _print(style: str, findings: Sequence[Finding], documents: int) -> None:
    from skillrun.text.escape import shown
    from skillrun.text.folding import folded, width_of

    if style == "json":
        rows = [
            {
                "rule": f.rule,
                "level": f.level,
                "path": f.path,
                "line": f.line,
                "column": f.column,
                "message": f.message,
                "fix": f.fix,
            }
            for f in findings
        ]
        print(json.dumps({"schema": SCHEMA, "findings": rows}, indent=2))
    elif style == "sarif":
        from skillrun.lint.sarif import sarif

        print(json.dumps(sarif([_relative(finding) for finding in findings], __version__), indent=2))
    elif style == "github":
        _annotations(findings)
    else:
        columns = width_of(sys.stdout)
        for finding in findings:
            print(f"{finding.path}:{finding.line}:{finding.column}: {finding.level}: {shown(finding.message)} [{finding.rule}]")
            print(folded(f"    {finding.fix}", columns, 0))
        counts = [f"{sum(f.level == level for f in findings)} {level}s" for level in ("error", "warning", "note")]
        click.echo(f"{documents} document{'s' * (documents != 1)}: {', '.join(counts)}", err=True)


def _relative(finding: Finding) -> Finding:
    from dataclasses import replace

    path = os.path.relpath(finding.path)
    return finding if path.startswith("..") else replace(finding, path=path)


def _annotations(findings: Sequence[Finding]) -> None:
    """At most ten of a kind, which is all GitHub shows; the rest is counted in a last one."""
    from skillrun.surfaces.github import PER_KIND, Annotation

    names = {"note": "notice", "warning": "warning", "error": "error"}
    for level in ("error", "warning", "note"):
        those = [_relative(finding) for finding in findings if finding.level == level]
        room = PER_KIND if len(those) <= PER_KIND else PER_KIND - 1
        for finding in those[:room]:
            annotation = Annotation(names[level], finding.rule, f"{finding.message}\n{finding.fix}", finding.path, finding.line)
            print(annotation.command())
        if len(those) > room:
            print(Annotation(names[level], "skillrun lint", f"{len(those) - room} more of this level: see the log").command())
