"""A skill on many machines with a real sshd: a canary, its plan on the rest, and every machine ends verified or named."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from skillrun.cli.machines.screen import Board, JsonRows, Lines
from skillrun.errors import Problem
from skillrun.events import Decision, ToolCall
from skillrun.fleet.inventories.inventory import read_inventory
from skillrun.fleet.inventories.member import Member
from skillrun.fleet.reach import Host
from skillrun.fleet.rollout import program
from skillrun.fleet.rollout.groups import too_many, waves
from skillrun.fleet.rollout.handles import Handles
from skillrun.fleet.rollout.ledger import new_ledger
from skillrun.fleet.rollout.machine import Machine, Stand
from skillrun.fleet.rollout.rollout import Rollout, Terms
from skillrun.plans.file import to_toml
from skillrun.plans.plan import Condition, Plan, Postcondition, Step
from skillrun.plans.store import identity_of
from skillrun.ports import Approval, Person, Place
from skillrun.run.budget import Budget
from skillrun.run.options import Options
from skillrun.run.unattended import Nobody
from skillrun.skills.sources import find_skill
from tests.fleet_lab import Lab, lab

ZIP = (
    "UEsDBBQAAAAAAAAAIVwM4UVrJAAAACQAAAAFAAAAZ3JlZXQjIS9iaW4vc2gKZWNobyBoZWxsbyBmcm9tIGdyZWV0IDEuMApQSwECFAMUAAAAAAAAACFc"
    "DOFFayQAAAAkAAAABQAAAAAAAAAAAAAA7QEAAAAAZ3JlZXRQSwUGAAAAAAEAAQAzAAAARwAAAAAA"
)
"""A program that greets, as it comes from its makers."""
SKILL = f"""---
name: greet
description: Says hello.
license: MIT
metadata:
  skillrun-verify: greet | grep -q hello
  skillrun-effects: write run-code privilege
---
# greet

## Install

```bash
mkdir -p ~/greet
```

```bash
echo {ZIP} | base64 -d > ~/greet/greet.zip
```

```bash
unzip -o -q -d ~/greet ~/greet/greet.zip
```

```bash
sleep SLOWLY; sudo install -m 755 ~/greet/greet /usr/local/bin/greet
```
"""
GREET = "printf '#!/bin/sh\\necho hello\\n' > /usr/local/bin/greet; chmod 755 /usr/local/bin/greet"

Row = dict[str, Any]


class Controller:
    """`skillrun` in the lab's home, its JSON lines read as they come; `watch` may end it while it does."""

    def __init__(
        self, made: Lab, *words: str, watch: Callable[[int, Row], None] = lambda pid, row: None, secret: str = ""
    ) -> None:
        argv = [sys.executable, "-m", "skillrun", *words]
        env = {**made.env, "PYTHONPATH": str(Path(__file__).parents[1]), **({"SUDO_PASSWORD": secret} if secret else {})}
        self.rows: list[Row] = []
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=made.home) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                self.rows.append(json.loads(line))
                watch(process.pid, self.rows[-1])
            self.code = process.wait()
            errors.seek(0)
            self.errors = errors.read()

    @property
    def last(self) -> dict[str, Row]:
        """The last word on each machine."""
        return {row["host"]: row for row in self.rows if row.get("type") == "Machine"}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Lab]:
    """A lab for one test."""
    with lab(tmp_path / "home") as found:
        yield found


def skill(made: Lab, slowly: str = "0") -> str:
    """The skill in the lab's home."""
    return skill_in(made.home, slowly)


def skill_in(home: Path, slowly: str = "0") -> str:
    """The skill in a directory."""
    folder = home / "greet"
    folder.mkdir(exist_ok=True)
    (folder / "SKILL.md").write_text(SKILL.replace("SLOWLY", slowly))
    return str(folder)


