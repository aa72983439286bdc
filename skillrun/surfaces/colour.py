"""Whether to use colour, by the rule people expect: the flag, NO_COLOR, FORCE_COLOR, a dumb terminal, a terminal."""

from __future__ import annotations

from collections.abc import Mapping


def wanted(flag: str, environment: Mapping[str, str], on_terminal: bool) -> bool:
    """`flag` is auto | always | never; the first that says something wins. An empty NO_COLOR says nothing."""
    if flag in ("always", "never"):
        return flag == "always"
    if environment.get("NO_COLOR"):
        return False
    force = environment.get("FORCE_COLOR")
    if force:
        return force not in ("0", "false")
    if environment.get("TERM") == "dumb":
        return False
    return on_terminal
