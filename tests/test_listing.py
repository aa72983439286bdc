"""`list` and `show --raw`, which start at once: they say what the slow way says, whatever lies on the shelf."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from shlex import quote

import platformdirs
import pytest

from skillrun.cli.listing import raw
from skillrun.skills import index
from skillrun.skills.sources import find_skill
from tests.checkout import PYTHON, SEEN_HERE

ROOT = Path(__file__).parents[1]
SKILL = "---\nname: {name}\ndescription: {text}\n---\n# {name}\n```bash\ntrue\n```\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of its own, which is the working directory too."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("SKILLRUN_SKILLS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(folder: Path, name: str | bytes, text: str = "A skill.", document: str = "SKILL.md") -> Path:
    """A skill in a directory of that name, which need not be text."""
    place = Path(os.fsdecode(os.path.join(os.fsencode(folder), os.fsencode(name))))
    place.mkdir(parents=True)
    (place / document).write_text(SKILL.format(name="x", text=text), encoding="utf-8")
    return place / document


def skillrun(*words: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, in that home directory."""
    given = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(
        [sys.executable, "-m", "skillrun", *words],
        cwd=home,
        env=given,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=60,
    )


def test_raw_is_the_document_the_model_reads(home: Path) -> None:
    """For every bundled skill the quick way gives exactly the text of the read skill, or leaves it to the slow one."""
    names = [name for name, _ in index.skills_in(index.bundled())]
    assert len(names) > 5
    quick = {name: raw(name) for name in names}
    assert [name for name, text in quick.items() if text is not None and text != find_skill(name).text] == []
    assert sum(text is not None for text in quick.values()) > len(names) // 2


def test_raw_is_the_same_the_slow_way(home: Path) -> None:
    """By name and by path the same bytes; hidden characters are visible in both; what cannot be read is an error."""
    document = put(home / "skills", "plain")
    put(home / "skills", "hidden", "Says\u202e more.")
    (home / "skills/broken").mkdir()
    (home / "skills/broken/SKILL.md").write_text("---\ndescription: a\na: [\n---\n")
    assert skillrun("show", "plain", "--raw", home=home).stdout == document.read_text()
    assert skillrun("show", "./skills/plain", "--raw", home=home).stdout == document.read_text()
    assert "Says⟨U+202E⟩ more." in skillrun("show", "--raw", "hidden", home=home).stdout
    assert skillrun("show", "broken", "--raw", home=home).returncode == 2


@pytest.mark.parametrize("given", ["", "/elsewhere", "  "])
def test_the_library_is_where_the_platform_keeps_data(home: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """What is said without platformdirs is what platformdirs says."""
    monkeypatch.setenv("XDG_DATA_HOME", given)
    assert index.library() == os.path.join(platformdirs.user_data_dir("skillrun"), "skills")


def test_the_home_directory_as_project_hides_nothing(home: Path) -> None:
    """A directory that is on the search path under two names is looked at once."""
    put(home / ".agents/skills", "mine")
    done = skillrun("list", home=home)
    assert "  mine " in done.stdout
    assert done.stderr == ""


def test_names_from_a_stranger_move_nothing_on_the_screen(home: Path) -> None:
    """Escapes, line ends, characters of another direction and bytes that are no text are visible, one line each."""
    names = [b"red-\x1b[31m", b"two\nlines", "turn-\u202e".encode(), b"\xff\xfe", b"long" * 50]
    for name in names:
        put(home / "skills", name, "Describes\u200bit.")
    done = skillrun("list", home=home, LC_ALL="C.UTF-8")
    assert done.returncode == 0, done.stderr
    assert not [char for char in done.stdout if char in "\x1b\u202e\u200b" or 0xD800 <= ord(char) < 0xE000]
    lines = [line for line in done.stdout.splitlines() if "[project]" in line]
    assert len(lines) == len(names)
    assert max(map(len, lines)) <= 101
    told = json.loads(skillrun("list", "--json", home=home).stdout)["skills"]
    assert {os.fsencode(skill["name"]) for skill in told if skill["source"] == "project"} == set(names)


LOCALES = ("C", "POSIX", "C.UTF-8", "en_US.ISO-8859-1", "absent.UTF-8")
PAIRS = [(locale, encoding) for locale in LOCALES for encoding in ("", "ascii", "latin-1")]


@pytest.mark.parametrize(
    ("locale", "encoding"),
    # in the gate each locale once and each encoding once
    [pytest.param(*pair, marks=() if not pair[1] or pair[0] == "C" else pytest.mark.slow) for pair in PAIRS],
)
def test_no_locale_stops_it(home: Path, locale: str, encoding: str) -> None:
    """What the terminal's encoding does not have is written as its code, in `list` and in every other verb."""
    put(home / "skills", "quick", "Ein schönes Werkzeug für 日本語.")
    env = {"LC_ALL": locale, **({"PYTHONIOENCODING": encoding} if encoding else {})}
    for words in (("list",), ("show", "quick"), ("explain", "echo ü"), ("show", "no-such-ü")):
        done = subprocess.run(
            [PYTHON, "-m", "skillrun", *words], cwd=home, capture_output=True, timeout=60,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": SEEN_HERE, **env},
        )  # fmt: skip
        assert done.returncode == (2 if words[1:] == ("no-such-ü",) else 0), done.stderr
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("columns", ["20", "0", "x", "100000", "-5"])
@pytest.mark.parametrize("term", ["dumb", ""])
def test_any_width_will_do(home: Path, columns: str, term: str) -> None:
    """On a narrow or strange terminal each skill still has its line, without colours."""
    done = skillrun("list", home=home, COLUMNS=columns, TERM=term, NO_COLOR="1")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == len(list(index.skills_in(index.bundled())))


def test_a_directory_that_is_gone_is_no_place_to_look(home: Path) -> None:
    """In a working directory that was removed, bundled skills are still found."""
    gone = home / "gone"
    words = (
        f"mkdir {quote(str(gone))} && cd {quote(str(gone))} && rmdir {quote(str(gone))} && {quote(sys.executable)} -m skillrun"
    )
    for verb in ("list", "show jq --raw", "show jq"):
        done = subprocess.run(
            ["bash", "-c", f"{words} {verb}"], capture_output=True, text=True, timeout=60,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "jq" in done.stdout


def test_without_a_home_the_account_says_where_it_is(home: Path) -> None:
    """HOME may be missing, as in some services: nothing breaks, and nothing is written."""
    for words in (("list",), ("show", "jq", "--raw"), ("show", "jq"), ("runs",), ("explain", "ls")):
        done = subprocess.run(
            [sys.executable, "-m", "skillrun", *words], cwd=home, capture_output=True, text=True, timeout=60,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(home / "state")},
        )  # fmt: skip
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (words, done.stderr)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("verb", ["list", "show jq", "show jq --raw", "lint {skills}", "--help", "explain ls", "runs --json"])
def test_nobody_has_to_listen(home: Path, verb: str) -> None:
    """A pipe that is closed early and streams that are closed from the start never bring a traceback."""
    verb = verb.format(skills=quote(str(ROOT / "skills")))
    program = f"{quote(sys.executable)} -m skillrun {verb}"
    for text in (f"{program} | head -1", f"{program} | true", f"{program} >&-", f"{program} 2>&-", f"{program} <&- >&- 2>&-"):
        done = subprocess.run(
            ["bash", "-c", text], cwd=home, capture_output=True, text=True, timeout=60,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert "Traceback" not in done.stderr, text
        assert "Exception" not in done.stderr, text
