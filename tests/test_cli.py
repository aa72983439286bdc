import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from skillrun.errors import is_interrupt


def skillrun(*args: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    return subprocess.run([sys.executable, "-m", "skillrun", *args], capture_output=True, text=True, timeout=60)


def test_version_is_printed() -> None:
    """`--version` answers with the name and the version."""
    done = skillrun("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("skillrun 0.")


def test_unknown_verb_is_usage() -> None:
    """An unknown verb is a usage error: exit code 2, two lines, no traceback."""
    done = skillrun("instal")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "->" in done.stderr


@pytest.mark.parametrize(
    ("word", "meant"),
    [("instal", "`skillrun install`"), ("uninstal", "`skillrun uninstall`"), ("rnus", "`skillrun runs`"),
     ("ripgrep", "`skillrun install ripgrep`"), ("./tool/install.md", "`skillrun install ./tool/install.md`"),
     ("owner/repo", "`skillrun install owner/repo`"), ("xyzzy", "skillrun --help")],
)  # fmt: skip
def test_a_misspelt_verb_gets_a_suggestion(word: str, meant: str) -> None:
    """The verb that was probably meant, or `install` where the word names something to install."""
    done = skillrun(word)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == f"skillrun: there is no verb `{word}`"
    assert meant in done.stderr.splitlines()[1]


def test_bare_skillrun_is_no_error() -> None:
    """Somebody who types the name alone gets the first page, on standard output."""
    done = skillrun()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == skillrun("--help").stdout


def test_completion_knows_the_verbs() -> None:
    """What the README says to put into a start-up file defines a completion, which offers the verbs."""
    env = {**os.environ, "_SKILLRUN_COMPLETE": "bash_source"}
    words = [sys.executable, "-m", "skillrun"]
    assert 'eval "$(_SKILLRUN_COMPLETE=bash_source skillrun)"' in (Path(__file__).parents[1] / "README.md").read_text()
    defined = subprocess.run(words, capture_output=True, text=True, timeout=60, env=env)
    assert "complete -o nosort -F _skillrun_completion skillrun" in defined.stdout
    asked = {**os.environ, "_SKILLRUN_COMPLETE": "bash_complete", "COMP_WORDS": "skillrun ins", "COMP_CWORD": "1"}
    offered = subprocess.run(words, capture_output=True, text=True, timeout=60, env=asked)
    assert {"plain,install", "plain,installed"} <= set(offered.stdout.split())


def test_old_runs_give_up_their_way_back(tmp_path: Path) -> None:
    """`runs --prune DAYS` keeps the journals, drops what undo needs, and leaves younger runs alone."""
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    for name in ("20200101-000000-old-aaaa", "29990101-000000-new-bbbb"):
        changes = tmp_path / "skillrun" / "runs" / name / "changes"
        changes.mkdir(parents=True)
        (changes / "before.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "skillrun", "runs", "--prune", "30", "--json"],
        capture_output=True,
        text=True,
        env=env,
        timeout=60,
    )
    assert json.loads(done.stdout)["pruned"] == ["20200101-000000-old-aaaa"]
    left = sorted(path.parts[-3] for path in tmp_path.rglob("before.json"))
    assert left == ["29990101-000000-new-bbbb"]


def test_what_an_interrupt_breaks_is_an_interrupt() -> None:
    """Python raises Ctrl-C also in the middle of taking a lock, which then cannot be given back: no fault of the program."""

    def given_back() -> None:
        try:
            raise KeyboardInterrupt
        finally:
            threading.Lock().release()

    with pytest.raises(RuntimeError) as broken:
        given_back()
    assert is_interrupt(broken.value)
    assert not is_interrupt(RuntimeError("release unlocked lock"))
