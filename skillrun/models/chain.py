"""Models one after another: when one cannot go on, the next takes over with all that happened so far."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import cached_property

from skillrun.events import Event, Noted, Reply, ToolCall, Turn, Usage
from skillrun.ports import Brief, Foreseeing, Hearing, Model, ModelUnavailable, Wanting

RULES = "builtin"
"""The name of the built-in engine."""


class ChainModel:
    """The first model speaks until it is unavailable, stuck or going in circles; then the next one does, for good.

    A refusal or a denied call is no reason to change models. `paid`: those of them that take money, by name.
    """

    def __init__(self, models: Sequence[Model], paid: Sequence[str] = ()) -> None:
        if not models:
            raise ValueError("a chain needs at least one model")
        self.models, self.paid = tuple(models), tuple(paid)
        self.position = 0
        self._owed: list[Usage | None] = []
        self.name = models[0].name
        """The model that is speaking."""

    def reply(self, brief: Brief, turns: Sequence[Turn]) -> Generator[Event, None, Reply]:
        """The reply of whoever can give one. Raises the last model's ModelUnavailable."""
        while True:
            model, last = self.models[self.position], self.position + 1 == len(self.models)
            try:
                reply = yield from model.reply(brief, turns)
            except ModelUnavailable as stop:
                if last:
                    raise
                reason = str(stop)
            else:
                reason = _stuck(reply)
                if last or not reason:
                    return self._with_what_is_owed(reply)
                self._owed.append(reply.usage)
            yield Noted(self.pass_on(reason), "warning")

    def _with_what_is_owed(self, reply: Reply) -> Reply:
        """The reply, with what those cost counted to it that only said that somebody is stuck."""
        owed, self._owed = [usage for usage in self._owed if usage is not None], []
        used = [*owed, reply.usage] if reply.usage is not None else owed
        if not owed:
            return reply
        costs = [usage.cost_usd for usage in used]
        known = [cost for cost in costs if cost is not None]
        return replace(
            reply,
            usage=Usage(
                sum(usage.input_tokens for usage in used),
                sum(usage.output_tokens for usage in used),
                sum(usage.cache_read_tokens for usage in used),
                sum(usage.cache_write_tokens for usage in used),
                sum(known) if len(known) == len(costs) else None,
            ),
        )

    def pass_on(self, reason: str) -> str:
        """Let the next model speak, and say so; empty when nobody is left. Raises ModelUnavailable."""
        if self.position + 1 == len(self.models):
            return ""
        before, self.position = self.name, self.position + 1
        self.name = self.models[self.position].name
        return f"{before} cannot go on ({reason}); {self.name} takes over"

    @property
    def hears(self) -> bool:
        """Whether the model that speaks reads a person's words."""
        model = self.models[self.position]
        return isinstance(model, Hearing) and model.hears

    def upcoming(self) -> Sequence[ToolCall]:
        """What the model that speaks foresees."""
        model = self.models[self.position]
        return model.upcoming() if isinstance(model, Foreseeing) else ()

    @property
    def inputs(self) -> Sequence[str]:
        """The values that the first model takes; who stands behind it is told them with all that happened."""
        first = self.models[0]
        return first.inputs if isinstance(first, Wanting) else ()


class Later:
    """A model that is chosen and made ready only when its turn comes, which after a plan is hardly ever.

    `make` may raise ModelUnavailable.
    """

    def __init__(self, make: Callable[[], Model]) -> None:
        self._make = make

    @cached_property
    def model(self) -> Model:
        """The model itself."""
        return self._make()

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def hears(self) -> bool:
        """As the model."""
        return isinstance(self.model, Hearing) and self.model.hears

    def reply(self, brief: Brief, turns: Sequence[Turn]) -> Generator[Event, None, Reply]:
        """The model's reply."""
        return (yield from self.model.reply(brief, turns))


def _stuck(reply: Reply) -> str:
    """What a model says that it is stuck with; empty when it is not. What the rules cannot support, a model may."""
    words = ("stuck", "unsupported") if reply.model == RULES else ("stuck",)
    found = (call.input for call in reply.calls if call.name == "finish" and call.input.get("outcome") in words)
    return next((str(given.get("summary") or "it is stuck") for given in found), "")
