"""A root directory of a test's own: this machine's programs and settings, in files that no other process can change.

For what is compared as a whole. What is below /usr is the machine's; all else is a copy in memory or made here.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from skillrun.overlay.kernel import syscalls as ns
from tests.checkout import PATHS, also_shown
from tests.lab import apart

SHARED = ("/usr", "/proc", "/sys", "/dev", "/tmp", "/mnt", *map(str, PATHS))
"""What of it is not its own, or not there to be kept."""

_LAY_OUT = f"""
set -e
mount -t tmpfs -o mode=755 tmpfs "$AT"; cd "$AT"
for name in /bin /sbin /lib*; do
    if [ -L $name ]; then cp -a $name .; else mkdir .$name; mount --bind $name .$name; fi
done
mkdir -p kept usr dev proc sys run tmp mnt root home opt srv boot var/tmp var/lib/dpkg/info var/spool/cron
chmod 700 root; chmod 1777 tmp var/tmp
cp -a /etc etc; echo of-its-own > etc/hostname
echo kept | tee kept/file > srv/file; echo Package: own > var/lib/dpkg/status; echo /etc/hostname > var/lib/dpkg/info/own.list
mount --rbind /usr usr; mount --rbind /dev dev; mount --rbind /sys sys; mount -t proc proc proc
{also_shown(".")}
"""


def in_own_root(at: Path, work: Callable[[], object]) -> None:
    """Do something in a child whose `/` is such a directory, laid out at an empty one; fails when it does."""

    def inside() -> None:
        subprocess.run(["sh", "-c", _LAY_OUT], env={**os.environ, "AT": str(at)}, check=True)
        os.chdir(at)
        ns.pivot_root(str(at))
        os.chdir("/root")
        os.environ["HOME"] = "/root"
        work()

    assert apart(inside) == 0
