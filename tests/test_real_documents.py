"""Real documents, as their packages carry them, installed in throw-away machines: by the built-in engine, without a key.

The text is the README inside the package that the registry gives now. It is read, carried out in a Debian 12 machine of its own
by an ordinary user who may use sudo, and looked at from outside: the program is found in a new login shell, nothing of the
document's usage was run, and no process is left.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path

import pytest

from skillrun.sandbox.recipes import Scenario
from skillrun.skills.parser.read import read_skill
from skillrun.skills.parser.understanding.acts import acts
from skillrun.trials.compare import attempt
from tests.lab import real_installs

PYPI = [
    "black",
    "codespell",
    "cookiecutter",
    "datasette",
    "gallery-dl",
    "glances",
    "pipdeptree",
    "isort",
    "litecli",
    "llm",
    "nox",
    "pgcli",
    "pip-tools:pip-compile",
    "pycln",
    "pydocstyle",
    "pyupgrade",
    "radon",
    "ruff",
    "scrapy",
    "speedtest-cli",
    "sqlfluff",
    "sqlite-utils",
    "tldr",
    "visidata:vd",
    "vulture",
]
NPM = [
    "autocannon",
    "fkill-cli:fkill",
    "gtop",
    "http-server",
    "live-server",
    "madge",
    "markdownlint-cli:markdownlint",
    "n",
    "nodemon",
    "npkill",
    "pm2",
    "serve",
    "svgo",
    "trash-cli:trash",
    "wscat",
]
"""Packages, with the program that an attentive person has afterwards where that is called otherwise."""


CORPUS = tomllib.loads((Path(__file__).parent / "cases/understanding/corpus.toml").read_text("utf-8"))["document"]
ROWS = [row for row in CORPUS if row["program"] and row["way"].partition(":")[0] in ("apt", "npm", "pip")]
"""What an attentive person installs on a Debian 12 that reaches nothing but the registries."""
DOCUMENTS = os.environ.get("REAL_DOCUMENTS", "")


def _pair(word: str) -> tuple[str, str]:
    package, _, program = word.partition(":")
    return package, program or package


def from_pypi(package: str, folder: Path) -> str:
    """The description that a distribution's metadata carries."""
    options = ["-q", "--no-deps", "--disable-pip-version-check", "-d", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, package], check=True, timeout=120)
    (file,) = folder.iterdir()
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            return str(Parser().parsestr(wheel.read(name).decode()).get_payload())
    with tarfile.open(file) as archive:
        member = next(one for one in archive.getmembers() if one.name.count("/") == 1 and one.name.endswith("PKG-INFO"))
        opened = archive.extractfile(member)
        assert opened is not None
        return str(Parser().parsestr(opened.read().decode()).get_payload())


def from_npm(package: str, folder: Path) -> str:
    """The README in a package's archive."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm, to fetch the package whose README is read")
    words = ["npm", "pack", "--silent", package]
    done = subprocess.run(words, cwd=folder, check=True, timeout=120, capture_output=True, text=True)
    with tarfile.open(folder / done.stdout.split()[-1]) as archive:
        member = next(member for member in archive.getmembers() if member.name.lower() == "package/readme.md")
        opened = archive.extractfile(member)
        assert opened is not None
        return opened.read().decode()


class TestInstalled:
    """Each in a machine of its own."""

    pytestmark = real_installs

    @pytest.mark.parametrize(
        ("registry", "package", "program"),
        [("pypi", *_pair(word)) for word in PYPI] + [("npm", *_pair(word)) for word in NPM],
    )
    def test_a_real_readme_installs(
        self, registry: str, package: str, program: str, tmp_path: Path, record_property: Callable[[str, object], None]
    ) -> None:
        """The program is there for the user, verified, and nothing that only uses it was run."""
        text = from_pypi(package, tmp_path) if registry == "pypi" else from_npm(package, tmp_path)
        understood = read_skill(text).understood
        assert understood is not None
        first = [act.kind for way in understood.ways[:1] for command in way.commands for act in acts(command.text)]
        assert not {"use", "once", "service", "publish", "login"} & set(first)
        there = f"as_user {json.dumps(f'command -v {program}')} || fail 'no {program}'"
        verify = f"{there}\npgrep -u dev . && fail 'something is left'; true"
        scenario = Scenario(f"document-{package}", package, "skill", "debian-12", "dev", (), text, "", verify)
        outcome, _ = attempt(scenario, "builtin")
        for name in ("exit_code", "passed", "seconds", "commands", "questions"):
            record_property(name, getattr(outcome, name))
        assert (outcome.exit_code, outcome.passed, outcome.reason) == (0, True, "")
        assert outcome.commands <= 8

    @pytest.mark.skipif(not DOCUMENTS, reason="needs the documents of the corpus, in the folder REAL_DOCUMENTS names")
    @pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['half']}-{row['repository']}")
    def test_a_document_of_the_corpus_installs(
        self, row: dict[str, str], record_property: Callable[[str, object], None]
    ) -> None:
        """As its repository has it at the listed commit: what an attentive person gets is there, and nothing is left."""
        found = sorted(Path(DOCUMENTS).glob(row["repository"].replace("/", "+") + ".*"))
        if not found:
            pytest.skip("the text is not in the folder")
        skill = read_skill(found[0])
        there = f"as_user 'command -v {row['program']}' || fail 'no {row['program']}'"
        verify = f"{there}\npgrep -u dev . && fail 'something is left'; true"
        scenario = Scenario("document", row["repository"], "skill", "debian-12", "dev", (), skill.text, "", verify)
        outcome, _ = attempt(scenario, "builtin")
        for name in ("exit_code", "passed", "seconds", "commands", "questions", "output"):
            record_property(name, getattr(outcome, name))
        assert (outcome.exit_code, outcome.passed, outcome.reason) == (0, True, "")
