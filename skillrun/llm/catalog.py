"""What is known of models by name: limits and prices, kept as data in `models/models.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from skillrun.events import Usage

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens; cache writes at the one-hour rate, which is what is asked for."""

    input: float
    output: float
    cache_write: float
    cache_read: float

    def of(self, usage: Usage) -> float:
        """What this usage costs, in dollars."""
        return (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_write_tokens * self.cache_write
            + usage.cache_read_tokens * self.cache_read
        ) / MILLION


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Limits and prices of one model. For a model nobody listed: cautious limits, no price."""

    name: str
    context: int = 32_768
    max_output: int = 8_192
    thinking: bool = False
    price: Price | None = None
    long_above: int = 0
    long_price: Price | None = None

    def cost(self, usage: Usage) -> float | None:
        """Dollars for one reply, None when the price is unknown. A long prompt has its own rate on some models."""
        prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        price = self.long_price if self.long_price and prompt > self.long_above else self.price
        return None if price is None else price.of(usage)


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("models.toml").read_text(encoding="utf-8"))


def default_model() -> str:
    """The model `auto` means when there is a key."""
    return str(_table()["default"])


def known_models() -> tuple[str, ...]:
    """The names in the table, in its order."""
    return tuple(_table()["models"])


def model_facts(name: str) -> ModelFacts:
    """What is known of a model. A dated name (`claude-x-20261007`) is looked up by its stem."""
    entries = _table()["models"]
    entry = entries.get(name) or next((row for key, row in entries.items() if name.startswith(f"{key}-20")), None)
    if entry is None:
        return ModelFacts(name)
    long = entry.get("long")
    return ModelFacts(
        name,
        entry["context"],
        entry["max_output"],
        entry["thinking"],
        Price(**entry["price"]),
        long["above"] if long else 0,
        Price(**{key: value for key, value in long.items() if key != "above"}) if long else None,
    )
