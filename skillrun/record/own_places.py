"""Where skillrun keeps what decides for this user: no command of a run may change it."""

from __future__ import annotations

import os


def own_places() -> frozenset[str]:
    """Settings, rules, state and library, wherever the environment says they are; links resolved."""
    from skillrun.host.config import config_path
    from skillrun.policy.rulebook import rulebook_path
    from skillrun.record.place import state_directory
    from skillrun.skills.index import library

    settings = [config_path(), rulebook_path()] if os.environ.get("SKILLRUN_CONFIG") else [config_path().parent]
    return frozenset(os.path.realpath(str(place)) for place in (*settings, state_directory(), library()))
