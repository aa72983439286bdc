"""Real programs that ask, each in a view of this machine that is thrown away."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.throwaway import run_in_view

pytestmark = [pytest.mark.root, pytest.mark.overlay]


def needs(*programs: str) -> Any:
    """A mark that skips where a program is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def run(folder: Path, program: str, **more: Any) -> list[dict[str, Any]]:
    """The program with a session of root's."""
    return run_in_view(folder, f"target = LocalTarget(outputs)\n{program}", **more)


@needs("debconf-set-selections", "apt-get")
@pytest.mark.network
@pytest.mark.slow
def test_apt_with_a_debconf_question(tmp_path: Path) -> None:
    """Nothing is asked by default; a frontend that asks all the same is seen through apt's own inner terminal."""
    program = """
play(target.run(Command("apt-get update -q", quiet_s=120)))
play(target.run(Command("apt-get install -qy postfix </dev/tty && postconf -h mail_version | head -1; true", quiet_s=120)))
play(target.run(Command("DEBIAN_FRONTEND=readline dpkg-reconfigure -p low tzdata", quiet_s=30)))
play(target.answer("2\\n"))
play(target.interrupt())
play(target.run(Command("echo alive")))
"""
    updated, installed, asked, again, ended, alive = run(tmp_path, program, timeout_s=280)
    assert updated["code"] == 0
    assert installed["state"] == "exited"
    assert (asked["state"], asked["secret"]) == ("waiting", False)
    assert "Geographic area" in asked["screen"]
    assert again["state"] == "waiting"
    assert ended["state"] == "interrupted"
    assert alive["output"] == "alive"


@needs("npm")
def test_npm_init(tmp_path: Path) -> None:
    """Eight questions in a row, each a halt."""
    program = """
result = play(target.run(Command("mkdir p && cd p && npm_config_yes=false npm init", quiet_s=60)))
for _ in range(12):
    if result.state is not State.WAITING: break
    result = play(target.answer("\\n"))
play(target.run(Command("cat package.json")))
"""
    first, *middle, written = run(tmp_path, program)
    assert first["state"] == "waiting"
    assert "package name" in first["screen"]
    assert len(middle) >= 8
    assert '"name": "p"' in written["output"]


@pytest.mark.slow
def test_pip_uninstall(tmp_path: Path) -> None:
    """Without -y: pip is told not to ask and says so at once; allowed to ask, it waits and takes the answer."""
    program = """
play(target.run(Command("python3 -m venv v && mkdir -p s/tiny && echo > s/tiny/__init__.py && cd s && \
printf '[project]\\\\nname=\\"tiny\\"\\\\nversion=\\"1\\"\\\\n' > pyproject.toml; cd; \
d=$(echo v/lib/python*/site-packages); mkdir $d/tiny-1.dist-info; cp -r s/tiny $d; cd $d; \
printf 'Metadata-Version: 2.1\\\\nName: tiny\\\\nVersion: 1\\\\n' > tiny-1.dist-info/METADATA; \
printf 'tiny/__init__.py,,\\\\ntiny-1.dist-info/METADATA,,\\\\ntiny-1.dist-info/RECORD,,\\\\n' > tiny-1.dist-info/RECORD; \
echo pip > tiny-1.dist-info/INSTALLER; cd; v/bin/pip list", quiet_s=60)))
play(target.run(Command("v/bin/pip uninstall tiny", quiet_s=60)))
play(target.run(Command("env -u PIP_NO_INPUT v/bin/pip uninstall tiny", quiet_s=60)))
play(target.answer("y\\n"))
"""
    ready, refused, asked, done = run(tmp_path, program)
    assert "tiny" in ready["output"]
    assert refused["state"] == "exited"
    assert refused["code"] != 0
    assert (asked["state"], asked["secret"]) == ("waiting", False)
    assert "Proceed" in asked["screen"]
    assert "Successfully uninstalled tiny" in done["output"]


@needs("adduser", "passwd")
def test_adduser_and_passwd(tmp_path: Path) -> None:
    """Passwords are secret halts, the questions after them are not."""
    program = """
result = play(target.run(Command("adduser newcomer", quiet_s=30)))
while result.state is State.WAITING and result.secret:
    result = play(target.answer("long-pass-word-1\\n"))
for _ in range(8):
    if result.state is State.WAITING: result = play(target.answer("\\n"))
play(target.run(Command("passwd newcomer", quiet_s=30)))
play(target.answer("long-pass-word-2\\n"))
play(target.answer("long-pass-word-2\\n"))
said.append(dict(disk=on_disk("long-pass-word")))
"""
    *steps, asked, again, done, last = run(tmp_path, program)
    assert [step["secret"] for step in steps[:3]] == [True, True, False]
    assert steps[-1]["state"] == "exited"
    assert steps[-1]["code"] == 0
    assert (asked["secret"], again["secret"]) == (True, True)
    assert done["code"] == 0
    assert "long-pass" not in repr(steps) + repr([asked, again, done])
    assert not last["disk"]


@needs("ssh-keygen")
def test_ssh_keygen(tmp_path: Path) -> None:
    """The file name is a question, the passphrase a secret."""
    program = """
play(target.run(Command("ssh-keygen -t ed25519")))
play(target.answer("/tmp/key\\n"))
play(target.answer("pass-phrase-1\\n"))
play(target.answer("pass-phrase-1\\n"))
play(target.run(Command("ssh-keygen -y -P pass-phrase-1 -f /tmp/key | cut -c1-11")))
"""
    name, first, second, done, proof = run(tmp_path, program)
    assert [step["secret"] for step in (name, first, second)] == [False, True, True]
    assert done["code"] == 0
    assert proof["output"] == "ssh-ed25519"


