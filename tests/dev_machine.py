"""This machine with an ordinary user `dev` on it, for tests of what ordinary users can do.

In a mount namespace of its own: /etc and /home are copies in memory, so the machine itself never has the user.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_SET_UP = """
set -e
for place in /etc /home; do
    mount -t tmpfs tmpfs /mnt
    cp -a $place/. /mnt/
    mount --move /mnt $place
done
useradd -m -s /bin/bash -u 4242 dev
if [ "$SUDO" = 1 ]; then echo 'dev ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/dev; fi
unset SUDO
exec setpriv --reuid dev --regid dev --init-groups "$@"
"""


@cache
def python() -> str:
    """An interpreter an ordinary user may run; empty when there is none."""
    for path in (sys.executable, "/usr/bin/python3"):
        if not shutil.which("setpriv") or not os.path.exists(path):
            continue
        check = "import sys; assert sys.version_info >= (3, 11)"
        # env in between: setpriv still has its rights when it looks the first program up.
        argv = ["setpriv", "--reuid", "4242", "--regid", "4242", "--clear-groups", "env", path, "-c", check]
        if subprocess.run(argv, capture_output=True, check=False).returncode == 0:
            return path
    return ""


def as_dev(code: str, sudo: bool = False, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Run Python code as `dev`, with or without the right to sudo, with the project importable."""
    packages = os.pathsep.join([str(ROOT), sysconfig.get_paths()["purelib"]])
    environment = [
        "env",
        "-i",
        "HOME=/home/dev",
        "USER=dev",
        f"PYTHONPATH={packages}",
        "PYTHONDONTWRITEBYTECODE=1",
        "LC_ALL=C.UTF-8",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]
    argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", _SET_UP, "sh", *environment, python(), "-c", code]
    return subprocess.run(
        argv,
        env={**os.environ, "SUDO": "1" if sudo else "0"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )
