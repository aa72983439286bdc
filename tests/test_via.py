"""The agent a person already has: its real command line, run in a real bash against stand-ins for the program.

A stand-in is a script of the same name that checks the arguments the real program's own help names, reads the task
from standard input and answers as the real program would.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from skillrun.events import Reply, Result, State, ToolCall, Turn
from skillrun.models.via import AGENTS, ViaModel
from skillrun.ports import Brief, Command, ModelUnavailable
from skillrun.skills.skill import Skill
from tests.bash_target import BashTarget

SKILL = Skill("tool", "tool", "A tool", "skill", '# tool\nPut `it\'s` in $HOME/done; `echo` \\ "quotes" ☃\n', digest="sha256:1")
BRIEF = Brief(SKILL, checks=("test -e $HOME/done",))

STRICT = {
    "claude": '[[ " $* " == *" -p "* && " $* " == *" --allowedTools Bash "* ]] || { echo "unknown option" >&2; exit 1; }',
    "codex": '[[ "$1" == exec && "${@: -1}" == - ]] || { echo "error: unexpected argument" >&2; exit 2; }',
    "gemini": '[[ " $* " == *" --approval-mode yolo "* && " $* " == *" --skip-trust "* ]] || exit 1',
}
REPORT = """cat <<'END'
I did it.
```skillrun-report
{"skill": "tool", "outcome": "%s", "checks": [], "left_to_do": [%s]}
```
END"""


def walk(tmp_path: Path, name: str, body: str, finishes: int = 1, output: str = "") -> list[Turn]:
    """Follow the model in a real bash with a stand-in for `name`, until it has said finish so many times."""
    programs, home = tmp_path / "bin", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    if body:
        program = programs / name
        program.write_text(f"#!/bin/bash\n{STRICT[name]}\ncat > $HOME/task\n{body}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    target = BashTarget(env={"HOME": str(home), "PATH": f"{programs}:/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
    try:
        return _follow(ViaModel(name), target, finishes, output)
    finally:
        target.close()


def _follow(model: ViaModel, target: BashTarget, finishes: int, output: str) -> list[Turn]:
    turns: list[Turn] = []
    while True:
        reply = _end(model.reply(BRIEF, turns))
        (call,) = reply.calls
        if call.name == "finish":
            turns.append(Turn(reply, ((call, Result(State.EXITED, 1, output)),)))
            finishes -= 1
            if not finishes:
                return turns
        else:
            turns.append(Turn(reply, ((call, _end(target.run(Command(call.command)))),)))


def _end(stream: object) -> object:
    try:
        while True:
            next(stream)  # type: ignore[call-overload]
    except StopIteration as stop:
        return stop.value


@pytest.mark.parametrize("name", AGENTS)
def test_the_agent_gets_the_whole_task_and_its_report_is_read(tmp_path: Path, name: str) -> None:
    """Skill text, checks and report block arrive on standard input byte for byte, whatever quotes they hold."""
    turns = walk(tmp_path, name, "touch $HOME/done\n" + REPORT % ("done", '"log in"'))
    task = (tmp_path / "home/task").read_text()
    assert SKILL.text in task
    assert "test -e $HOME/done" in task
    assert (tmp_path / "home/done").exists()
    finish = turns[-1].reply.calls[0]
    assert finish.input["outcome"] == "done"
    assert "log in" in str(finish.input["summary"])


def test_an_absent_program_is_named_with_how_to_get_it(tmp_path: Path) -> None:
    """Not installed: unavailable (so a chain goes on), with the way to install and log in."""
    with pytest.raises(ModelUnavailable, match="Codex is not installed") as stop:
        walk(tmp_path, "codex", "")
    assert "npm install" in stop.value.hint


def test_a_failing_program_is_named_with_its_last_line(tmp_path: Path) -> None:
    """It is there but cannot work (not logged in): its own last line is passed on."""
    with pytest.raises(ModelUnavailable, match="Invalid API key · Please run /login") as stop:
        walk(tmp_path, "claude", "echo 'Invalid API key · Please run /login'; exit 1")
    assert "logged in" in stop.value.hint


def test_an_agent_without_a_report_is_judged_by_the_checks_alone(tmp_path: Path) -> None:
    """No report block: finish says so, the checks decide as always."""
    turns = walk(tmp_path, "gemini", "echo Everything works, trust me.")
    assert turns[-1].reply.calls[0].input["outcome"] == "done"
    assert "without a report" in str(turns[-1].reply.calls[0].input["summary"])


def test_the_block_of_the_task_is_no_report(tmp_path: Path) -> None:
    """Codex prints its task before its answer: the block that was to be filled in says nothing of what was done."""
    for body, said in (("echo done", "without a report"), (REPORT % ("stuck", '"a licence"'), "stuck; left to do: a licence")):
        place = tmp_path / said[:5]
        place.mkdir()
        turns = walk(place, "codex", f"cat ~/task\n{body}")
        assert said in str(turns[-1].reply.calls[0].input["summary"])


def test_an_honest_agent_is_believed_when_it_gave_up(tmp_path: Path) -> None:
    """needs_person and the rest are passed on as they are."""
    turns = walk(tmp_path, "claude", REPORT % ("needs_person", '"accept the licence"'))
    assert turns[-1].reply.calls[0].input["outcome"] == "needs_person"


def test_failed_checks_go_back_once_and_then_it_is_stuck(tmp_path: Path) -> None:
    """A false `done` gets one more round with the checks' words; a second one ends as stuck."""
    turns = walk(tmp_path, "claude", REPORT % ("done", ""), finishes=3, output="FAILED: test -e $HOME/done")
    names = [turn.reply.calls[0].name for turn in turns]
    assert names == ["shell", "finish", "shell", "finish", "finish"]
    assert "FAILED: test -e $HOME/done" in turns[2].reply.calls[0].command
    assert turns[-1].reply.calls[0].input["outcome"] == "stuck"


