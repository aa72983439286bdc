"""Commands as people and attackers write them: each gets the verdict and the effects it is meant to."""

import pytest

from skillrun.events import Verdict
from skillrun.policy.judge import Judge
from tests.policy_corpus import FOLDER, PLACE, Case, cases, told

CASES = cases()


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.file}:{case.line}") for case in CASES])
def test_a_command_gets_its_verdict_and_effects(case: Case) -> None:
    """The verdict and every effect are those written beside the command."""
    decision = Judge().command(case.command, PLACE).decision
    assert told(decision) == case.effects, case.command
    if case.verdict == "refuse":
        assert decision.verdict is not Verdict.ALLOW, case.command
    else:
        assert decision.verdict == case.verdict, (case.command, decision.reason)


def test_the_corpus_is_large_and_every_threat_is_in_it_in_five_disguises() -> None:
    """At least 600 commands; each threat that a command can carry is there at least five times."""
    assert len({case.command for case in CASES}) >= 600
    threats = [case.threat for case in CASES if case.threat]
    for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22):
        assert threats.count(f"T{number}") >= 5, f"T{number}"


def test_no_attack_is_allowed() -> None:
    """Whatever is marked as a threat is asked or denied."""
    judge = Judge()
    allowed = [case for case in CASES if case.threat and judge.command(case.command, PLACE).decision.verdict is Verdict.ALLOW]
    assert not allowed


def test_what_only_looks_is_never_asked() -> None:
    """Every probe of the corpus runs without a question: at once, or where the kernel lets it only look."""
    judge = Judge()
    probes = [case for case in CASES if case.file == "probes"]
    assert len(probes) >= 350
    unasked = (Verdict.ALLOW, Verdict.LOOK)
    assert not [case.command for case in probes if judge.command(case.command, PLACE).decision.verdict not in unasked]
    assert sum(case.verdict == "allow" for case in probes) >= 280


FRESH = [line for line in (FOLDER / "fresh.txt").read_text("utf-8").splitlines() if line[:2] in ("N ", "D ", "A ")]


def test_lines_labelled_before_they_were_judged_come_out_as_labelled() -> None:
    """None that changes something is allowed, the floor denies all that must be, 95 of 100 looks are no question."""
    judge = Judge()
    came = [(line[0], line[2:], judge.command(line[2:], PLACE).decision.verdict) for line in FRESH]
    assert len(came) >= 1000
    assert not [command for label, command, verdict in came if label == "N" and verdict is Verdict.ALLOW]
    assert not [command for label, command, verdict in came if label == "D" and verdict is not Verdict.DENY]
    looks = [verdict for label, _, verdict in came if label == "A"]
    assert sum(verdict in (Verdict.ALLOW, Verdict.LOOK) for verdict in looks) >= 0.95 * len(looks)
