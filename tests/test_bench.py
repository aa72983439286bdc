"""How long the built-in engine waits for what, and where it puts what it gets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from skillrun.events import Result, State, ToolCall
from skillrun.host.causes import question
from skillrun.models.builtin.bench import LOGIN_S, NPM_S, QUIET_S, Bench, Work
from skillrun.models.builtin.healer import heal
from skillrun.models.builtin.moves.paths import on_path
from skillrun.models.builtin.remedy import Failure
from skillrun.models.builtin.user_install import foreseen
from skillrun.models.builtin.work import _causes, _ready, _remember
from skillrun.ports import Brief
from skillrun.skills.skill import Skill, Way

FACTS: dict[str, Any] = {
    "user": {"name": "dev", "root": False, "home": "/home/dev", "home_writable": True},
    "sudo": {"present": True, "passwordless": True},
    "tools": {"npm": "/usr/bin/npm", "pipx": "/usr/bin/pipx"},
}
DONE, NOT_THERE = Result(State.EXITED, 0), Result(State.EXITED, 1)
SILENT, ENDED = Result(State.QUIET, None), Result(State.INTERRUPTED, 130)


def bench_with(home_writable: bool = True, sudo: bool = True) -> Bench:
    """A bench of a user at a machine."""
    user = {**FACTS["user"], "home_writable": home_writable}
    facts = {**FACTS, "user": user, "sudo": {"present": sudo, "passwordless": sudo}}
    return Bench(Brief(Skill("x", "x", "", "prompt", "x"), facts=facts))


def calls_of(work: Work[Any], answer: Callable[[ToolCall], Result]) -> list[ToolCall]:
    """What a piece of work calls when it is answered so."""
    sent: list[ToolCall] = []
    with contextlib.suppress(StopIteration):
        call = next(work)
        while True:
            sent.append(call)
            call = work.send(answer(call))
    return sent


def test_a_new_terminal_that_hangs_is_waited_for_once() -> None:
    """Its profile waits for something: nothing else is asked of a new terminal until something was done."""
    bench = bench_with()
    first = calls_of(bench.fresh("command -v tool", "?"), lambda call: SILENT if call.name == "shell" else ENDED)
    assert first[0].input["timeout_s"] == LOGIN_S < QUIET_S
    assert calls_of(bench.fresh("tool --version", "?"), lambda call: DONE) == []
    assert calls_of(bench.shell("sed -i /read/d ~/.profile", "mended"), lambda call: DONE)
    assert len(calls_of(bench.fresh("tool --version", "?"), lambda call: DONE)) == 1


@pytest.mark.parametrize(
    ("command", "set_before", "seconds"),
    [
        ("npm install -g tool", False, NPM_S),
        ("npm install -g tool", True, QUIET_S),
        ("npm run build", False, QUIET_S),
        ("pip install npm", False, QUIET_S),
    ],
)
def test_npm_is_waited_for_shortly_until_it_tries_again_sooner(command: str, set_before: bool, seconds: int) -> None:
    """What it says nothing for is looked into early; once it tries again sooner it has the time that others have."""
    bench = bench_with()
    if set_before:
        bench.exports["npm_config_fetch_retries"] = "6"
    assert calls_of(bench.shell(command, "?"), lambda call: DONE)[0].input["timeout_s"] == seconds


@pytest.mark.parametrize(
    ("home_writable", "sudo", "everywhere"), [(False, True, True), (False, False, False), (True, True, False)]
)
@pytest.mark.parametrize(("manager", "place"), [("pip", "PIPX_BIN_DIR=/usr/local/bin"), ("npm", "--prefix /usr/local")])
def test_programs_go_where_root_may_write_when_the_home_is_read_only(
    manager: str, place: str, home_writable: bool, sudo: bool, everywhere: bool
) -> None:
    """Only then (pypa/pipx#754, SUSE/BCI-dockerfile-generator#2780): a home that can be written, or no root, and as ever."""
    planned = foreseen(bench_with(home_writable, sudo), Way(manager, ("tool",), (), 1))
    assert (place in planned[-1]) == everywhere
    assert planned[-1].startswith("sudo ") == everywhere


@pytest.mark.parametrize(("comes_up", "writes"), [(True, True), (False, False)])
def test_the_files_of_a_login_shell_that_does_not_come_up_stay(comes_up: bool, writes: bool) -> None:
    """A directory is missing on PATH only where a new terminal comes up and does not have it.

    One that does not is reported in mklement0/n-install#5 and ohmyzsh/ohmyzsh#1851.
    """

    def answer(call: ToolCall) -> Result:
        if "-lc true" in call.command:
            return DONE if comes_up else NOT_THERE
        return NOT_THERE if "-lc " in call.command else DONE

    sent = calls_of(on_path(bench_with(), "/home/dev/.local/bin", "?"), answer)
    assert any(">>" in call.command for call in sent) == writes


def test_a_trace_is_not_what_it_failed_at() -> None:
    """Of a trace the error's own line names the place; a path that the program says otherwise is looked at."""
    said = (
        'Traceback (most recent call last):\n  File "/usr/lib/python3.11/pathlib.py", line 1117, in mkdir\n'
        "    at Module.load (node:internal/modules/cjs/loader:1:1)\n    at run (/opt/node/lib/cli.js:3:14)\n"
        "OSError: [Errno 30] Read-only file system: '/home/dev/.local'\nFile /etc/demo.conf is missing\n"
    )
    assert question(said, "demo", 1)["paths"] == "/home/dev/.local /etc/demo.conf"


@pytest.mark.parametrize("is_root", [True, False])
def test_sudo_in_a_document_is_given_what_remedies_set_whoever_runs_it(is_root: bool) -> None:
    """Root's own sudo drops variables as well."""
    bench = bench_with()
    bench.brief.facts["user"]["root"] = is_root
    bench.exports["APT_CONFIG"] = "$HOME/sources.conf"
    ready: list[str] = []

    def to_its_end() -> Work[None]:
        ready.append((yield from _ready(bench, "sudo apt-get install -y tree && apt-get check")))

    calls_of(to_its_end(), lambda call: DONE)
    assert ready[0].startswith('sudo env APT_CONFIG="$APT_CONFIG" DEBIAN_FRONTEND=noninteractive apt-get install')


def test_a_lock_that_is_waited_for_is_all_that_is_looked_into() -> None:
    """What says itself what it waits for is not searched for other causes; what says nothing is."""
    said = "Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 10 (python3)... 44s"
    assert question(said, "sudo apt install -y tree", 130, stuck=True)["looks"] == "room lock packages settings"
    assert "network" in question("", "sudo apt install -y tree", 130, stuck=True)["looks"]


def test_what_stopped_the_first_is_told_too() -> None:
    """Where several failures were left, the looks of each are taken, those that wait for others once."""
    bench = bench_with()
    last = Failure("apt-get install -y tool", 100, "E: Unable to locate package tool")
    before = Failure("apt-get update", 100, "E: Unable to mkstemp /tmp/x - GetTempFile (13: Permission denied)")
    calls = calls_of(bench.diagnose(last, before), lambda call: DONE)
    assert ["rights" in call.input["looks"].split() for call in calls] == [False, True]
    assert "/tmp/x" in calls[1].input["paths"]
    slow = [Failure(f"curl https://{name}.invalid", 6, f"Could not resolve host: {name}.invalid") for name in "ab"]
    assert [call.input["looks"].split().count("names") for call in calls_of(bench.diagnose(*slow), lambda call: DONE)] == [1]


def test_a_cause_that_stopped_the_run_stands_in_its_account() -> None:
    """A later failure, of which nothing is found, does not push the cause of the one before it out of the account."""
    bench = bench_with()
    closed = Failure("frobnicate --first", 3, "frobnicate: /tmp/x: not writable")
    for failure in (closed, Failure("frobnicate --second", 4, "frobnicate: no such thing")):
        calls_of(heal(bench, failure), lambda call: NOT_THERE)
    calls_of(bench.shell("mkdir -p tool", "something is done"), lambda call: DONE)
    owner = Result(State.EXITED, 0, "cause\towner\t/tmp\troot\t755")
    told: list[list[str]] = []

    def account() -> Work[None]:
        told.append((yield from _causes(bench)))

    calls_of(account(), lambda call: owner if "rights" in call.input["looks"].split() else DONE)
    assert told == [["/tmp belongs to root (mode 755), and this user cannot write it."]]
    bench.origin = closed.cause
    _remember(bench, closed.command, DONE)
    assert closed not in bench.unhelped
