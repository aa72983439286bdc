"""Which rights new files have: the person's own umask, and 022 for the one command that installs for all users."""

from __future__ import annotations

import os

FOR_ALL = 0o022
_NEEDED = 0o055
"""What every user needs of a program and its directories: reading and entering (chmod(1))."""


def own_umask() -> int:
    """This process's umask, which is that of the terminal it was started from."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))
    except (OSError, StopIteration):
        mask = os.umask(0o077)  # there is no other way to read it there; strict for the moment between
        os.umask(mask)
        return mask


class Umask:
    """A shell's umask while commands come and go. It begins as the person's, whom the shell was started by."""

    def __init__(self) -> None:
        self._own = self._restore = ""

    def before(self, now: str, for_all: bool) -> str:
        """Shell text to put before a command. `now`: the umask (octal) that the shell is known to have."""
        given = f"umask {self._restore}; " if self._restore else ""
        self._restore = ""
        if not (for_all and now and int(now, 8) & _NEEDED):
            return given
        self._own = now
        return f"umask {FOR_ALL:04o}; "

    def after(self, now: str) -> str:
        """The umask after a command that left it at `now`: a person's own comes back, unless the command set another."""
        own, self._own = self._own, ""
        if own and now and int(now, 8) == FOR_ALL:
            self._restore = own
            return own
        return now

    @property
    def note(self) -> str:
        """What is said of a command that was given another one; empty when none was."""
        return f"it installs for every user, so it runs with umask {FOR_ALL:03o} and not {self._own[1:]}" if self._own else ""
