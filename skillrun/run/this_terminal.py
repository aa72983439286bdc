"""What was installed works in a new terminal; whether it does in the one skillrun was started from, and if not, what would."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Generator, Iterable

from skillrun.events import Event, Noted, Outcome
from skillrun.run.session import Session

PATIENCE_S = 10.0


def said_of_this_terminal(session: Session, outcome: Outcome) -> Generator[Event, None, None]:
    """Where what was verified in a new terminal is not found in the one the person sits at: what makes it so."""
    if outcome is Outcome.VERIFIED and session.executor.target.here:
        reader, place = session.executor.reader, session.executor.place
        names = [name for check in session.checks for name in reader.command(check.command, place).executables]
        if told := line_for_this_terminal(names):
            yield Noted(told, "warning")


def line_for_this_terminal(programs: Iterable[str]) -> str:
    """The sentence for the person, where a program is found by a new login shell and not here; empty when all are found.

    Of a shell that skillrun did not start it can only be known what it exported: the PATH it gave us.
    """
    missing = [name for name in dict.fromkeys(programs) if "/" not in name and shutil.which(name) is None]
    folders = [os.path.dirname(found) for found in _in_a_new_terminal(missing)]
    if not folders:
        return ""
    home = os.path.expanduser("~")
    places = [f"$HOME{path[len(home) :]}" if path.startswith(f"{home}/") else path for path in dict.fromkeys(folders)]
    line = f'export PATH="{":".join(places)}:$PATH"'
    return f"a new terminal finds {' and '.join(missing)}; in this one, run\n    {line}"


def _in_a_new_terminal(names: list[str]) -> list[str]:
    """Paths of those that a login shell finds, as the checks have it."""
    if not names:
        return []
    look = "; ".join(f"command -v {shlex.quote(name)}" for name in names)
    path = os.environ.get("PATH", os.defpath)
    environment = {"HOME": os.path.expanduser("~"), "PATH": os.defpath, "USER": os.environ.get("USER", ""), "TERM": "dumb"}
    try:
        done = subprocess.run(
            ["bash", "-lc", look],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=environment,
            timeout=PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    here = set(path.split(os.pathsep))
    return [line for line in done.stdout.splitlines() if line.startswith("/") and os.path.dirname(line) not in here]
