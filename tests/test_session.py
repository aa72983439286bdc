"""The loop with a real shell and a scripted model: what decides, what is written, how it ends."""

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from skillrun.events import (
    Checked,
    Decided,
    Decision,
    Effect,
    EffectKind,
    Event,
    Finished,
    Outcome,
    Reply,
    Result,
    RunEnded,
    RunStarted,
    Started,
    State,
    ToolCall,
    Turn,
    Verdict,
)
from skillrun.models.scripted import Line, ScriptedModel
from skillrun.ports import Approval, Brief, Model, ModelUnavailable, Place, Target
from skillrun.run.budget import Budget
from skillrun.run.calls.executor import Executor
from skillrun.run.session import Session
from skillrun.run.stream import journalled, pull
from skillrun.secrets import Vault
from skillrun.skills.skill import Check, Skill
from skillrun.targets.local import LocalTarget

Judge = Callable[[ToolCall, Place], Decision]


class Someone:
    """A person who answers what the test says; every question is kept."""

    def __init__(self, *words: Approval, attended: bool = True, answers: Sequence[str] = ()) -> None:
        self.words, self.attended, self.answers = list(words), attended, list(answers)
        self.asked: list[ToolCall] = []

    def approve(self, call: ToolCall, decision: Decision, place: Place) -> Approval:
        """The next word of the test."""
        self.asked.append(call)
        return self.words.pop(0)

    def ask(self, question: str, choices: Sequence[str] = (), default: str = "") -> str | None:
        """The next answer of the test."""
        return self.answers.pop(0) if self.answers else None

    def secret(self, name: str, why: str = "") -> str | None:
        """The next answer of the test, as a secret."""
        return self.answers.pop(0) if self.answers else None

    def hand_over(self, target: Target) -> Result | None:
        """Has no terminal."""
        return None


def allow(call: ToolCall, place: Place) -> Decision:
    """Everything may run."""
    return Decision(Verdict.ALLOW, "test")


def ask_for_touch(call: ToolCall, place: Place) -> Decision:
    """`touch` asks, `rm` is denied, the rest runs."""
    if "rm " in call.command:
        return Decision(Verdict.DENY, "it deletes", "floor")
    if "touch" in call.command or call.name == "write_file":
        return Decision(Verdict.ASK, "it writes", effects=(Effect(EffectKind.WRITE, "x"),))
    return Decision(Verdict.ALLOW, "it only looks")


class Trial:
    """A run in a directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "outputs").mkdir()
        self.vault = Vault()
        home = {**os.environ, "HOME": str(folder)}  # so that a check's login shell reads no start-up file of the tester's
        self.target = LocalTarget(folder / "outputs", env=home, cwd=str(folder), vault=self.vault)
        self.events: list[Event] = []

    def run(
        self,
        *script: Line,
        checks: Sequence[str] = ("test -e made",),
        policy: Judge = allow,
        person: Someone | None = None,
        verb: str = "install",
        budget: Budget | None = None,
        sink: Callable[[Event], None] | None = None,
        model: Model | None = None,
        **more: object,
    ) -> RunEnded:
        """Run the script; the checks run in this trial's directory."""
        skill = Skill("made", "made", "", "skill", "", digest="sha256:1")
        started = RunStarted("r1", verb, "made", "here", "sha256:1", "scripted", "here")
        checked = [Check(f"cd {self.folder} && {check}") for check in checks]
        someone = person or Someone(attended=False)
        executor = Executor(skill, self.target, policy, someone, self.vault, Place(cwd=str(self.folder)))
        session = Session(
            started,
            Brief(skill, verb),
            model or ScriptedModel(script),
            executor,
            checked,
            budget or Budget(),
            **more,  # type: ignore[arg-type]
        )
        return pull(journalled(session.run(), self.events.append, Vault()), [sink] if sink else [], lambda error: None)

    def kinds(self) -> list[str]:
        """The names of the events so far."""
        return [type(event).__name__ for event in self.events]


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    """A directory, a shell standing in it, and no process left at the end."""
    made = Trial(tmp_path)
    yield made
    made.target.close()


