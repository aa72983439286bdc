"""A script that a command would fetch and run at once: kept as a file, described, and run only as it was described."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
from dataclasses import dataclass

from skillrun.events import Decision, Effect, EffectKind, ToolCall, Verdict
from skillrun.policy.fetched import Description, FetchedScript, review
from skillrun.policy.judge import Judge
from skillrun.ports import Place, Target
from skillrun.text.escape import size

MAX_SCRIPT = 4_000_000
"""Bytes of a script that can be judged."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One such command. `original` is the call as it was made; the saved file is at `path`."""

    original: ToolCall
    script: FetchedScript
    path: str
    told: Description | None = None

    @property
    def fetch(self) -> ToolCall:
        """The call that saves the script and runs nothing of it."""
        why = "save the script first, to see what it does before it may run"
        wish = {"command": self.script.fetch_command(self.path), "why": why, "fetches": self.script.url}
        return ToolCall(f"{self.original.id}-fetch", "shell", wish, self.original.step)

    @property
    def question(self) -> ToolCall:
        """What the policy is asked about fetching: the download, without where our own copy of it goes."""
        return dataclasses.replace(self.fetch, input={"command": shlex.join(self.script.fetcher)})

    @property
    def run(self) -> ToolCall:
        """The call that runs the saved file as the original would have. `unpacked` in its input is the original command."""
        command = self.original.command
        why = f"{self.original.why} (in place of `{command}`)".strip()
        wish = {**self.original.input, "command": self.script.run_command(self.path), "why": why, "unpacked": command}
        return dataclasses.replace(self.original, input=wish)

    def read(self, target: Target, place: Place, judge: Judge) -> Fetched:
        """Look at what was saved. Raises OSError, also for what is too large to be judged."""
        data = target.get(self.path, MAX_SCRIPT + 1)
        if len(data) > MAX_SCRIPT:
            raise OSError(27, f"the script is larger than {size(MAX_SCRIPT)}, too large to be judged", self.path)
        return dataclasses.replace(self, told=review(data, self.script, place, judge))

    def judged(self, whole: Decision) -> Decision:
        """The decision on running it: what the script does decides, unless a rule allows whatever comes from there."""
        assert self.told is not None
        inside = self.told.decision
        if inside.verdict is Verdict.ASK and whole.verdict is Verdict.ALLOW:
            return dataclasses.replace(inside, verdict=Verdict.ALLOW, reason=whole.reason, rule=whole.rule)
        if inside.verdict is Verdict.DENY:
            return dataclasses.replace(inside, reason=f"the script from {self.script.url} is refused: {inside.reason}")
        return inside

    def shown(self, decision: Decision) -> Decision:
        """The decision as a person reads it: which bytes they are, before what they do."""
        assert self.told is not None
        detail = f"{self.told.bytes} bytes, {self.told.lines} lines, SHA-256 {self.told.sha256}, saved as {self.path}"
        return dataclasses.replace(
            decision, effects=(Effect(EffectKind.RUN_FETCHED, self.script.url, detail), *decision.effects)
        )

    def unchanged(self, target: Target) -> bool:
        """Are the saved bytes still the ones that were described?"""
        try:
            data = target.get(self.path, MAX_SCRIPT + 1)
        except OSError:
            return False
        return self.told is not None and hashlib.sha256(data).hexdigest() == self.told.sha256
