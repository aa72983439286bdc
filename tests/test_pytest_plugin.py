"""The pytest plugin gives authors throw-away machines, and costs everybody else nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from skillrun.overlay.process.probe import probe

ROOT = Path(__file__).parents[1]

SUITE = '''
"""What an author writes."""

import pytest

SKILL = """---
name: greeting
description: Puts a greeting into the home directory. Use when a greeting is wanted.
metadata:
  skillrun-verify: grep -qx hello "$HOME/greeting.txt"
---
# Greeting

```bash
echo hello > "$HOME/greeting.txt"
```
"""


@pytest.mark.parametrize("faults", [[], ["tmp-noexec"]])
def test_it_installs(machine, install, faults):
    box = machine(faults=faults)
    end = install(SKILL, box)
    assert (end.exit_code, end.outcome) == (0, "verified")
    assert box.run("cat ~/greeting.txt").stdout == "hello\\n"


def test_machines_are_fresh_and_several(machine):
    one, other = machine(), machine(user="root")
    assert one.run("touch ~/x; id -un").stdout == "dev\\n"
    assert other.run("id -un; ls /home/dev").stdout == "root\\n"
    assert one.run("test -e greeting.txt").returncode == 1


def test_a_skill_that_does_not_work_fails(machine, install):
    assert install(SKILL.replace("echo hello", "echo other"), machine()).exit_code == 0
'''


def _pytest(folder: Path, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\n")
    installed = any(point.value == "skillrun.trials.pytest_plugin" for point in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "skillrun.trials.pytest_plugin"]
    command = [sys.executable, "-m", "pytest", *plugin, "-p", "no:cacheprovider", "-q", *words]
    full = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    return subprocess.run(command, cwd=folder, env=full, capture_output=True, text=True, timeout=850)


def test_the_plugin_is_registered() -> None:
    """An installed skillrun brings the plugin by itself, under the name that is documented."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"skillrun": "skillrun.trials.pytest_plugin"}


def test_loading_it_imports_nothing_of_ours() -> None:
    """pytest loads it in every run of every project: nothing but the package itself and pytest comes with it."""
    code = (
        "import pytest, sys; before = set(sys.modules); import skillrun.trials.pytest_plugin; import json;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    ours = [name for name in json.loads(done.stdout) if name != "json" and not name.startswith("json.")]
    assert ours == ["skillrun", "skillrun.trials", "skillrun.trials.pytest_plugin"]


@pytest.mark.root
@pytest.mark.overlay
@pytest.mark.network
@pytest.mark.timeout(900)  # the base may have to be built first
def test_an_author_writes_ordinary_tests(tmp_path: Path) -> None:
    """Machines are fresh, have the faults that were named, and a skill that does not work fails its test."""
    if probe().tier != "R":
        pytest.skip(f"no root and overlay here: {'; '.join(probe().reasons)}")
    (tmp_path / "test_mine.py").write_text(SUITE)
    done = _pytest(tmp_path, "test_mine.py", "-rA")
    assert "3 passed, 1 failed" in done.stdout.replace("1 failed, 3 passed", "3 passed, 1 failed"), done.stdout
    assert "FAILED test_mine.py::test_a_skill_that_does_not_work_fails" in done.stdout


def test_fixtures_are_listed_with_what_they_do(tmp_path: Path) -> None:
    """`pytest --fixtures` tells an author what there is."""
    told = _pytest(tmp_path, "--fixtures").stdout
    assert "A factory of throw-away machines." in told
    assert "Installs a skill in a machine" in told
