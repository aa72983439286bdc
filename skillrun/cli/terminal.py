"""The person at this process's terminal, if there is one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from skillrun.run.unattended import Nobody

if TYPE_CHECKING:
    from skillrun.cli.person import TerminalPerson


def find_person(no_input: bool) -> TerminalPerson | Nobody:
    """The person at this process's terminal, or nobody: none there, told not to ask, or in the background."""
    if no_input or not (os.isatty(0) or os.isatty(2)):
        return Nobody()
    from skillrun.cli.person import TerminalPerson

    try:
        person = TerminalPerson()
    except OSError:
        return Nobody()
    if os.tcgetpgrp(person._fd) != os.getpgrp():
        person.close()
        return Nobody()
    return person
