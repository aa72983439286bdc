"""Skillrun installs software from a piece of text and proves that it works.

For programs: `install`, `verify`, `uninstall`, `resume` and `undo` return a Report; `start` gives the events one by one.
What they take and raise is told in `skillrun.run.api`, which is loaded when one of them is first used.
"""

from __future__ import annotations

__version__ = "0.1.0"

_WHERE = {
    "Budget": "skillrun.run.budget",
    "EffectOptions": "skillrun.run.options",
    "Execution": "skillrun.run.api",
    "Problem": "skillrun.errors",
    "Report": "skillrun.record.report",
    "SkillrunError": "skillrun.errors",
    "install": "skillrun.run.api",
    "resume": "skillrun.run.api",
    "start": "skillrun.run.api",
    "undo": "skillrun.run.api",
    "uninstall": "skillrun.run.api",
    "verify": "skillrun.run.api",
}
"""The public names and where they live: nothing is loaded before one of them is used."""

__all__ = list(_WHERE)


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'skillrun' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_WHERE[name]), name)
