"""Runs the command line and kills it, by SIGKILL from inside, exactly at one event of the journal.

    python -m tests.killed POINT HOW COMMAND...

`POINT` counts durable events from 1 (0: never). `HOW`: before (the event is not on disk), torn (half of its line is),
after (it is on disk, nothing that follows has begun). The model is a careful one that needs no network: it writes the
numbers 1 to 10 into a file, one command each, and looks before it repeats a command whose end it does not know.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Sequence
from typing import Any

from skillrun import journal
from skillrun.events import TRANSIENT, Event, Reply, State, ToolCall, Turn
from skillrun.ports import Brief, Model

STEPS = 10


def step(number: int) -> str:
    """The command of one step: it must run exactly once, and where the one before left the shell."""
    return f"cd {number} && mkdir {number + 1} && export AT={number} && echo {number} $AT $PWD >> $HOME/log"


def look(number: int) -> str:
    """Finds out whether a step has had its effect, wholly."""
    return f"grep -q '^{number} ' $HOME/log && cd {number}"


class Careful:
    """Does what the prompt asks of every model, and nothing else."""

    name = "careful"

    def reply(self, brief: Brief, turns: Sequence[Turn]) -> Generator[Event, None, Reply]:
        """The next step, a look at one whose end is unknown, or finish."""
        yield from ()
        done: set[int] = set()
        doubt = 0
        for turn in turns:
            for call, result in turn.results:
                number = int(call.why) if call.why.isdigit() else 0
                if number and result.ok:
                    done.add(number)
                    doubt = 0
                elif number:
                    doubt = number if result.state is State.UNKNOWN else 0
        following = next((number for number in range(1, STEPS + 1) if number not in done), 0)
        if not following:
            return self._say(turns, "finish", outcome="done", summary="all steps")
        text = look(following) if doubt == following else step(following)
        return self._say(turns, "shell", command=text, why=str(following))

    def _say(self, turns: Sequence[Turn], name: str, **given: Any) -> Reply:
        return Reply(calls=(ToolCall(f"call-{len(turns)}", name, given),), model=self.name)


def main(point: int, how: str, command: list[str]) -> int:
    """Run the command line with a journal that kills at its point."""
    import skillrun.cli.model
    from skillrun import cli

    real, count = journal.Journal.__call__, 0

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def write(self: journal.Journal, event: Event) -> None:
        nonlocal count
        if isinstance(event, TRANSIENT):
            return
        count += 1
        if count == point and how == "torn":
            with self.folder.journal.open("ab") as file:
                file.write(b'{"schema":1,"type":"Fini')
            kill()
        if count == point and how == "before":
            kill()
        real(self, event)
        if count == point:
            kill()

    def choose(*_: object, **__: object) -> Model:
        return Careful()

    journal.Journal.__call__ = write  # type: ignore[method-assign]
    skillrun.cli.model.choose_model = choose
    return cli.main(command)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
