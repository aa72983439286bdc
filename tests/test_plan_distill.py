"""What a plan is made of: distilled from the events of a run, with what other machines have otherwise as parameters."""

from dataclasses import replace

import pytest

from skillrun.events import (
    CheckResult,
    Decided,
    Decision,
    Effect,
    EffectKind,
    Event,
    Finished,
    Outcome,
    Result,
    RunEnded,
    RunStarted,
    Started,
    State,
    ToolCall,
    Verdict,
)
from skillrun.plans.conditions import unmet_facts
from skillrun.plans.distill import distilled
from skillrun.plans.plan import Answer, Condition, Plan, PlanError, PlanInput, filled, values_for

USER = {"root": False, "home": "/home/ada", "name": "ada"}
FACTS = {"os": {"system": "linux", "id": "debian", "version": "12"}, "arch": "x86_64", "user": USER}
CHECK = CheckResult("test -e ~/made", ok=True, exit_code=0)
WRITE, READ = EffectKind.WRITE, EffectKind.READ


def ran(
    number: int, command: str, kind: EffectKind = WRITE, code: int = 0, output: str = "", cwd: str = "/home/ada", **more: object
) -> list[Event]:
    """The events of one shell call with one effect."""
    call = ToolCall(f"c{number}", "shell", {"command": command, "why": f"step {number}"}, step=number)
    decided = Decided(call, Decision(Verdict.ALLOW, "", effects=(Effect(kind),)))
    result = Result(State.EXITED, code, output, cwd=str(more.pop("after", cwd)))
    return [decided, Started(call, cwd), Finished(call, replace(result, **more))]  # type: ignore[arg-type]


def run(*parts: list[Event], inputs: dict[str, str] | None = None, outcome: Outcome = Outcome.VERIFIED) -> list[Event]:
    """A whole run of these calls."""
    started = RunStarted("r1", "install", "made", "here", "sha256:1", "m", "local", facts=FACTS, inputs=inputs or {})
    return [started, *(event for part in parts for event in part), RunEnded(outcome, 0, "", (CHECK,))]


def commands(plan: Plan) -> list[str]:
    """The commands of a plan."""
    return [step.run for step in plan.steps]


def test_what_only_looked_and_what_failed_is_left_out() -> None:
    """Reads, failures and a check that was tried by hand are no steps; what did something is, in its order."""
    events = run(
        ran(1, "uname -a", READ),
        ran(2, "touch /nowhere/made", code=1),
        ran(3, "touch a"),
        ran(4, CHECK.command, EffectKind.RUN_CODE),
        ran(5, "curl -I https://x.org", EffectKind.NETWORK),
        ran(6, "touch b"),
    )
    assert commands(distilled(events)) == ["touch a", "touch b"]


def test_what_was_held_by_the_kernel_did_nothing() -> None:
    """A call that ran in the shell that only looks is no step, though its verb could do anything."""
    events = run(ran(1, "./tool --version", EffectKind.RUN_CODE), ran(2, "touch a"))
    decided = events[1]
    assert isinstance(decided, Decided)
    events[1] = replace(decided, decision=replace(decided.decision, confined=True))
    assert commands(distilled(events)) == ["touch a"]


def test_what_failed_can_be_kept_for_a_proof_to_decide() -> None:
    """With `failures`, a failed call is a step that is expected to fail again with the same code."""
    plan = distilled(run(ran(1, "make install", code=2), ran(2, "touch a")), failures=True)
    assert [(step.run, step.ends) for step in plan.steps] == [("make install", 2), ("touch a", 0)]


@pytest.mark.parametrize("outcome", [o for o in Outcome if o not in (Outcome.VERIFIED, Outcome.DRY_RUN_OK)])
def test_only_a_verified_run_proves_anything(outcome: Outcome) -> None:
    """Any other outcome is refused."""
    with pytest.raises(PlanError, match="verified"):
        distilled(run(ran(1, "touch a"), outcome=outcome))


def test_a_run_that_changed_nothing_is_no_plan() -> None:
    """Nothing to repeat is an error, not an empty plan."""
    with pytest.raises(PlanError, match="nothing"):
        distilled(run(ran(1, "ls", READ)))


def test_each_step_stands_on_its_own() -> None:
    """Directory, exports and umask are written into the steps that stood in them; the calls that only set them are gone."""
    events = run(
        ran(1, "cd ~/src/jq && export PREFIX=/opt/jq", READ, after="/home/ada/src/jq", exports={"PREFIX": "/opt/jq"}),
        ran(2, "umask 027", READ, cwd="/home/ada/src/jq"),
        ran(3, "make install", cwd="/home/ada/src/jq"),
        ran(4, "cd ~; unset PREFIX", READ, cwd="/home/ada/src/jq", after="/home/ada", exports={"PREFIX": None}),
        ran(5, "touch a"),
    )
    first, second = distilled(events).steps
    assert (first.directory, first.environment, first.umask) == ("{{home}}/src/jq", {"PREFIX": "/opt/jq"}, "027")
    assert (second.directory, second.environment) == ("", {})


def test_what_was_put_before_the_path_is_put_before_any_path() -> None:
    """The rest of PATH is the next machine's own."""
    path = "/home/ada/.local/bin:/usr/local/bin:/usr/bin"
    events = run(ran(1, 'export PATH="$HOME/.local/bin:$PATH"', READ, exports={"PATH": path}), ran(2, "touch a"))
    assert distilled(events).steps[0].environment == {"PATH": "{{home}}/.local/bin:$PATH"}


