"""What is known of models by name: limits and prices, kept as data in `models/models.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from skillrun.events import Usage

MILLION = 1_000_000
LEAST_CONTEXT, LEAST_OUTPUT = 32_768, 8_192
"""Tokens a model that nobody listed is trusted with."""


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
    context: int = LEAST_CONTEXT
    max_output: int = LEAST_OUTPUT
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
    """The model `auto` ends with when there is a key."""
    return str(_table()["default"])


def small_model() -> str:
    """The model that `auto` asks before the default one: cheap, and enough for most skills."""
    return str(_table()["small"])


def prices_read() -> str:
    """The day the table was read from its source, as YYYY-MM-DD."""
    return str(_table()["read"])


def known_models() -> tuple[str, ...]:
    """The names in the table, in its order."""
    return tuple(_table()["models"])


def model_facts(name: str, own: Mapping[str, Any] = MappingProxyType({})) -> ModelFacts:
    """What is known of a model. A dated name (`claude-x-20261007`) is looked up by its stem.

    `own`: the person's tables, by name, in the form of `models.toml`; what stands there wins, key by key. Raises ValueError,
    naming what is no such table.
    """
    known: dict[str, Any] = {}
    for table in (_table()["models"], own):
        known |= table.get(name) or next((row for key, row in table.items() if name.startswith(f"{key}-20")), {})
    unknown = sorted(set(known) - set(_KEYS))
    if unknown:
        raise ValueError(f"models.{name} has no {unknown[0]!r}; it takes {', '.join(_KEYS)}")
    try:
        long = known.get("long")
        return ModelFacts(
            name,
            int(known.get("context", LEAST_CONTEXT)),
            int(known.get("max_output", LEAST_OUTPUT)),
            bool(known.get("thinking", False)),
            _price(known["price"]) if "price" in known else None,
            int(long["above"]) if long else 0,
            _price({key: value for key, value in long.items() if key != "above"}) if long else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"models.{name}: {error!r} in its context, max_output, price or long") from None


_KEYS = ("context", "max_output", "thinking", "price", "long")


def _price(given: Mapping[str, Any]) -> Price:
    """A price; where only input and output are given, the cache costs what this API's does in proportion."""
    into = float(given["input"])
    cache = {"cache_write": 2 * into, "cache_read": into / 10}
    return Price(**{key: float(value) for key, value in {**cache, **given}.items()})
