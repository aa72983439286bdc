"""Attacks on the person's sudo password: whatever runs in a run, only the sudo that was approved is given it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from skillrun.bash.called import says
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

THIEVES = r"""
# What a script tries that found the helper (`$1`) and its socket (`$2`); whatever it gets goes to a file.
cat > /tmp/ask.py <<'END'
import socket, sys
with socket.socket(socket.AF_UNIX) as one:
    one.connect(sys.argv[1])
    one.sendall(b"[sudo] password for asker:\\0")
    one.settimeout(3)
    try: sys.stdout.buffer.write(one.recv(4096))
    except OSError: pass
END
printf '#!/bin/sh\nexec "%s" "$@" | tee -a /tmp/stolen\n' "$1" > /tmp/relay; chmod +x /tmp/relay
cp -L "$(command -v python3)" /tmp/sudo
"$1" "[sudo] password for asker:" >> /tmp/stolen                        # the helper, called by hand
python3 /tmp/ask.py "$2" >> /tmp/stolen                                  # its socket
/tmp/sudo /tmp/ask.py "$2" >> /tmp/stolen                                # from a program called sudo
/tmp/sudo -c "import subprocess, sys; subprocess.run([sys.argv[1], 'x'])" "$1" >> /tmp/stolen
SUDO_ASKPASS="$1" sudo -A true >> /tmp/stolen                            # a real sudo, but the script's
SUDO_ASKPASS=/tmp/relay sudo -A true >> /tmp/stolen                      # and a helper of its own before ours
( exec -a bash bash --noprofile --norc -c 'SUDO_ASKPASS=/tmp/relay sudo -A true; true' bash ) >> /tmp/stolen
true
"""


def test_no_script_gets_the_password_by_the_helper(tmp_path: Path) -> None:
    """A script that knows the helper and the socket asks in seven ways; the person is never asked and nothing is given."""
    program = f"""
asked = []
def password(wish):
    asked.append(wish)
    return {PASSWORD!r}
target = LocalTarget(outputs, password=password)
helper = str(target._askpass.helper)
Path("thieves.sh").write_text({THIEVES!r})
play(target.run(Command(f"bash thieves.sh {{helper}} {{Path(helper).parent}}/ask 2>&1")))
play(target.run(Command("cat /tmp/stolen")))
play(target.run(Command("env | grep -i askpass; sh -c 'echo $SUDO_ASKPASS'; bash -c 'type sudo'")))
said.append(dict(asked=asked, disk=on_disk({PASSWORD!r})))
"""
    thieves, stolen, environment, last = run_in_view(tmp_path, program, setup=SETUP, user="asker")
    assert last["asked"] == [], thieves
    assert PASSWORD not in repr([thieves, stolen])
    assert stolen["output"] == ""
    assert "askpass" not in environment["output"].lower()
    assert thieves["events"].count("Noted") == 7, thieves  # each attempt is told
    assert not last["disk"]


def test_the_words_of_the_prompt_are_ours(tmp_path: Path) -> None:
    """The person reads which command sudo is to run, never the prompt a script or a `-p` made up."""
    program = f"""
asked = []
def password(wish):
    asked.append(wish)
    return {PASSWORD!r}
for command in (
    "sudo -k; sudo -p 'Your bank PIN:' id -un",
    "export SUDO_PROMPT='Your bank PIN:'; sudo -k; true | sudo id -un",
    "printf 'sudo -k; sudo touch /root/evil; id -un' >s.sh; sh s.sh",
):
    target = LocalTarget(outputs, password=password)  # each is a run of its own, and so asks
    play(target.run(Command(command)))
said.append(dict(asked=asked))
"""
    *commands, last = run_in_view(tmp_path, program, setup=SETUP, user="asker")
    assert [command["output"].split()[-1] for command in commands] == ["root", "root", "asker"]
    hidden = "to run: touch /root/evil (the command that runs does not say this: something it started asks)"
    assert last["asked"] == ["to run: -p 'Your bank PIN:' id -un", "to run: id -un", hidden]


BEHIND = {
    "read": "sudo touch /root/read",
    "script": "sudo touch /root/script",
    "renamed": 'command() { builtin command sudo -k -A touch /root/renamed; builtin command "$@"; }',
    "named": 'eval "$(declare -f sudo | sed s/sudo/own/)"; id() { own touch /root/named; }',
    "trap": "trap 'sudo touch /root/trap' DEBUG RETURN ERR EXIT",
    "late": "{ sleep 0.3; sudo touch /root/late; } & disown",
}
"""What comes with a command and asks behind it: each touches the file it is called by, as root."""


def test_a_password_is_good_for_what_the_command_says_alone(tmp_path: Path) -> None:
    """Typed once, it is given to no sudo that a script, a file read into the shell, a function or a trap comes with."""
    program = f"""
asked = []
def password(wish):
    asked.append(wish)
    return {PASSWORD!r} if len(asked) == 1 else None
target = LocalTarget(outputs, password=password)
for name, text in {BEHIND!r}.items():
    Path(f"{{name}}.sh").write_text(f"{{text}}\\n")
for command in ("sudo id -un", ". ./read.sh", "sh script.sh; true", ". ./renamed.sh", "sudo id -un", "unset -f command",
                ". ./named.sh", "id", ". ./trap.sh", "ls", "sudo id -un", ". ./late.sh; sleep 1", "sleep 0.5; sudo id -un"):
    play(target.run(Command(command)))
    if said[-1]["state"] == "waiting":
        play(target.interrupt())
