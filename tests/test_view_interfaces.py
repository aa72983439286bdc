"""Everything of the kernel that no namespace divides, tried as a way out: of a root view as root, of a user view as user."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skillrun.overlay.process.probe import probe
from tests.dev_machine import as_dev, python

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.root,
    pytest.mark.overlay,
    pytest.mark.skipif(probe().tier != "R", reason=f"no root view here: {'; '.join(probe().reasons)}"),
]


def held(siege: dict[str, Any]) -> None:
    """No way is open, none was left out, and nothing outside is other than before."""
    assert siege["tried"] >= 500
    assert siege["open"] == {}
    assert siege["changed"] == {}


def test_a_root_view_holds_root(tmp_path: Path) -> None:
    """Root inside reaches no interface of the machine outside, nested user namespaces and 32-bit calls included."""
    # With mounts of its own: those of the machine change with whatever else goes on there.
    apart = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.besieged", "R", str(tmp_path)]
    done = subprocess.run(apart, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    held(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.skipif(not python(), reason="no Python here that an ordinary user may run")
def test_a_user_view_holds_its_user() -> None:
    """Neither does the person in a user view; other processes, sockets and files of theirs stay out of reach."""
    done = as_dev("from tests.besieged import besiege; from pathlib import Path; import json\n"
                  "print(json.dumps(besiege('U', Path.home() / 'siege')))")  # fmt: skip
    assert done.returncode == 0, done.stderr
    held(json.loads(done.stdout.splitlines()[-1]))