def shell(command: str, number: int = 1) -> Reply:
    """A reply with one shell call."""
    return Reply(calls=(ToolCall(f"c{number}", "shell", {"command": command, "why": "test"}),))


def finish(outcome: str = "done") -> Reply:
    """A reply that ends the run."""
    return Reply(calls=(ToolCall("f", "finish", {"outcome": outcome, "summary": "so it is"}),))


def test_before_the_work_every_missing_program_is_named(trial: Trial) -> None:
    """A check that needs two programs which are not there says both, so that one look is enough."""
    trial.run(finish(), finish(), finish(), checks=("no-such-jq . && ls && no-such-tree",))
    first = next(event for event in trial.events if isinstance(event, Checked))
    assert first.checks[0].reason == "no-such-jq and no-such-tree are not there"
    assert first.checks[0].exit_code == 127


def test_the_checks_decide_that_it_worked(trial: Trial) -> None:
    """A run whose check passes in a fresh login shell ends verified, exit code 0."""
    end = trial.run(shell("touch made"), finish())
    assert (end.outcome, end.exit_code) == (Outcome.VERIFIED, 0)
    assert [check.ok for check in end.checks] == [True]


def test_a_model_that_says_done_is_not_believed(trial: Trial) -> None:
    """`finish(done)` with a failing check gives the model the check's output and another turn; in the end exit code 3."""
    end = trial.run(finish(), finish(), finish())
    assert (end.outcome, end.exit_code) == (Outcome.CHECKS_FAILED, 3)
    assert "test -e made" in end.summary
    results = [event.result for event in trial.events if isinstance(event, Finished) and event.call.name == "finish"]
    assert len(results) == 3
    assert all("FAILED" in result.output and not result.ok for result in results)


def test_what_is_there_already_is_not_touched(trial: Trial) -> None:
    """When every check passes before anything was done, the model is not even asked."""
    (trial.folder / "made").touch()
    end = trial.run()
    assert (end.outcome, end.exit_code) == (Outcome.ALREADY, 0)


def test_a_check_that_cannot_fail_proves_nothing(trial: Trial) -> None:
    """Such a check is refused and the run is not verified."""
    end = trial.run(finish("stuck"), checks=["test -e made || true"])
    assert end.exit_code == 3
    assert "cannot fail" in end.checks[0].reason


def test_without_a_check_nothing_is_verified(trial: Trial) -> None:
    """No check at all: unverified, exit code 3, never 0."""
    end = trial.run(shell("touch made"), finish(), checks=[])
    assert (end.outcome, end.exit_code) == (Outcome.UNVERIFIED, 3)


def test_only_commands_that_were_asked_for_are_counted(trial: Trial) -> None:
    """Neither the checks, nor looking for their programs, nor a call that was refused, is a command of the run."""
    end = trial.run(shell("true", 1), shell("touch made", 2), finish(), checks=["test -f made", "test -d ."])
    assert end.commands == 2


def test_a_command_is_on_record_before_it_starts(trial: Trial) -> None:
    """When the journal sees Started, the command has had no effect yet."""
    seen: list[bool] = []

    def watch(event: Event) -> None:
        if isinstance(event, Started) and event.call.command == "touch made":
            seen.append((trial.folder / "made").exists())

    trial.run(shell("touch made"), finish(), sink=watch)
    assert seen == [False]


def test_nobody_there_ends_the_run_with_what_needs_approval(trial: Trial) -> None:
    """Unattended, the first call that asks ends the run: exit code 4, the call is named, nothing has happened."""
    end = trial.run(shell("touch made"), policy=ask_for_touch)
    assert (end.outcome, end.exit_code) == (Outcome.DENIED, 4)
    assert "touch made" in end.summary
    assert not (trial.folder / "made").exists()


