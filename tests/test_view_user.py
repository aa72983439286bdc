"""What an ordinary user gets: the view of the own home without any rights, or the whole machine through one sudo."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from skillrun.overlay.kernel.mountinfo import read_mounts
from tests.dev_machine import as_dev, python

pytestmark = [
    pytest.mark.root,
    pytest.mark.overlay,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user"),
    pytest.mark.skipif(not python(), reason="no Python here that an ordinary user may run"),
]

START = """
import os, json
from pathlib import Path
from skillrun.ports import Command
from skillrun.targets.preview import PreviewTarget
from skillrun.overlay.mount.layers import Layers
from skillrun.overlay.transaction.privileged import Work

def result_of(stream):
    while True:
        try: next(stream)
        except StopIteration as end: return end.value

os.chdir(Path.home())
target = PreviewTarget.open(Path.home() / "run", cwd=str(Path.home()), tier={tier!r})
def do(text):
    result = result_of(target.run(Command(text)))
    print(f"[{{result.exit_code}}] {{result.output}}")
"""

END = """
target.close()
Work(Path("run/changes"), target.root).drop()
"""


def dev(body: str, tier: str, sudo: bool = False) -> str:
    """Output of a body run as dev with a target in a view of the given tier."""
    done = as_dev(START.format(tier=tier) + body + END, sudo)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_user_stays_the_user() -> None:
    """Inside the user view the own number, the own home and no rights: nothing outside home and tmp can be written."""
    shown = dev("do('id -u; id -g; echo $HOME; touch /etc/x /usr/x; touch ~/x /tmp/s-test && echo fine; sudo -n true')", "U")
    assert "4242\n4242\n/home/dev" in shown
    assert shown.count("Read-only file system") == 2
    assert "fine" in shown
    assert "[0]" not in shown


def test_installs_below_home_work_and_stay_inside() -> None:
    """A virtual environment and rc-file edits work; outside nothing of it is there; the layers hold it."""
    shown = dev(
        """
do("python3 -m venv --without-pip ~/venv && ~/venv/bin/python -c 'import sys; print(sys.prefix)'")
do("echo 'export A=1' >>~/.bashrc")
do("rm ~/.profile; ls ~/.profile")
target.close()
print("outside:", sorted(os.listdir()), Path(".bashrc").read_text().count("export A"))
layers = Layers.load(Path("run/changes"))
home = next(item for item in layers.items if item.target == "/home/dev")
print("upper:", sorted(os.listdir(home.upper)), layers.tier, layers.user_map)
""",
        "U",
    )
    assert "/home/dev/venv" in shown
    assert "outside: ['.bash_logout', '.bashrc', '.profile', 'run'] 0" in shown
    assert "upper: ['.bashrc', '.profile', 'venv'] U self" in shown


def test_the_outside_is_out_of_reach_for_the_user() -> None:
    """No sockets below /run, no other user's processes, no way back to the covered home."""
    shown = dev(
        """
do("find /run -type s | wc -l; ps -e | wc -l; ls -A /home/dev/run | wc -l")
do("unshare -Urm umount /home/dev; unshare -Urm umount /run; ls /proc/1/root/; cat /proc/1/environ")
""",
        "U",
    )
    sockets, processes, hidden = shown.split("\n", 3)[0:3]
    assert sockets == "[0] 0"
    assert int(processes) < 10
    assert hidden == "0"
    assert shown.count("Permission denied") >= 2
    assert shown.count("umount:") == 2


def test_a_discarded_user_view_leaves_nothing() -> None:
    """After close and drop the home is what it was, and so are the temporary directories."""
    shown = dev(
        """
do("echo x >~/x; echo y >/tmp/skillrun-y")
target.close()
Work(Path("run/changes"), target.root).drop()
print("left:", sorted(str(p) for p in Path("run").rglob("*") if p.is_file() and "outputs" not in str(p)))
print("home:", sorted(os.listdir()), os.path.exists("/tmp/skillrun-y"))
print("places:", list(Path("/tmp").glob(f".skillrun-*/{target.view.spec.id}")))
""",
        "U",
    )
    assert "left: []" in shown
    assert "home: ['.bash_logout', '.bashrc', '.profile', 'run'] False" in shown
    assert "places: []" in shown