play(target.run(Command("sudo ls -A /root")))
said.append(dict(asked=asked))
"""
    *commands, last = run_in_view(tmp_path, program, setup=SETUP, user="asker")
    made = set(commands[-1]["output"].split()) & {"read", "script", "renamed", "named", "trap", "late"}
    assert made == set(), commands
    assert commands[0]["output"] == "root"
    first, *others = last["asked"]
    assert first == "to run: id -un"
    assert others, commands
    assert all("does not say this" in wish for wish in others), others


@pytest.mark.parametrize(
    ("command", "sudo", "said"),
    [
        ("sudo apt-get update && sudo apt-get install -y jq", "apt-get install -y jq", True),
        ('for p in a b; do sudo apt-get install -y "$p"; done', "apt-get install -y b", True),
        ("if true; then time sudo -u me id; fi", "-u me id", True),
        ("sh -c 'sudo touch /x'", "touch /x", True),
        ("gpg --dearmor <k | sudo tee /etc/x.gpg >/dev/null", "tee /etc/x.gpg", True),
        ("sudo install -m 755 ~/x /usr/bin/", "install -m 755 /home/me/x /usr/bin/", True),
        ("sudo env KEY={{secret:X}} ./app", "env KEY=abc ./app", True),
        (". ./env.sh", "touch /x", False),
        ("./sudo touch /x", "touch /x", False),
        ("echo sudo touch /x", "touch /x", False),
        ("echo 'sudo touch /x'", "touch /x", False),
        ("sudo $what", "touch /x", False),
        ("sudo -E $what", "-E touch", False),
        ("sudo apt-get install jq", "apt-get install jq -o APT::Update::Pre-Invoke::=x", False),
        ("sudo tee /etc/x <<E\nsudo touch /x\nE", "touch /x", False),
        ("sudo touch '", "touch /x", False),
    ],
)
def test_which_sudo_a_command_says(command: str, sudo: str, said: bool) -> None:
    """Word by word; what only the shell knows may be anything, but not what is run."""
    assert says(command, "sudo", sudo.split()) is said


def test_a_program_that_imitates_sudo_is_told_apart(tmp_path: Path) -> None:
    """A password prompt by anything else, under sudo's name too, is the person's to answer, with a warning who asks."""
    program = f"""
asked = []
target = LocalTarget(outputs, password=lambda wish: asked.append(wish) or {PASSWORD!r})
fake = "printf '[sudo] password for asker: '; stty -echo; read line; stty echo"
play(target.run(Command(f"sh -c \\"{{fake}}\\"")))
play(target.interrupt())
play(target.run(Command(f"cp /bin/bash /tmp/sudo; /tmp/sudo -c \\"{{fake}}\\"")))
play(target.interrupt())
said.append(dict(asked=asked))
"""
    first, _, second, _, last = run_in_view(tmp_path, program, setup=SETUP, user="asker")
    assert last["asked"] == []
    for waiting, name in ((first, "sh"), (second, "sudo")):
        assert (waiting["state"], waiting["secret"]) == ("waiting", True)
        assert f"{name} asks, which is not sudo" in waiting["note"]


def test_a_sudo_is_answered_as_often_as_it_asks_and_no_more(tmp_path: Path) -> None:
    """Three wrong answers are three tries of one sudo; each command's sudo is another one, asked for anew."""
    program = """
asked = []
target = LocalTarget(outputs, password=lambda wish: asked.append(wish) or "wrong")
play(target.run(Command("sudo true; echo code $?")))
play(target.run(Command("sudo id; echo code $?")))
said.append(dict(asked=asked))
"""
    first, second, last = run_in_view(tmp_path, program, setup=SETUP, user="asker")
    assert first["output"].endswith("code 1")
    assert second["output"].endswith("code 1")
    again = "the last one was not taken; to run: "
    wanted = [[f"to run: {word}", f"{again}{word}", f"{again}{word}"] for word in ("true", "id")]
    assert last["asked"] == wanted[0] + wanted[1]


WAITING = r"""
# What waits beside the run for a ticket, on its terminal and after it: `sudo -n` asks nobody.
for round in $(seq 60); do command sudo -n touch /tmp/got 2> /dev/null; sleep 0.1; done; touch /tmp/waited
"""


def test_no_ticket_is_there_during_a_run_or_after_it_was_killed(tmp_path: Path) -> None:
    """An approved sudo leaves nothing a script could use: not while it works, not when the run is ended by kill -9."""
    program = f"""
import os, signal, time
Path("waiting.sh").write_text({WAITING!r})
reader, writer = os.pipe()
run = os.fork()
if run == 0:
    target = LocalTarget(outputs, password=lambda wish: {PASSWORD!r})
    played(target.run(Command("nohup sh waiting.sh > /dev/null 2>&1 &")))
    _, result = played(target.run(Command("sudo id -u")))
    os.write(writer, result.output.encode())
    played(target.run(Command("sudo sleep 60")))
    os._exit(0)
uid = os.read(reader, 100).decode()
time.sleep(1.5)
os.kill(run, signal.SIGKILL)
os.waitpid(run, 0)
target = LocalTarget(outputs)
for _ in range(200):
    if os.path.exists("/tmp/waited"):
        break
    time.sleep(0.1)
play(target.run(Command("sudo -n true")))
said.append(dict(uid=uid.strip(), waited=os.path.exists("/tmp/waited"), got=os.path.exists("/tmp/got")))
"""
    new, last = run_in_view(tmp_path, program, setup=SETUP, user="asker")
    assert last == {"uid": "0", "waited": True, "got": False}
    assert new["code"] != 0
