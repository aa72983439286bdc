"""A plan is proven in fresh places: what nothing needs goes, what is left is seen to work, and what it leaves is named."""

import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from skillrun.host.facts import here
from skillrun.plans.conditions import wider
from skillrun.plans.file import read_plan
from skillrun.plans.lab import Lab, machine_lab, view_lab
from skillrun.plans.plan import Condition, Plan, PlanError, Postcondition, Step, fingerprint
from skillrun.plans.proof import Prover
from skillrun.sandbox.recipes import machine

pytestmark = [
    pytest.mark.root,
    pytest.mark.overlay,
    pytest.mark.skipif(os.geteuid() != 0, reason="a view of the whole machine and a machine of its own need root"),
]
needs_base = pytest.mark.skipif(shutil.which("debootstrap") is None, reason="a base machine is made with debootstrap")


def plan(*commands: str | Step, checks: tuple[str, ...] = ("test -e ~/made/x",)) -> Plan:
    """A plan of these commands."""
    steps = tuple(Step(run=command, directory="{{home}}") if isinstance(command, str) else command for command in commands)
    return Plan("made", "sha256:1", (Condition("distribution", "debian", "as proven"),), steps, checks)


def commands(proven: Plan) -> list[str]:
    """The commands of a plan."""
    return [step.run for step in proven.steps]


@pytest.fixture
def lab() -> Lab:
    """Views of this machine as it is."""
    return view_lab(cwd="/")


def test_a_name_that_is_another_each_time_is_not_looked_for(lab: Lab) -> None:
    """A log with a time in its name: the next machine has another one, and the step is done all the same."""
    proven = Prover(lab, "here").prove([plan("mkdir -p ~/made && touch ~/made/x && touch ~/made/log-$(date +%s%N)")])
    assert [left.subject for left in proven.steps[0].leaves] == ["{{home}}/made/x"]
    assert Prover(lab, "here").confirm(proven) == ""


