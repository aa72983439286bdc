"""A copy-on-write view of this machine keeps the promises of a Target, and its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from skillrun.overlay.mount.service_request import from_json
from skillrun.overlay.process.probe import probe
from skillrun.ports import Command, result_of
from skillrun.targets.preview import PreviewTarget
from tests.contracts.target import TargetContract

pytestmark = [
    pytest.mark.root,
    pytest.mark.overlay,
    pytest.mark.skipif(probe().tier != "R", reason=f"no root view here: {'; '.join(probe().reasons)}"),
]


class TestPreviewTarget(TargetContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[PreviewTarget]:
        """A shell in a view of this machine."""
        target = PreviewTarget.open(tmp_path / "run", cwd=str(tmp_path))
        yield target
        target.close()


def test_deferred_actions_reach_the_run_folder(tmp_path: Path) -> None:
    """What a service manager's stand-in was told is in deferred.jsonl after close, in order, word for word."""
    target = PreviewTarget.open(tmp_path / "run", cwd="/")
    result = result_of(
        target.run(Command("policy-rc.d nginx restart; /usr/sbin/policy-rc.d --quiet redis.service '(start)' N"))
    )
    assert result.exit_code == 101
    target.close()
    lines = (tmp_path / "run/changes/deferred.jsonl").read_text().splitlines()
    assert [str(from_json(json.loads(line))) for line in lines] == [
        "invoke-rc.d nginx restart",
        "deb-systemd-invoke start redis.service",
    ]


def test_files_are_those_of_the_view(tmp_path: Path) -> None:
    """get and put see and change the view, never the machine."""
    target = PreviewTarget.open(tmp_path / "run", cwd="/")
    try:
        result_of(target.run(Command("echo inside >/etc/skillrun-test; chmod 640 /etc/skillrun-test")))
        assert target.get("/etc/skillrun-test") == b"inside\n"
        target.put("/etc/skillrun-test", b"put")
        target.put("/etc/skillrun-new", b"x" * 300_000, 0o755)
        shown = result_of(target.run(Command("cat /etc/skillrun-test; stat -c ' %a %s' /etc/skillrun-test /etc/skillrun-new")))
        assert shown.output.split() == ["put", "640", "3", "755", "300000"]
        with pytest.raises(FileNotFoundError):
            target.get("/etc/nothing-here")
    finally:
        target.close()
    assert not os.path.exists("/etc/skillrun-test")


def test_a_closed_network_lets_named_hosts_through_only(tmp_path: Path) -> None:
    """With a list of hosts everything else is cut off, and what was asked for is on record."""
    target = PreviewTarget.open(tmp_path / "run", cwd="/", hosts=["allowed.invalid"], named=["10.255.255.1", "told.invalid"])
    try:
        ask = "python3 -c \"import urllib.request as u; u.urlopen('http://{}/', timeout=5)\" 2>&1 | tail -1"
        assert "403" in result_of(target.run(Command(ask.format("denied.invalid")))).output
        assert "502" in result_of(target.run(Command(ask.format("allowed.invalid")))).output
        # What a stranger named is reached as well, but not in somebody's own network.
        assert "502" in result_of(target.run(Command(ask.format("told.invalid")))).output
        assert "403" in result_of(target.run(Command(ask.format("10.255.255.1")))).output
        direct = "python3 -c \"import socket; socket.create_connection(('127.0.0.1', 22), 2)\" 2>&1 | tail -1"
        assert "refused" in result_of(target.run(Command(direct))).output
        assert [(contact.host, contact.allowed) for contact in target.contacts()] == [
            ("denied.invalid", False),
            ("allowed.invalid", True),
            ("told.invalid", True),
            ("10.255.255.1", False),
        ]
    finally:
        target.close()


def test_a_person_is_asked_about_other_hosts_once_each(tmp_path: Path) -> None:
    """A connection waits for the answer; what was said holds for the run, `never ask` for every host; this machine is none."""
    questions, answers = list[str](), iter(("allow", "refuse", "never ask"))

    def ask(question: str, choices: Sequence[str], default: str) -> str:
        questions.append(question)
        assert default == "refuse"
        return next(answers)

    target = PreviewTarget.open(tmp_path / "run", cwd="/", hosts=["named.invalid"])
    target.ask_host = ask
    one = "python3 -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=9)' http://{}/ 2>&1 | tail -1"
    try:
        said = [
            (host, result_of(target.run(Command(one.format(host)))).output.partition("Error ")[2][:3])
            for host in ("named.invalid", "a.invalid", "b.invalid", "a.invalid", "b.invalid", "c.invalid:81", "d.invalid")
        ]
        proxied = "env -u no_proxy -u NO_PROXY " + one
        said += [(host, result_of(target.run(Command(proxied.format(host)))).output.partition("Error ")[2][:3])
                 for host in ("127.0.0.1:1", "localhost:1")]  # fmt: skip
    finally:
        target.close()
    assert [code for _, code in said] == ["502", "502", "403", "502", "403", "403", "403", "403", "403"], said
    assert [question.partition(" to ")[2].partition(",")[0].split()[-1] for question in questions] == [
        "a.invalid", "b.invalid", "c.invalid:81",
    ]  # fmt: skip


def test_credentials_are_hidden_and_bait_is_watched(tmp_path: Path) -> None:
    """A hidden directory holds bait; reading it is noticed, the real content cannot be reached."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/id_ed25519").write_text("the real one")
    (home / ".netrc").write_text("the real one")
    env = {**os.environ, "HOME": str(home)}
    os.environ["HOME"], before = str(home), os.environ["HOME"]
    try:
        target = PreviewTarget.open(tmp_path / "run", cwd="/", env=env, canaries=True)
    finally:
        os.environ["HOME"] = before
    try:
        assert target.touched_canaries() == ()
        shown = result_of(target.run(Command(f"cat {home}/.ssh/id_ed25519 {home}/.netrc; echo x >{home}/.ssh/new")))
        assert "the real one" not in shown.output
        assert "Read-only" in shown.output
        assert [bait.path for bait in target.touched_canaries()] == [f"{home}/.ssh/id_ed25519"]
    finally:
        target.close()
    assert (home / ".ssh/id_ed25519").read_text() == "the real one"
