"""What people do with a command they want to try first: each case in a view, committed, undone, and compared with bare.

The cases cover what `try` (github.com/binpash/try) documents, tests, and lists as known to fail; they are our own.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skillrun.overlay.process.probe import probe
from tests.checkout import CODE, PYTHON, SEEN_HERE
from tests.dev_machine import as_dev, python
from tests.viewing import root_view, run_in

ROOT = Path(__file__).parents[1]
CASES = ROOT / "tests/cases/view/try.toml"
LONG = 550.0
"""Seconds for all cases of one user, which take a tenth of it where nothing else is going on."""

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.root,
    pytest.mark.overlay,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount and to become another user"),
    pytest.mark.skipif("R" not in [t.letter for t in probe().tiers if t.available], reason="; ".join(probe().reasons)),
]


def _for_tier(tier: str) -> list[str]:
    return [name for name, case in tomllib.loads(CASES.read_text()).items() if tier in case.get("tiers", ("R", "U"))]


Reports = dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[], Reports]], Reports]:
    """Carries all cases out once, however many processes share the tests."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def once(work: Callable[[], Reports]) -> Reports:
        kept = shared / f"{work.__name__}.json"
        with open(f"{kept}.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                kept.write_text(json.dumps(work()))
        found: Reports = json.loads(kept.read_text())
        return found

    return once


def _as_root() -> Reports:
    """All cases as root, on a file system of their own."""
    script = 'mount -t tmpfs -o mode=755 tmpfs /mnt && cd "$1" && exec "$2" -m tests.previewed "$3" R /mnt/cases'
    argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", str(ROOT), sys.executable, str(CASES)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=LONG, check=False)
    return _reports(done)


def _as_user() -> Reports:
    """All cases as an ordinary user without rights, below their home directory."""
    words = ["x", f"{CODE}/{CASES.relative_to(ROOT)}", "U", "/home/dev/cases"]
    return _reports(as_dev(f"import sys; sys.argv = {words!r}; from tests.previewed import main; main()", timeout_s=LONG))


def _reports(done: subprocess.CompletedProcess[str]) -> Reports:
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {report["name"]: report for report in found}


def _holds(name: str, report: dict[str, Any]) -> None:
    case = tomllib.loads(CASES.read_text())[name]
    assert "broke" not in report, report["broke"]
    if report.get("missing"):
        pytest.skip(f"not installed here: {', '.join(report['missing'])}")
    assert report["leaked"] == {}
    assert report["elsewhere"] == []
    if "told" in case:
        assert report["told"] == case["told"]
    if "meanwhile" in case:
        assert case["refused"] in report["refusal"]
        assert report["touched"] == {}
        return
    if "same_as" not in case:
        assert report["inside"] == report["bare"]
    assert report["unlike_bare"] == {}
    assert report["after_undo"] == {}
    assert report["left_over"] == []


def test_a_view_in_a_view(tmp_path: Path) -> None:
    """A command that is tried may try commands itself: the inner view sees the outer one's files and leaves nothing there."""
    nested = (
        "from pathlib import Path; from tests.viewing import root_view, run_in\n"
        "with root_view(Path('/root/run')) as view:\n"
        "    print(run_in(view, 'cat /etc/outer; echo in > /etc/inner; cat /etc/inner'))\n"
        "print(Path('/etc/inner').exists())"
    )
    with root_view(tmp_path / "changes") as view:
        run_in(view, "echo out > /etc/outer")
        status, output = run_in(view, [PYTHON, "-c", nested], {"PYTHONPATH": SEEN_HERE})
        assert (status, output) == (0, "(0, 'out\\nin\\n')\nFalse\n")
    assert not Path("/etc/outer").exists()


@pytest.mark.parametrize("name", _for_tier("R"))
def test_as_root(name: str, reports: Callable[[Callable[[], Reports]], Reports]) -> None:
    """In the root view a command says, does and returns what it does bare; nothing leaks, commit and undo are exact."""
    _holds(name, reports(_as_root)[name])


@pytest.mark.skipif(not python(), reason="no Python here that an ordinary user may run")
@pytest.mark.parametrize("name", _for_tier("U"))
def test_as_an_ordinary_user(name: str, reports: Callable[[Callable[[], Reports]], Reports]) -> None:
    """The same in a user view below the home directory."""
    _holds(name, reports(_as_user)[name])