@pytest.mark.root
@pytest.mark.overlay
def test_a_canary_its_plan_and_a_second_run_that_changes_nothing(made: Lab) -> None:
    """Three machines: one has it, one is the canary, one gets the canary's plan; then all is there, and undo takes it back."""
    made.add("first")
    made.add("there", setup=GREET)
    made.add("second", user="ops", setup="usermod -aG sudo ops; echo 'ops:geheim-42' | chpasswd")
    (made.home / "hosts.txt").write_text("first # the canary\nthere\nsecond\n")
    words = ("fleet", skill(made), "-i", "hosts.txt", "--approve", "all", "--no-prove", "--json", "--secret", "SUDO_PASSWORD")
    done = Controller(made, *words, "--html", "out.html", "--junit", "out.xml", "--detailed-exitcode", secret="geheim-42")
    assert done.code == 2, (done.errors, done.last)
    assert {name: (row["state"], row["changed"]) for name, row in done.last.items()} == {
        "first": ("verified", True),
        "there": ("verified", False),
        "second": ("verified", True),
    }
    assert done.last["second"]["steps"] == [[0, 0], [1, 0], [2, 0], [3, 0]]
    assert made.machines["second"].run("greet").stdout.strip() == "hello from greet 1.0"
    matrix = (made.home / "out.html").read_text()
    assert "3 of 3 verified" in matrix
    assert (made.home / "out-machines/second-1.html").exists()
    suites = ET.parse(made.home / "out.xml").getroot()
    assert suites.findall(".//failure") == []
    assert {suite.get("hostname") for suite in suites if suite.findall("testcase")} == set(made.machines)
    of = {name: [row["type"] for row in done.rows if row.get("host") == name] for name in made.machines}
    assert all({"Started", "Finished", "RunEnded", "Machine"} <= set(of[name]) for name in ("first", "second")), of
    assert set(of["there"]) == {"Machine"}
    assert {row["type"] for row in done.rows if "host" not in row} == {"FleetNoted", "FleetEnded"}
    kept = b"".join(path.read_bytes() for path in (made.home / "state").rglob("*") if path.is_file())
    assert b"geheim" not in kept
    assert b"geheim" not in done.errors.encode()
    again = Controller(made, *words, "--detailed-exitcode", secret="geheim-42")
    assert again.code == 0
    assert not any(row["changed"] or row["runs"] for row in again.last.values())
    status = Controller(made, "fleet", "status", "--json")
    assert [row["state"] for row in status.rows[0]["machines"]] == ["verified"] * 3


class Asked(Nobody):
    """A person who says yes to all and keeps what was asked."""

    attended = True

    def __init__(self) -> None:
        self.calls: list[ToolCall] = []

    def approve(self, call: ToolCall, decision: Decision, place: Place) -> Approval:
        """Yes, once."""
        self.calls.append(call)
        return Approval("once")


def rollout(made: Lab, spec: str, members: list[Member], person: Person, **terms: Any) -> Rollout:
    """A rollout in this process, with what `--approve ask` leaves put to `person`."""
    found = find_skill(spec)
    ledger = new_ledger(found.name, members, {"source": spec, "inventory": "", "terms": {}})
    machines = [Machine(member) for member in members]
    return Rollout(found, Options(budget=Budget(max_turns=1)), Terms(prove=False, **terms), person, ledger, machines)


