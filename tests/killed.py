"""Runs the command line and kills it, by SIGKILL from inside, exactly at one event of the journal.

    python -m tests.killed POINT HOW COMMAND...   once
    python -m tests.killed serve                  one JSON line a run in, one out: {"status": wait status}

A server has everything imported and forks for each run: real to the last signal, without an import each time.

`POINT` counts durable events from 1 (0: never). `HOW`: before (the event is not on disk), torn (half of its line is),
after (it is on disk, nothing that follows has begun). The model is a careful one that needs no network: it writes the
numbers 1 to 10 into a file, one command each, and looks before it repeats a command whose end it does not know.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from skillrun.events import TRANSIENT, Event, Reply, State, ToolCall, Turn
from skillrun.ports import Brief, Model
from skillrun.record import journal

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
    import skillrun.models.choose
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
    skillrun.models.choose.choose_model = choose
    return cli.main(command)


def serve() -> None:
    """Run what standard input asks for, each in a process of its own, one at a time.

    A line: {"argv": [point, how, command...], "env": {...}, "cwd": path, "output": file, "facts": file}.
    """
    import skillrun.cli.carry
    import skillrun.cli.verbs.install
    import skillrun.host.facts
    import skillrun.policy.rulebook
    import skillrun.targets.local  # noqa: F401

    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _become(asked)
                point, how, *command = asked["argv"]
                code = main(int(point), how, command)
            except BaseException:  # noqa: BLE001 - a child must never come back into the loop
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        print(json.dumps({"status": os.waitpid(child, 0)[1]}), flush=True)


def _become(asked: dict[str, Any]) -> None:
    """Environment, directory and output of a run; the facts of the machine, which stays the same, are gathered once."""
    from skillrun.host import facts

    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    output = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for here, there in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(here, there)
    known, gather = Path(asked["facts"]), facts.gather

    def once(*given: Any, **more: Any) -> dict[str, Any]:
        if not known.exists():
            fresh = known.with_suffix(f".{os.getpid()}")
            fresh.write_text(json.dumps(gather(*given, **more)))
            fresh.rename(known)
        found: dict[str, Any] = json.loads(known.read_text())
        return {**found, "user": {**found["user"], "home": os.environ["HOME"]}}

    facts.gather = once


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
