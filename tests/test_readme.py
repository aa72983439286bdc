"""The README's commands: each parses, and the harmless ones do what they say."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from skillrun.cli.group import group
from skillrun.overlay.process.probe import probe
from skillrun.run.session import EXIT_CODES
from tests.readme_run import carried_out, recorded, without_times

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```(?:bash|sh)?\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
LINES = [line.removeprefix("$ ") for block in BLOCKS for line in block.splitlines()]
FOUND = [shlex.split(line, comments=True) for line in LINES if re.match(r"(\.venv/bin/)?skillrun ", line)]
SPOKEN = re.findall(r"`skillrun ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
HARMLESS = ("explain", "facts", "list", "show", "lint", "rules", "doctor", "runs", "prompt")


def test_the_readme_shows_commands() -> None:
    """The search above finds what a reader sees."""
    assert {words[1] for words in FOUND} >= {"install", "undo", "prompt", "explain", "test", "plan", "report"}


@pytest.mark.parametrize("words", FOUND, ids=shlex.join)
def test_a_command_of_the_readme_parses(words: list[str]) -> None:
    """Its verb is there and takes these options with these values."""
    context = click.Context(group)
    command = group.get_command(context, words[1])
    assert command is not None
    command.make_context(words[1], words[2:], parent=context)


def test_verbs_named_in_sentences_are_there() -> None:
    """`skillrun VERB` in running text names a verb."""
    assert [verb for verb in SPOKEN if group.get_command(click.Context(group), verb) is None] == []


@pytest.mark.parametrize(
    "words",
    [
        *(words[1:] for words in FOUND if words[1] in HARMLESS and "--copy" not in words),
        *(["list"], ["show", "ripgrep"], ["prompt", "jq"], ["facts"], ["lint", "skills/ripgrep"], ["runs"], ["rules"]),
    ],
    ids=shlex.join,
)
def test_a_harmless_command_of_the_readme_runs(words: list[str], tmp_path: Path) -> None:
    """It ends with 0, says something, and writes nothing into an empty home but skillrun's own folders."""
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", "skillrun", *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).strip()
    written = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    # rustup's stand-in for cargo makes its settings when it is asked for a version.
    assert [name for name in written if "skillrun" not in name and not name.startswith(".rustup/")] == []


def test_its_exit_codes_are_those_of_the_program() -> None:
    """The table of the README has each exit code an outcome can end with."""
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)}
    assert set(EXIT_CODES.values()) <= table


@pytest.mark.root
@pytest.mark.overlay
@pytest.mark.network
def test_its_run_is_what_the_program_prints_today() -> None:
    """But for times, sizes and ids. `python -m tests.readme_run` writes it anew."""
    if probe().tier != "R":
        pytest.skip(f"a machine of its own needs root and overlayfs: {'; '.join(probe().reasons)}")
    assert without_times(carried_out()) == without_times(recorded())
