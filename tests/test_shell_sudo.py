"""A real sudo and a real user who has a password, in a view of this machine that is thrown away."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.throwaway import run_in_view

pytestmark = [
    pytest.mark.root,
    pytest.mark.overlay,
    pytest.mark.skipif(shutil.which("sudo") is None, reason="sudo is not installed"),
]

PASSWORD = "Trüb-sal 9'x"
SETUP = f"""
useradd -m -s /bin/bash asker
chpasswd <<'EOF'
asker:{PASSWORD}
EOF
echo 'asker ALL=(ALL) ALL' > /etc/sudoers.d/asker
"""


def test_one_prompt_for_the_run(tmp_path: Path) -> None:
    """The person types once; the password is in no event, output, environment or file, and no ticket is left for others."""
    program = f"""
asked = []
def password(prompt):
    asked.append(prompt)
    return {PASSWORD!r}
target = LocalTarget(outputs, password=password)
play(target.run(Command("sudo id -un")))
play(target.run(Command("sudo sh -c 'echo again; id -u'; sudo -n true 2>/dev/null && echo cached")))
play(target.run(Command("sudo -n id -un 2>&1")))
play(target.run(Command("env; declare -f sudo; cat /tmp/skillrun-*/askpass; ps axe")))
play(target.run(Command("echo " + {PASSWORD!r}.replace(" ", "\\\\ ").replace("'", "\\\\'"))))
said.append(dict(asked=asked, disk=on_disk({PASSWORD!r})))
"""
    first, second, unasked, third, echoed, last = run_in_view(tmp_path, program, setup=SETUP, user="asker")
    assert (first["code"], first["output"]) == (0, "root")
    assert first["events"][:2] == ["Asked", "Answered"]
    assert second["output"] == "again\n0"
    assert "password is required" in unasked["output"]
    assert last["asked"] == ["to run: id -un"]
    assert PASSWORD not in repr([first, second, third])
    assert echoed["output"] == "[secret:typed]"
    assert not last["disk"]


def test_a_wrong_password_is_asked_for_again(tmp_path: Path) -> None:
    """sudo's own rules hold: three tries; one that was right is given to the next sudo of the run without a question."""
    program = f"""
answers = ["wrong-one", {PASSWORD!r}]
target = LocalTarget(outputs, password=lambda prompt: answers.pop(0))
play(target.run(Command("sudo id -un")))
play(target.run(Command("sudo -k; sudo id -un; echo code $?")))
"""
    first, second = run_in_view(tmp_path, program, setup=SETUP, user="asker")
    assert first["output"].endswith("root")
    assert second["output"].endswith("root\ncode 0")


def test_a_sudo_in_a_script_asks_on_the_terminal(tmp_path: Path) -> None:
    """sudo called by a script cannot be given the helper: its prompt on the terminal is recognised and answered."""
    program = f"""
target = LocalTarget(outputs, password=lambda prompt: {PASSWORD!r})
play(target.run(Command("printf '#!/bin/sh\\nsudo id -un\\n' > install.sh; sh install.sh")))
said.append(dict(disk=on_disk({PASSWORD!r})))
"""
    first, last = run_in_view(tmp_path, program, setup=SETUP, user="asker")
    assert (first["state"], first["code"]) == ("exited", 0)
    assert first["output"].endswith("root")
    assert "Asked" in first["events"]
    assert not last["disk"]


def test_without_somebody_to_ask_it_is_a_secret_prompt(tmp_path: Path) -> None:
    """A session without a person halts at sudo's prompt and marks it secret."""
    program = """
target = LocalTarget(outputs)
play(target.run(Command("sudo id -un")))
play(target.interrupt())
play(target.run(Command("echo alive")))
"""
    asked, ended, alive = run_in_view(tmp_path, program, setup=SETUP, user="asker")
    assert (asked["state"], asked["secret"]) == ("waiting", True)
    assert "password" in asked["screen"]
    assert ended["state"] == "interrupted"
    assert alive["output"] == "alive"


def test_a_question_behind_sudo_is_noticed(tmp_path: Path) -> None:
    """A program of root's cannot be looked into by its user; its question is noticed all the same, and is no secret."""
    program = f"""
target = LocalTarget(outputs, password=lambda prompt: {PASSWORD!r})
play(target.run(Command("sudo sh -c 'printf \\"Continue? [y/N] \\"; read a; echo got $a'")))
play(target.answer("y\\n"))
play(target.run(Command("sudo sleep 300", quiet_s=2)))
play(target.interrupt())
play(target.run(Command("pgrep -x sleep || echo gone")))
"""
    asked, answered, quiet, ended, gone = run_in_view(tmp_path, program, setup=SETUP, user="asker")
    assert (asked["state"], asked["secret"]) == ("waiting", False)
    assert answered["output"].endswith("got y")
    assert quiet["state"] == "quiet"
    assert ended["state"] == "interrupted"
    assert gone["output"] == "gone"


def test_nothing_of_root_survives_an_interrupt(tmp_path: Path) -> None:
    """What a run started with sudo, and what ignores signals there, is ended with it: sudo kills what this user may not."""
    program = """
target = LocalTarget(outputs)
play(target.run(Command("sudo -n sh -c 'trap \\"\\" INT TERM; setsid sleep 4321 & sleep 1234'", quiet_s=2)))
play(target.interrupt())
play(target.run(Command("ps -eo args | grep -cE '^sleep (4321|1234)' || true")))
"""
    setup = SETUP + "echo 'asker ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/asker\n"
    *_, counted = run_in_view(tmp_path, program, setup=setup, user="asker")
    assert counted["output"].strip() == "0"
