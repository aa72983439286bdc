"""What can go wrong in a way that whoever asked can do something about. Everything else is a fault of skillrun's own.

SkillrunError
├── Problem             what was asked for cannot be done: what is wrong, what to do next, the exit code
├── SkillError          a document cannot be read as a skill            (skillrun.skills.skill)
└── ModelUnavailable    nobody can decide the next step; retrying does not help     (skillrun.ports)
"""

from __future__ import annotations


class SkillrunError(Exception):
    """The root of all that skillrun raises on purpose. `hint`: what to do next, empty when nothing is known."""

    hint: str = ""
    code: int = 2
    """The exit code it would have on the command line."""


class Problem(SkillrunError):
    """Something a person can mend: what is wrong, and what to do next. Exit code 2 unless said otherwise."""

    def __init__(self, message: str, hint: str = "", code: int = 2) -> None:
        super().__init__(message)
        self.message, self.hint, self.code = message, hint, code


BUSY = 8
"""The exit code where another run of this user is in progress."""
WAIT = "add --wait to begin when it is over, or end that process"


def is_interrupt(error: BaseException | None) -> bool:
    """Is it Ctrl-C, or what Ctrl-C broke on its way out? Python raises it also while it takes or gives back a lock."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
