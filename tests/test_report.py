import json

from skillrun.events import Answered, Asked, Outcome, RunEnded, Started, State, ToolCall
from skillrun.record.journal import to_json
from skillrun.record.report import Entry, Fold, Note, Question, Speech, fold
from tests.runs import good, hostile, refused, started


def test_a_run_folds_into_its_story() -> None:
    """Calls are joined with their decision and result, in order, between what was said and noted."""
    report = fold(good())
    assert [type(moment) for moment in report.timeline][:5] == [Speech, Entry, Entry, Note, Entry]
    first, second, third = report.entries
    assert (first.word, second.word, third.word) == ("ok", "failed", "ok")
    assert third.decision is not None
    assert third.result is not None
    assert report.good
    assert report.outcome == "verified"
    assert report.exit_code == 0
    assert report.cost_usd == 0.0123
    assert report.effects["install"] == ["jq"]
    assert [row["name"] for row in report.changes["packages"]] == ["jq", "libjq1"]


def test_a_denied_call_is_told_as_denied() -> None:
    """A call that never started is in the report, with who refused it and why."""
    entry = fold(refused()).entries[-1]
    assert entry.word == "denied"
    assert not entry.started
    assert entry.decision is not None
    assert "more than it declares" in entry.decision.reason


def test_a_torn_run_is_unfinished() -> None:
    """Without an end the outcome is `unfinished`, and a started call without an end is unknown, never ok."""
    report = fold([started(), Started(ToolCall("c", "shell", {"command": "make"}))])
    assert report.outcome == "unfinished"
    assert report.exit_code is None
    assert not report.good
    assert report.entries[0].word == "unknown"
    assert report.entries[0].state is State.UNKNOWN


def test_every_prefix_of_a_run_folds() -> None:
    """A report can be taken after any event: nothing assumes that a run went on."""
    for events in (good(), refused(), hostile()):
        take = Fold()
        for event in events:
            take(event)
            json.dumps(take.report().to_dict())


def test_time_comes_from_the_stamps() -> None:
    """With the journal's stamps every moment knows when it was; a clock that went backwards does no harm."""
    stamps = ["2026-01-01T00:00:00+00:00", "2026-01-01T00:00:02.500+00:00", "2026-01-01T00:00:01+00:00"]
    events = [started(), Asked("which port?", about="input"), Answered("8080")]
    report = fold(zip(stamps, events, strict=True))
    assert report.began.startswith("2026-01-01")
    assert report.timeline == (Question("which port?", about="input", answer="8080", by="person", at=2.5),)
    assert report.elapsed_s == 2.5


def test_a_resumed_run_is_one_story() -> None:
    """A second start does not lose the first; the end is the last end."""
    report = fold([*refused(), started(run_id="r2"), *good()[1:]])
    assert report.run is not None
    assert report.run.run_id == "r1"
    assert report.outcome == "verified"
    assert len(report.entries) == 5


def test_the_same_look_twice_is_two_entries() -> None:
    """A call id that comes again after its end is another call."""
    report = fold([*good()[2:6], *good()[2:6]])
    assert len(report.entries) == 2


def test_plain_data_holds_everything() -> None:
    """`to_dict` is JSON in the common envelope, with outcome, checks, changes and the whole timeline."""
    data = json.loads(json.dumps(fold(good()).to_dict()))
    assert data["schema"] == 1
    assert data["outcome"] == "verified"
    assert data["checks"][0] == {
        "command": "jq --version", "ok": True, "exit_code": 0, "output": "jq-1.6\n", "origin": "declared", "reason": "",
    }  # fmt: skip
    assert [moment["kind"] for moment in data["timeline"]].count("entry") == 3
    assert data["run"]["skill"] == "jq"


def test_every_outcome_has_words() -> None:
    """No outcome reaches a person as a bare identifier."""
    from skillrun.record.wording import OUTCOMES, closing

    for outcome in Outcome:
        assert closing(fold([started(), RunEnded(outcome, 1, "")])).startswith(OUTCOMES[outcome])
    assert to_json(started())["type"] == "RunStarted"
