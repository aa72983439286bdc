"""Where a command would run if it were typed here and now, as the policy needs to know it."""

from __future__ import annotations

import os
import pwd

from skillrun.ports import Place


def here(contained: bool = False) -> Place:
    """This process's directory, home, user and environment. `contained`: as if inside a copy-on-write view."""
    home = os.environ.get("HOME", "/")
    user = os.environ.get("USER") or pwd.getpwuid(os.getuid()).pw_name
    variables = {name: value for name, value in os.environ.items() if name.isidentifier()}
    return Place(os.getcwd(), home, user, variables, contained=contained)
