"""A commit on another machine that is cut in its middle: known afterwards, finished by whoever comes next, or taken back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet_lab import Bare, Lab, lab
from tests.test_preview_elsewhere import DEB, SHOWN, THERE, skill

pytestmark = [pytest.mark.root, pytest.mark.overlay]

CUT = """mv /usr/bin/tar /usr/bin/tar-real; cat > /usr/bin/tar <<'END'
#!/bin/sh
case " $* " in
*" -x "*after.tar*) if mkdir /var/tmp/cut 2> /dev/null; then tar-real "$@" ./root/.config; END_OF_IT; fi ;;
esac
exec tar-real "$@"
END
chmod 755 /usr/bin/tar; touch /opt/hola.deb"""
"""The first time that a commit is carried over only half of it is, and then this happens."""
ENDS = {
    "the power fails": "kill -KILL $PPID; pkill -KILL -f '[s]shd: root'; exit 1",
    "the cable is pulled": "sleep 5",
    "the controller dies": "sleep 5",
}
FILES = """find / -xdev -not -type d -newer /opt/hola.deb -not -path '/var/log/*' -not -path '/var/lib/skillrun/*' | sort"""
"""What is new there, but for what every login writes and for the record that could bring it back."""
HALF = ["/root/.config/hola"]
WHOLE = [THERE[0], *HALF, THERE[1]]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Lab]:
    """A lab for one test."""
    with lab(tmp_path / "home") as found:
        yield found


def shown(machine: Bare) -> list[str]:
    """What of the skill is on the machine."""
    return [line for line in machine.run(SHOWN.replace("{home}", "/root")).splitlines() if line]


def skillrun(made: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line in the lab's home."""
    env = {**made.env, "PYTHONPATH": str(Path(__file__).parents[1])}
    argv = [sys.executable, "-m", "skillrun", *words]
    return subprocess.run(argv, env=env, cwd=made.home, capture_output=True, text=True, timeout=120, check=False)


def cut(made: Lab, machine: Bare, end: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Begin something whose commit is cut; what it said. It is half there then."""
    env = {**made.env, "PYTHONPATH": str(Path(__file__).parents[1])}
    argv = [sys.executable, "-m", "skillrun", *words]
    process = subprocess.Popen(argv, env=env, cwd=made.home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until = time.monotonic() + 90
    while not machine.run("ls -d /var/tmp/cut").strip():
        assert time.monotonic() < until, process.kill()
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    time.sleep(0.3)
    assert shown(machine) == HALF
    if end == "the cable is pulled":
        made.relays["web1"].cut()
    if end == "the controller dies":
        os.kill(process.pid, signal.SIGKILL)
    said, _ = process.communicate(timeout=90)
    made.relays["web1"].mend()
    return subprocess.CompletedProcess(argv, process.returncode, said)


@pytest.mark.parametrize(
    "end",
    [
        "the power fails",
        pytest.param("the cable is pulled", marks=pytest.mark.slow),
        pytest.param("the controller dies", marks=pytest.mark.slow),
    ],
)
def test_a_commit_that_was_cut_is_finished_by_whoever_resumes_and_can_be_taken_back(made: Lab, end: str) -> None:
    """Power, cable or controller: it says that it does not know; `resume` finishes the commit, `undo` takes back all of it."""
    quick = "ServerAliveInterval 1\n ServerAliveCountMax 2"
    machine = made.add_bare("web1", setup=f"{CUT.replace('END_OF_IT', ENDS[end])}\n{DEB}", options=quick)
    before = machine.run(FILES)
    words = ("install", skill(made), "--on", "web1", "--preview", "--approve", "all", "--model", "builtin")
    done = cut(made, machine, end, *words)
    run = json.loads(skillrun(made, "runs", "--json").stdout)["runs"][-1]["id"]
    if end != "the controller dies":
        assert done.returncode == 1, done.stdout
        assert "the commit was begun and not seen to end" in " ".join(done.stdout.split())
        assert f"skillrun resume {run}" in done.stdout
    again = skillrun(made, "resume", run, "--approve", "all", "--model", "builtin")
    assert again.returncode == 0, (again.stdout, again.stderr)
    assert shown(machine) == WHOLE
    undone = skillrun(made, "undo", run, "--approve", "all")
    assert undone.returncode == 0, (undone.stdout, undone.stderr)
    assert shown(machine) == []
    assert machine.run(FILES) == before, "nothing is left of it"


@pytest.mark.slow
def test_undo_of_a_cut_commit_takes_back_the_half_of_it(made: Lab) -> None:
    """Whoever does not want it any more need not finish it first."""
    end = "the power fails"
    machine = made.add_bare("web1", setup=f"{CUT.replace('END_OF_IT', ENDS[end])}\n{DEB}")
    before = machine.run(FILES)
    cut(made, machine, end, "install", skill(made), "--on", "web1", "--preview", "--approve", "all", "--model", "builtin")
    run = json.loads(skillrun(made, "runs", "--json").stdout)["runs"][-1]["id"]
    undone = skillrun(made, "undo", run, "--approve", "all")
    assert undone.returncode == 0, (undone.stdout, undone.stderr)
    assert machine.run(FILES) == before


@pytest.mark.slow
@pytest.mark.parametrize("end", ["the power fails", "the controller dies"])
def test_a_canary_whose_commit_was_cut_is_whole_before_its_checks_are_asked(made: Lab, end: str) -> None:
    """In a rollout as well: nobody is called verified on half a commit, and all end verified."""
    machine = made.add_bare("web1", setup=f"{CUT.replace('END_OF_IT', ENDS[end])}\n{DEB}")
    other = made.add_bare("web2", setup=DEB)
    words = ("-i", "web1,web2", "--approve", "all", "--no-prove", "--model", "builtin")
    cut(made, machine, end, "fleet", skill(made), *words)
    done = skillrun(made, "fleet", "resume", "last", "--no-prove")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert shown(machine) == shown(other) == WHOLE