@pytest.mark.root
@pytest.mark.overlay
def test_a_person_is_asked_once_a_group_and_max_fail_stops_it(made: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a known plan one question covers both machines of the group; where one differs, the third is not begun."""
    for name in ("one", "two", "three"):
        made.add(name, setup="mkdir -p /usr/local/bin/greet" if name == "two" else "")
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    spec = skill(made)
    plan = Plan(
        "greet", identity_of(find_skill(spec)), (Condition("distribution", "debian", "test"),),
        (Step(run="mkdir -p ~/greet", leaves=(Postcondition("directory", "{{home}}/greet"),), complete=True),
         Step(run=f"sudo sh -c {shlex.quote(GREET)}"),),
        ("greet | grep -q hello",),
    )  # fmt: skip
    (Path(spec) / "plans").mkdir()
    (Path(spec) / "plans/debian.toml").write_text(to_toml(plan))
    person = Asked()
    run = rollout(made, spec, [Member(name) for name in ("one", "two", "three")], person, serial="1", max_fail="0", agents=1)
    code = run.run()
    told = {machine.name: (str(machine.stand), machine.reason) for machine in run.machines}
    assert told["one"] == ("verified", "")
    assert told["three"][0] == "not begun"
    assert "--max-fail 0" in told["three"][1]
    assert told["two"][0] in ("failed", "denied", "verified")
    assert code in (3, 4)
    whole = [call for call in person.calls if "all 2 steps of the plan, on 3 machines" in call.why]
    assert len(whole) == 1
    assert run.machines[0].made == ("/home/dev/greet",)
    assert run.ledger.machines()[0].stand == run.machines[0].stand


def test_a_secret_reaches_its_machine_and_no_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine's own value before that of all; the program carries it, its output is masked, no command line shows it."""
    monkeypatch.setenv("TOKEN", "shared-token-123")
    monkeypatch.setenv("ONE_TOKEN", "own-token-45678")
    monkeypatch.setenv("HOME", str(tmp_path))
    one, two = Machine(Member("one", {"skillrun_secrets": {"TOKEN": "ONE_TOKEN"}})), Machine(Member("two"))
    handles = Handles()
    handles.gather(find_skill(skill_in(tmp_path)), ("TOKEN",), [one, two], Nobody())
    assert [handles.vault(machine).value("TOKEN") for machine in (one, two)] == ["own-token-45678", "shared-token-123"]
    vault = handles.vault(one)
    step = Step(run='printf %s "{{secret:TOKEN}}" > "$HOME/kept"; tr "\\0" " " < /proc/$PPID/cmdline; cat "$HOME/kept"')
    token = program.new_token()
    text = program.carrying_out(token, Plan("x", "", (), (step,), ()), [0], {}, ["true"], {"TOKEN": vault.value("TOKEN")})
    host = Host("@local")
    told = program.read_told(token, host.run(program.RUNNER, text.encode()).output.decode())
    host.close()
    assert (tmp_path / "kept").read_text() == "own-token-45678"
    (part,) = told.of("step")
    assert part.code == 0
    assert part.output.count("own-token-45678") == 1
    assert "own-token" not in vault.mask(part.output)


def test_the_table_and_the_lines_say_how_every_machine_stands() -> None:
    """On a terminal a table, in a pipe a line for each change, names and reasons made safe."""
    rows: list[Row] = [
        {"type": "FleetNoted", "text": "greet on 2 machines"},
        {"type": "Machine", **Machine(Member("web1"), Stand.WORKING, step="4 steps").kept()},
        {"type": "Machine", **Machine(Member("web\x1b[2J2"), Stand.FAILED, reason="no\nspace").kept()},
    ]
    out = io.StringIO()
    for row in rows:
        Lines(out)(row)
    assert out.getvalue().splitlines() == ["greet on 2 machines", "web1: working", "web⟨U+001B⟩[2J2: failed: no space"]
    ours, theirs = os.openpty()
    with open(theirs, "w") as terminal:
        board = Board(terminal)
        for row in rows:
            board(row)
        time.sleep(0.4)
        board.close()
        drawn = os.read(ours, 65536).decode()
    os.close(ours)
    assert "web1" in drawn
    assert "working" in drawn
    assert "\x1b[2J" not in drawn


def test_a_reader_that_left_ends_no_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--json | head -1`: machines are in the middle of it, and the record has every line."""
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w", closefd=False) as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        for sink in (JsonRows(), Lines(gone)):
            sink({"type": "FleetNoted", "text": "greet on 2 machines"})
        os.dup2(os.open(os.devnull, os.O_WRONLY), theirs)  # what the stream holds back can be written at last


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--serial", "0"), "--serial '0' is no number of machines"),
        (("--serial", "inf"), "--serial 'inf' is no number of machines"),
        (("--max-fail", "some"), "--max-fail 'some' is no number of machines"),
        (("--html", "nowhere/all.html"), "nowhere/all.html cannot be written: there is no such folder"),
        (("--junit", "nowhere/all.xml"), "nowhere/all.xml cannot be written: there is no such folder"),
    ],
)
def test_what_cannot_be_is_said_before_a_machine_is_touched(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    """Sizes of waves, limits, and files that nobody could write when all is done."""
    env = {**os.environ, "HOME": str(tmp_path), "SKILLRUN_STATE": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])}
    argv = [sys.executable, "-m", "skillrun", "fleet", skill_in(tmp_path), "-i", "web1", *words]
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "fleets").exists(), "no rollout was begun"


def test_waves_and_limits_as_they_are_said() -> None:
    """`1,5,20%` are sizes of waves, the last one repeated; `2` and `10%` are how many may differ."""
    assert waves(20, "1,5,20%") == [1, 5, 4, 4, 4, 2]
    assert waves(3, "1,100%") == [1, 2]
    assert waves(1, "10%") == [1]
    assert [too_many(2, 20, limit) for limit in ("", "2", "1", "10%", "5%")] == [False, False, True, False, True]
    for bad in ("x", "0", "1,,2"):
        with pytest.raises(ValueError, match=r".*"):
            waves(3, bad)


INI = """[web]
web[01:03].example ansible_user=deploy
db ansible_host=10.0.0.9 ansible_port=2222

[all:vars]
ansible_ssh_private_key_file=~/.ssh/fleet
[big:children]
web
[big:vars]
color=blue
"""
YAML = """all:
  hosts:
    lone: {ansible_port: 2200}
  children:
    web:
      hosts:
        "w[1:2]":
      vars: {ansible_user: deploy}
"""
PYTHON = """
import os
web = (["web1", ("web2", {"ssh_port": 2202})], {"ssh_user": "deploy"})
db = ["db1", "@docker/base", "web2"]
_hidden = ["not-one"]
WORDS = {"not": "a group"}
"""


def test_inventories_of_every_kind(tmp_path: Path) -> None:
    """pyinfra's with groups, data and group_data; a list; Ansible's INI with ranges, children and variables; its YAML."""
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data/web.py").write_text("import os\nregion = 'north'\n")
    for name, text in (("p.py", PYTHON), ("i.ini", INI), ("y.yml", YAML), ("l.txt", "a\nb c\n# d\n"[:2] + "@local\n# d\n")):
        (tmp_path / name).write_text(text)
    found = {member.name: member for member in read_inventory(str(tmp_path / "p.py"))}
    assert list(found) == ["web1", "web2", "db1", "@docker/base"]
    assert found["web2"].data == {"ssh_user": "deploy", "region": "north", "ssh_port": 2202}
    assert found["web2"].groups == ("web", "db")
    ini = {member.name: member for member in read_inventory(str(tmp_path / "i.ini"))}
    assert list(ini) == ["web01.example", "web02.example", "web03.example", "db"]
    assert ini["db"].data == {"ssh_key": "~/.ssh/fleet", "color": "blue", "ssh_hostname": "10.0.0.9", "ssh_port": 2222}
    yml = {member.name: member for member in read_inventory(f"@ansible/{tmp_path / 'y.yml'}")}
    assert (yml["lone"].data["ssh_port"], yml["w2"].data["ssh_user"]) == (2200, "deploy")
    assert [member.name for member in read_inventory(str(tmp_path / "l.txt"))] == ["a", "@local"]
    assert [member.name for member in read_inventory("x, @local, x")] == ["x", "@local"]
    (tmp_path / "w.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\r\na\r\n")
    assert [member.name for member in read_inventory(str(tmp_path / "w.txt"))] == ["a", "b"], "as Windows writes it"
    with pytest.raises(Problem, match="there is no inventory"):
        read_inventory("hosts.yml")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.py", "web = [", r"a\.py:1: "),
        ("b.py", "import no_such_thing", "ModuleNotFoundError"),
        ("c.txt", "web1 web2\n", r"c\.txt:1: .* more than a host"),
        ("d.ini", "[web\nx\n", r"d\.ini:1: .* no group"),
        ("e.ini", "[web]\nx color\n", r"e\.ini:2: .* NAME=VALUE"),
        ("f.txt", "# nobody\n", "names no machine"),
        ("g.yml", "all: [", r"g\.yml"),
        ("h.ini", "[web]\na ansible_port=abc\n", "a: the port 'abc'"),
        ("i.py", "web = [('a', {'ssh_port': 70000})]\n", "a: the port '70000'"),
        ("j.yml", "all:\n  hosts: [a, b]\n", "hosts of all: .* no table"),
        ("k.yml", "all:\n  children: web\n", "children of all: .* no table"),
        ("l.ini", "[web]\nweb[09:01]\n", r"l\.ini:2: .* no range"),
        ("m.ini", "[web]\nweb[1:999999999]\n", r"m\.ini:2: .* no range"),
        ("n.py", "import sys; sys.exit(3)\n", "SystemExit: 3"),
        ("o.txt", "web\x1b[2J\n", "U.001B.* no name of a machine"),
        ("p.py", "web = [('a', {'skillrun_secrets': 'TOKEN'})]\n", "skillrun_secrets names no variables"),
        ("q.txt", "\udcff\udcfe", "cannot be read"),
    ],
)
def test_a_bad_inventory_is_told_where_it_is_bad(tmp_path: Path, name: str, text: str, words: str) -> None:
    """File, line, what is wrong; and what an inventory looks like."""
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(Problem, match=words) as raised:
        read_inventory(str(tmp_path / name))
    assert raised.value.hint


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.overlay
def test_a_partition_under_a_living_controller(made: Lab) -> None:
    """The network of one machine is cut in the middle of a wave and comes back: unknown until its checks say, then verified."""
    quick = "ServerAliveInterval 1\n ServerAliveCountMax 2"
    for name in ("canary", "cut", "fits"):
        made.add(name, options=quick)
    happened: list[str] = []

    def watch(pid: int, row: Row) -> None:
        if row["type"] != "Machine" or row["host"] != "cut":
            return
        if row["state"] == "working" and not happened:
            happened.append("cut")
            time.sleep(1.0)
            made.relays["cut"].cut()
        if row["state"] == "unknown" and happened == ["cut"]:
            happened.append("mended")
            made.relays["cut"].mend()

    words = ("fleet", skill(made, "2.5"), "-i", "canary,cut,fits", "--approve", "all", "--no-prove", "--json")
    done = Controller(made, *words, watch=watch)
    assert happened == ["cut", "mended"], "what was lost in the middle is unknown, and neither failed nor verified"
    assert done.code == 0, (done.errors, done.last)
    assert {row["state"] for row in done.last.values()} == {"verified"}
    assert made.machines["cut"].run("greet").stdout.strip() == "hello from greet 1.0"


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.overlay
@pytest.mark.network
@pytest.mark.timeout(900)
def test_sixteen_machines_and_all_that_happens_to_them(made: Lab) -> None:
    """Canary, plan, replay, divergence, a lost cable, a machine that dies, a killed controller: all end verified or named."""
    quick = "ServerAliveInterval 1\n ServerAliveCountMax 3"
    made.add("canary")
    made.add("fits")
    made.add("password", user="ops", setup="usermod -aG sudo ops; echo 'ops:geheim-42' | chpasswd")
    made.add("trixie", "debian-13")
    made.add("trixie-two", "debian-13")
    made.add("root", "debian-13", user="root")
    made.add("no-bash", setup="chsh -s /bin/sh dev; mv /bin/bash /bin/never")
    made.add("behind", behind="canary")
    made.add("slow")
    made.relays["slow"].delay_s = 0.2
    made.add("dies", options=quick)
    made.add("cut", options=quick)
    made.add("changed-key")
    made.add("there", setup=GREET)
    made.add("no-unzip", setup="dpkg -r unzip")
    made.add("in-the-way", setup="mkdir -p /usr/local/bin/greet/x")
    made.add("no-sudo", setup="rm /etc/sudoers.d/dev /usr/bin/sudo")
    made.add("full", disk_mb=8)
    made.machines["full"].run("dd if=/dev/zero of=big bs=1k 2> /dev/null; dd if=/dev/zero of=rest bs=1 2> /dev/null")
    made.add("locked-out", setup="")
    made.machines["locked-out"].run("rm ~/.ssh/authorized_keys")
    known = made.home / ".ssh/known_hosts"
    lines = known.read_text().splitlines()
    place = f"[{made.relays['changed-key'].address}]:{made.relays['changed-key'].port} "
    other = lines[0].split(" ", 1)[1]
    known.write_text("".join(f"{place}{other}\n" if line.startswith(place) else f"{line}\n" for line in lines))
    names = [*made.machines, "nobody"]
    with open(made.home / ".ssh/config", "a") as config:
        config.write("Host nobody\n HostName 127.1.1.1\n Port 9\n")
    (made.home / "inventory.py").write_text(f"fleet = ({names!r}, {{}})\n")
    spec = skill(made, "2.5")
    secret = "geheim-42"
    began = time.monotonic()
    happened: list[str] = []

    def watch(pid: int, row: Row) -> None:
        if (
            row.get("type") == "Machine"
            and row["state"] == "working"
            and "steps" in row["step"]
            and row["host"] not in happened
        ):
            happened.append(row["host"])
            time.sleep(1.0 if row["host"] in ("dies", "cut") else 0)
            if row["host"] == "dies":
                made.machines["dies"].close()
            if row["host"] == "cut":
                made.relays["cut"].cut()
                os.kill(pid, signal.SIGKILL)

    words = ["fleet", spec, "-i", "inventory.py", "--approve", "all", "--no-prove", "--json", "--secret", "SUDO_PASSWORD"]
    run = Controller(made, *words, watch=watch, secret=secret)
    assert run.code == -signal.SIGKILL
    status = Controller(made, "fleet", "status", "--json")
    stands = {row["host"]: row["state"] for row in status.rows[0]["machines"]}
    assert stands["cut"] == "unknown", stands
    made.relays["cut"].mend()
    done = Controller(
        made, "fleet", "resume", "last", "--json", "--no-prove", "--html", "all.html", "--junit", "all.xml", secret=secret
    )
    for name, row in sorted(done.last.items()):
        print(f"{name:12} {row['state']:12} {row['seconds']:6.1f} s {row['reason'][:150]}")
    print(f"{time.monotonic() - began:.0f} s")
    ends = {name: row["state"] for name, row in done.last.items()} | {
        row["host"]: row["state"] for row in status.rows[0]["machines"] if row["host"] not in done.last
    }
    assert done.code == 4  # a full disk is a person's to empty
    good = (
        "canary",
        "fits",
        "password",
        "trixie",
        "trixie-two",
        "root",
        "no-bash",
        "behind",
        "slow",
        "cut",
        "there",
        "no-unzip",
        "no-sudo",
    )
    assert {name: ends[name] for name in good} == dict.fromkeys(good, "verified")
    reasons = {name: row["reason"] for name, row in done.last.items()}
    assert ends["changed-key"] == ends["locked-out"] == ends["nobody"] == "unreachable"
    assert "host key" in reasons["changed-key"]
    assert "did not let this user in" in reasons["locked-out"]
    assert "does not answer" in reasons["nobody"]
    assert ends["dies"] in ("unknown", "unreachable")
    assert (ends["in-the-way"], ends["full"]) == ("failed", "needs a person")
    assert "space" in reasons["full"]
    assert all(row["reason"] for row in done.last.values() if row["state"] != "verified")
    assert made.machines["cut"].run("greet").stdout.strip() == "hello from greet 1.0"
    again = Controller(made, *words, secret=secret)
    assert not any(again.last[name]["changed"] for name in good)
    undone = Controller(made, "fleet", "undo", "last", "--approve", "all", "--json", secret=secret)
    assert undone.code == 0, undone.rows  # of the last rollout, which changed nothing
