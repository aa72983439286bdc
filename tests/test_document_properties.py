"""What holds for every text whatever: only SkillError, nothing executed, linear time."""

import contextlib
import json
import socket
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skillrun.skills.frontmatter import _load, _nested, split
from skillrun.skills.index import MAX_BYTES, MAX_LINES, glance, plain_fields
from skillrun.skills.parser.read import read_skill
from skillrun.skills.skill import SkillError
from skillrun.text.invisible import hidden_in, reveal

MARKUP = st.sampled_from(json.loads((Path(__file__).parent / "cases" / "markup.json").read_text()))
DOCUMENTS = st.one_of(st.text(max_size=400), st.lists(st.one_of(MARKUP, st.text(max_size=12)), max_size=60).map("".join))


@given(DOCUMENTS)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_text_makes_reading_raise_anything_else(text: str) -> None:
    """Any text is read or refused with a SkillError, and what is read is consistent."""
    try:
        skill = read_skill(text)
    except SkillError:
        return
    lines = skill.text.count("\n") + 1
    assert [step.number for step in skill.steps] == list(range(1, len(skill.steps) + 1))
    for step in (*skill.steps, *skill.uninstall):
        for command in step.commands:
            assert command.text.strip()
            assert 1 <= command.line <= lines
            assert bool(command.alternative) == bool(command.way)
    assert all(check.command.strip() and "\n" not in check.command for check in skill.checks if check.origin == "derived")
    assert not hidden_in(skill.text)
    assert skill.name


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_no_bytes_make_reading_raise_anything_else(data: bytes) -> None:
    """The same for the bytes of a file."""
    path = Path(f"{__file__}.tmp{time.monotonic_ns()}")
    path.write_bytes(data)
    try:
        read_skill(path)
    except SkillError:
        pass
    finally:
        path.unlink()


@given(st.text())
def test_revealing_leaves_nothing_hidden_and_all_else_alone(text: str) -> None:
    """What is revealed holds no hidden character; a text without any is not changed."""
    assert not hidden_in(reveal(text))
    if not hidden_in(text):
        assert reveal(text) == text


def test_nothing_is_executed_or_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Reading starts no process, opens no connection and writes no file, whatever the document contains."""

    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("reading must not do this")

    monkeypatch.setattr(subprocess, "Popen", forbidden)
    monkeypatch.setattr("os.system", forbidden)
    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.chdir(tmp_path)
    text = "---\nname: demo\ndescription: $(touch canary)\n---\n# Install\n```bash\ntouch canary\n```\nCheck: `touch canary`.\n"
    assert read_skill(text).steps
    assert list(tmp_path.iterdir()) == []


ADVERSARIAL: dict[str, list[str]] = json.loads((Path(__file__).parent / "cases" / "adversarial.json").read_text())
"""name -> [beginning, what is repeated until the document is as large as one may be]"""


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_text_takes_linear_time(name: str) -> None:
    """The largest document that is read, made of what costs a parser most, takes less than 2 s of processor time."""
    beginning, unit = ADVERSARIAL[name]
    lines = unit.count("\n")
    text = beginning + unit * min(MAX_BYTES // len(unit.encode()), MAX_LINES // lines - 2 if lines else MAX_BYTES)
    start = time.process_time()
    with contextlib.suppress(SkillError):
        read_skill(text[: MAX_BYTES - 10])
    assert time.process_time() - start < 2


@pytest.mark.parametrize("depth", [50, 400, 1500])
def test_deep_nesting_takes_linear_time(depth: int) -> None:
    """Lists and quotes in one another, as deep as the size allows, take less than 2 s."""
    for text in ("".join("  " * i + "- a\n" for i in range(depth)), "".join(">" * i + " a\n" for i in range(min(depth, 700)))):
        start = time.process_time()
        with contextlib.suppress(SkillError):
            read_skill(text)
        assert time.process_time() - start < 2


def test_a_megabyte_is_refused_at_once() -> None:
    """A document of a megabyte is refused before it is interpreted."""
    start = time.process_time()
    with pytest.raises(SkillError, match="larger than"):
        read_skill("# Install foo\n```\npip install foo\n```\n" * 30_000)
    assert time.process_time() - start < 0.5


KEYS = ("name", "description", "metadata", "a", "a-b", "A_1", "1", "y", "", " a", "  a", "    a", "-", "? a", "#", "a b", '"a"')
PIECES = (*"ab1 -:#\"'\\|>[]{}&*!%@`,~?=<\t\r\u00e9\u2028\x00\u200b\U0001f600", ": ", " #", "---", "...", "null", "1.10")
VALUES = st.one_of(st.text("ab 1.é", max_size=9), st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
LINES = st.one_of(
    st.tuples(st.sampled_from(KEYS), st.sampled_from((": ", ":", " : ", ":  ", "")), VALUES).map("".join),
    st.sampled_from(("description: Said.", "metadata:", "  a: b", '  a: "b"', "", "---", "# note", "- a")),
)
FRONT = st.tuples(st.sampled_from(("---\n", "--- \n", "\ufeff---\n", "\n---\n")), st.lists(LINES, max_size=6)).map(
    lambda parts: f"{parts[0]}description: First.\n" + "\n".join(parts[1]) + "\n---\nbody\n"
)


@given(FRONT)
@settings(max_examples=1500, deadline=None)
def test_a_glance_never_differs_from_reading(text: str) -> None:
    """Where a glance at the front matter gives a description, reading it whole accepts the document and gives the same."""
    for one in (text, text.replace("description: First.\n", "")):
        seen = glance(one)
        if seen is not None:
            front = split(one)
            assert (front.present, front.warnings) == (True, ())
            assert seen == front.text("description")


@given(st.lists(LINES, max_size=6))
@settings(max_examples=1500, deadline=None)
def test_plain_front_matter_means_what_yaml_makes_of_it(lines: list[str]) -> None:
    """What is read without a YAML parser gives exactly the fields and lines that the parser gives."""
    one_each = "\n".join(lines).split("\n")
    plain = plain_fields(one_each)
    if plain:
        assert _nested(plain, 2) == _load("\n".join(one_each), 2)
