"""The README's run, made anew: `python -m tests.readme_run` carries it out on a minimal Debian and writes it into README.md.

As root, with debootstrap and a mirror of Debian in reach.
"""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path

from tests.box import Box

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
COMMANDS = (
    "skillrun install ripgrep --approve all",
    "skillrun install ripgrep --approve all",
    "skillrun undo last --approve all",
)
PROGRAM = '#!/bin/sh\nPYTHONPATH=/code:/packages PYTHONDONTWRITEBYTECODE=1 exec python3 -m skillrun "$@"\n'
_BLOCK = re.compile(r"(?<=<!-- run: python -m tests\.readme_run -->\n```\n).*?(?=^```\n)", re.DOTALL | re.MULTILINE)


def recorded() -> str:
    """The run as the README has it. Raises ValueError where its place is not marked."""
    found = _BLOCK.search(README.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError("README.md has no block marked for the run")
    return found.group()


def carried_out() -> str:
    """The same commands, carried out now by an ordinary user of a minimal Debian 12, and what they wrote."""
    box = Box("debian-12", binds=((str(ROOT), "/code"), (sysconfig.get_paths()["purelib"], "/packages")), place="/var/tmp")
    try:
        box.write("/usr/local/bin/skillrun", PROGRAM, 0o755, user=0)
        told = [f"$ {command}\n{box.run(['sh', '-c', command]).stdout}" for command in COMMANDS]
    finally:
        box.close()
    return "".join(told)


def without_times(text: str) -> str:
    """The text with what differs from run to run taken out: times, sizes, versions of packages, ids of runs."""
    text = re.sub(r"\d{8}-\d+-([\w-]+)-[0-9a-f]{4}", r"RUN-\1", text)
    text = re.sub(r"\d+(?:\.\d+)? (?:ms|s|min|kB|MB)\b", "N", text)
    return re.sub(r"(?<= in) N| N(?= ·)|\d+\.\d[\w.+~-]*", "N", text)


def main() -> None:
    """Write the run of today into the README."""
    text = README.read_text(encoding="utf-8")
    README.write_text(_BLOCK.sub(lambda found: carried_out(), text, count=1), encoding="utf-8")


if __name__ == "__main__":
    main()
