"""Whatever moment a driver is killed at, nothing of its machines stays, and another's machines do not notice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from skillrun.overlay.process.probe import probe
from skillrun.sandbox import base as bases
from skillrun.sandbox import folders, recipes
from skillrun.sandbox.base import layers_of
from skillrun.sandbox.machine import Machine
from tests.lab import apart

pytestmark = [pytest.mark.root, pytest.mark.overlay, pytest.mark.timeout(900)]

DRIVER = """
import os, sys
from skillrun.sandbox import recipes
from skillrun.trials import trial
scenario = recipes.Scenario(
    "killed", "killed", "rights", "debian-12", "dev", ("tmp-noexec", "umask-tight"), "# x", "", "true",
    setup="echo a > /opt/a; sleep 0.2; echo b > /opt/b", runtime="(sleep 1000 > /dev/null 2>&1 &)", hosts=("kept.invalid",),
    files={"tool": "#!/bin/sh"},
)
print("up", flush=True)
while True:
    outcome = trial.run(scenario, "x", trial.script("sleep 2000 & cat /task/tool > ~/copy; curl -s http://other.invalid"))
    assert outcome.passed, outcome
    print(outcome.seconds, flush=True)
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own with the real base in it, so that the kills fall into the making of layers too."""
    if probe().tier != "R":
        pytest.skip(f"no root and overlay here: {'; '.join(probe().reasons)}")
    layers_of("debian-12")
    place = bases.cache_directory() / f"debian-12-{bases.recipe_key(recipes.machine('debian-12'), [])}"
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / place.name).symlink_to(place)
    monkeypatch.setenv("SKILLRUN_MACHINES", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    folders.sweep()


def _carrying(word: str) -> list[str]:
    """Processes that have a word in their environment: those a driver started, wherever they went."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (path / "environ").read_bytes():
                found.append(f"{path.name} {(path / 'cmdline').read_bytes()!r}")
        except OSError:
            continue
    return found


def _mounts() -> set[str]:
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def _kill_at(moment: float) -> None:
    """Start a driver, kill it that many seconds after it is up, and see that nothing of it goes on."""
    word = f"SKILLRUN_TEST_SESSION={os.urandom(8).hex()}"
    mounts, devices = _mounts(), sorted(os.listdir("/sys/class/net"))
    known = set(folders.roomy().glob(f"{folders.PREFIX}*"))
    env = {**os.environ, **dict([word.split("=")])}
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
    )
    assert driver.stdout
    assert driver.stdout.readline() == "up\n"
    time.sleep(moment)
    assert driver.poll() is None, driver.stdout.read()
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    end = time.monotonic() + 15
    while (left := _carrying(word)) and time.monotonic() < end:
        time.sleep(0.05)
    assert left == [], moment
    assert _mounts() == mounts, moment
    assert sorted(os.listdir("/sys/class/net")) == devices, moment
    made = {path for path in set(folders.roomy().glob(f"{folders.PREFIX}*")) - known if _is_free(path)}
    folders.sweep()
    assert [path for path in made if path.exists()] == [], moment


def _is_free(path: Path) -> bool:
    """Is it nobody's? Others may be running machines of their own."""
    try:
        return folders.is_orphaned(path)
    except OSError:
        return False


def _kills(moments: list[float]) -> None:
    with Machine(layers_of("debian-12"), network="none") as bystander:
        bystander.run("echo mine > ~/file; (sleep 3000 > /dev/null 2>&1 &)")
        for moment in moments:
            assert apart(partial(_kill_at, moment), network=True) == 0, moment
        assert bystander.run("cat ~/file; pgrep -c sleep").stdout == "mine\n1\n"


def test_a_few_kills_leave_nothing(cache: Path) -> None:
    """While a layer is made, while a machine is built and while a command runs in it."""
    _kills([0.1, 0.9, 2.0])
    driver = subprocess.run(
        ["timeout", "-s", "KILL", "20", sys.executable, "-c", DRIVER], capture_output=True, text=True, check=False
    )
    assert len(driver.stdout.splitlines()) > 2, "after the kills the layers are made whole and trials pass"


@pytest.mark.slow
def test_many_kills_leave_nothing(cache: Path) -> None:
    """At forty random moments of a driver's first six seconds."""
    chosen = random.Random(20261123)
    _kills([chosen.uniform(0, 6) for _ in range(40)])
