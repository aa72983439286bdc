"""A machine as an inventory names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Member:
    """A machine as an inventory names it. `data`: pyinfra's (`ssh_user`, `ssh_port` ...), and ours (`skillrun_secrets`)."""

    name: str
    data: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
