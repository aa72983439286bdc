"""Root views for people with sudo as Debian ships it, on a real terminal and without one, in a whole Debian of their own."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box import Box, box_or_skip
from tests.terminal import Terminal

pytestmark = [pytest.mark.root, pytest.mark.overlay]

ROOT = Path(__file__).parents[1]
CODE = {"PYTHONPATH": "/code:/packages", "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
SKILL = """# Mark

```bash
sudo touch /opt/mark
```

## Verify

```bash
test -e /opt/mark
```
"""
PEOPLE = """
rm -f /etc/sudoers.d/dev
for user in free asker nobody-special; do useradd -m -s /bin/bash $user; echo $user:geheim | chpasswd; done
usermod -aG sudo asker
echo 'free ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/free
grep -q use_pty /etc/sudoers
"""
INSTALL = "python3 -m skillrun install /mark.md --preview"
TIMESTAMPS_OFF = "Defaults timestamp_timeout=0\n"


@pytest.fixture(scope="module", params=["debian-12", pytest.param("debian-13", marks=pytest.mark.slow)])
def machine(request: pytest.FixtureRequest) -> Iterator[Box]:
    """A Debian with three people: one whom sudo asks for no password, one whom it does, one who may not use it."""
    binds = ((str(ROOT), "/code"), (sysconfig.get_paths()["purelib"], "/packages"))
    box = box_or_skip(request.param, binds=binds)
    made = box.run(["sh", "-ec", PEOPLE], user="root")
    assert made.returncode == 0, made.stdout
    box.write("/mark.md", SKILL, user=0)
    yield box
    box.close()


@pytest.fixture(autouse=True)
def shipped(machine: Box) -> Iterator[None]:
    """sudo as it is shipped before each test, and nothing installed."""
    yield
    machine.run(["sh", "-c", "rm -rf /opt/mark /etc/sudoers.d/more /var/lib/skillrun /home/*/.local"], user="root")


def configured(machine: Box, lines: str) -> None:
    """More settings of sudo's."""
    machine.write("/etc/sudoers.d/more", lines, 0o440, user=0)


def on_terminal(machine: Box, user: str, text: str) -> Terminal:
    """Shell text of a person on a terminal of 80 columns, which says how it ended."""
    return machine.terminal(["sh", "-c", f"{text}; echo ended with $?; sleep 60"], user, CODE, rows=60)


def ended(terminal: Terminal, code: int = 0) -> str:
    """The last screen, wherever its lines were broken."""
    screen = terminal.wait_for("ended with", 60)
    assert f"ended with {code}" in screen, screen
    return " ".join(screen.split())


@pytest.mark.parametrize("settings", ["", "Defaults requiretty\n", TIMESTAMPS_OFF, "Defaults log_input\n"])
def test_whoever_needs_no_password_gets_the_root_view(machine: Box, settings: str) -> None:
    """use_pty as shipped, and requiretty, no tickets, recorded input besides: committed, and taken back without a question."""
    configured(machine, settings)
    with on_terminal(machine, "free", INSTALL) as terminal:
        terminal.answer("Commit these changes", "commit\n", 60)
        assert "committed" in ended(terminal)
    assert (machine.root / "opt/mark").exists()
    with on_terminal(machine, "free", "python3 -m skillrun undo last --approve all") as terminal:
        ended(terminal)
    assert not (machine.root / "opt/mark").exists()


@pytest.mark.parametrize("settings", ["", TIMESTAMPS_OFF])
def test_a_password_is_wanted_once_and_the_reason_is_said_first(machine: Box, settings: str) -> None:
    """View, sudo inside, list of changes, commit: one prompt for all of it, also where sudo keeps no ticket."""
    configured(machine, settings)
    with on_terminal(machine, "asker", INSTALL) as terminal:
        asked = terminal.answer("to show the whole machine", "geheim\n", 30)
        assert "your password for sudo" in asked
        terminal.answer("Commit these changes", "commit\n", 60)
        screen = ended(terminal)
        assert screen.count("password") == 1
        assert terminal.echoes
    assert (machine.root / "opt/mark").exists()
    with on_terminal(machine, "asker", "sudo -k; python3 -m skillrun undo last --approve all") as terminal:
        asked = terminal.wait_for("password of asker:")
        assert "kept where only root may write" in asked
        terminal.type("geheim\n")
        assert ended(terminal).count("password") == 1
    assert not (machine.root / "opt/mark").exists()


def test_a_wrong_password_is_sudos_to_judge(machine: Box) -> None:
    """Asked again as often as sudo does; then the view is the person's own, and says what sudo said."""
    with on_terminal(machine, "asker", INSTALL) as terminal:
        terminal.answer("to show the whole machine", "wrong\n", 30)
        for again in (1, 2):
            terminal.wait_for_count("sudo did not take that", again)
            terminal.answer("sudo did not take that", "wrong again\n", 30)
        assert "incorrect password attempts" in ended(terminal, 3)


def test_an_empty_line_goes_on_without_root(machine: Box) -> None:
    """Nobody has to give a password to see what is theirs."""
    with on_terminal(machine, "asker", INSTALL) as terminal:
        terminal.answer("to show the whole machine", "\n", 30)
        assert "only what you can change without root" in ended(terminal, 3)


def test_nothing_is_asked_of_somebody_who_may_not_use_sudo(machine: Box) -> None:
    """sudo says so without a password, so nobody types one in vain; doctor says the same."""
    with on_terminal(machine, "nobody-special", INSTALL) as terminal:
        screen = ended(terminal, 3)
    assert "assword" not in screen
    assert "may not run sudo" in screen
    with on_terminal(machine, "nobody-special", "python3 -m skillrun doctor") as terminal:
        screen = ended(terminal)
    assert "note preview" in screen
    assert "may not run sudo" in screen


def test_nobody_is_asked_for_a_password_that_would_not_help(machine: Box) -> None:
    """Without a view too: somebody who may not use sudo is not asked for a password."""
    configured(machine, "")
    install = "python3 -m skillrun install /mark.md --approve all --model builtin"
    with on_terminal(machine, "nobody-special", install) as terminal:
        screen = ended(terminal, 3)
    assert "your password" not in screen


@pytest.mark.parametrize(
    ("user", "settings", "told"),
    [
        ("free", "", ""),
        ("free", "Defaults requiretty\n", "you must have a tty to run sudo"),
        ("asker", "", "sudo would ask for a password"),
        ("nobody-special", "", "may not run sudo"),
    ],
)
def test_without_a_terminal_nothing_waits(machine: Box, user: str, settings: str, told: str) -> None:
    """The root view where sudo gives it; else the person's own, with sudo's reason."""
    configured(machine, settings)
    done = machine.run(["sh", "-c", f"{INSTALL} --approve all"], user=user, env=CODE, timeout_s=60)
    assert (done.returncode == 0) == (not told), done.stdout
    assert told in done.stdout


def test_a_failure_inside_is_told_as_what_it_is(machine: Box) -> None:
    """sudo gave root and something else went wrong: that is not `no root`."""
    machine.write("/var/lib/skillrun", "in the way", user=0)
    done = machine.run(["sh", "-c", f"{INSTALL} --approve all"], user="free", env=CODE, timeout_s=60)
    assert done.returncode == 7, done.stdout
    assert "Not a directory: /var/lib/skillrun" in done.stdout


def test_doctor_tries_what_it_says(machine: Box) -> None:
    """`ok` only for a root view that was built; where that would have asked for a password it says so."""
    with on_terminal(machine, "free", "python3 -m skillrun doctor") as terminal:
        assert "ok preview the whole machine, copy-on-write" in ended(terminal)
    with on_terminal(machine, "asker", "python3 -m skillrun doctor") as terminal:
        screen = ended(terminal)
    assert "note preview" in screen
    assert "password" in screen
