"""What a stranger meets in the first hour, on a whole machine or a terminal of their own."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box import Box, box_or_skip
from tests.boxed import ENVIRONMENT, box

ROOT = Path(__file__).parents[1]
CODE = {"PYTHONPATH": "/code:/packages", "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def machine() -> Iterator[Box]:
    """A Debian with the user `dev`, and this checkout to be read."""
    made = box_or_skip("debian-12", binds=((str(ROOT), "/code"), (sysconfig.get_paths()["purelib"], "/packages")))
    yield made
    made.close()


def skill(machine: Box, name: str, commands: str, check: str) -> None:
    """A skill of these commands and this check, in the user's home."""
    machine.write(f"/home/dev/{name}.md", f"# {name}\n\n```bash\n{commands}\n```\n\n## Verify\n\n```bash\n{check}\n```\n")


@pytest.mark.root
@pytest.mark.overlay
def test_what_a_new_terminal_finds_and_this_one_not_comes_with_its_line(machine: Box) -> None:
    """Verified, and the line that makes it so here too: once it is typed, the program is found."""
    put = "mkdir -p ~/.local/bin && printf '#!/bin/sh\\necho 1.0\\n' > ~/.local/bin/greet && chmod +x ~/.local/bin/greet"
    skill(machine, "greet", put, "greet --version")
    text = "python3 -m skillrun install greet.md --approve all; echo ended with $?; bash"
    with machine.terminal(["sh", "-c", text], "dev", CODE, rows=50) as terminal:
        screen = terminal.wait_for("ended with 0", 60)
        line = re.search(r'export PATH="\$HOME/\.local/bin:\$PATH"', screen)
        assert line, screen
        assert "a new terminal finds greet" in " ".join(screen.split())
        terminal.type("greet; echo code $?\n")
        terminal.wait_for("code 127")
        terminal.type(f"{line.group()}\ngreet; echo code $?\n")
        assert "1.0" in terminal.wait_for("code 0")


@pytest.mark.root
@pytest.mark.overlay
@pytest.mark.parametrize("name", ["ripgrep", pytest.param("httpie", marks=pytest.mark.slow)])
def test_without_a_network_that_is_what_is_said(name: str) -> None:
    """At the first failure, in plain words, and not that something was refused or would read a secret."""
    with box(user="dev", network="none") as alone:
        text = (
            f"cd; python3 -m skillrun install /code/skills/{name} --model builtin --approve all </dev/null 2>&1; echo code $?"
        )
        done = alone.run(text, env=ENVIRONMENT, timeout=200).stdout
    *_, last = done.split("Needs a person")
    assert "The network cannot be reached" in last, done[-3000:]
    assert done.endswith("code 4\n")
    assert "Refused" not in done


@pytest.mark.root
@pytest.mark.overlay
@pytest.mark.parametrize("name", ["ripgrep", pytest.param("httpie", marks=pytest.mark.slow)])
def test_without_a_network_a_preview_says_so_too(machine: Box, name: str) -> None:
    """Only its proxy leads out of a view, and what that did not reach is found out at the first failure."""
    words = f"unshare --net python3 -m skillrun install /code/skills/{name} --preview --model builtin --approve all"
    done = machine.run(["sh", "-c", words], user="root", env=CODE)
    assert done.returncode == 4, done.stdout
    assert "The network cannot be reached: nothing is reached through the proxy" in done.stdout.split("Needs a person")[-1]
    assert " Nothing was changed on the machine." in " ".join(done.stdout.split()), done.stdout
    assert done.stdout.count("apt-get update\n") == 1, done.stdout


@pytest.mark.root
@pytest.mark.overlay
def test_a_persons_time_is_not_the_runs(machine: Box) -> None:
    """Three seconds of thought at the commit question are told apart from the work; a beginning of the word commits."""
    skill(machine, "mark", "echo x > ~/mark", "test -e ~/mark")
    text = "python3 -m skillrun install mark.md --preview; echo ended with $?; sleep 60"
    with machine.terminal(["sh", "-c", text], "dev", CODE, rows=50) as terminal:
        terminal.wait_for("Commit these changes", 60)
        terminal.wait_for("a number, a word or its beginning")
        terminal.rest_for(3)
        terminal.answer("[discard]", "com\n")
        screen = terminal.wait_for("ended with 0", 60)
    took = re.search(r"Verified · ([\d.]+) s · waited ([\d.]+) s for you", screen)
    assert took, screen
    assert float(took[2]) >= 3
    assert "tier" not in screen


