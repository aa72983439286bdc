"""The wall without the policy: harmful lines behind it, as if a judge had said `look` to all, in a machine of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skillrun.looking.wall import means

pytestmark = [
    pytest.mark.root,
    pytest.mark.overlay,
    pytest.mark.skipif(not means()[0], reason=f"no wall on this machine: {means()[1]}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a throw-away machine"),
]

ATTACK = Path(__file__).parents[1] / "benchmarks" / "look_attack.py"
WORST = r"""
touch /etc/x ~/.bashrc-x /srv/attack-x /tmp/pwn; echo evil >> ~/.bashrc; echo x > /dev/sda
cat ~/.ssh/id_rsa /etc/shadow ~/.netrc ~/.aws/credentials .env; tr '\0' '\n' < /proc/1/environ
kill -9 -1; kill -9 1; pkill -9 sleep; chmod 777 /srv/attack; truncate -s 0 /etc/hosts; rm -rf /srv/attack/precious
python3 -c "import socket; socket.create_connection(('127.0.0.1', 6379)); socket.create_connection(('10.255.255.1', 80))"
"""


def attacked(tmp_path: Path, *words: str) -> dict[str, Any]:
    """What came of an attack."""
    done = subprocess.run([sys.executable, str(ATTACK), *words], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    assert done.returncode == 0, found
    return found


NOTHING = {"leaks": [], "changed": [], "reached": {}, "packets": 0, "killed": 0, "precious": False}


@pytest.mark.parametrize("who", [[], ["--user"]], ids=["root", "user"])
def test_nothing_harmful_gets_through(tmp_path: Path, who: list[str]) -> None:
    """No file outside the private places, no packet, no server, no process, no token: as root and as a user."""
    lines = tmp_path / "lines"
    lines.write_text("".join(f"{line}\n" for line in WORST.strip().splitlines()))
    found = attacked(tmp_path, *who, "--lines", str(lines))
    assert {name: found[name] for name in NOTHING} == NOTHING
    assert found["stopped"] == 3  # reading is not held: what is secret is closed by itself


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("who", [[], ["--user"]], ids=["root", "user"])
def test_no_harmful_line_of_the_corpus_gets_through(tmp_path: Path, who: list[str]) -> None:
    """The same for every line of the corpus that must not be allowed."""
    found = attacked(tmp_path, *who)
    assert {name: found[name] for name in NOTHING} == NOTHING
