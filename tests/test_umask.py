"""New files have the rights the person's own umask gives them; what is installed for all users can be read by them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.events import Effect, EffectKind, Noted
from skillrun.host.facts import gather, here
from skillrun.overlay.process.probe import probe
from skillrun.policy.for_all_users import is_for_all_users
from skillrun.policy.judge import Judge
from skillrun.ports import Command, Place, result_of
from skillrun.pty.umask import own_umask
from skillrun.targets.local import LocalTarget
from tests.contracts.target import played
from tests.dev_machine import as_dev, python

MODE = "stat -c %a"


@pytest.fixture
def strict() -> Iterator[None]:
    """A hardened account."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def target(tmp_path: Path, strict: None) -> Iterator[LocalTarget]:
    """A shell started from it."""
    target = LocalTarget(tmp_path / "outputs", cwd=str(tmp_path))
    yield target
    target.close()


def test_the_shell_has_the_persons_umask(target: LocalTarget) -> None:
    """Files, directories, checks in login shells, background jobs and written files: nothing is readable for others."""
    assert own_umask() == 0o077
    assert result_of(target.run(Command(f"umask; touch f; mkdir d; {MODE} f d"))).output.split() == ["0077", "600", "700"]
    target.put("put", b"x")
    assert result_of(target.run(Command(f"{MODE} put"))).output == "600"
    assert result_of(target.run(Command(f"cd {target.cwd}; touch login; {MODE} login", login=True))).output.endswith("600")


def test_the_umask_that_is_told_is_the_shells(target: LocalTarget) -> None:
    """Facts read in the shell and facts read beside it name the umask that the run's commands have."""
    of_commands = result_of(target.run(Command("umask"))).output
    assert gather(target)["user"]["umask"] == here()["user"]["umask"] == of_commands == "0077"


def test_it_stays_what_a_command_made_it(target: LocalTarget) -> None:
    """Whoever sets another one keeps it, also over a shell that was ended."""
    result_of(target.run(Command("umask 027")))
    result_of(target.run(Command("exit 3")))
    assert result_of(target.run(Command("umask"))).output == "0027"


def test_what_is_for_all_users_is_readable_for_them_and_says_so(target: LocalTarget) -> None:
    """That command alone has 022, and tells; the next one has the person's again, and a `umask` of the command's own stays."""
    events, result = played(target.run(Command(f"umask; touch all; {MODE} all", for_all=True)))
    assert result.output.split() == ["0022", "644"]
    assert [event.text for event in events if isinstance(event, Noted)] == [
        "it installs for every user, so it runs with umask 022 and not 077"
    ]
    assert result_of(target.run(Command("umask"))).output == "0077"
    result_of(target.run(Command("exit 1", for_all=True)))
    assert result_of(target.run(Command("umask"))).output == "0077"
    result_of(target.run(Command("umask 002", for_all=True)))
    assert result_of(target.run(Command("umask"))).output == "0002"


def test_a_usual_umask_is_left_alone(tmp_path: Path) -> None:
    """Nothing is set and nothing said where others may read anyway."""
    before = os.umask(0o002)
    try:
        target = LocalTarget(tmp_path / "outputs", cwd=str(tmp_path))
        events, result = played(target.run(Command("umask", for_all=True)))
        target.close()
    finally:
        os.umask(before)
    assert result.output == "0002"
    assert not [event for event in events if isinstance(event, Noted)]


@pytest.mark.root
@pytest.mark.overlay
@pytest.mark.skipif(probe().tier != "R" or not python(), reason="needs root, a root view and a Python for ordinary users")
@pytest.mark.parametrize("tier", ["R", "U"])
def test_previews_and_ordinary_users_too(tier: str) -> None:
    """In both views, as an ordinary user: the same rights as outside."""
    done = as_dev(
        f"""
import os
from pathlib import Path
os.umask(0o077)
from skillrun.ports import Command, result_of
from skillrun.targets.preview import PreviewTarget
os.chdir(Path.home())
target = PreviewTarget.open(Path.home() / "run", cwd=str(Path.home()), tier={tier!r})
print(result_of(target.run(Command("umask; touch f; stat -c %a f"))).output.split())
target.put("put", b"x")
print(result_of(target.run(Command("stat -c %a put; sudo -n sh -c umask"))).output.split()[:2])
target.close()
from skillrun.overlay.transaction.privileged import Work
Work(Path("run/changes"), target.root).drop()
""",
        sudo=tier == "R",
    )
    assert "['0077', '600']" in done.stdout, done.stderr
    assert "['600'" in done.stdout


PERSON = Place("/home/me", "/home/me", "me")


@pytest.mark.parametrize(
    ("command", "for_all"),
    [
        ("sudo make install", True),
        ("sudo install -m 755 tool /usr/local/bin/tool", True),
        ("sudo tee /etc/apt/keyrings/x.gpg <key", True),
        ("sudo tee /etc/app/secret.conf <x", False),
        ("sudo tee /root/.pgpass <x", False),
        ("make install PREFIX=~/.local", False),
        ("pip install --user x", False),
        ("echo x >~/.netrc", False),
        ("cat /etc/passwd", False),
    ],
)
def test_which_commands_install_for_all(command: str, for_all: bool) -> None:
    """Root's installers and root's writes where everybody reads; never what lies in a home or may be a secret."""
    assert is_for_all_users(Judge().read(command, PERSON).effects, PERSON) == for_all


def test_root_itself_installs_for_all_without_sudo() -> None:
    """What root writes outside its home counts, its home does not."""
    root = Place("/root", "/root", "root")
    assert is_for_all_users([Effect(EffectKind.WRITE, "/opt/tool/bin/tool")], root)
    assert not is_for_all_users([Effect(EffectKind.WRITE, "/root/.config/x"), Effect(EffectKind.RUN_CODE, "make")], root)
