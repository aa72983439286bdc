"""A machine whose kernel holds no looks: it is said, and what is not known only to look is asked about."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from skillrun.looking.wall import means

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="the system calls are Linux's"
)

WITHOUT = r"""
import ctypes, os, struct, sys
from skillrun.overlay.kernel import syscalls as ns
refused = int(sys.argv[1])
rows = [(0x20, 0, 0, 0), (0x15, 0, 1, refused), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7FFF0000)]
code = b"".join(struct.pack("HBBI", *row) for row in rows)
buffer = ctypes.create_string_buffer(code)
ns.call("prctl", 38, 1, 0, 0, 0)
ns.syscall("seccomp", 1, 0, struct.pack("HxxxxxxP", len(rows), ctypes.addressof(buffer)))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""Runs Python where a system call (seccomp(2): load the number, compare, answer ENOSYS or allow) is not there."""
LANDLOCK, SECCOMP = 444, {"x86_64": 317, "aarch64": 277}[platform.machine()] if sys.platform == "linux" else 0


def python_without(call: int, *words: str, home: Path) -> str:
    """What a Python says that runs on a kernel without this call."""
    env = {**os.environ, "HOME": str(home), "SKILLRUN_STATE": str(home / "state"), "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(call), *words], capture_output=True, text=True, env=env, cwd=home, check=False
    )
    assert done.stdout, done.stderr
    return done.stdout


@pytest.mark.parametrize(("call", "why"), [(LANDLOCK, "has no Landlock"), (SECCOMP, "seccomp notification does not work here")])
def test_doctor_says_that_nothing_holds_a_look(call: int, why: str, tmp_path: Path) -> None:
    """It names what is missing, and what is done instead."""
    row = json.loads(python_without(call, "-m", "skillrun", "doctor", "--json", home=tmp_path))["looks"]
    assert row["means"] == ""
    assert why in row["text"]
    assert row["hint"] == "what is not known only to look is asked about instead"


ASKS = """
import pathlib, sys
from skillrun.targets.local import LocalTarget
from tests.test_executor import Hands, Someone
from skillrun.ports import Approval
folder = pathlib.Path(sys.argv[1])
(folder / "tool").write_text("#!/bin/sh\\necho looked\\n"); (folder / "tool").chmod(0o755)
person = Someone(Approval("no"))
target = LocalTarget(folder / "outputs", cwd=str(folder))
hands = Hands(target, folder, person)
from types import SimpleNamespace
from skillrun.run.assemble import _looks
run = SimpleNamespace(options=SimpleNamespace(approve="ask"), folder=SimpleNamespace(path=folder))
hands.executor.looks = _looks(run, target, hands.executor.place)
told = hands.shell("cat /etc/hostname").ok, hands.shell("./tool --version").ok
print(*told, len(person.asked))
if hands.executor.looks: hands.executor.looks.close()
target.close()
"""


def test_unread_code_is_asked_about_there_and_a_known_look_is_not(tmp_path: Path) -> None:
    """Judging alone decides; with a wall the same code is no question."""
    assert python_without(LANDLOCK, "-c", ASKS, str(tmp_path), home=tmp_path).split()[-3:] == ["True", "False", "1"]
    if means()[0]:
        nothing = 999  # no call has this number
        assert python_without(nothing, "-c", ASKS, str(tmp_path), home=tmp_path).split()[-3:] == ["True", "True", "0"]
