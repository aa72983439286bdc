"""Complaints about a skill, with line numbers: format rules and trust rules.

Reading is lenient, lint is strict. It is a courtesy and no wall: a packed payload passes every scanner, and what a
skill really does is shown by running it in a copy-on-write view.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from skillrun.lint.finding import LEVELS, Complaints, Document, Finding, catalogue
from skillrun.skills.frontmatter import split
from skillrun.skills.index import MAX_BYTES
from skillrun.skills.parser.read import read_files
from skillrun.skills.plugin import MANIFEST
from skillrun.skills.skill import SkillError, document_in

_SUPPRESS = re.compile(
    r"skillrun-lint:\s*ignore\s+(?P<rule>[\w-]+)(?:\s+because\s+(?P<reason>[^\n]*?))?\s*(?:-->|$)", re.MULTILINE
)


def documents_in(path: Path) -> list[Path]:
    """The documents to lint at a path: a file; of a plugin manifest and skills; of a directory its own, else those below."""
    if not path.is_dir():
        return [path]
    own = document_in(path)
    if (path / MANIFEST).is_file():
        return [path / MANIFEST, *sorted(path.glob("skills/*/SKILL.md"))]
    if own and own.name != "README.md":
        return [own]
    below = sorted({*path.glob("*/SKILL.md"), *path.glob("*/*/SKILL.md"), *path.glob("*/*/*/SKILL.md")})
    return below or ([own] if own else [])


def lint_path(document: Path, levels: Mapping[str, str] | None = None) -> list[Finding]:
    """Everything there is to say about a document and the files of its skill. Raises OSError when it cannot be opened."""
    if document.name == MANIFEST:
        from skillrun.lint.manifest import lint_manifest

        return [_levelled(finding, levels or {}) for finding in lint_manifest(document)]
    with document.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    return _lint(data, str(document), document, levels or {})


def lint_text(text: str, path: str = "SKILL.md", levels: Mapping[str, str] | None = None) -> list[Finding]:
    """The same for a text that is no file."""
    return _lint(text.encode("utf-8", "surrogatepass"), path, None, levels or {})


def _lint(data: bytes, path: str, document: Path | None, levels: Mapping[str, str]) -> list[Finding]:
    from skillrun.lint import files, form, trust

    complaints = Complaints(path)
    raw = data.decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n")
    trust.hidden(raw, complaints)
    name = Path(path).name
    try:
        skill = read_files({name: data}, name, document, path)
        front = split(skill.text, path)
    except SkillError as error:
        complaints.add("unreadable", error.message, error.line or 1)
    else:
        lines = tuple(skill.text.split("\n"))
        found = Document(path, skill.text, front, skill, document.parent if document else None, lines, name == "SKILL.md")
        form.check(found, complaints)
        trust.check(found, complaints)
        files.check(found, complaints)
    findings = _suppress(complaints.found, raw.split("\n"), path)
    findings = [_levelled(finding, levels) for finding in findings]
    kept = [finding for finding in findings if finding.level in LEVELS]
    return sorted(kept, key=lambda f: (f.path, f.line, f.column, f.rule))


def _levelled(finding: Finding, levels: Mapping[str, str]) -> Finding:
    """The finding at the level a configuration gives its rule; a fixed rule can only be raised."""
    wanted = levels.get(finding.rule, finding.level)
    if catalogue()[finding.rule].fixed and (wanted not in LEVELS or LEVELS.index(wanted) < LEVELS.index(finding.level)):
        return finding
    return replace(finding, level=wanted)


def _suppress(found: Iterable[Finding], lines: list[str], path: str) -> list[Finding]:
    """Take out what a line's own suppression, with a reason, names; complain about the others."""
    said: dict[tuple[str, int], int] = {}
    extra: list[Finding] = []
    for number, line in enumerate(lines, 1):
        if "skillrun-lint" not in line or len(line) > 2000:
            continue
        for match in _SUPPRESS.finditer(line):
            rule, reason = match["rule"], (match["reason"] or "").strip()
            if rule not in catalogue() or catalogue()[rule].fixed or not reason:
                what = "unknown rule" if rule not in catalogue() else "cannot be suppressed" if reason else "gives no reason"
                extra.append(Finding("suppression", f"`ignore {rule}`: {what}", path, number, match.start() + 1, "warning"))
            else:
                said |= {(rule, number): number, (rule, number + 1): number}
    kept: list[Finding] = []
    used: set[tuple[str, int]] = set()
    for finding in found:
        key = (finding.rule, finding.line)
        if key in said and finding.path == path:
            used.add((finding.rule, said[key]))
        else:
            kept.append(finding)
    for (rule, _), number in said.items():
        unused = Finding("suppression", f"`ignore {rule}`: there is nothing to suppress here", path, number, 1, "warning")
        if (rule, number) not in used and unused not in extra:
            extra.append(unused)
    return kept + extra