PARAMETERS = [
    ("touch /home/ada/x", "touch {{home}}/x"),
    ("touch /home/adam/x", "touch /home/adam/x"),
    ("chown ada:ada /srv/x", "chown {{user}}:{{user}} /srv/x"),
    ("sudo -u ada make", "sudo -u {{user}} make"),
    ("npm install ada", "npm install ada"),
    ("listen 127.0.0.1:8080", "listen 127.0.0.1:{{PORT}}"),
    ("echo 18080", "echo 18080"),
    ("curl -O https://x.org/v1.4.2/x.tgz", "curl -O https://x.org/v{{VERSION}}/x.tgz"),
    ("echo 1.4.21", "echo 1.4.21"),
    ("tar -C /tmp/tmp.Ab12Cd34Ef -x", "tar -C {{tmp}} -x"),
    ("login {{secret:TOKEN}}", "login {{secret:TOKEN}}"),
]


@pytest.mark.parametrize(("command", "wanted"), PARAMETERS)
def test_literals_of_the_run_become_parameters(command: str, wanted: str) -> None:
    """Home, user, inputs, temporary paths and versions that were found out; what merely looks alike stays."""
    found = ran(1, "curl -s https://x.org/latest; mktemp -d", EffectKind.NETWORK, output="v1.4.2\n/tmp/tmp.Ab12Cd34Ef\n")
    plan = distilled(run(found, ran(2, command), inputs={"PORT": "8080"}))
    assert plan.steps[-1].run == wanted


def test_an_input_too_short_to_be_told_apart_is_fixed() -> None:
    """`1` is in too many words by chance, so another value does not fit the plan."""
    plan = distilled(run(ran(1, "touch a1"), inputs={"N": "1"}))
    assert plan.inputs == (PlanInput("N", "", "1", fixed=True),)
    with pytest.raises(PlanError, match="N=1"):
        values_for(plan, {"N": "2"}, "/home/bob", "bob")


def test_an_answer_typed_by_hand_becomes_an_input_with_its_question() -> None:
    """The command and its answers are one step, and the answer can be another one next time."""
    call = ToolCall("c1", "shell", {"command": "./setup"}, step=1)
    typed = ToolCall("c2", "shell_input", {"action": "type", "text": "Berlin"})
    waiting = Result(State.WAITING, screen="Setup\nWhich city? ", cwd="/home/ada")
    decided = Decided(call, Decision(Verdict.ALLOW, "", effects=(Effect(EffectKind.RUN_CODE),)))
    part = [decided, Started(call, "/home/ada"), Finished(call, waiting), Finished(typed, Result(State.EXITED, 0))]
    plan = distilled(run(part))
    assert plan.steps[0].answers == (Answer("Which city?", "{{ANSWER_1}}"),)
    assert plan.inputs == (PlanInput("ANSWER_1", "Which city?", "Berlin"),)


def test_a_command_that_holds_placeholders_of_its_own_is_refused() -> None:
    """A template would be filled in by accident."""
    with pytest.raises(PlanError, match=r"\{\{name\}\}"):
        distilled(run(ran(1, "echo '{{name}}' > t.html")))


@pytest.mark.parametrize("value", ["a b", "x;reboot", "$(id)", "a'b", 'a"b', "a\nb", "*", "`id`", "a|b", "a>b"])
def test_a_value_never_becomes_shell_text(value: str) -> None:
    """What could mean something else inside a proven command is not put into it."""
    plan = distilled(run(ran(1, "echo 8080 > a"), inputs={"PORT": "8080"}))
    with pytest.raises(PlanError, match="PORT"):
        filled(plan.steps[0].run, values_for(plan, {"PORT": value}, "/home/bob", "bob"))


def test_conditions_say_why() -> None:
    """Each condition names what depends on it."""
    plan = distilled(run(ran(1, "sudo apt-get install -y jq"), ran(2, "python3 -m venv x")))
    told = {condition.about: (condition.needs, condition.why) for condition in plan.conditions}
    assert told["distribution"] == ("debian", "step 1 names its packages")
    assert told["privilege"] == ("sudo", "step 1 uses sudo")
    assert told["manager"] == ("apt-get", "step 1 installs with it")
    assert told["runtime"] == ("python3", "step 2 runs it")


def test_only_the_packages_manager_is_no_condition_of_a_path() -> None:
    """A directory called like a program is not the program."""
    plan = distilled(run(ran(1, "touch /etc/apt/sources.list.d/x")))
    assert "manager" not in {condition.about for condition in plan.conditions}


@pytest.mark.parametrize(
    ("root", "needs", "met"), [(True, "sudo", True), (False, "sudo", True), (True, "root", True), (False, "root", False)]
)
def test_root_may_do_what_sudo_may(root: bool, needs: str, met: bool) -> None:
    """Whether sudo is there at all is looked at on the machine; who is not root cannot follow root's plan."""
    plan = replace(distilled(run(ran(1, "touch a"))), conditions=(Condition("privilege", needs, "step 1"),))
    assert (unmet_facts(plan, {"user": {"root": root}}) == []) is met
