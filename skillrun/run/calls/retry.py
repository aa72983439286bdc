"""A call that is to be tried more than once, as its Retry says: for what is only busy, or still on its way."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator

from skillrun.events import BY_PERSON, Event, Noted, Result, State, ToolCall
from skillrun.run.calls.supervisor import RunTerminated

Perform = Callable[[ToolCall], Generator[Event, None, Result]]


def retried(call: ToolCall, perform: Perform) -> Generator[Event, None, Result]:
    """Carry the call out until it goes well, fails for another reason, or its tries are used up; the last result.

    Ctrl-C during a pause counts as an interruption of the command.
    """
    result = yield from perform(call)
    retry = call.retry
    if retry is None:
        return result
    for number in range(2, retry.tries + 1):
        if result.ok or result.state is not State.EXITED or not re.search(retry.on, result.output, re.IGNORECASE):
            break
        if result.fidelity in ("simulated", "would-run"):
            break
        yield Noted(f"try {number} of {retry.tries}, in {retry.pause_s:g} s")
        try:
            time.sleep(retry.pause_s)
        except RunTerminated:
            raise
        except KeyboardInterrupt:
            return Result(State.INTERRUPTED, output=result.output, cwd=result.cwd, note=BY_PERSON)
        result = yield from perform(call)
    return result