def test_a_denied_call_goes_back_to_the_model(trial: Trial) -> None:
    """What a rule denies is told to the model, which may find another way; then the run can be verified."""
    told: list[str] = []

    def other_way(brief: Brief, turns: Sequence[Turn]) -> Reply:
        told.append(turns[-1].results[0][1].output)
        return shell("true > made", 2)

    end = trial.run(shell("rm -rf made"), other_way, finish(), policy=ask_for_touch)
    assert end.outcome is Outcome.VERIFIED
    assert "it deletes" in told[0]


def test_a_person_says_yes_no_and_why(trial: Trial) -> None:
    """No with a reason reaches the model in the person's words; yes lets it run; a declined run exits 4."""
    person = Someone(Approval("no", reason="not in my directory"))
    end = trial.run(shell("touch made"), finish("stuck"), policy=ask_for_touch, person=person)
    assert (end.outcome, end.exit_code) == (Outcome.DENIED, 4)
    denied = next(event for event in trial.events if isinstance(event, Finished) and event.result.state is State.DENIED)
    assert "not in my directory" in denied.result.output


def test_yes_for_this_run_asks_once(trial: Trial) -> None:
    """The same command in the same directory is not asked about again; another one is."""
    person = Someone(Approval("run"), Approval("once"))
    end = trial.run(
        shell("touch a"), shell("touch a", 2), shell("touch made", 3), finish(), policy=ask_for_touch, person=person
    )
    assert end.outcome is Outcome.VERIFIED
    assert [call.command for call in person.asked] == ["touch a", "touch made"]


def test_an_edited_command_is_judged_again(trial: Trial) -> None:
    """The person's edit replaces the command, is asked about again, and is what runs and is recorded."""
    person = Someone(Approval("edit", command="touch made"), Approval("once"))
    end = trial.run(shell("touch mdae"), finish(), policy=ask_for_touch, person=person)
    assert end.outcome is Outcome.VERIFIED
    started = [event.call.command for event in trial.events if isinstance(event, Started)]
    assert "touch made" in started
    assert "touch mdae" not in started


def test_stop_ends_the_run(trial: Trial) -> None:
    """Stop is exit code 4 at once."""
    end = trial.run(shell("touch made"), policy=ask_for_touch, person=Someone(Approval("stop")))
    assert end.exit_code == 4


@pytest.mark.parametrize(
    ("said", "outcome", "code"),
    [
        ("stuck", Outcome.CHECKS_FAILED, 3),
        ("needs_person", Outcome.NEEDS_PERSON, 4),
        ("refused", Outcome.REFUSED, 4),
        ("unsupported", Outcome.UNSUPPORTED, 7),
    ],
)
def test_what_a_model_gives_up_with(trial: Trial, said: str, outcome: Outcome, code: int) -> None:
    """Each way of giving up has its exit code; none is 0."""
    end = trial.run(finish(said))
    assert (end.outcome, end.exit_code) == (outcome, code)


def test_giving_up_is_overruled_by_passing_checks(trial: Trial) -> None:
    """Checks decide in this direction too."""
    assert trial.run(shell("touch made"), finish("stuck")).outcome is Outcome.VERIFIED


def test_a_budget_ends_the_run(trial: Trial) -> None:
    """No turn begins beyond the limit: exit code 5, and the checks are still run."""
    end = trial.run(shell("true"), shell("true", 2), budget=Budget(max_turns=1))
    assert (end.outcome, end.exit_code) == (Outcome.BUDGET, 5)
    assert any(isinstance(event, Checked) for event in trial.events[-3:])


def test_a_model_that_is_gone_is_exit_code_6(trial: Trial) -> None:
    """ModelUnavailable ends the run honestly, with the hint."""

    def gone(brief: Brief, turns: Sequence[Turn]) -> Reply:
        raise ModelUnavailable("no key", "set one")

    end = trial.run(gone)
    assert end.exit_code == 6
    assert "set one" in end.summary


