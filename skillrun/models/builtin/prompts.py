"""Programs that ask: questions foreseen before a command starts, and questions on its screen."""

from __future__ import annotations

from skillrun.events import Result
from skillrun.models.builtin.bench import Bench, Work


def foresee(bench: Bench, text: str) -> Work[str]:
    """The command with its questions answered beforehand, as far as the skill's text answers them."""
    yield from ()
    del bench
    return text


def answer(bench: Bench, command: str, result: Result) -> Work[Result]:
    """Answer what a waiting command asks, or end it."""
    del command, result
    return (yield bench.call("shell_input", {"action": "interrupt"}))


def deliver(bench: Bench) -> Work[None]:
    """Leave what the prose asks for besides the commands."""
    yield from ()
    del bench