@needs("git")
def test_git_clone_that_wants_credentials(tmp_path: Path) -> None:
    """git fails at once instead of asking; allowed to ask, the user name is a question and the password a secret."""
    program = """
import http.server, threading
class Locked(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(401); self.send_header("WWW-Authenticate", 'Basic realm="r"'); self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Locked)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/x.git"
play(target.run(Command(f"env -u http_proxy -u HTTP_PROXY git clone {url}")))
play(target.run(Command(f"GIT_TERMINAL_PROMPT=1 git clone {url}")))
play(target.answer("me\\n"))
play(target.answer("my-git-password\\n"))
"""
    refused, user, password, done = run(tmp_path, program)
    assert refused["state"] == "exited"
    assert "terminal prompts disabled" in refused["output"]
    assert (user["state"], user["secret"]) == ("waiting", False)
    assert (password["state"], password["secret"]) == ("waiting", True)
    assert done["code"] == 128
    assert "my-git" not in repr([user, password, done])


@needs("make")
def test_make_with_a_long_quiet_link(tmp_path: Path) -> None:
    """A parallel build whose last step works in silence longer than the quiet period is not questioned."""
    makefile = (
        ".PHONY: all\nall: link\n%.o:\n\t@sleep 0.1; echo CC $@; touch $@\nlink: a.o b.o c.o d.o\n"
        "\t@sh -c 'i=0; while [ $$i -lt 2500000 ]; do i=$$((i+1)); done'\n\t@echo LINKED\n"
    )
    program = f"""
target.put("Makefile", {makefile!r}.encode())
play(target.run(Command("make -r -j2", quiet_s=1.2)))
"""
    (built,) = run(tmp_path, program)
    assert built["state"] == "exited"
    assert built["output"].endswith("LINKED")


def test_python_repl(tmp_path: Path) -> None:
    """An interpreter that is asked three things and left."""
    program = """
play(target.run(Command("python3 -q")))
play(target.answer("x = 20 + 1\\n"))
play(target.answer("print(x * 2)\\n"))
play(target.answer("exit()\\n"))
"""
    steps = run(tmp_path, program)
    assert [step["state"] for step in steps] == ["waiting"] * 3 + ["exited"]
    assert "42" in steps[2]["output"]


def test_a_user_without_rights(tmp_path: Path) -> None:
    """Questions, passwords and idleness are noticed by an ordinary user as well, and nothing is left behind."""
    program = """
play(target.run(Command("id -un; read -p 'name? ' a; echo $a")))
play(target.answer("x\\n"))
play(target.run(Command("read -rs -p 'Password: ' p")))
play(target.interrupt())
play(target.run(Command("setsid sleep 777 & sleep 778", quiet_s=1)))
play(target.interrupt())
play(target.run(Command("pgrep -f 'sleep 77[78]' || echo none")))
"""
    asked, answered, secret, _, quiet, _, none = run(tmp_path, program, user="nobody", setup="usermod -d /tmp nobody")
    assert asked["state"] == "waiting"
    assert asked["output"].startswith("nobody")
    assert answered["code"] == 0
    assert (secret["state"], secret["secret"]) == ("waiting", True)
    assert quiet["state"] == "quiet"
    assert none["output"] == "none"


@needs("apt-get")
@pytest.mark.network
@pytest.mark.slow
def test_dialog_expect_screen_and_watch(tmp_path: Path) -> None:
    """Boxes are seen as drawn, expect and screen ask through terminals of their own, and who only redraws is questioned."""
    program = """
play(target.run(Command("apt-get update -q && apt-get install -qy dialog expect screen procps", quiet_s=120)))
play(target.run(Command("dialog --yesno 'Go on?' 7 30; echo answered $?")))
play(target.answer("\\n"))
play(target.run(Command("dialog --passwordbox 'Password of the database' 8 40 2>/dev/null")))
play(target.interrupt())
play(target.run(Command('''expect -c 'spawn sh -c {printf "Name: "; read a; echo got $a}; interact' ''')))
play(target.answer("ann\\n"))
play(target.run(Command("screen -dmS box sleep 60; screen -ls; screen -X -S box quit; echo after")))
play(target.run(Command("screen sh -c 'echo inside; read x'")))
play(target.answer("\\n"))
play(target.run(Command("watch -n 1 date", quiet_s=4)))
play(target.interrupt())
"""
    installed, box, answered, password, _, name, got, listed, inside, left, drawing, ended = run(
        tmp_path, program, timeout_s=280
    )
    assert installed["code"] == 0
    assert (box["state"], box["secret"]) == ("waiting", False)
    assert "│ Go on?" in box["screen"]
    assert answered["output"].endswith("answered 0")
    assert (password["state"], password["secret"]) == ("waiting", True)
    assert (name["state"], name["screen"].splitlines()[-1]) == ("waiting", "Name: ")
    assert "got ann" in got["output"]
    assert "(Detached)" in listed["output"]
    assert listed["output"].endswith("after")
    assert (inside["state"], inside["screen"]) == ("waiting", "inside")
    assert left["state"] == "exited"
    assert drawing["state"] == "quiet"
    assert "date" in drawing["screen"]
    assert ended["state"] == "interrupted"