def test_a_bad_input_is_told_to_the_model_and_runs_nothing(trial: Trial) -> None:
    """A call that does not fit its schema is an error result, never a command."""
    bad = Reply(calls=(ToolCall("c1", "shell", {"cmd": "touch made"}),))
    end = trial.run(bad, finish("stuck"))
    assert end.exit_code == 3
    assert not [e for e in trial.events if isinstance(e, Started) and e.call.id == "c1"]


def test_no_model_can_call_a_check(trial: Trial) -> None:
    """The name skillrun's own calls have is not a tool."""
    sly = Reply(calls=(ToolCall("c1", "check", {"command": "touch made", "why": ""}),))
    end = trial.run(sly, finish("stuck"), policy=ask_for_touch)
    assert end.exit_code == 3
    assert not (trial.folder / "made").exists()


def test_files_are_read_and_written_through_the_tools(trial: Trial) -> None:
    """write_file shows a diff in its decision and records what it created; read_file returns the text."""
    path = str(trial.folder / "made")
    write = Reply(calls=(ToolCall("w", "write_file", {"path": path, "content": "one\ntwo\n", "mode": "0600", "why": "test"}),))
    read = Reply(calls=(ToolCall("r", "read_file", {"path": path}),))
    end = trial.run(write, read, finish())
    assert end.outcome is Outcome.VERIFIED
    decided = next(e.decision for e in trial.events if isinstance(e, Decided) and e.call.id == "w")
    assert "+one" in decided.effects[0].detail
    results = {e.call.id: e.result for e in trial.events if isinstance(e, Finished)}
    assert results["w"].created == (path,)
    assert results["r"].output == "one\ntwo\n"
    assert (trial.folder / "made").stat().st_mode & 0o777 == 0o600


def test_a_secret_is_used_and_never_seen(trial: Trial) -> None:
    """An answer given as a secret works in a command and stands in no event."""
    ask = Reply(calls=(ToolCall("a", "ask_user", {"question": "token?", "secret_name": "TOKEN"}),))
    use = shell('test "$(printf %s "{{secret:TOKEN}}" | wc -c)" = 11 && echo "{{secret:TOKEN}}" && touch made', 2)
    end = trial.run(ask, use, finish(), person=Someone(answers=["hush-hush-7"]))
    assert end.outcome is Outcome.VERIFIED
    assert "hush-hush-7" not in repr(trial.events)


LONG = f"600.{uuid.uuid4().int % 10**12}"
"""Seconds that no other process on the machine sleeps, so that a program can be found by them."""


@pytest.mark.parametrize(
    ("command", "background"),
    [(f"exec sleep {LONG}", True), (f"sleep {LONG} &", False), (f"sleep {LONG} >/dev/null 2>&1 </dev/null &", False)],
    ids=["in the background", "a job", "a quiet job"],
)
def test_what_only_the_run_keeps_alive_is_not_verified(trial: Trial, command: str, background: bool) -> None:
    """What runs in the background, however it was started, ends with the run, so before the checks; the model is told."""
    start = Reply(calls=(ToolCall("b", "shell", {"command": command, "why": "test", "background": background}),))
    seen = shell(f"until pgrep -f '^sleep {LONG}$' > pid; do sleep 0.05; done; touch was-there", 2)  # it may still be bash
    end = trial.run(start, seen, *[finish()] * 3, checks=["grep -q sleep /proc/$(cat pid)/cmdline"])  # a dead one has none
    assert (trial.folder / "was-there").exists()
    assert end.outcome is Outcome.CHECKS_FAILED
    said = [e.result.output for e in trial.events if isinstance(e, Finished) and e.call.name == "finish"]
    assert said[0].startswith("ended first, as what runs in the background ends with the run: sleep")
    assert not said[1].startswith("ended first")