@pytest.mark.root
@pytest.mark.overlay
def test_an_ascii_locale_gets_ascii(machine: Box) -> None:
    """No sign on the screen, live or in a question, that such a terminal cannot show."""
    skill(machine, "sign", "echo x > ~/sign", "test -e ~/sign")
    environment = {**CODE, "LC_ALL": "C", "LANG": "C"}
    with machine.terminal(["python3", "-m", "skillrun", "install", "sign.md"], "dev", environment, rows=50) as terminal:
        terminal.answer("[s] stop", "w\n", 60)
        terminal.wait_for("Verified", 60)
        terminal.rest(3)
    assert terminal.seen.isascii(), [line for line in terminal.seen.splitlines() if not line.isascii()]


@pytest.mark.root
@pytest.mark.overlay
def test_one_yes_for_a_whole_skill(machine: Box) -> None:
    """Three steps that ask, one question: `w`."""
    skill(machine, "three", "echo 1 > ~/.config-1\nsudo touch /opt/two\necho 3 > ~/.config-3", "test -e ~/.config-3")
    text = "python3 -m skillrun install three.md; echo ended with $?; sleep 60"
    with machine.terminal(["sh", "-c", text], "dev", CODE, rows=60) as terminal:
        terminal.answer("[s] stop", "w\n", 60)
        screen = terminal.wait_for("ended with 0", 60)
    assert screen.count("May this run") == 1


@pytest.mark.root
@pytest.mark.overlay
def test_a_way_taken_for_want_of_rights_is_said(machine: Box) -> None:
    """Somebody without sudo gets the way without root, and hears why; with sudo it is the other, and nothing is said."""
    ways = "# both\n\n## Install\n\n### Debian\n\n```bash\nsudo touch /opt/both\n```\n\n"
    ways += "### Debian, without root rights\n\n```bash\ntouch ~/both\n```\n\n"
    ways += "## Verify\n\n```bash\ntest -e ~/both || test -e /opt/both\n```\n"
    machine.write("/home/dev/both.md", ways)
    machine.run(["useradd", "-m", "plain"], user="root")
    install = ["python3", "-m", "skillrun", "install", "/home/dev/both.md", "--approve", "all"]
    told = machine.run(install, user="plain", env=CODE)
    assert told.returncode == 0, told.stdout
    assert "so this way is taken: Debian, without root rights." in told.stdout
    assert "so this way is taken" not in machine.run(install, env=CODE).stdout
    assert (machine.root / "opt/both").exists()


@pytest.mark.root
@pytest.mark.overlay
def test_nobody_there_is_told_what_to_do(machine: Box) -> None:
    """Unattended, the call that needs a word is named, and how to give it."""
    skill(machine, "asks", "sudo touch /opt/asks", "test -e /opt/asks")
    done = machine.run(["python3", "-m", "skillrun", "install", "asks.md"], env=CODE)
    assert done.returncode == 4, done.stdout
    assert "--approve all says yes beforehand" in " ".join(done.stdout.split())


@pytest.mark.root
@pytest.mark.overlay
def test_a_verified_dry_run_has_a_plan(machine: Box) -> None:
    """Nothing of it was kept, and what it did can be written down all the same."""
    skill(machine, "dry", "mkdir -p ~/dry/run", "test -d ~/dry/run")
    done = machine.run(["python3", "-m", "skillrun", "install", "dry.md", "--dry-run", "--approve", "all"], env=CODE)
    assert done.returncode == 0, done.stdout
    plan = machine.run(["python3", "-m", "skillrun", "plan", "last"], env=CODE)
    assert plan.returncode == 0, plan.stdout
    assert 'run = "mkdir -p ~/dry/run"' in plan.stdout
    assert not (machine.root / "home/dev/dry").exists()


@pytest.mark.root
@pytest.mark.overlay
def test_a_resumed_run_asks_as_it_did(machine: Box) -> None:
    """What was started with --approve all goes on so."""
    skill(machine, "again", "test -e ~/now\necho x > ~/again", "test -e ~/again")
    first = machine.run(["python3", "-m", "skillrun", "install", "again.md", "--approve", "all"], env=CODE)
    assert first.returncode == 3, first.stdout
    machine.write("/home/dev/now", "")
    second = machine.run(["python3", "-m", "skillrun", "resume", "last"], env=CODE)
    assert second.returncode == 0, second.stdout


@pytest.mark.root
@pytest.mark.overlay
def test_several_skills_in_one_command(machine: Box) -> None:
    """One after another; the first that fails ends it, and what was not begun is named."""
    for name, check in (("one", "true && test -e ~/one"), ("two", "test -e ~/never"), ("six", "test -e ~/six")):
        skill(machine, name, f"echo x > ~/{name}", check)
    done = machine.run(["python3", "-m", "skillrun", "install", "one.md", "two.md", "six.md", "--approve", "all"], env=CODE)
    assert done.returncode == 3, done.stdout
    assert "two.md ended with 3, so these were not begun: six.md" in done.stdout
    assert (machine.root / "home/dev/one").exists()
    assert not (machine.root / "home/dev/six").exists()


