"""Format rules: what the standard asks of a SKILL.md, and what makes a skill work well."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from skillrun.skills.library import SCAFFOLD_DESCRIPTION, SCAFFOLD_SENTENCE

if TYPE_CHECKING:
    from skillrun.lint.finding import Complaints, Document

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*$")
_STANDARD = ("name", "description", "license", "compatibility", "metadata", "allowed-tools")
_VALUES = {
    "skillrun-platforms": re.compile(r"(?:(?:linux|macos|windows|freebsd)(?:/[\w-]+)?\s*)+$"),
    "skillrun-requires": re.compile(r"(?:[\w.+-]+(?:[<>=]{1,2}[\w.]+)?\s*)*$"),
    "skillrun-inputs": re.compile(r"(?:[A-Za-z_]\w*(?:=\S*)?\s*)*$"),
    "skillrun-secrets": re.compile(r"(?:[A-Za-z_]\w*\??\s*)*$"),
    "skillrun-hosts": re.compile(r"(?:(?:\*\.)?[\w-]+(?:\.[\w-]+)*(?::\d+)?\s*)*$"),
    "skillrun-writes": re.compile(r"(?:[~/$]\S*\s*)*$"),
    "skillrun-privilege": re.compile(r"(?:none|sudo|root)$"),
    "skillrun-effects": re.compile(r"(?:[a-z][a-z-]*\s*)*$"),
    "skillrun-verify": re.compile(r".+$", re.DOTALL),
    "skillrun-uninstall": re.compile(r".+$", re.DOTALL),
    "skillrun-answers": re.compile(r".*$", re.DOTALL),
    "skillrun-keep": re.compile(r"(?:[\w.-]+\s*)*$"),
}
_LINK = re.compile(r"\]\((?P<target>(?!https?:|#|mailto:)[\w./-]+\.\w{1,5})(?:#[\w-]*)?\)")
LONG_BODY = 500


def check(document: Document, complaints: Complaints) -> None:
    """Every format rule on one document."""
    for warning in document.front.warnings:
        complaints.add("frontmatter-repaired", warning)
    if document.is_skill and not document.front.present:
        complaints.add("frontmatter-missing", "there is no front matter with name and description")
    if document.front.present:
        _name(document, complaints)
        _fields(document, complaints)
        _metadata(document, complaints)
    _body(document, complaints)
    _ways(document, complaints)
    _scaffold(document, complaints)


def _scaffold(document: Document, complaints: Complaints) -> None:
    front = document.front
    if front.text("description") == SCAFFOLD_DESCRIPTION.format(name=front.text("name")):
        complaints.add("scaffold", "the description is the one that `skillrun init` made up", front.lines.get("description", 1))
    for number, line in enumerate(document.lines, 1):
        if line.strip() == SCAFFOLD_SENTENCE:
            complaints.add("scaffold", "the sentence that `skillrun init` left for you to write", number)


def _ways(document: Document, complaints: Complaints) -> None:
    understood = document.skill.understood
    if understood is None or not understood.wanted:
        return
    program = f", the program `{understood.programs[0].name}`" if understood.programs else ""
    ways = ", ".join(f"{way.manager} {' '.join(way.packages)}" for way in understood.ways[:6])
    left = len(understood.asides)
    complaints.add(
        "ways",
        f"it is about {understood.wanted[0].name}{program}; ways: {ways}; {left} commands are not run",
        understood.ways[0].line,
    )


def _name(document: Document, complaints: Complaints) -> None:
    front = document.front
    line = front.lines.get("name", 1)
    name = front.text("name")
    if not name or not _NAME.match(name) or len(name) > 64:
        complaints.add("name", f"the name `{name}` is not valid" if name else "the name is missing", line)
    elif document.is_skill and document.folder and document.folder.resolve().name not in (name, ""):
        complaints.add("name", f"the name `{name}` is not that of its directory, `{document.folder.resolve().name}`", line)
    description = front.text("description")
    if not description or len(description) > 1024:
        said = (
            f"the description has {len(description)} characters, at most 1024 are read"
            if description
            else "the description is missing"
        )
        complaints.add("description", said, front.lines.get("description", 1))


def _fields(document: Document, complaints: Complaints) -> None:
    for key, value in document.front.fields.items():
        line = document.front.lines.get(key, 1)
        if key not in _STANDARD:
            complaints.add("field-unknown", f"`{key}` is not a field of the standard", line)
        elif key == "metadata":
            if not isinstance(value, Mapping):
                complaints.add("field-type", "`metadata` must be a map from text to text", line)
                continue
            for inner, text in value.items():
                if not isinstance(text, str):
                    at = document.front.lines.get(f"metadata.{inner}", line)
                    complaints.add("field-type", f"`metadata.{inner}` must be text", at)
        elif not isinstance(value, str):
            complaints.add("field-type", f"`{key}` must be text", line)
        elif key == "compatibility" and not 1 <= len(value) <= 500:
            complaints.add("field-type", f"`compatibility` has {len(value)} characters, 1 to 500 are allowed", line)


def _metadata(document: Document, complaints: Complaints) -> None:
    for key, value in document.skill.metadata.items():
        if not key.startswith("skillrun-"):
            continue
        line = document.front.lines.get(f"metadata.{key}", 1)
        if key not in _VALUES:
            complaints.add("metadata-value", f"`{key}` is no key of the skill format", line)
        elif len(value) > 10_000 or not _VALUES[key].match(value.strip()):
            complaints.add("metadata-value", f"`{key}` cannot be {value[:80]!r}", line)


def _versions(document: Document, complaints: Complaints) -> None:
    """A version that the text promises and no check looks at: another one would be called installed."""
    from skillrun.skills.versions import pinned, promised

    if not document.skill.checks:
        return
    for promise in promised(document.skill):
        if not pinned(document.skill, promise):
            said = f"the text names {promise.name} {promise.version}, and no check looks at its version"
            complaints.add("version-unchecked", said, promise.line or document.front.body_line)


def _body(document: Document, complaints: Complaints) -> None:
    skill = document.skill
    body = document.front.body.count("\n") + 1
    if body > LONG_BODY:
        complaints.add("body-long", f"the body has {body} lines, {LONG_BODY} are plenty", document.front.body_line)
    if not skill.steps and not (skill.understood and skill.understood.wanted):
        complaints.add("steps-missing", "no step was understood in it", document.front.body_line)
    if not any(check.origin in ("declared", "stated") for check in skill.checks):
        complaints.add("check-missing", "no check is declared or stated", document.front.body_line)
    _versions(document, complaints)
    if skill.steps and not skill.uninstall:
        complaints.add("uninstall-missing", "no uninstall part was found", document.front.body_line)
    if document.folder is None:
        return
    for number, line in enumerate(document.lines, 1):
        for match in _LINK.finditer(line[:2000]):
            if not (document.folder / match["target"]).exists():
                complaints.add("link-broken", f"`{match['target']}` is not there", number, match.start("target") + 1)
