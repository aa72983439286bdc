"""A plan is replayed where it fits, and stops with an account where reality differs: cases/divergence, one file a case."""

import dataclasses
import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import skillrun
from skillrun.errors import Problem
from skillrun.events import Finished, Noted, Outcome, Started
from skillrun.plans.file import read_plan, to_toml
from skillrun.plans.plan import Answer, Condition, Plan, PlanInput, Postcondition, Step
from skillrun.plans.store import keep, known_plan
from skillrun.skills.sources import find_skill

ROOT = Path(__file__).parents[1]
CASES = sorted((Path(__file__).parent / "cases/divergence").glob("*.toml"))
SETTINGS = hashlib.sha256(b"plan\n").hexdigest()
SKILL = """---
name: made
metadata:
  skillrun-verify: {check}
---
# Made

```bash
mkdir -p ~/made && printf 'plan\\n' > ~/made/settings
touch ~/made/x
```
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of its own, with skillrun's state in it."""
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(folder: Path, check: str = "test -e ~/made/x") -> Path:
    """The skill of these tests."""
    file = folder / "skill/SKILL.md"
    file.parent.mkdir(exist_ok=True)
    file.write_text(SKILL.format(check=check))
    return file


def plan_for(file: Path, case: dict[str, Any] | None = None) -> Plan:
    """What a proof would have made of it, with what the case has otherwise."""
    case = case or {}
    first = Step(
        run=case.get("step1", "mkdir -p ~/made && printf 'plan\\n' > ~/made/settings"),
        leaves=(Postcondition("file", "{{home}}/made/settings", SETTINGS),),
        complete=True,
    )
    leaves = tuple(Postcondition(*left) for left in case.get("leaves2", [["file", "{{home}}/made/x", ""]]))
    second = Step(
        run=case.get("step2", "touch ~/made/x"),
        ends=case.get("ends2", 0),
        directory=case.get("directory2", ""),
        answers=tuple(Answer(*answer) for answer in case.get("answers", [])),
        leaves=leaves,
        complete=True,
    )
    return Plan(
        "made",
        find_skill(str(file)).digest,
        tuple(Condition(*condition) for condition in case.get("conditions", [])),
        (first, second),
        (case.get("check", "test -e ~/made/x"),),
        inputs=tuple(PlanInput(*entry) for entry in case.get("inputs", [])),
    )