@pytest.mark.root
@pytest.mark.overlay
def test_a_second_run_waits_where_it_is_told_to(machine: Box) -> None:
    """That another run is going on has an exit code of its own; `--wait` is carried out when that one has ended."""
    skill(machine, "long", "touch ~/begun; until test -e ~/go; do sleep 0.1; done; echo x > ~/long", "test -e ~/long")
    skill(machine, "short", "test -e ~/long && echo x > ~/short", "test -e ~/short")
    install = "python3 -m skillrun install --approve all"
    text = (
        f"cd; {install} long.md &>log & until test -e ~/begun; do sleep 0.1; done\n{install} short.md; echo at once $?\n"
        f"{install} --wait short.md & sleep 1; touch ~/go; wait $!; echo then $?"
    )
    done = machine.run(["bash", "-c", text], env=CODE, user="dev")
    assert "at once 8" in done.stdout, done.stdout
    assert "then 0" in done.stdout, done.stdout


@pytest.mark.root
@pytest.mark.overlay
@pytest.mark.parametrize("columns", [40, 80])
def test_lists_fit_the_terminal(machine: Box, columns: int) -> None:
    """What verbs print breaks no word at 80 columns, nor at 40; in a pipe each line is whole."""
    skill(machine, "listed", "echo x > ~/listed", "test -e ~/listed")
    machine.run(["python3", "-m", "skillrun", "install", "listed.md", "--approve", "all"], env=CODE)
    text = "for v in list runs; do python3 -m skillrun $v | cat >~/piped-$v; python3 -m skillrun $v; done"
    text += "; for v in doctor 'install listd' installed 'undo nothing'; do python3 -m skillrun $v; done; echo ended; sleep 60"
    with machine.terminal(["sh", "-c", text], "dev", CODE, rows=80, columns=columns) as terminal:
        terminal.wait_for("ended", 60)
    lines = terminal.seen.decode().replace("\r", "").split("\n")
    assert max(map(len, lines)) <= columns, max(lines, key=len)
    piped = (machine.root / "home/dev/piped-runs").read_text()
    assert re.search(r"\d{8}-\d+-listed-\w+ +listed: install verified", piped)


CLOSED = """
import os, pty, select, subprocess, sys, time
pid, master = pty.fork()
if pid == 0:
    os.execvp("python3", ["python3", "-m", "skillrun", "install", "slow.md", "--approve", "all"])
until, seen = time.monotonic() + 60, b""
while not os.path.exists("/tmp/configuring") and time.monotonic() < until:
    if select.select([master], [], [], 0.1)[0]:
        seen += os.read(master, 65536)
os.close(master)
print("code", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
while subprocess.run(["pgrep", "-x", "dpkg"], stdout=subprocess.DEVNULL).returncode == 0 and time.monotonic() < until:
    time.sleep(0.1)
print(subprocess.run("dpkg --audit; dpkg-query -W slow; ls /tmp", shell=True, capture_output=True, text=True).stdout)
"""


@pytest.mark.root
@pytest.mark.overlay
def test_a_terminal_that_is_closed_while_dpkg_works_leaves_its_records_whole(machine: Box) -> None:
    """dpkg configures a package when the window is closed: the run ends as interrupted, and no package is left half-way."""
    control = "Package: slow\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: slow\n"
    machine.write("/home/dev/slow/DEBIAN/control", control)
    machine.write("/home/dev/slow/DEBIAN/postinst", "#!/bin/sh\n> /tmp/configuring\nsleep 2\n> /opt/configured\n", 0o755)
    machine.run(["dpkg-deb", "--root-owner-group", "--build", "slow"])
    skill(machine, "slow", "sudo dpkg -i ~/slow.deb", "test -e /opt/configured")
    done = machine.run(["python3", "-c", CLOSED], env={**CODE, "TERM": "xterm"}, timeout_s=120)
    assert "configuring" in done.stdout, done.stdout
    assert "code 130\nslow\t1.0\n" in done.stdout, done.stdout  # --audit has nothing to say
    assert not (machine.root / "home/dev/.local/state/skillrun/internal-error.txt").exists()
    told = machine.run(["python3", "-m", "skillrun", "runs"], env=CODE).stdout
    assert re.search(r"slow: install interrupted", told), told
    again = machine.run(["python3", "-m", "skillrun", "resume", "last"], env=CODE)
    assert again.returncode == 0, again.stdout
