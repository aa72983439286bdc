"""Another machine keeps the promises of a Target: reached as `@local`, and over SSH, in bash and where there is only sh."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.events import State
from skillrun.fleet.reach import Host
from skillrun.fleet.target import RemoteTarget
from skillrun.fleet.unreachable import Unreachable
from skillrun.ports import Command, result_of
from tests.contracts.target import LookingContract, TargetContract
from tests.fleet_lab import Lab, lab


class TestLocalConnector(LookingContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[RemoteTarget]:
        """A shell on this machine, behind pyinfra's local connector."""
        target = RemoteTarget(Host("@local"), tmp_path / "outputs")
        yield target
        target.close()


@pytest.mark.slow
class TestLocalConnectorWhole(TargetContract):
    target = TestLocalConnector.target


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two machines with a server: one without bash, and one whose user has to type a password for sudo."""
    with lab(tmp_path_factory.mktemp("lab") / "home") as made, pytest.MonkeyPatch.context() as patch:
        no_bash = "chsh -s /bin/sh dev; mv /bin/bash /bin/never"
        made.add("plain", "debian-12", setup=no_bash)
        made.add("locked", "debian-13", user="ops", setup="usermod -aG sudo ops; echo 'ops:geheim-42' | chpasswd")
        patch.setenv("HOME", str(made.home))
        yield made


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.overlay
class TestOverSsh:
    def test_sh_is_enough(self, machines: Lab, tmp_path: Path) -> None:
        """Without bash: exit codes, state that lasts, a question, an interrupt, a shell that ends, files, and facts."""
        from skillrun.host.facts import gather

        host = Host("plain")
        target = RemoteTarget(host, tmp_path / "out")
        try:
            run = lambda text, **more: result_of(target.run(Command(text, id="c", **more)))  # noqa: E731
            assert run("cd /usr/bin; export COLOUR='deep blue'; (exit 7)").exit_code == 7
            assert run('pwd; echo "$COLOUR"').output == "/usr/bin\ndeep blue"
            assert run("read name; echo hello $name").state is State.WAITING
            assert "hello Ada" in result_of(target.answer("Ada\n")).output
            assert run("sleep 100", quiet_s=0.8).state is State.QUIET
            assert result_of(target.interrupt()).state is State.INTERRUPTED
            assert run("if then").exit_code not in (0, None)
            assert run("exit 3").exit_code == 3
            assert run('echo "$PWD $COLOUR"').output == "/usr/bin deep blue"
            assert run("pwd", login=True).output == "/home/dev"
            target.put("/home/dev/f", b"bytes \xff\n", 0o640)
            assert target.get("/home/dev/f") == b"bytes \xff\n"
            facts = gather(target)
            assert (facts["os"]["id"], facts["user"]["name"]) == ("debian", "dev")
            assert "bash" not in facts["tools"]
        finally:
            target.close()
            host.close()

    def test_sudo_gets_the_persons_password(self, machines: Lab, tmp_path: Path) -> None:
        """It is asked for once, for sudo alone, masked in all that comes back; another program that asks gets nothing."""
        asked: list[str] = []

        def password(why: str) -> str:
            asked.append(why)
            return "geheim-42"

        host = Host("locked")
        target = RemoteTarget(host, tmp_path / "out", password=password)
        try:
            run = lambda text: result_of(target.run(Command(text, id="c")))  # noqa: E731
            first = run("sudo whoami; sudo id -u; echo geheim-42")
            assert (first.state, first.output.splitlines()[-3:-1]) == (State.EXITED, ["root", "0"])
            assert "geheim" not in first.output
            assert asked == ["to run: whoami (on locked)"]
            false = run("read -rsp '[sudo] password for ops: ' x; echo")
            assert (false.state, false.secret) == (State.WAITING, True)
            result_of(target.interrupt())
            assert len(asked) == 1
        finally:
            target.close()
            host.close()

    def test_a_machine_that_is_lost_is_said(self, machines: Lab, tmp_path: Path) -> None:
        """When the server goes in the middle of a command its result is an error that says so, and nobody hangs."""
        host = Host("locked")
        target = RemoteTarget(host, tmp_path / "out")
        stream = target.run(Command("echo begun; sleep 30", id="c"))
        next(stream)
        machines.machines["locked"].run("pkill -KILL -u ops sshd; pkill -KILL sshd-session; pkill -KILL sshd", root=True)
        result = result_of(stream)
        assert result.state is State.ERROR or result.exit_code not in (0, None)
        target.close()
        host.close()


def test_who_cannot_be_reached_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connector nobody knows, a name without an address, a port where nobody listens: what, and what to do."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, data, words in (
        ("@nothing/x", {}, "@nothing"),
        ("no-such-host.invalid", {}, "leads to no address"),
        ("127.0.0.1", {"ssh_port": 1}, "does not answer"),
        (f"@chroot/{tmp_path}", {}, "chroot"),
    ):
        with pytest.raises(Unreachable, match=words) as raised:
            Host(name, data, connect_s=3)
        assert raised.value.hint
        assert raised.value.code == 7
    assert os.path.exists(tmp_path)