def test_what_nothing_needs_is_taken_away_and_each_step_left_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that changes nothing, one that is done again later, and one that only fills a cache go; the others stay."""
    monkeypatch.setenv("HOME", pwd.getpwuid(os.getuid()).pw_dir)  # what a cache is goes by where homes are
    lab = view_lab(cwd="/")
    wanted = ["mkdir -p ~/made", "touch ~/made/x", "ln -s x ~/made/y"]
    whole = plan(
        "true", wanted[0], "mkdir -p ~/.cache/odd && touch ~/.cache/odd/1", "rm -f ~/none", *wanted[1:], "touch ~/made"
    )
    prover = Prover(lab, "here")
    proven = prover.prove([whole])
    assert commands(proven) == wanted
    assert proven.proof is not None
    assert len(proven.proof.taken_away) == 4
    assert proven.proof.runs == prover.runs
    home = "{{home}}/made"
    assert [step.leaves for step in proven.steps] == [
        (Postcondition("directory", home),),
        (Postcondition("file", f"{home}/x", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),),
        (Postcondition("link", f"{home}/y", "x"),),
    ]
    for number in range(len(wanted)):
        fewer = replace(proven, steps=(*proven.steps[:number], *proven.steps[number + 1 :]))
        again = Prover(lab, "here")
        assert again.confirm(fewer) or number == 2, "without any one of them a check fails, or (the link) a path is missing"


def test_what_can_be_left_out_of_a_plan_is_found_again(lab: Lab) -> None:
    """A plan that somebody made longer is told from a minimal one; one that does not hold is no question of that."""
    minimal = plan("mkdir -p ~/made", "touch ~/made/x", "ln -s x ~/made/y")
    assert Prover(lab, "here").needless(minimal) == []
    assert Prover(lab, "here").needless(plan("mkdir -p ~/made", "ls -d ~/made", "touch ~/made/x", "touch ~/made/x")) == [
        1,
        2,
        3,
    ]
    with pytest.raises(PlanError, match="step 1"):
        Prover(lab, "here").needless(plan("touch ~/made/x"))


def test_a_failure_that_did_what_was_needed_stays(lab: Lab) -> None:
    """The candidate without failures does not work, so the one with them is proven, its expected end kept."""
    made = Step(run="mkdir ~/made && touch ~/made/x && false", ends=1, directory="{{home}}")
    proven = Prover(lab, "here").prove([plan("touch ~/other"), plan(made, "touch ~/other")])
    assert [(step.run, step.ends) for step in proven.steps] == [(made.run, 1), ("touch ~/other", 0)]


@pytest.mark.parametrize(
    ("step", "kept", "said"),
    [
        ("cp /nowhere ~/made || touch ~/made/x", "touch ~/made/x", "`cp /nowhere ~/made` of step 2 failed"),
        pytest.param(
            *("touch ~/made/x || touch ~/made/z", "touch ~/made/x", "`touch ~/made/z` of step 2 was not needed"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("touch ~/made/x && true || false", "touch ~/made/x && true", "`false` of step 2 was not needed"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_of_two_ways_the_one_that_worked_is_kept_and_the_other_told(lab: Lab, step: str, kept: str, said: str) -> None:
    """`A || B` proves neither; that the left side failed is said."""
    proven = Prover(lab, "here").prove([plan("mkdir ~/made", step)])
    assert commands(proven) == ["mkdir ~/made", kept]
    assert proven.proof is not None
    assert proven.proof.taken_away[0].startswith(said)


@pytest.mark.parametrize("text", ["a; b || c", "echo 'a || b'", "a && b", "a || b; c", "if a || b; then c; fi", "a || b &"])
def test_what_is_not_two_ways_as_a_whole_is_left_as_it_is(text: str) -> None:
    """Only the whole command is taken apart."""
    from skillrun.plans.proof import alternatives

    assert alternatives(text) is None


def test_what_does_not_work_again_is_not_proven(lab: Lab) -> None:
    """The reason names the step, its end and what it said."""
    with pytest.raises(PlanError, match=r"step 2, `cat /nowhere/x`, ended with 1, and not with 0: .*No such file"):
        Prover(lab, "here").prove([plan("mkdir ~/made", "cat /nowhere/x")])
    with pytest.raises(PlanError, match=r"the check `test -e ~/made/x` ended with 1"):
        Prover(lab, "here").prove([plan("mkdir ~/made")])


def test_where_the_checks_pass_already_nothing_can_be_proven(lab: Lab) -> None:
    """A machine that has it is no start to prove from."""
    with pytest.raises(PlanError, match="before anything is done"):
        Prover(lab, "here").prove([plan("true", checks=("true",))])


def test_what_a_view_cannot_decide_is_kept_and_said(lab: Lab) -> None:
    """A view starts no services, so a step that does stays, with the reason in the proof."""
    service = Step(run="service made start || true", directory="{{home}}", effects=("service made",))
    proven = Prover(lab, "here").prove([plan("mkdir ~/made", "touch ~/made/x", service)])
    assert commands(proven)[-1] == service.run
    assert proven.proof is not None
    assert "services" in proven.proof.undecided[0]


def test_a_budget_ends_the_search_and_not_the_proof(lab: Lab) -> None:
    """With no time left the plan is proven as it is, and what was not tried is said."""
    proven = Prover(lab, "here", budget_s=0).prove([plan("mkdir ~/made", "true", "touch ~/made/x")])
    assert len(proven.steps) == 3
    assert proven.proof is not None
    assert len(proven.proof.undecided) == 3


def test_content_that_differs_each_time_is_no_postcondition(lab: Lab) -> None:
    """A file with the time in it is there or not; its digest would never fit again."""
    proven = Prover(lab, "here").prove([plan("mkdir ~/made", "date +%s%N > ~/made/x")])
    assert proven.steps[1].leaves == (Postcondition("file", "{{home}}/made/x", ""),)


def test_what_holds_outside_its_conditions_is_offered_with_wider_ones(lab: Lab) -> None:
    """Another release is added, and what the place meets is not named; of another distribution no plan is widened to."""
    system = here(quick=True)["os"]
    conditions = (
        Condition("distribution", system["id"], "its packages"),
        Condition("release", "0.1|0.2", "proven on"),
        Condition("runtime", "python3 >=3.0", "step 1 runs it"),
        Condition("manager", "no-such-manager", "step 1 installs with it"),
    )
    made = replace(plan("mkdir ~/made && touch ~/made/x"), conditions=conditions)
    prover = Prover(lab, "here")
    assert prover.confirm(made) == ""
    assert prover.outside == [(conditions[1], system["version"]), (conditions[3], "")]
    widened = wider(made, prover.outside)
    assert widened is not None
    assert widened.needs("release") == f"0.1|0.2|{system['version']}"
    assert (widened.conditions[0], widened.conditions[2:]) == (conditions[0], conditions[2:3]), "it did without the manager"
    assert wider(made, [(conditions[0], "other")]) is None


def test_a_program_that_its_own_steps_bring_is_no_condition(lab: Lab) -> None:
    """Where it was proven there was none before, so nobody else needs one either."""
    brought = Condition("manager", "no-such-npm", "step 2 installs with it")
    steps = plan("mkdir -p ~/made && printf 'touch ~/made/x' > ~/made/no-such-npm", "sh ~/made/no-such-npm")
    proven = Prover(lab, "here").prove([replace(steps, conditions=(*steps.conditions, brought))])
    assert not proven.needs("manager")


@needs_base
@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize(("made_on", "tried_on"), [("debian-12", "debian-13"), ("debian-13", "debian-12")])
def test_a_shipped_plan_is_widened_by_a_check_on_the_other_release(made_on: str, tried_on: str, tmp_path: Path) -> None:
    """`plan check FILE --on OTHER -o WIDER`, and the wider plan is a valid one that names both."""
    file = Path(__file__).parents[1] / f"skills/tmux/plans/{made_on}.toml"
    command = [sys.executable, "-m", "skillrun", "plan", "check", str(file), "--on", tried_on]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "outside its conditions: release is" in told
    subprocess.run([*command, "-o", str(tmp_path / "wider.toml")], capture_output=True, check=True)
    widened, given = read_plan(tmp_path / "wider.toml")
    assert widened.needs("release") == "|".join(name.removeprefix("debian-") for name in (made_on, tried_on))
    assert given == fingerprint(widened)


@needs_base
@pytest.mark.network
@pytest.mark.slow
def test_packages_are_named_with_versions_and_where_from() -> None:
    """On a throw-away machine as images come, the lists are fetched because the install needs them; a second fetch goes."""
    steps = ["sudo apt-get update", "sudo apt-get update", "sudo apt-get install -y --no-install-recommends bc"]
    proven = Prover(machine_lab("debian-12"), machine("debian-12").title).prove([plan(*steps, checks=("echo 1 | bc",))])
    assert commands(proven) == [steps[0], steps[2]]
    (package,) = [entry for entry in proven.installed if entry.name == "bc"]
    assert package.manager == "apt"
    assert package.version.startswith("1.07")
    assert package.origin == "bookworm/main"
    assert proven.steps[0].leaves == ()
    assert proven.steps[0].complete
    assert proven.steps[1].leaves == (Postcondition("package", "apt:bc", package.version),)


@needs_base
@pytest.mark.network
def test_what_only_root_may_look_at_is_not_promised_to_a_user() -> None:
    """A proof ends with the looks of a replay, as the account the plan is for: what they do not find, no replay waits for."""
    step = "sudo sh -c 'mkdir -m 700 /srv/closed && touch /srv/closed/x /srv/open' && mkdir ~/made && touch ~/made/x"
    lab = machine_lab("debian-12")
    proven = Prover(lab, "there").prove([plan(step)])
    left = {each.subject for each in proven.steps[0].leaves}
    assert {"/srv/open", "{{home}}/made/x"} <= left
    assert "/srv/closed/x" not in left
    assert not proven.steps[0].complete, "so no replay takes it for done"
    assert Prover(lab, "there").confirm(proven) == ""
