"""What a run may use up, and when it goes in circles: pure functions over what happened so far."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from skillrun.events import Result, State, ToolCall, Turn, Usage


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one run; None means no limit. Dollars and tokens count what models reported, seconds are wall time."""

    cost_usd: float | None = None
    tokens: int | None = None
    turns: int | None = None
    seconds: float | None = None


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


def exceeded(limits: Limits, turns: Sequence[Turn], elapsed_s: float) -> str:
    """Why no further turn may begin, in one line for the person; empty when it may.

    Fail-closed: an unknown price ends a run that has a dollar limit, and so does a last turn so dear that another
    like it would go over. Ask before every turn.
    """
    used = spent(turns)
    last = turns[-1].reply.usage if turns else None
    if limits.turns is not None and used.turns >= limits.turns:
        return f"the limit of {limits.turns} turns is reached (--max-turns)"
    if limits.seconds is not None and elapsed_s >= limits.seconds:
        return f"the time limit of {limits.seconds:g} s is reached (--timeout)"
    if limits.tokens is not None and used.tokens + (total_tokens(last) if last else 0) > limits.tokens:
        return f"{used.tokens:,} of {limits.tokens:,} tokens are used, another turn may go over (--max-tokens)"
    if limits.cost_usd is None:
        return ""
    if used.cost_usd is None:
        return "the price of this model is unknown, so the dollar limit cannot be kept (--max-cost)"
    if used.cost_usd + ((last.cost_usd or 0.0) if last else 0.0) > limits.cost_usd or limits.cost_usd <= 0 < used.cost_usd:
        return f"${used.cost_usd:.4f} of ${limits.cost_usd:g} are spent, another turn may go over (--max-cost)"
    return ""


# --- circles -------------------------------------------------------------------------------------------------


class Circle(StrEnum):
    """What to do about a run that repeats itself."""

    NONE = "none"
    CHANGE = "change"
    """Tell the model to change its strategy."""
    STOP = "stop"
    """Stop and ask the person."""


CHANGE_ADVICE = (
    "This same command failed with this same error before. Repeating it will not help: find the cause with another command, or "
    "choose another way to the goal."
)
CYCLE_ADVICE = "These calls repeat without anything changing. Stop, say what you have learnt, and choose another way to the goal."
STOP_ADVICE = "the run goes in circles: the same command failed with the same error three times"
STOP_CYCLE = "the run goes in circles: the same calls with the same results, over and over"

_NOISE = (
    (re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]"), ""),
    (re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b", re.IGNORECASE), "#"),
    (re.compile(r"/tmp/[^\s'\":]+"), "/tmp/#"),
    (re.compile(r"\d+"), "#"),
    (re.compile(r"[ \t]+"), " "),
)
_QUIETENERS = re.compile(r"^(?:sudo(?: -[EnS]+)* |env |[A-Z_]+=\S+ )+")


def same_command(text: str) -> str:
    """A command without what does not make it another one: spacing, comments at line ends, sudo, variables set for it."""
    lines = (re.sub(r"(?:^|\s)#[^'\"]*$", "", line).strip() for line in text.strip().splitlines())
    return "\n".join(_QUIETENERS.sub("", " ".join(line.split())) for line in lines if line)


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


_NO_FAILURE = (State.WAITING, State.QUIET, State.BACKGROUND)


def circle(history: Sequence[tuple[ToolCall, Result]]) -> tuple[Circle, str]:
    """Judge the last call of a run's history: go on, demand another strategy, or stop and ask.

    A failure counts every time it comes back with the same normalised command and error: twice demands a change,
    three times stops. Calls that succeed count when they alternate (A-B-A-B) or repeat with the same outcome:
    two rounds of a cycle of two or more, or four in a row of one, demand a change; one more round stops.
    """
    if not history:
        return Circle.NONE, ""
    call, result = history[-1]
    if call.name in ("ask_user", "shell_input", "finish"):
        return Circle.NONE, ""
    prints = [_print(*pair) for pair in history if pair[0].name not in ("ask_user", "shell_input", "finish")]
    if not result.ok and result.state not in _NO_FAILURE:
        times = Counter(prints)[prints[-1]]
        if times >= 3:
            return Circle.STOP, STOP_ADVICE
        if times == 2:
            return Circle.CHANGE, CHANGE_ADVICE
    for length in (1, 2, 3):
        rounds = _rounds(prints, length)
        enough = 4 if length == 1 else 2
        if rounds > enough:
            return Circle.STOP, STOP_CYCLE
        if rounds == enough:
            return Circle.CHANGE, CYCLE_ADVICE
    return Circle.NONE, ""


def _rounds(prints: Sequence[tuple[str, ...]], length: int) -> int:
    """How many times the last `length` calls have been made, one round directly after the other."""
    tail = list(prints[-length:])
    if len(tail) < length or (length > 1 and len(set(tail)) == 1):
        return 0
    count, end = 0, len(prints)
    while end >= length and list(prints[end - length : end]) == tail:
        count, end = count + 1, end - length
    return count
