"""What the models of all machines of a rollout may cost together."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from skillrun.events import Turn, Usage
from skillrun.run.budget import Budget


class Purse:
    """Dollars for all machines; `limit` None: as much as each may spend. `spent`: by machine, before this process began."""

    def __init__(self, limit: float | None, spent: Mapping[str, float]) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._spent, self._next = dict(spent), dict.fromkeys(spent, 0.0)

    def begin(self, machine: str, budget: Budget) -> Budget:
        """One machine's own limits, which end its run as well when another turn would cost more than is left for all."""
        if self.limit is None:
            return budget
        least = self.limit if budget.max_cost is None else min(self.limit, budget.max_cost)
        limits = {name: getattr(budget, name) for name in Budget.__dataclass_fields__}
        return _Shared(**{**limits, "max_cost": least}, purse=self, machine=machine)

    def paid(self, machine: str, usage: Usage | None) -> None:
        """A reply came about a machine; what it cost is what its next may cost."""
        cost = (usage.cost_usd or 0.0) if usage is not None else 0.0
        with self._lock:
            self._spent[machine] = self._spent.get(machine, 0.0) + cost
            self._next[machine] = cost

    def end(self, machine: str) -> None:
        """No more is asked about a machine."""
        with self._lock:
            self._next[machine] = 0.0

    @property
    def over(self) -> str:
        """Why no model may be asked any more, in words; empty when one may."""
        with self._lock:
            used, coming = sum(self._spent.values()), sum(self._next.values())
        if self.limit is None or (used < self.limit and used + coming <= self.limit):
            return ""
        return f"{used:.2f} of {self.limit:.2f} USD are used (--max-cost-all)"


@dataclass(frozen=True, slots=True)
class _Shared(Budget):
    """The limits of one of many."""

    purse: Purse = field(default_factory=lambda: Purse(None, {}))
    machine: str = ""

    def over(self, turns: Sequence[Turn], elapsed_s: float) -> str:
        """As for one run, and why all machines together may not go on."""
        return Budget.over(self, turns, elapsed_s) or self.purse.over
