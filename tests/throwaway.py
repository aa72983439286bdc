"""A copy-on-write view of this machine for tests that install programs, make users or use a real sudo.

Everything is lost when the test ends: the layer lies in memory, the processes in a PID namespace of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.checkout import PYTHON, PYTHONPATH, interpreter_shown, shown

_ENTER = (
    r"""
set -e
folder=$1 program=$2 user=$3
mount -t tmpfs none "$folder" && cd "$folder" && mkdir upper work view
mount -t overlay none -o "lowerdir=/,upperdir=upper,workdir=work" view
mount --rbind /dev view/dev; mount -t proc none view/proc; mount -t sysfs none view/sys
mount -t tmpfs none view/tmp; chmod 1777 view/tmp
"""
    + shown("view")
    + interpreter_shown("view")
    + r"""
cp "$program" view/tmp/program.py
cat > view/tmp/setup.sh
chroot view env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -e /tmp/setup.sh >&2
exec chroot view su "$user" -s /bin/sh -c 'cd; exec env -i HOME="$HOME" USER="$USER" LOGNAME="$USER" SHELL=/bin/bash \
LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH="$0" PYTHONDONTWRITEBYTECODE=1 \
"$1" /tmp/program.py' "$4" "$5"
"""
)

_PREAMBLE = """
import json, os, sys, tempfile
from pathlib import Path
from skillrun.events import *
from skillrun.ports import Command
from skillrun.targets.local import LocalTarget
from skillrun.pty.session import Limits
from tests.contracts.target import played

said = []
def note(result, **more):
    said.append(dict(state=result.state.value, code=result.exit_code, output=result.output, screen=result.screen,
                     secret=result.secret, note=result.note, **more))
    return result
def play(stream):
    events, result = played(stream)
    return note(result, events=[type(event).__name__ for event in events], text=repr(events))
outputs = Path(tempfile.mkdtemp())
def on_disk(secret):
    return any(secret.encode() in file.read_bytes() for file in outputs.rglob("*") if file.is_file())
try:
"""

_END = """
finally:
    target.close()
print(json.dumps(said))
"""


@cache
def unusable() -> str:
    """Why no view can be made here; empty when it can."""
    if os.getuid() != 0:
        return "needs root"
    if shutil.which("unshare") is None:
        return "needs unshare(1)"
    probe = 'mount -t tmpfs none "$0" && cd "$0" && mkdir u w v && mount -t overlay none -o lowerdir=/,upperdir=u,workdir=w v'
    tried = subprocess.run(["unshare", "-m", "sh", "-c", probe, "/mnt"], capture_output=True, text=True, check=False)
    return tried.stderr.strip()


def run_in_view(
    folder: Path, program: str, *, setup: str = "", user: str = "root", timeout_s: float = 120
) -> list[dict[str, Any]]:
    """Run Python text in a view, as a user; returns what it noted with `play` and `note`. It makes `target` itself."""
    if reason := unusable():
        pytest.skip(reason)
    indented = "".join(f"    {line}\n" for line in program.strip().splitlines())
    source = folder / "program.py"
    source.write_text(_PREAMBLE + indented + _END)
    view = folder / "view"
    view.mkdir()
    entered = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _ENTER, "sh"]
    done = subprocess.run(
        [*entered, str(view), str(source), user, PYTHONPATH, PYTHON],
        input=setup,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    noted: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return noted