def bash(text: str) -> int:
    """Shell text in the home directory of the test."""
    return subprocess.run(["bash", "-c", text], check=False).returncode


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_reality_differs(path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on rightly, or stops with an account and exit code 3; never done without checks."""
    case = tomllib.loads(path.read_text())
    if "home" in case:
        monkeypatch.setenv("HOME", str(home / case["home"]))
        (home / case["home"]).mkdir(parents=True)
    skill = made(home, case.get("check", "test -e ~/made/x"))
    text = to_toml(plan_for(skill, case))
    (home / "p.toml").write_text(text.replace("touch ~/made/x", "touch ~/made/z") if case.get("edited") else text)
    assert bash(case.get("before", "true")) == 0
    events: list[object] = []
    execution = skillrun.start(
        "install",
        skill,
        model=case.get("model", "plan").replace("plan", f"plan:{home}/p.toml"),
        approve="all",
        inputs=case.get("set", {}),
    )
    with execution:
        events += execution
    report = execution.report
    code, summary = report.exit_code, report.end.summary if report.end else ""
    assert code == case.get("code", 0), summary
    assert report.outcome == case.get("outcome", report.outcome)
    assert case.get("said", "") in summary
    notes = "\n".join(event.text for event in events if isinstance(event, Noted))
    assert case.get("said_noted", "") in notes
    assert case.get("offer", "") in execution.run.offer
    commands = "\n".join(event.call.command for event in events if isinstance(event, Started) and event.call.name == "shell")
    assert all(word in commands for word in case.get("ran", []))
    assert not any(f"{word} " in commands for word in case.get("not_ran", []))
    assert bash(case.get("after", "true")) == 0, "after"
    checks = [event for event in events if isinstance(event, Finished) and event.call.name == "check"]
    assert checks or code
    if code == 0 and report.outcome != Outcome.ALREADY:
        assert report.checks
        assert all(check.ok for check in report.checks)


def test_there_are_enough_cases() -> None:
    """At least twenty ways in which reality differs."""
    assert len(CASES) >= 20


def test_a_run_that_worked_is_replayed_without_a_model(home: Path) -> None:
    """Its plan is kept by itself and found again; with the program gone the next install is the plan's."""
    skill = made(home)
    first = skillrun.install(skill, model="builtin", approve="all")
    assert first.outcome == Outcome.VERIFIED
    bash("rm -r ~/made")
    second = skillrun.install(skill, approve="all")
    assert (second.outcome, second.run.model) == (Outcome.VERIFIED, "plan:made")  # type: ignore[union-attr]
    third = skillrun.install(skill, approve="all")
    assert third.outcome == Outcome.ALREADY


def test_a_plan_lies_beside_its_skill_and_does_not_change_it(home: Path) -> None:
    """A plan that came with the skill is used; it is no part of what it was made from, and a proven one of one's own stays."""
    skill = made(home)
    plan = plan_for(skill)
    (skill.parent / "plans").mkdir()
    (skill.parent / "plans/any.toml").write_text(to_toml(plan))
    found, _ = known_plan(find_skill(str(skill)), {}, {})
    assert found == plan
    skill.write_text(skill.read_text() + "\nMore.\n")
    found, rejected = known_plan(find_skill(str(skill)), {}, {})
    assert found is None
    assert "another version of the skill" in rejected[0].reason


@pytest.mark.parametrize("broken", [0, 37])
def test_a_long_plan_is_replayed_in_stretches_and_still_stops_at_the_step(home: Path, broken: int) -> None:
    """Sixty steps are a few calls; where one fails those behind it are not begun, and its number is said."""
    skill = made(home)
    steps = [Step(run=f"mkdir -p ~/made && cd ~/made && touch n{n}") for n in range(1, 60)] + [Step(run="touch ~/made/x")]
    if broken:
        steps[broken - 1] = Step(run="ls /nowhere")
    plan = Plan("made", find_skill(str(skill)).digest, (), tuple(steps), ("test -e ~/made/x",))
    (home / "p.toml").write_text(to_toml(plan))
    report = skillrun.install(skill, model=f"plan:{home}/p.toml", approve="all")
    assert sum(entry.call.name == "shell" for entry in report.entries) == (3 if broken else 4), "the look, and the stretches"
    there = {path.name for path in (home / "made").iterdir()}
    if broken:
        assert report.exit_code == 3
        assert "step 37 of 60, `ls /nowhere`, ended with" in (report.end.summary if report.end else "")
        assert ("n36" in there, "n38" in there) == (True, False)
    else:
        assert (report.exit_code, len(there)) == (0, 60)


def test_an_edited_plan_is_never_found_by_itself(home: Path) -> None:
    """Among the person's own, too: what was edited is not taken for proven."""
    skill = made(home)
    file = keep(plan_for(skill))
    file.write_text(file.read_text().replace("touch ~/made/x", "touch ~/made/y"))
    found, rejected = known_plan(find_skill(str(skill)), {}, {})
    assert found is None
    assert "edited" in rejected[0].reason


def test_one_approval_covers_the_plan_and_nothing_beyond(home: Path) -> None:
    """Asked once, about all of it; where a step does more when its turn comes, that step is asked about."""
    from tests.approvals import Watching

    skill = made(home)
    (home / "p.toml").write_text(to_toml(plan_for(skill)))
    person = Watching()
    report = skillrun.install(skill, model=f"plan:{home}/p.toml", person=person)
    assert report.outcome == Outcome.VERIFIED
    assert len(person.asked) == 1
    assert "touch ~/made/x" in person.asked[0].command
    assert "settings" in person.asked[0].command


def test_a_no_to_the_plan_changes_nothing(home: Path) -> None:
    """Then nothing of it has been done."""
    from tests.approvals import Watching

    skill = made(home)
    (home / "p.toml").write_text(to_toml(plan_for(skill)))
    report = skillrun.install(skill, model=f"plan:{home}/p.toml", person=Watching(yes=False))
    assert report.exit_code == 4
    assert not (home / "made").exists()


def test_a_plan_never_widens_permission(home: Path) -> None:
    """What its file says of effects is believed by nobody: unattended, a step that asks is not carried out."""
    skill = made(home)
    plan = plan_for(skill)
    steps = tuple(dataclasses.replace(step, effects=("read /",)) for step in plan.steps)
    (home / "p.toml").write_text(to_toml(dataclasses.replace(plan, steps=steps)))
    report = skillrun.install(skill, model=f"plan:{home}/p.toml")
    assert report.exit_code == 4
    assert not (home / "made").exists()


def test_a_value_that_neither_skill_nor_plan_asks_for_is_refused(home: Path) -> None:
    """A name typed wrong is said with the names there are, and nothing is done."""
    skill = made(home)
    plan = dataclasses.replace(plan_for(skill), inputs=(PlanInput("ANSWER_1", "Which city?", "Berlin"),))
    (home / "p.toml").write_text(to_toml(plan))
    with pytest.raises(Problem, match="has no input 'ANSWER'") as raised:
        skillrun.install(skill, model=f"plan:{home}/p.toml", approve="all", inputs={"ANSWER": "Paris"})
    assert "ANSWER_1" in raised.value.hint
    assert not (home / "made").exists()


def test_where_all_is_there_nothing_of_the_plan_is_done(home: Path) -> None:
    """The second replay looks whether the checks pass: no step runs, the body is not read, no model or client is loaded."""
    skill = made(home)
    keep(plan_for(skill))
    assert skillrun.install(skill, approve="all").outcome == Outcome.VERIFIED
    code = (
        "import sys, skillrun; e = skillrun.start('install', sys.argv[1], approve='all'); events = []\n"
        "with e: events += e\n"
        "r = e.report; heavy = ('anthropic', 'httpx2', 'markdown_it', 'skillrun.models.builtin', 'skillrun.plans.distill')\n"
        "print(r.outcome, r.end.turns, [m for m in heavy if m in sys.modules])\n"
        "print([v.call.command for v in events if type(v).__name__ == 'Started'])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(skill)], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["already-installed 0 []", "['test -e ~/made/x']"]


def test_a_replay_needs_no_client_of_any_model(home: Path) -> None:
    """`anthropic` is never imported, and no token is used."""
    skill = made(home)
    keep(plan_for(skill))
    code = (
        "import sys, skillrun; r = skillrun.install(sys.argv[1], approve='all');"
        "print(r.exit_code, r.run.model, 'anthropic' in sys.modules, 'httpx2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(skill)], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["0", "plan:made", "False", "False"]


def test_the_next_run_of_a_plan_that_was_cut_goes_on_where_it_was(home: Path) -> None:
    """What is there is not done again: the first step is left out."""
    skill = made(home)
    keep(plan_for(skill))
    bash("mkdir -p ~/made && printf 'plan\\n' > ~/made/settings")
    report = skillrun.install(skill, approve="all")
    assert "Of the plan's 2 steps 1 had to be carried out." in (report.end.summary if report.end else "")


def test_a_plan_reads_back_from_the_command_line(home: Path) -> None:
    """`plan RUN -o FILE` writes what `plan FILE --export json` reads; a second argument is refused."""
    skill = made(home)
    skillrun.install(skill, model="builtin", approve="all")
    ours = [sys.executable, "-m", "skillrun", "plan"]
    subprocess.run(
        [*ours, "last", "-o", "out.toml"], check=True, env={"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    )
    plan, _ = read_plan(home / "out.toml")
    assert [step.run for step in plan.steps][-1] == "touch ~/made/x"
    assert plan.proof is None
