"""What a run may use up: the command line's word, else the configuration's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from skillrun.errors import Problem

if TYPE_CHECKING:
    from skillrun.host.config import Config
    from skillrun.run.budget import Budget

LEAST: Mapping[str, float] = {"max_cost": 0, "max_tokens": 1, "max_turns": 1, "timeout": 1}
"""The limits a run can have, and the least that each can be; below that nothing could ever run."""


def check_limit(name: str, value: Any, where: str = "") -> None:
    """Raises Problem for what is no limit. `where` names the file it stands in; empty: the command line."""
    least = LEAST[name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not value >= least or (name in ("max_tokens", "max_turns") and value != int(value)):  # refuses nan too
        what = f"{where}: budget.{name} = {value!r}" if where else f"--{name.replace('_', '-')} {value:g}"
        raise Problem(f"{what} is not a limit", f"give {least:g} or more, or leave it out")


def budget(given: Mapping[str, Any] = MappingProxyType({}), config: Config | None = None) -> Budget:
    """The limits of a run: what is given (by the names of `LEAST`) wins over `[budget]` in the configuration. Raises Problem.

    A limit there that cannot be understood ends the run before it begins: nobody is left without the limit they set.
    """
    from skillrun.host.config import ConfigError, load_config
    from skillrun.run.budget import Budget

    try:
        found = config or load_config()
        table = found.values.get("budget", {})
    except ConfigError as error:
        raise Problem(str(error), "correct the configuration file") from None
    if not isinstance(table, Mapping):
        raise Problem(f"{found.path}: budget must be a table", "for example [budget] with max_cost = 0.50 below it")
    for name in table:
        if name not in LEAST:
            raise Problem(f"{found.path}: there is no limit budget.{name}", f"there are {', '.join(LEAST)}")
        check_limit(name, table[name], str(found.path))
    chosen: dict[str, Any] = {name: table.get(name) if given.get(name) is None else given[name] for name in LEAST}
    return Budget(
        max_cost=chosen["max_cost"],
        max_turns=chosen["max_turns"],
        max_seconds=chosen["timeout"],
        max_tokens=chosen["max_tokens"],
    )
