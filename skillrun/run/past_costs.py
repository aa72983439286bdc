"""What runs like this one cost, from the journals of those there were: for a person, before anything is spent."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from skillrun.llm.catalog import model_facts, prices_read
from skillrun.record.journal import all_runs
from skillrun.record.wording import money

LOOKED_AT = 60
"""So many of the last runs are looked at."""
_END = 64 * 1024
"""Bytes at the end of a journal that its last event is looked for in."""


def expectation(skill: str, paid: Sequence[str], first: str) -> str:
    """A sentence on what this run may cost; empty where nobody who takes money may speak.

    `paid`: who does, in the order they would speak; `first`: who speaks first.
    """
    if not paid:
        return ""
    who = paid[0] if first in paid else f"{first} costs nothing; where it is not enough, {paid[0]}"
    own, others = _costs(skill)
    if own:
        return f"{who}: runs of {skill} cost {_span(own)}"
    if others:
        return f"{who}: no run of {skill} with a paid model is on record; other skills cost {_span(others)}"
    price = model_facts(paid[0]).price
    told = f" ({money(price.input)} in and {money(price.output)} out per million tokens on {prices_read()})" if price else ""
    return f"{who}: paid by the token{told}; no such run is on record"


def _span(costs: Sequence[float]) -> str:
    low, high = min(costs), max(costs)
    said = money(low) if low == high else f"{money(low)} to {money(high)}"
    return f"{said} ({len(costs)} on record)"


def _costs(skill: str) -> tuple[list[float], list[float]]:
    """Dollars that runs of this skill and of others cost, the newest first; runs that cost nothing are left out."""
    own, others = list[float](), list[float]()
    for folder in all_runs()[:LOOKED_AT]:
        try:
            name, cost = _skill_and_cost(folder.journal)
        except (OSError, ValueError):
            continue
        if cost:
            (own if name == skill else others).append(cost)
    return own, others


def _skill_and_cost(journal: Path) -> tuple[str, float]:
    """Of a run that has ended: its first and its last event are enough. Raises OSError, ValueError."""
    with journal.open("rb") as file:
        first = json.loads(file.readline())
        file.seek(max(0, file.seek(0, os.SEEK_END) - _END))
        last = json.loads(file.read().splitlines()[-1:][0] or b"{}")
    return str(first.get("skill", "")), float(last.get("cost_usd") or 0.0)
