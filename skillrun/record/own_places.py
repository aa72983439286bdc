"""Where skillrun keeps what decides for this user: no command of a run may change it, and a view does not show all of it."""

from __future__ import annotations

import os
from pathlib import Path

_CODE = Path(__file__).resolve().parents[1]


def own_places() -> frozenset[str]:
    """Settings, rules, state, library and skillrun's own code, wherever the environment says they are; links resolved."""
    from skillrun.host.config import config_path
    from skillrun.policy.rulebook import rulebook_path
    from skillrun.record.place import state_directory
    from skillrun.skills.index import library

    settings = [config_path(), rulebook_path()] if os.environ.get("SKILLRUN_CONFIG") else [config_path().parent]
    return frozenset(os.path.realpath(str(place)) for place in (*settings, state_directory(), library(), _CODE))


def private_places() -> tuple[str, ...]:
    """Those of them, and what stands in for them in memory, that no code of a run has to read: settings, rules, journals.

    The library is not among them, where a skill's own files lie, nor the code.
    """
    from skillrun.record.place import memory_directory
    from skillrun.skills.index import library

    memory = memory_directory(make=False)
    read = {os.path.realpath(str(library())), str(_CODE)}
    return tuple(sorted({*own_places(), *((str(memory),) if memory else ())} - read))
