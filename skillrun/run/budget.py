"""What a run may use up, and when it goes in circles: pure functions over what happened so far."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from skillrun.events import Result, State, ToolCall, Turn, Usage
from skillrun.text.patterns import later


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has used so far. `cost_usd` is None as soon as one reply has an unknown price."""

    cost_usd: float | None = 0.0
    tokens: int = 0
    turns: int = 0


def spent(turns: Sequence[Turn]) -> Spent:
    """The sum over all replies. A reply without usage came from no paid model and costs nothing."""
    cost: float | None = 0.0
    tokens = 0
    for turn in turns:
        usage = turn.reply.usage
        if usage is None:
            continue
        tokens += total_tokens(usage)
        cost = None if cost is None or usage.cost_usd is None else cost + usage.cost_usd
    return Spent(cost, tokens, len(turns))


def total_tokens(usage: Usage) -> int:
    """Every token that went in or came out, cached or not."""
    return usage.input_tokens + usage.output_tokens + usage.cache_read_tokens + usage.cache_write_tokens


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one run; None means no limit. Dollars and tokens count what models reported, seconds are wall time."""

    max_cost: float | None = None
    """US dollars."""
    max_turns: int | None = None
    max_seconds: float | None = None
    max_tokens: int | None = None

    def over(self, turns: Sequence[Turn], elapsed_s: float) -> str:
        """Why no further turn may begin, in one line for the person; empty when it may.

        Fail-closed: an unknown price ends a run that has a dollar limit, and so does a last turn so dear that another
        like it would go over. Ask before every turn.
        """
        used = spent(turns)
        last = (turns[-1].reply.usage if turns else None) or Usage(cost_usd=0.0)
        if self.max_turns is not None and used.turns >= self.max_turns:
            return f"the limit of {self.max_turns} turns is reached (--max-turns)"
        if self.max_seconds is not None and elapsed_s >= self.max_seconds:
            return f"the time limit of {self.max_seconds:g} s is reached (--timeout)"
        if self.max_tokens is not None and used.tokens + total_tokens(last) > self.max_tokens:
            return f"{used.tokens:,} of {self.max_tokens:,} tokens are used, another turn may go over (--max-tokens)"
        if self.max_cost is None:
            return ""
        if used.cost_usd is None:
            return "the price of this model is unknown, so the dollar limit cannot be kept (--max-cost)"
        if used.cost_usd + (last.cost_usd or 0.0) > self.max_cost:
            return f"${used.cost_usd:.4f} of ${self.max_cost:g} are spent, another turn may go over (--max-cost)"
        return ""


# --- circles -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about a run that repeats itself.

    `level`: empty | change (tell the model `text`) | stop (stop the run and tell the person `text`).
    """

    level: str = ""
    text: str = ""


CHANGE_ADVICE = (
    "This same command failed with this same error before. Repeating it will not help: find the cause with another command, or "
    "choose another way to the goal."
)
CYCLE_ADVICE = (
    "These calls repeat without anything changing. Stop, say what you have learnt, and choose another way to the goal."
)
STOP_ADVICE = "the run goes in circles: the same command failed with the same error three times"
STOP_CYCLE = "the run goes in circles: the same calls with the same results, over and over"

_NOISE = (
    (re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]"), ""),
    (re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b", re.IGNORECASE), "#"),
    (re.compile(r"/tmp/[^\s'\":]+"), "/tmp/#"),
    (re.compile(r"\d+"), "#"),
    (re.compile(r"[ \t]+"), " "),
)
_QUIETENERS = later(r"^(?:sudo(?: -[EnS]+)* |env |[A-Z_]+=\S+ )+")


@lru_cache(maxsize=64)  # the last calls are looked at again after every call
def same_command(text: str) -> str:
    """A command without what does not make it another one: spacing, comments at line ends, sudo, variables set for it."""
    lines = (re.sub(r"(?:^|\s)#[^'\"]*$", "", line).strip() for line in text.strip().splitlines())
    return "\n".join(_QUIETENERS.sub("", " ".join(line.split())) for line in lines if line)


@lru_cache(maxsize=64)
def same_error(output: str) -> str:
    """The last lines of an output without numbers, addresses, temporary names and colours."""
    for pattern, instead in _NOISE:
        output = pattern.sub(instead, output)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return "\n".join(lines[-4:])


def _print(call: ToolCall, result: Result) -> tuple[str, ...]:
    if call.name == "shell":
        what = same_command(call.command)
    else:
        what = "\0".join(f"{key}={value}" for key, value in sorted(call.input.items()) if key != "why")
    return (call.name, what, result.state, str(result.exit_code), same_error(result.output))


_ALIVE = (State.WAITING, State.QUIET, State.BACKGROUND)
_NO_WORK = ("ask_user", "shell_input", "finish")
"""Calls that may repeat for good reasons: talking, waiting, ending."""


_LONGEST = 9
"""Calls back that a cycle can be seen in: three rounds of three."""


def stuck(turns: Sequence[Turn]) -> Advice:
    """Judge the last call of a run.

    A failure counts every time it comes back with the same normalised command and error: twice demands a change,
    three times stops. Calls that succeed count when they alternate (A-B-A-B) or repeat with the same outcome: two
    rounds of a cycle of two or three calls, or four times the same call, demand a change; one more round stops.
    """
    history = [pair for turn in turns for pair in turn.results if pair[0].name not in _NO_WORK]
    if not history or not turns[-1].results or turns[-1].results[-1][0].name in _NO_WORK:
        return Advice()
    prints = [_print(*pair) for pair in history[-_LONGEST:]]
    result = history[-1][1]
    if not result.ok and result.state not in _ALIVE:
        alike = [pair for pair in history if (pair[1].state, pair[1].exit_code) == (result.state, result.exit_code)]
        times = sum(_print(*pair) == prints[-1] for pair in alike)
        if times >= 3:
            return Advice("stop", STOP_ADVICE)
        if times == 2:
            return Advice("change", CHANGE_ADVICE)
    for length in (1, 2, 3):
        rounds, enough = _rounds(prints, length), 4 if length == 1 else 2
        if rounds > enough:
            return Advice("stop", STOP_CYCLE)
        if rounds == enough:
            return Advice("change", CYCLE_ADVICE)
    return Advice()


def _rounds(prints: Sequence[tuple[str, ...]], length: int) -> int:
    """How many times the last `length` calls have been made, one round directly after the other."""
    tail = list(prints[-length:])
    if len(tail) < length or (length > 1 and len(set(tail)) == 1):
        return 0
    count, end = 0, len(prints)
    while end >= length and list(prints[end - length : end]) == tail:
        count, end = count + 1, end - length
    return count