def test_silence_is_waited_out_and_a_question_is_not_answered() -> None:
    """A silent agent is waited for; one that asks something on the terminal is interrupted, never answered."""
    model = ViaModel("claude")
    start = _end(model.reply(BRIEF, ()))
    assert isinstance(start, Reply)
    for state, action in ((State.QUIET, "wait"), (State.WAITING, "interrupt")):
        reply = _end(model.reply(BRIEF, [Turn(start, ((start.calls[0], Result(state, screen="Trust this folder?")),))]))
        assert isinstance(reply, Reply)
        assert reply.calls[0].input["action"] == action


@pytest.mark.parametrize("state", [State.UNKNOWN, State.INTERRUPTED, State.ERROR, State.EXITED])
def test_a_run_that_had_begun_starts_the_agent_and_says_so(state: State) -> None:
    """After a crash, or as the next of a chain: it is told to look first, whatever came of the call before it."""
    before = ToolCall("x", "shell", {"command": "apt-get install -y tool", "why": "another model's"})
    reply = _end(ViaModel("claude").reply(BRIEF, [Turn(Reply(calls=(before,)), ((before, Result(state, 127)),))]))
    assert isinstance(reply, Reply)
    assert reply.calls[0].command.startswith(AGENTS["claude"].command)
    assert "do nothing twice" in reply.calls[0].command


def test_starting_it_may_be_denied() -> None:
    """When the person does not allow it, nothing else is tried."""
    model = ViaModel("claude")
    start = _end(model.reply(BRIEF, ()))
    assert isinstance(start, Reply)
    denied = Result(State.DENIED, output="the person said no")
    reply = _end(model.reply(BRIEF, [Turn(start, ((start.calls[0], denied),))]))
    assert isinstance(reply, Reply)
    assert reply.calls[0].input["outcome"] == "needs_person"


# --- the whole command line --------------------------------------------------------------------------------


def skillrun(home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """The command line in a home of its own whose `bin` comes first in PATH."""
    env = {"HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    env["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "skillrun", *args, "--no-input", "--approve", "all"]
    return subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=120)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A home with a skill and a stand-in for Claude Code that does what the skill wants."""
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool/SKILL.md").write_text(
        "---\nname: tool\ndescription: A file.\nmetadata:\n  skillrun-verify: test -e $HOME/done\n---\n# Tool\nMake ~/done.\n"
    )
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/claude"
    program.write_text(f"#!/bin/bash\n{STRICT['claude']}\ncat > $HOME/task\ntouch $HOME/done\n{REPORT % ('done', '')}\n")
    program.chmod(0o755)
    return tmp_path


def test_via_installs_and_the_checks_decide(house: Path) -> None:
    """`install --via claude`: the agent ran as one command, the check passed, exit code 0."""
    done = skillrun(house, "install", "./tool", "--via", "claude")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Make ~/done." in (house / "task").read_text()


def test_via_an_agent_that_is_not_there(house: Path) -> None:
    """Not installed: exit code 6, no traceback, and how to get it."""
    done = skillrun(house, "install", "./tool", "--via", "gemini")
    assert done.returncode == 6, done.stdout + done.stderr
    assert "not installed" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_of_an_agent_is_resumed_with_the_agent(house: Path) -> None:
    """It failed (not logged in) and was mended: `resume last` starts the same agent again, without being told which."""
    program = house / "bin/claude"
    works = program.read_text()
    program.write_text("#!/bin/bash\ncat > /dev/null\necho 'Please run /login'\nexit 1\n")
    failed = skillrun(house, "install", "./tool", "--via", "claude")
    assert failed.returncode == 6, failed.stdout + failed.stderr
    assert "Please run /login" in failed.stdout + failed.stderr
    program.write_text(works)
    done = skillrun(house, "resume", "last")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "do nothing twice" in (house / "task").read_text()


def test_a_report_is_confirmed_or_called_false(house: Path) -> None:
    """`verify --report`: a true claim is confirmed (0), a false one is called so (3), an unreadable one is usage (2)."""
    claim = '```skillrun-report\n{"outcome": "done", "checks": [{"command": "test -e $HOME/done", "exit_code": 0}]}\n```\n'
    (house / "answer").write_text(f"I did it all.\n{claim}")
    false = skillrun(house, "verify", "./tool", "--report", "answer")
    assert false.returncode == 3
    assert "FALSE: test -e $HOME/done" in false.stdout
    (house / "done").touch()
    true = skillrun(house, "verify", "./tool", "--report", "answer")
    assert true.returncode == 0, true.stdout + true.stderr
    assert "confirmed: test -e $HOME/done" in true.stdout
    (house / "answer").write_text("I did it all.")
    assert skillrun(house, "verify", "./tool", "--report", "answer").returncode == 2
