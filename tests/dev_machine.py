"""This machine with an ordinary user `dev` on it, for tests of what ordinary users can do.

In a mount namespace of its own: /etc is a copy in memory and /home is empty, so the machine itself never has the user.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache

from tests.checkout import PYTHON, PYTHONPATH, shown

_SET_UP = (
    """
set -e
mount -t tmpfs -o mode=755 tmpfs /mnt
cp -a /etc/. /mnt/
mount --move /mnt /etc
"""
    + shown()
    + """
mount -t tmpfs -o mode=755 tmpfs /home
sed -i '/^dev:/d' /etc/passwd /etc/shadow /etc/group /etc/gshadow; rm -f /etc/sudoers.d/dev
useradd -m -s /bin/bash -u 4242 dev
if [ "$SUDO" = 1 ]; then echo 'dev ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/dev; fi
unset SUDO
exec setpriv --reuid dev --regid dev --init-groups "$@"
"""
)


@cache
def python() -> str:
    """An interpreter an ordinary user may run; empty when there is none."""
    for path in (PYTHON, "/usr/bin/python3"):
        if not shutil.which("setpriv") or not os.path.exists(path):
            continue
        check = f"import sys; assert sys.version_info[:2] == {sys.version_info[:2]}"  # what was compiled for it is used
        # env in between: setpriv still has its rights when it looks the first program up.
        argv = ["setpriv", "--reuid", "4242", "--regid", "4242", "--clear-groups", "env", path, "-c", check]
        if subprocess.run(argv, capture_output=True, check=False).returncode == 0:
            return path
    return ""


def as_dev(code: str, sudo: bool = False, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Run Python code as `dev`, with or without the right to sudo, with the project importable."""
    environment = [
        "env",
        "-i",
        "HOME=/home/dev",
        "USER=dev",
        f"PYTHONPATH={PYTHONPATH}",
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