def test_one_sudo_gives_the_whole_machine() -> None:
    """With sudo for the launcher the shell inside is still the user, and sudo works inside without being asked again."""
    before = read_mounts()
    shown = dev(
        """
do("id -un; sudo -n id -un; sudo touch /etc/by-root; touch ~/by-me; stat -c '%U %n' /etc/by-root ~/by-me; tty")
do("cat /proc/1/environ; touch /etc/by-me")
print("tier", target.tier, target.contained)
target.close()
print("outside:", os.path.exists("/etc/by-root"), os.path.exists("by-me"))
print("place:", os.path.exists(f"/var/lib/skillrun/views/{target.view.spec.id}"))
""",
        "",
        sudo=True,
    )
    assert "[0] dev\nroot\nroot /etc/by-root\ndev /home/dev/by-me\n/dev/pts/0" in shown
    assert shown.count("Permission denied") == 2
    assert "tier R True" in shown
    assert "outside: False False" in shown
    assert read_mounts() == before
    assert "place: False" in shown


def test_without_sudo_the_user_view_is_chosen() -> None:
    """Who cannot become root gets the user view, and the tier says so."""
    assert "tier U True" in dev("print('tier', target.tier, target.contained)", "")


def test_the_user_has_no_way_out_either() -> None:
    """The list of ways out, tried by the user inside the user view: every one is closed."""
    listed = tomllib.loads((Path(__file__).parent / "cases/view/escapes.toml").read_text())
    commands = {name: way["command"] for name, way in listed.items() if way.get("user")}
    shown = dev(
        f"""
commands = {commands!r}
do("mkdir ~/t; export TMPDIR=~/t CHANGES=" + str(Path.home() / "run/changes"))
for name, command in commands.items():
    result = result_of(target.run(Command("( " + command + "\\n) >/dev/null 2>&1 </dev/null")))
    print("way", name, result.exit_code)
""",
        "U",
    )
    tried = dict(line.split()[1:] for line in shown.splitlines() if line.startswith("way "))
    assert tried.keys() == commands.keys()
    assert [name for name, status in tried.items() if status in ("0", "None")] == []


ASKED = """
import os
from pathlib import Path
asker = Path.home() / "asker"
asker.write_text("#!/bin/sh\\necho asked >> ~/asked\\necho wrong\\n")
asker.chmod(0o755)
os.environ["SUDO_ASKPASS"] = str(asker)
"""


def test_where_sudo_does_not_give_root_the_home_is_shown_instead() -> None:
    """An account that may not use sudo: the view is the user's own and says so, and no password is asked for in vain."""
    code = (
        ASKED + START.format(tier="") + "do('touch ~/x && echo fine'); print(target.tier, target.notes, Path('asked').exists())"
    )
    done = as_dev(code + END)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "[0] fine" in done.stdout
    assert "U ('shown is only what you can change without root" in done.stdout
    assert "dev may not run sudo" in done.stdout
    assert done.stdout.rstrip().endswith("False")


def test_a_root_view_that_was_asked_for_is_no_other() -> None:
    """Where the root view was named, a sudo that does not give root is an error."""
    done = as_dev(ASKED + START.format(tier="R"))
    assert "a view of the whole machine needs root: Sorry, user dev may not run sudo" in done.stderr


def test_sudo_asks_nothing_where_nobody_may_be_asked() -> None:
    """Unattended no password is asked for: the view is the user's own."""
    code = ASKED + START.format(tier="").replace("tier=''", "ask=False") + "print(target.tier, Path('asked').exists())"
    assert as_dev(code + END).stdout == "U False\n"
