"""Another machine keeps the promises of a Target: reached as `@local`, and over SSH, in bash and where there is only sh."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gevent  # noqa: F401  takes whichever thread imports it first for the main one, and a test may use another
import pytest

from skillrun.events import State
from skillrun.fleet.reach import Host
from skillrun.fleet.target import RemoteTarget
from skillrun.fleet.unreachable import Unreachable
from skillrun.ports import Command, result_of
from tests.contracts.target import LookingContract, TargetContract
from tests.fleet_lab import Lab, lab
from tests.messages_server import MessagesServer, call


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

    def test_a_known_host_is_never_accepted_as_new(self, machines: Lab) -> None:
        """With `accept-new` a host whose key is known by another kind than it shows now stops; an unknown one does not."""
        known = machines.home / ".ssh/known_hosts"
        before = known.read_text()
        relay = machines.relays["plain"]
        made = subprocess.run(
            ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", str(machines.home / "other")], check=True
        )
        assert made.returncode == 0
        kind, key, *_ = (machines.home / "other.pub").read_text().split()
        line = next(each for each in before.splitlines() if each.startswith(f"[{relay.address}]"))
        accepting = {"ssh_strict_host_key_checking": "accept-new"}
        try:
            for file, there in (("a", f"[{relay.address}]:{relay.port} {kind} {key}\n"), ("b", "")):
                (machines.home / file).write_text(there)
                data = {**accepting, "ssh_known_hosts_file": str(machines.home / file)}
                if there:
                    with pytest.raises(Unreachable, match="host key"):
                        Host("plain", data)
                else:
                    Host("plain", data).close()
                    assert line.split()[2] in (machines.home / file).read_text()
        finally:
            known.write_text(before)

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


def test_a_model_behind_a_server_works_there_as_at_home(tmp_path: Path) -> None:
    """`install --on` with the real client and a loopback server: its command runs there, the checks decide."""
    (tmp_path / "made.skill").mkdir()
    text = "---\nname: made\ndescription: A file.\nmetadata:\n  skillrun-verify: test -e $HOME/made\n---\n# Made\nMake it.\n"
    (tmp_path / "made.skill/SKILL.md").write_text(text)
    script = [call("shell", "toolu_1", command='touch "$HOME/made"', why="it is asked for"),
              call("finish", "toolu_f", outcome="done", summary="it is there")]  # fmt: skip
    with MessagesServer(script) as server:
        env = {
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        env |= {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "sk-ant-test-key-0001"}
        words = ["install", "./made.skill", "--on", "@local", "--approve", "all", "--model", "test", "--no-input"]
        argv = [sys.executable, "-m", "skillrun", *words]
        done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "made").exists()
    assert "on @local" in done.stdout


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
