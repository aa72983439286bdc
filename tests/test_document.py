import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skillrun.skills.frontmatter import split
from skillrun.skills.parser.lazy import Unread, settled
from skillrun.skills.parser.read import read_skill
from skillrun.skills.skill import Skill, SkillError

CASES = sorted((Path(__file__).parent / "cases" / "skills").glob("*.json"))


def said(skill: Skill, want: Mapping[str, Any]) -> dict[str, Any]:
    """What was read, in the words of a case file, as far as the case asks for it."""
    commands = [command for step in skill.steps for command in step.commands]
    by_text = {command.text: command for command in commands}
    got: dict[str, Any] = {
        "why": want["why"],
        "name": skill.name,
        "title": skill.title,
        "kind": skill.kind,
        "description": skill.description,
        "version": skill.version,
        "commands": [command.text for command in commands],
        "lines": [command.line for command in commands],
        "steps": [step.title for step in skill.steps],
        "optional": [step.title for step in skill.steps if step.optional],
        "human": [step.title for step in skill.steps if step.human],
        "skip_if": [step.skip_if for step in skill.steps if step.skip_if],
        "ways": {text: by_text[text].way for text in want.get("ways", {}) if text in by_text},
        "when": {
            text: {key: list(getattr(by_text[text].when, key)) for key in wanted} if text in by_text else {}
            for text, wanted in want.get("when", {}).items()
        },
        "root": {text: by_text[text].when.root for text in want.get("root", {}) if text in by_text},
        "groups": [
            [c.text for c in commands if c.alternative == name]
            for name in dict.fromkeys(c.alternative for c in commands)
            if name
        ],
        "checks": [[check.origin, check.command, check.expect] for check in skill.checks],
        "uninstall": [command.text for step in skill.uninstall for command in step.commands],
        "inputs": {value.name: value.default for value in skill.inputs},
        "choices": {value.name: list(value.choices) for value in skill.inputs if value.choices},
        "secrets": {secret.name: secret.optional for secret in skill.secrets},
        "answers": dict(skill.answers),
        "metadata": dict(skill.metadata),
        "sections": [[section.kind, section.title] for section in skill.sections if section.title],
        "rules": [section.text for section in skill.sections if section.kind == "rules"],
        "warnings": [word for word in want.get("warnings", []) if any(word in warning for warning in skill.warnings)],
        "declared": {key: getattr(skill.declared, key) for key in want.get("declared", {})},
    }
    got["declared"] = {key: list(value) if isinstance(value, tuple) else value for key, value in got["declared"].items()}
    return {key: got[key] for key in want}


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_a_document_is_read_as_its_case_says(case: Path) -> None:
    """Every trap of the format is a case: a document, and beside it what must be read from it, or the error."""
    want = json.loads(case.read_text())
    document = case.with_suffix(".md")
    if "error" in want:
        with pytest.raises(SkillError) as raised:
            read_skill(document)
        assert want["error"] in raised.value.message
        assert raised.value.line == want.get("line", 0)
        return
    assert said(read_skill(document), want) == want


def test_the_cases_are_there() -> None:
    """No case is lost: every document has its expectation."""
    folder = Path(__file__).parent / "cases" / "skills"
    assert {path.stem for path in folder.glob("*.md")} == {path.stem for path in CASES}
    assert len(CASES) >= 30


DOCUMENTS = sorted(Path(__file__).parents[1].glob("skills/*/SKILL.md"))
MORE = """---
name: x
metadata:
  skillrun-verify: x --version
---
# X
```bash
{}
```
"""


@pytest.mark.parametrize(
    "text", [*(path.read_text() for path in DOCUMENTS), *map(MORE.format, ("x <YOUR_API_KEY>", "x <PORT>"))]
)
def test_what_is_known_before_the_body_is_read_stays_so(text: str) -> None:
    """Fields given from the front matter alone are those that reading everything gives, secrets of the body among them."""
    skill = read_skill(text)
    assert isinstance(skill, Unread)
    known = dict(settled(split(text)))
    assert {name: getattr(skill, name) for name in known} == known
    secrets = skill.secrets
    assert skill.steps  # the body is read
    assert {name: getattr(skill, name) for name in known} == known
    assert skill.secrets == secrets
    assert [secret.name for secret in secrets] == (["API_KEY"] if "YOUR_API_KEY" in text else [])


def test_a_skill_with_other_words_is_still_whole() -> None:
    """`replace` keeps every field, whether it was read before or not; what is no field is no attribute."""
    skill = read_skill(MORE.format("make install"))
    other = replace(skill, source="elsewhere")
    assert (other.source, other.steps, other.checks) == ("elsewhere", skill.steps, skill.checks)
    assert not hasattr(skill, "nothing")


PROSE = {
    "a page about colours": "colr will run the command with the options given and\nhand its output to the filter.",
    "a history": "awk-ng was written to follow a draft.\nIt has gone on since, and that is in this version.",
    "a list of changes": "stat_file was changed to take a number (2.1)\n\nis_part: an offset into the string can be given",
}
COMMANDS = {
    "a build": "./configure --with-lua\nmake\nsudo make install",
    "sentences in comments and quotes": '# this is where it will be kept\nmkdir -p ~/of/the\necho "this is the end of it"',
    "a loop": 'for file in *.conf; do\n  cp "$file" /etc/all/\ndone',
    "one that reads like a sentence": "git clone https://example.org/all-of-it and-this\ncd and-this\nmake all",
}


@pytest.mark.parametrize("name", PROSE)
def test_indented_prose_is_no_code(name: str) -> None:
    """What Markdown calls code is not run when it is sentences."""
    text = "# thing\n\n" + "\n".join(f"    {line}" for line in PROSE[name].split("\n")) + "\n"
    assert not [command for step in read_skill(text).steps for command in step.commands]


@pytest.mark.parametrize("name", COMMANDS)
def test_indented_commands_are_code(name: str) -> None:
    """Words of sentences in names, comments and quotes make no sentence of a command."""
    text = "# thing\n\n## Install\n\n" + "\n".join(f"    {line}" for line in COMMANDS[name].split("\n")) + "\n"
    assert [command for step in read_skill(text).steps for command in step.commands]
