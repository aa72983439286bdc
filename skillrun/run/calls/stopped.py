"""The end of a run in the middle of a call."""

from __future__ import annotations

from skillrun.events import Outcome


class Stopped(Exception):
    """The run must end now: an outcome and a sentence for the person."""

    def __init__(self, outcome: Outcome, summary: str) -> None:
        super().__init__(summary)
        self.outcome, self.summary = outcome, summary
