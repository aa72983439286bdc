"""One machine of a rollout: where it stands, and why."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from skillrun.fleet.inventories.member import Member

if TYPE_CHECKING:
    from skillrun.fleet.reach import Host


class Stand(StrEnum):
    """How far a machine is. Every one ends as one of `ENDED`."""

    WAITING = "waiting"
    WORKING = "working"
    ASIDE = "set aside"
    """It differs from what the plan expects; a model attends to it alone."""
    VERIFIED = "verified"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"
    """It was lost in the middle, and nobody could ask its checks since."""
    DENIED = "denied"
    NEEDS_PERSON = "needs a person"
    NOT_BEGUN = "not begun"


ENDED = frozenset(
    (Stand.VERIFIED, Stand.FAILED, Stand.UNREACHABLE, Stand.UNKNOWN, Stand.DENIED, Stand.NEEDS_PERSON, Stand.NOT_BEGUN)
)


@dataclass(slots=True)
class Machine:
    """A member while it is worked on. Its fields but `host` and `facts` are what the ledger keeps."""

    member: Member
    stand: Stand = Stand.WAITING
    group: str = ""
    step: str = ""
    reason: str = ""
    """Why it stands as it does, for a person; of an ended one always said unless it is verified."""
    changed: bool = False
    steps: tuple[tuple[int, int], ...] = ()
    """(number of the plan's step, exit code) of those that ran."""
    runs: tuple[str, ...] = ()
    """Its runs, as names of folders below its own."""
    packages: tuple[str, ...] = ()
    """Packages that came, as its manager calls them."""
    made: tuple[str, ...] = ()
    """Paths that were not there before."""
    requests: int = 0
    """Replies a model gave about it."""
    cost_usd: float = 0.0
    seconds: float = 0.0
    host: Host | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """As the inventory has it."""
        return self.member.name

    @property
    def home(self) -> str:
        """The home directory of who logs in."""
        return str((self.facts.get("user") or {}).get("home") or "/")

    @property
    def user(self) -> str:
        """Who logs in."""
        return str((self.facts.get("user") or {}).get("name") or "")

    @property
    def root(self) -> bool:
        """Is that root?"""
        return bool((self.facts.get("user") or {}).get("root"))

    def kept(self) -> dict[str, Any]:
        """The machine as plain data."""
        names = ("group", "step", "reason", "changed", "requests", "cost_usd")
        row: dict[str, Any] = {"host": self.name, "state": str(self.stand), **{name: getattr(self, name) for name in names}}
        lists = {name: list(getattr(self, name)) for name in ("runs", "packages", "made")}
        return row | lists | {"steps": [list(step) for step in self.steps], "seconds": round(self.seconds, 3)}
