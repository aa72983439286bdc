"""A run's events on their way: without secrets, into the journal first, then to whoever watches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress

from skillrun.events import Event, RunEnded
from skillrun.run.calls.supervisor import RunTerminated
from skillrun.run.unseen import without_secrets
from skillrun.secrets import Vault


def journalled(
    events: Generator[Event, None, RunEnded], journal: Callable[[Event], None], vault: Vault
) -> Generator[Event, None, RunEnded]:
    """The events of a run without secrets, each given on once the journal has it; the journal may stop the run.

    Ctrl-C is thrown into the run where it stands. So it ends too when nobody pulls any more and this is closed.
    """
    thrown: BaseException | None = None
    while True:
        try:
            event = without_secrets(events.throw(thrown) if thrown else next(events), vault)
            thrown = None
            journal(event)
            yield event
        except StopIteration as stop:
            end: RunEnded = stop.value
            return without_secrets(end, vault)
        except GeneratorExit:
            _end_unwatched(events, lambda event: journal(without_secrets(event, vault)))
            raise
        except KeyboardInterrupt as interrupt:
            if inspect.getgeneratorstate(events) == inspect.GEN_CLOSED:  # it came while the run was being concluded
                raise
            thrown = interrupt


def _end_unwatched(events: Generator[Event, None, RunEnded], journal: Callable[[Event], None]) -> None:
    """Conclude a run that nobody watches any more, as if it had been interrupted."""
    with suppress(StopIteration, RunTerminated):
        journal(events.throw(RunTerminated("nobody watches this run any more")))
        for event in events:
            journal(event)


def pull(
    events: Generator[Event, None, RunEnded], sinks: Sequence[Callable[[Event], None]], on_broken: Callable[[Exception], None]
) -> RunEnded:
    """Pull a run to its end and show it on surfaces, of which a broken one is dropped: it may not stop a run.

    Ctrl-C is thrown into the run where it stands. Returns the last event.
    """
    showing = list(sinks)
    thrown: BaseException | None = None
    while True:
        try:
            event = events.throw(thrown) if thrown else next(events)
            thrown = None
            for sink in list(showing):
                try:
                    sink(event)
                except Exception as error:  # noqa: BLE001  a pretty surface may not stop a run
                    showing.remove(sink)
                    on_broken(error)
        except StopIteration as stop:
            end: RunEnded = stop.value
            return end
        except KeyboardInterrupt as interrupt:
            if inspect.getgeneratorstate(events) == inspect.GEN_CLOSED:
                raise
            thrown = interrupt
