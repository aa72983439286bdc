"""This checkout for a test that cannot see it where it lies: behind a covered /tmp or /home, or as another user.

Shell text for a mount namespace of the test's own: the project and what it depends on appear at a place that no test
covers and every user may enter, wherever they really are and whatever their path looks like.
"""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE, PACKAGES = "/mnt/code", "/mnt/packages"
PYTHONPATH = f"{CODE}:{PACKAGES}"
PYTHON = os.path.realpath(sys.executable)
"""The interpreter itself, not the virtual environment's link to it, which lies in the checkout."""
SEEN_HERE = f"{ROOT}:{sysconfig.get_paths()['purelib']}"
"""PYTHONPATH for PYTHON where both are where they lie. Without a virtual environment: it names its places in a file that
Python reads in the encoding of the locale, and does not start where that has not all their letters."""
_NEEDED = (ROOT, Path(sysconfig.get_paths()["purelib"]), Path(sys.base_prefix))
PATHS = [
    path
    for path in _NEEDED
    if not path.is_relative_to("/usr") and not any(path != place and path.is_relative_to(place) for place in _NEEDED)
]
"""What has to be seen, besides /usr, to run the project at its own path."""


def shown(at: str = "") -> str:
    """Commands that show the checkout at CODE and PACKAGES of a root directory (as shell text, unquoted); none: of `/`."""
    lines = [f'mount -t tmpfs -o mode=755 tmpfs "{at}/mnt"']
    for real, place in ((str(ROOT), CODE), (sysconfig.get_paths()["purelib"], PACKAGES)):
        lines.append(f'mkdir "{at}{place}"; {_mounted(real, f"{at}{place}")}')
    return "\n".join(lines) + "\n"


def also_shown(at: str) -> str:
    """Commands that show PATHS below another root."""
    return "".join(_bound(at, path) for path in PATHS)


def interpreter_shown(at: str) -> str:
    """Commands that show the interpreter at its own path below another root, to whichever user."""
    home = Path(sys.base_prefix)
    if home.is_relative_to("/usr"):
        return ""
    opened = [f'chmod a+x "{at}"{shlex.quote(str(folder))}\n' for folder in home.parents if folder != Path("/")]
    return _bound(at, home) + "".join(opened)


def _bound(at: str, path: Path) -> str:
    return f'mkdir -p "{at}{path}"; {_mounted(str(path), f"{at}{path}")}\n'


def _mounted(real: str, place: str) -> str:
    """Read-only: a view would keep its changes of a file system of its own beside them, in the real place."""
    return f'mount --bind {shlex.quote(real)} "{place}"; mount -o remount,bind,ro "{place}"'
