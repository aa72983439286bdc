"""A run on one other machine with a real sshd: previewed in a view made there, committed, resumed, taken back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from skillrun.events import Changed
from skillrun.fleet.reach import Host
from skillrun.fleet.single import begin_on, close_target
from skillrun.run.api import new_folder
from skillrun.run.options import EffectOptions, Options
from skillrun.run.unattended import Nobody
from skillrun.skills.sources import find_skill
from tests.fleet_lab import Bare, Lab, lab_at_home

pytestmark = [pytest.mark.root, pytest.mark.overlay]

DEB = """mkdir -p d/DEBIAN d/usr/bin; printf '#!/bin/sh\\necho hello\\n' > d/usr/bin/hola; chmod 755 d/usr/bin/hola
printf 'Package: hola\\nVersion: 1.0\\nArchitecture: all\\n' > d/DEBIAN/control
printf 'Maintainer: a <a@example.invalid>\\nDescription: greets\\n' >> d/DEBIAN/control
dpkg-deb -b d /opt/hola.deb; rm -r d"""
SKILL = """---
name: hola
description: Greets.
license: MIT
metadata:
  skillrun-verify: hola | grep -q hello
  skillrun-effects: packages write run-code privilege
---
# hola

## Install

```bash
mkdir -p ~/.config/hola
```

```bash
SLOWLY
```

```bash
SUDOdpkg -i /opt/hola.deb
```
"""
SHOWN = "dpkg-query -W -f '${Status}' hola 2> /dev/null; echo; ls -d {home}/.config/hola 2> /dev/null; hola 2> /dev/null"
FILES = "find / -xdev -not -type d -newer /opt/hola.deb -not -path '/var/log/*' | sort"
"""What is new there, but for what every login writes."""
THERE = ["install ok installed", "hello"]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab for one test, whose home is this process's too."""
    with lab_at_home(tmp_path / "home", monkeypatch) as found:
        yield found


def skill(made: Lab, sudo: str = "", slowly: str = "true") -> str:
    """The skill in the lab's home."""
    folder = made.home / "hola"
    folder.mkdir(exist_ok=True)
    (folder / "SKILL.md").write_text(SKILL.replace("SUDO", sudo).replace("SLOWLY", slowly))
    return str(folder)


