import json
import os
import subprocess
import sys
from pathlib import Path

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
    Reply,
    Result,
    RunEnded,
    RunStarted,
    State,
    ToolCall,
    Turn,
    Verdict,
)
from skillrun.models.plan import PlanModel
from skillrun.ports import Brief, ModelUnavailable
from skillrun.record.plan import Plan, PlanError, export_ansible, export_bash, export_dockerfile, plan_of, read_plan
from skillrun.skills.skill import Skill

ROOT = Path(__file__).parents[1]
FACTS = {"os": {"system": "linux", "id": "debian", "version": "12"}, "arch": "x86_64", "user": {"root": True}}
CHECK = CheckResult("test -e made", ok=True, exit_code=0)


def ran(number: int, command: str, kind: EffectKind, exit_code: int = 0) -> list[Event]:
    """The events of one shell call with one effect."""
    call = ToolCall(f"c{number}", "shell", {"command": command, "why": f"step {number}"}, step=number)
    decided = Decided(call, Decision(Verdict.ALLOW, "", effects=(Effect(kind),)))
    return [decided, Finished(call, Result(State.EXITED, exit_code))]


def events(outcome: Outcome = Outcome.VERIFIED) -> list[Event]:
    """A run that looked, failed once, and worked."""
    return [
        RunStarted("r1", "install", "made", "here", "sha256:1", "builtin", "this machine", facts=FACTS, inputs={"A": "1"}),
        *ran(1, "uname -a", EffectKind.READ),
        *ran(2, "touch /nowhere/made", EffectKind.WRITE, exit_code=1),
        *ran(3, "cd sub", EffectKind.READ),
        *ran(4, "touch 'a b'", EffectKind.WRITE),
        RunEnded(outcome, 0, "", (CHECK,)),
    ]


def test_a_plan_keeps_what_did_the_work() -> None:
    """What only looked and what failed is left out; the directory stays."""
    plan = plan_of(events())
    assert [call.input["command"] for call in plan.calls] == ["cd sub", "touch 'a b'"]
    assert plan.checks == ("test -e made",)


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.VERIFIED])
def test_only_a_verified_run_proves_a_plan(outcome: Outcome) -> None:
    """Any other outcome is refused."""
    with pytest.raises(PlanError, match="verified"):
        plan_of(events(outcome))


def test_a_plan_reads_back(tmp_path: Path) -> None:
    """A plan file holds the whole plan."""
    plan = plan_of(events())
    file = tmp_path / "plan.json"
    file.write_text(plan.to_json())
    assert read_plan(file) == plan


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', "null", '{"schema": 1, "calls": 3}'])
def test_a_spoiled_plan_is_named(text: str, tmp_path: Path) -> None:
    """A file that is not a plan is an error that names it."""
    file = tmp_path / "plan.json"
    file.write_text(text)
    with pytest.raises(PlanError, match=r"plan\.json"):
        read_plan(file)


def speak(plan: Plan, turns: list[Turn], facts: dict[str, object] = FACTS, digest: str = "sha256:1") -> Reply:
    """The plan's next reply."""
    skill = Skill("made", "made", "", "skill", "", digest=digest)
    stream = PlanModel(plan).reply(Brief(skill, facts=facts), turns)
    with pytest.raises(StopIteration) as stop:
        next(stream)
    reply: Reply = stop.value.value
    return reply


def test_a_plan_is_replayed_call_by_call_and_finished() -> None:
    """One call a turn, in order, and finish in the end."""
    plan, turns = plan_of(events()), list[Turn]()
    said = []
    for _ in range(3):
        reply = speak(plan, turns)
        said.append(reply.calls[0].command or reply.calls[0].name)
        turns.append(Turn(reply, ((reply.calls[0], Result(State.EXITED, 0)),)))
    assert said == ["cd sub", "touch 'a b'", "finish"]
    with pytest.raises(ModelUnavailable, match="checks do not pass"):
        next(PlanModel(plan).reply(Brief(Skill("made", "", "", "skill", "", digest="sha256:1"), facts=FACTS), turns))


def test_a_plan_gives_way_where_reality_differs() -> None:
    """Another machine, another skill text or a failed command hands over to the next model."""
    plan = plan_of(events())
    with pytest.raises(ModelUnavailable, match="machine"):
        speak(plan, [], facts=FACTS | {"arch": "riscv64"})
    with pytest.raises(ModelUnavailable, match="version of the skill"):
        speak(plan, [], digest="sha256:2")
    first = speak(plan, [])
    with pytest.raises(ModelUnavailable, match="cd sub"):
        speak(plan, [Turn(first, ((first.calls[0], Result(State.EXITED, 1)),))])


def test_the_bash_export_runs(tmp_path: Path) -> None:
    """The exported script does the work and ends with the checks' exit code."""
    script = export_bash(plan_of(events()))
    (tmp_path / "sub").mkdir()
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (tmp_path / "sub" / "a b").exists()
    assert done.returncode == 1
    (tmp_path / "sub" / "made").touch()
    assert subprocess.run(["bash", "-c", script], cwd=tmp_path).returncode == 0


def test_the_other_exports_name_the_same_commands() -> None:
    """Dockerfile and Ansible hold every command; Ansible's is valid YAML because it is JSON."""
    plan = plan_of(events())
    assert "FROM debian:12" in export_dockerfile(plan)
    (play,) = json.loads(export_ansible(plan))
    assert [task["ansible.builtin.shell"]["cmd"] for task in play["tasks"]][:2] == ["cd sub", "touch 'a b'"]


def test_an_answered_prompt_is_no_plan() -> None:
    """A run in which a prompt was answered by hand cannot be repeated, and says so."""
    typed = ToolCall("t", "shell_input", {"action": "type", "text": "y"})
    log = events()
    log.insert(-1, Finished(typed, Result(State.EXITED, 0)))
    with pytest.raises(PlanError, match="by hand"):
        plan_of(log)


DEAD = "http://127.0.0.1:9"
"""An address at which no model server answers."""


@pytest.mark.parametrize("broken", [False, True])
def test_a_known_plan_needs_no_model_until_reality_differs(tmp_path: Path, broken: bool) -> None:
    """With a plan of one's own, `auto` neither asks a server nor needs one; when the plan fails, that is when it is missed."""
    skill = tmp_path / "skill/SKILL.md"
    skill.parent.mkdir()
    skill.write_text("---\nname: x\nmetadata:\n  skillrun-verify: test -e ~/made/x\n---\n# x\n```bash\ntouch ~/made/x\n```\n")
    (tmp_path / "made").mkdir()
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "skillrun", "install", str(skill), "--approve", "all", "--no-input"]
    subprocess.run([*argv, "--model", "builtin"], env=env, check=True, capture_output=True)
    (tmp_path / "made/x").unlink()
    if broken:
        (tmp_path / "made").rmdir()
    env |= {"ANTHROPIC_BASE_URL": DEAD, "ANTHROPIC_API_KEY": "none"}
    done = subprocess.run(argv, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == (6 if broken else 0), done.stdout + done.stderr
    assert ("no model server answers" in done.stdout) is broken
