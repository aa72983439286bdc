"""What an earlier run on this machine has shown of a skill's checks."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import replace

from skillrun.events import Decision, EffectKind, Outcome, RunEnded, RunStarted, Verdict
from skillrun.record.journal import JournalError, RunFolder, all_runs, read_events
from skillrun.skills.skill import Skill

_LOOKED_AT = 20
"""Runs of a skill that are read at most, newest first: a journal can be large."""


def proven_checks(skill: Skill, runs: list[RunFolder] | None = None, elsewhere: str = "") -> Mapping[str, str]:
    """The checks that passed in the newest verified run of exactly this text on the same machine, each with that run's id.

    `elsewhere`: the other machine, as `RunFolder.elsewhere` has it; empty: this one.

    Empty where there is none, and where the text was changed since.
    """
    known = all_runs() if runs is None else runs
    same = [run for run in known if run.began and f"-{skill.name[:40]}-" in run.id]
    kept = [run for run in same if run.elsewhere == elsewhere]
    for run in kept[:_LOOKED_AT]:
        try:
            events = read_events(run.journal)
        except (OSError, JournalError):
            continue
        started = next((event for event in events if isinstance(event, RunStarted)), None)
        ended = next((event for event in reversed(events) if isinstance(event, RunEnded)), None)
        if started is None or ended is None or started.digest != skill.digest or started.mode == "dry-run":
            continue
        if ended.outcome in (Outcome.VERIFIED, Outcome.ALREADY):
            return {check.command: run.id for check in ended.checks if check.ok}
    return {}


def leave_of_check(
    command: str, decision: Decision, agreed: Container[str], proven: Callable[[], Mapping[str, str]]
) -> Decision | None:
    """The leave a check has already: from the person with the commit, or from a verified run of this very skill."""
    if command in agreed:
        return replace(decision, verdict=Verdict.ALLOW, by="person", reason="agreed to with the commit")
    if _only_runs_code(decision) and (run := proven().get(command)):
        why = f"it passed in run {run}, which was verified with this very skill"
        return replace(decision, verdict=Verdict.ALLOW, reason=why)
    return None


def _only_runs_code(decision: Decision) -> bool:
    """Whether all that is asked about is code nobody has read, and nothing that is known to change something."""
    harmless = {EffectKind.RUN_CODE, EffectKind.READ, EffectKind.UNPROVEN}
    return decision.rule in ("ask-run-code", "look-first") and all(effect.kind in harmless for effect in decision.effects)