@pytest.mark.parametrize(
    "start",
    [f"setsid sleep {LONG} >/dev/null 2>&1 </dev/null &", f"nohup sleep {LONG} >/dev/null 2>&1 &", "sh tickd;"],
    ids=["setsid", "nohup", "a program of its own"],
)
def test_a_daemon_is_there_for_the_checks(trial: Trial, start: str) -> None:
    """What would go on when a terminal is closed goes on after the run, and is what the checks find."""
    (trial.folder / "tickd").write_text(f"sleep {LONG} >/dev/null 2>&1 &\n")
    call = shell(f"{start} sleep 0.3; pgrep -f '^sleep {LONG}$' > pid", 1)
    try:
        end = trial.run(call, finish(), checks=["grep -q sleep /proc/$(cat pid)/cmdline"])
        trial.target.close()
        still = Path(f"/proc/{(trial.folder / 'pid').read_text().strip()}/cmdline").read_bytes()
    finally:
        os.kill(int((trial.folder / "pid").read_text()), signal.SIGKILL)
    assert (end.outcome, still) == (Outcome.VERIFIED, f"sleep\0{LONG}\0".encode())


def test_calls_after_finish_are_not_carried_out(trial: Trial) -> None:
    """A reply that finishes and goes on in one breath does only the first."""
    both = Reply(calls=(finish("stuck").calls[0], ToolCall("late", "shell", {"command": "touch late", "why": ""})))
    trial.run(both)
    assert not (trial.folder / "late").exists()


def test_uninstall_is_over_when_the_checks_fail(trial: Trial) -> None:
    """Removed means that the checks no longer pass."""
    (trial.folder / "made").touch()
    end = trial.run(shell("rm made"), finish(), verb="uninstall")
    assert (end.outcome, end.exit_code) == (Outcome.REMOVED, 0)


def test_an_uninstall_that_leaves_it_there_fails(trial: Trial) -> None:
    """Still there is exit code 3."""
    (trial.folder / "made").touch()
    end = trial.run(finish(), finish(), finish(), verb="uninstall")
    assert end.exit_code == 3


def test_verify_only_runs_the_checks(trial: Trial) -> None:
    """No model speaks; the exit code is the checks'."""
    assert trial.run(verb="verify").exit_code == 3
    (trial.folder / "made").touch()
    assert trial.run(verb="verify").exit_code == 0


def test_a_broken_surface_does_not_stop_a_run(trial: Trial) -> None:
    """Only the journal may stop it."""

    def broken(event: Event) -> None:
        raise RuntimeError("screen gone")

    assert trial.run(shell("touch made"), finish(), sink=broken).outcome is Outcome.VERIFIED


def test_ctrl_c_between_commands_ends_the_run_with_a_hint(trial: Trial) -> None:
    """Exit code 130 and the resume command."""

    def interrupted(brief: Brief, turns: Sequence[Turn]) -> Reply:
        raise KeyboardInterrupt

    end = trial.run(interrupted)
    assert end.exit_code == 130
    assert "skillrun resume r1" in end.summary


def test_ctrl_c_twice_ends_the_run(trial: Trial) -> None:
    """The first one interrupts the command, a second one soon after ends the run: exit code 130."""
    presses = iter((True, True))

    def press(event: Event) -> None:
        if isinstance(event, Started) and next(presses, False):
            os.kill(os.getpid(), signal.SIGINT)

    end = trial.run(shell("sleep 30"), shell("sleep 30", 2), finish("stuck"), sink=press)
    assert end.exit_code == 130


def test_time_ends_what_is_going_on_until_the_clock_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of time is raised where the run stands; once stopped (for a commit) never; an alarm set before is given back."""
    from skillrun.run.session import OutOfTime, ended_by_time

    monkeypatch.setattr("skillrun.run.session.GRACE_S", 0.1)
    before, remaining = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0]
    with pytest.raises(OutOfTime, match="--timeout"), ended_by_time(0.1):
        time.sleep(30)
    with ended_by_time(0.1) as stop:
        stop()
        time.sleep(0.5)
    assert signal.getsignal(signal.SIGALRM) is before
    assert bool(signal.getitimer(signal.ITIMER_REAL)[0]) is bool(remaining)