def skillrun(made: Lab, *words: str, code: int = 0) -> str:
    """The command line in the lab's home; its output."""
    env = {**made.env, "PYTHONPATH": str(Path(__file__).parents[1])}
    argv = [sys.executable, "-m", "skillrun", *words]
    done = subprocess.run(argv, env=env, cwd=made.home, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout + done.stderr


def runs(made: Lab) -> list[dict[str, Any]]:
    """All runs on record, newest first."""
    found: list[dict[str, Any]] = json.loads(skillrun(made, "runs", "--json"))["runs"]
    return found


def shown(machine: Bare, home: str = "/root") -> list[str]:
    """What of it is on the machine."""
    return [line for line in machine.run(SHOWN.replace("{home}", home)).splitlines() if line]


class Decides(Nobody):
    """Whoever sits there: says yes to commands, gives a password, and answers the question of a preview."""

    attended = True

    def __init__(self, answer: str, password: str = "") -> None:
        self.answer, self.password = answer, password
        self.asked: list[str] = []

    def ask(self, question: str, choices: Sequence[str] = (), default: str = "") -> str | None:
        """The answer that was given beforehand."""
        self.asked.append(question)
        return self.answer

    def secret(self, name: str, why: str = "") -> str | None:
        """The password for sudo."""
        return self.password or None


def previewed(name: str, spec: str, person: Decides, mode: str = "preview") -> tuple[Any, list[Any]]:
    """A preview on a machine in this process: its report, and what changes it told of."""
    found = find_skill(spec)
    options = Options(model="builtin", effects=EffectOptions(mode))  # type: ignore[arg-type]
    host = Host(name, {"ssh_config_file": os.path.expanduser("~/.ssh/config")})  # which is read once for a name
    execution = begin_on(host, "install", found, options, person, new_folder(found))
    changes = [event for event in execution if isinstance(event, Changed)]
    close_target(execution)
    host.close()
    return execution.report, changes


def test_a_preview_there_is_committed_and_taken_back(made: Lab) -> None:
    """As root: nothing is real before the commit, all of it after; undo takes it back, and undoing that brings it again."""
    machine = made.add_bare("web1", setup=DEB)
    spec = skill(made)
    before = machine.run(FILES)
    person = Decides("discard")
    report, changes = previewed("web1", spec, person)
    assert (str(report.outcome), report.exit_code) == ("discarded", 4)
    assert [change.state for change in changes] == ["pending", "discarded"]
    assert [package["name"] for package in changes[0].changes["packages"]] == ["hola"]
    assert person.asked == ["Commit these changes to the machine?"], "its commands stay in the view: none was asked about"
    assert machine.run(FILES) == before
    told = skillrun(made, "install", spec, "--on", "web1", "--preview", "--approve", "all", "--model", "builtin")
    assert "preview in a copy-on-write view of web1" in told
    assert shown(machine) == [THERE[0], "/root/.config/hola", THERE[1]]
    assert "hola" not in skillrun(made, "installed"), "it is installed there, and not here"
    run = runs(made)[0]["id"]
    undone = skillrun(made, "undo", run, "--approve", "all")
    assert shown(machine) == []
    assert "brings it back" in undone
    skillrun(made, "undo", runs(made)[0]["id"], "--approve", "all")
    assert shown(machine) == [THERE[0], "/root/.config/hola", THERE[1]]
    machine.run("echo 'echo mine' >> /usr/bin/hola")
    assert "changed after the run" in skillrun(made, "undo", run, "--approve", "all", "--no-input", code=4)
    skillrun(made, "undo", run, "--approve", "all", "--edited", "leave")
    assert machine.run("cat /usr/bin/hola").endswith("echo mine\n")
    assert not machine.run("ls -A /var/tmp | grep skillrun; pgrep -f [s]killrun-view"), "nothing of a view is left there"


@pytest.mark.slow
@pytest.mark.parametrize("user", ["password", "no-sudo"])
def test_a_preview_of_an_account(made: Lab, user: str) -> None:
    """With sudo by a password the whole machine is shown, without any the account's own files; a refused one is told of."""
    setup = f"{DEB}\n" + ("usermod -aG sudo ops; echo 'ops:geheim-42' | chpasswd" if user == "password" else "")
    machine = made.add_bare("web1", "debian-13", user="ops", setup=setup)
    home = "/home/ops"
    if user == "password":
        person = Decides("commit", "geheim-42")
        report, changes = previewed("web1", skill(made, "sudo "), person)
        assert str(report.outcome) == "verified", report
        assert shown(machine, home) == [THERE[0], f"{home}/.config/hola", THERE[1]]
        kept = b"".join(path.read_bytes() for path in (made.home / "state").rglob("*") if path.is_file())
        assert b"geheim" not in kept
    else:
        (made.home / "mine").mkdir()
        text = SKILL.replace(
            "SUDOdpkg -i /opt/hola.deb", "mkdir -p ~/bin; dpkg -x /opt/hola.deb ~/x; mv ~/x/usr/bin/hola ~/bin"
        )
        text = text.replace("hola | grep", "~/bin/hola | grep").replace("SLOWLY", "true")
        (made.home / "mine/SKILL.md").write_text(text)
        report, changes = previewed("web1", str(made.home / "mine"), Decides("commit"))
        assert str(report.outcome) == "verified", report
        assert machine.run(f"{home}/bin/hola").strip() == "hello"
    assert {change.state for change in changes} == {"pending", "committed"}
    (run,) = [row["id"] for row in runs(made)]
    if user == "no-sudo":
        skillrun(made, "undo", run, "--approve", "all")
        assert machine.run(f"ls -A {home}/bin {home}/x 2> /dev/null") == ""


def test_what_cannot_make_a_view_says_so_and_live_is_taken_back(made: Lab) -> None:
    """A machine that may not mount refuses a preview with its reason; a live run there is taken back by its packages."""
    machine = made.add("closed", setup=DEB)
    spec = skill(made, "sudo ")
    told = skillrun(made, "install", spec, "--on", "closed", "--preview", "--approve", "all", "--model", "builtin", code=7)
    assert "closed cannot show a copy-on-write view: " in told
    skillrun(made, "install", spec, "--on", "closed", "--approve", "all", "--model", "builtin")
    assert machine.run("hola").stdout.strip() == "hello"
    told = skillrun(made, "undo", runs(made)[0]["id"], "--approve", "all")
    assert "1 package removed" in told
    assert machine.run("hola").returncode == 127
    assert "/home/dev/.config/hola" in told or machine.run("ls -d ~/.config/hola").returncode == 0


@pytest.mark.slow
def test_a_killed_run_is_gone_on_with_there(made: Lab) -> None:
    """The controller is killed in a step; the run is resumed on its machine, and what was done is not done again."""
    made.add("web1", setup=DEB)
    spec = skill(made, "sudo ", "echo once >> ~/times; sleep 4")
    env = {**made.env, "PYTHONPATH": str(Path(__file__).parents[1])}
    words = ["install", spec, "--on", "web1", "--approve", "all", "--model", "builtin", "--json"]
    with subprocess.Popen([sys.executable, "-m", "skillrun", *words], env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if '"Started"' in line and "once" in line:
                os.kill(process.pid, signal.SIGKILL)
    skillrun(made, "resume", "last", "--model", "builtin")
    assert [(row["outcome"], row["mode"]) for row in runs(made)] == [("verified", "live")]
    assert made.machines["web1"].run("hola").stdout.strip() == "hello"


@pytest.mark.slow
def test_a_canary_works_in_a_view_and_is_put_back_whole(made: Lab) -> None:
    """What a canary's view would change is told, committed, and its plan replayed; undo puts the canary back as it was."""
    machines = {name: made.add_bare(name, setup=DEB) for name in ("one", "two")}
    spec = skill(made)
    words = ("fleet", spec, "-i", "one,two", "--approve", "all", "--no-prove", "--json", "--model", "builtin")
    told = skillrun(made, *words)
    assert "one, in a view: " in told
    assert "hola installed" in told
    rows = [json.loads(line) for line in told.splitlines() if '"Machine"' in line]
    last = {row["host"]: row for row in rows}
    assert {name: (row["state"], row["changed"]) for name, row in last.items()} == dict.fromkeys(machines, ("verified", True))
    assert last["two"]["steps"], "the second has the canary's plan"
    assert all(shown(machine) == [THERE[0], "/root/.config/hola", THERE[1]] for machine in machines.values())
    told = skillrun(made, "fleet", "undo", "--approve", "all", "--json")
    assert "put back as it was before" in told
    assert shown(machines["one"]) == []
    assert machines["two"].run("hola") == "", "its package went; what else changed there is said to stay"
