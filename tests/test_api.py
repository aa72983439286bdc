"""The programming interface: the same runs without a command line, for any program that wants one."""

import inspect
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import skillrun
from skillrun.events import Asked, Checked, Decision, Event, Outcome, Result, RunEnded, RunStarted, Started, ToolCall
from skillrun.overlay.process.probe import probe
from skillrun.ports import Approval, Place, Target
from skillrun.skills.skill import SkillError
from tests.bash_target import BashTarget
from tests.test_startup import wheel

ROOT = Path(__file__).parents[1]

SKILL = """---
name: marker
description: Puts a marker into the home directory.
metadata:
  skillrun-verify: test -e marker
---

# Marker

1. Make the file:

   ```bash
   touch marker
   ```

## Uninstall

```bash
rm marker
```
"""


in_a_view = pytest.mark.skipif(probe().tier not in ("R", "U"), reason=f"no view here: {'; '.join(probe().reasons)}")


@pytest.fixture
def skill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A skill in a home of its own, whose commands and checks run there."""
    home = tmp_path / "home"
    home.mkdir()
    for name, value in {"HOME": home, "XDG_STATE_HOME": tmp_path / "state", "XDG_DATA_HOME": tmp_path / "data"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(home)
    document = tmp_path / "SKILL.md"
    document.write_text(SKILL)
    return document


class Someone:
    """A person of the caller's: agrees to everything, and keeps what they were asked."""

    attended = True

    def __init__(self) -> None:
        self.asked: list[str] = []

    def approve(self, call: ToolCall, decision: Decision, place: Place) -> Approval:
        """Yes, once."""
        self.asked.append(call.command)
        return Approval("once")

    def ask(self, question: str, choices: Sequence[str] = (), default: str = "") -> str | None:
        """The first choice."""
        self.asked.append(question)
        return choices[0] if choices else "yes"

    def secret(self, name: str, why: str = "") -> str | None:
        """None."""
        return None

    def hand_over(self, target: Target) -> Result | None:
        """Cannot."""
        return None


def test_the_public_names_are_these() -> None:
    """What a program may rely on; a change here is a change for everybody."""
    assert skillrun.__all__ == [
        "Budget",
        "EffectOptions",
        "Execution",
        "Problem",
        "Report",
        "SkillrunError",
        "install",
        "resume",
        "start",
        "undo",
        "uninstall",
        "verify",
    ]
    assert all(inspect.getdoc(getattr(skillrun, name)) for name in skillrun.__all__)
    assert list(inspect.signature(skillrun.install).parameters) == ["skill", "on_event", "how"]
    with pytest.raises(AttributeError, match="instal'"):
        _ = skillrun.instal


def test_importing_skillrun_loads_nothing() -> None:
    """Neither a module of ours nor a library comes with the package before one of its names is used."""
    code = "import sys; import skillrun; print([n for n in sys.modules if n.startswith('skillrun.') or n in ('click', 'rich')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = "import sys; import skillrun; skillrun.install; print('click' in sys.modules, 'rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_install_verify_uninstall(skill: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each returns the report of its run and prints nothing; events come as they happen."""
    events: list[Event] = []
    done = skillrun.install(skill, approve="all", model="builtin", on_event=events.append)
    assert (done.outcome, done.exit_code, done.good) == ("verified", 0, True)
    assert Path("marker").exists()
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunEnded)
    assert done.end == events[-1]
    assert skillrun.install(str(skill), approve="all", model="builtin").outcome == Outcome.ALREADY
    assert skillrun.verify(skill, approve="all").good
    gone = skillrun.uninstall(skill, approve="all", model="builtin")
    assert (gone.outcome, Path("marker").exists()) == ("removed", False)
    assert capfd.readouterr() == ("", "")


def test_nobody_is_asked_unless_somebody_is_given(skill: Path) -> None:
    """Left to itself a run ends at what needs a word; a function or a person can give it, call by call."""
    assert skillrun.install(skill, model="builtin").exit_code == 4
    assert not Path("marker").exists()
    seen: list[str] = []

    def decide(call: ToolCall, decision: Decision, place: Place) -> bool:
        seen.append(call.command)
        return "marker" in call.command

    assert skillrun.install(skill, model="builtin", approve=decide).good
    assert any("touch marker" in command for command in seen)
    Path("marker").unlink()
    person = Someone()
    assert skillrun.install(skill, model="builtin", approve=person).good
    assert person.asked
    with pytest.raises(skillrun.Problem, match="who is asked already"):
        skillrun.install(skill, approve=decide, person=person)


def test_events_one_by_one(skill: Path) -> None:
    """A run goes on as its events are taken, so nothing has started that was not seen before; left early, it is over."""
    with skillrun.start("install", skill, approve="all", model="builtin") as run:
        for event in run:
            if isinstance(event, Started) and "touch" in event.call.command:
                assert not Path("marker").exists()
                break
    assert not Path("marker").exists()
    assert (run.report.outcome, run.report.exit_code) == ("interrupted", 130)
    went_on = skillrun.resume(run.run_id, approve="all", model="builtin")
    assert went_on.good
    assert went_on.run is not None
    assert went_on.run.run_id == run.run_id


def test_what_a_callback_raises_ends_the_run(skill: Path) -> None:
    """The caller's own fault is the caller's to see, and the run's record says that it was ended."""

    def broken(event: Event) -> None:
        if isinstance(event, Checked):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        skillrun.install(skill, approve="all", model="builtin", on_event=broken)
    assert not Path("marker").exists()


@in_a_view
def test_undo_takes_back_and_can_be_taken_back(skill: Path) -> None:
    """Undoing needs a word too; it is a run of its own."""
    words = SKILL.replace("touch marker", "mkdir -p ~/.config && echo on > ~/.config/marker").replace(
        "-e marker", "-e ~/.config/marker"
    )
    skill.write_text(words)
    done = skillrun.install(skill, approve="all", model="builtin", effects="preview")
    assert done.good, done.to_dict()
    assert done.run is not None
    with pytest.raises(skillrun.Problem) as problem:
        skillrun.undo(done.run.run_id)
    assert problem.value.code == 4
    person = Someone()
    back = skillrun.undo(done.run.run_id, person=person)
    assert back.good
    assert "puts the machine back" in person.asked[0]
    assert not Path(".config/marker").exists()
    assert back.run is not None
    assert skillrun.undo(back.run.run_id, approve="all").good
    assert Path(".config/marker").exists()


@in_a_view
def test_a_preview_asks_its_person_for_the_commit(skill: Path) -> None:
    """The one question of a preview goes to whoever was given; without anybody nothing is kept."""
    person = Someone()
    events: list[Event] = []
    assert skillrun.install(skill, model="builtin", approve=person, effects="preview", on_event=events.append).good
    assert [event.choices for event in events if isinstance(event, Asked)] == [("commit", "discard")]
    assert Path("marker").exists()
    Path("marker").unlink()
    dry = skillrun.install(skill, model="builtin", approve="all", effects="dry-run")
    assert (dry.outcome, Path("marker").exists()) == ("dry-run-verified", False)


def test_a_target_of_the_callers_own(skill: Path, tmp_path: Path) -> None:
    """The run goes where the target is; it stays open, and no way back is recorded that would be about this machine."""
    target = BashTarget()
    try:
        done = skillrun.install(skill, approve="all", model="builtin", target=target)
        assert done.run is not None
        assert (done.outcome, done.run.target) == ("verified", "test")
        assert not list((tmp_path / "state/skillrun/runs" / done.run.run_id / "changes").glob("*"))
        with pytest.raises(skillrun.Problem, match="own takes effects"):
            skillrun.install(skill, target=target, effects="preview")
    finally:
        target.close()


def test_what_cannot_be_done_is_said(skill: Path) -> None:
    """One root for all that is raised on purpose, each with what to do next."""
    with pytest.raises(SkillError):
        skillrun.install("no/such/skill.md")
    with pytest.raises(skillrun.Problem, match="no approval mode"):
        skillrun.install(skill, approve="maybe")
    with pytest.raises(skillrun.Problem, match="has no input 'PORT'"):
        skillrun.install(skill, inputs={"PORT": "1"})
    with pytest.raises(skillrun.Problem, match="there is no mode"):
        skillrun.install(skill, effects="maybe")  # type: ignore[arg-type]
    with pytest.raises(skillrun.SkillrunError) as problem:
        skillrun.undo("no-such-run", approve="all")
    assert problem.value.hint


def script() -> str:
    """The example of docs/architecture.md, as it stands there."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len([line for line in block.splitlines() if line.strip()]) <= 10
    return block


def test_the_example_of_the_page_runs(skill: Path) -> None:
    """What the page shows is what there is: its ten lines, run as they are."""
    Path("SKILL.md").write_text(skill.read_text())
    done = subprocess.run([sys.executable, "-c", script()], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 4), done.stdout + done.stderr
    assert done.stdout.startswith("RunStarted\n")
    assert "\nRunEnded\n" in done.stdout


@pytest.mark.network
@pytest.mark.slow
def test_the_example_runs_in_an_environment_of_its_own(skill: Path, tmp_path: Path) -> None:
    """Installed by pip from a wheel into an empty environment, the same ten lines do the same."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel(tmp_path / "built")]
    subprocess.run(install, check=True, timeout=600)
    Path("SKILL.md").write_text(skill.read_text().replace("skillrun-verify", "skillrun-writes: ~\n  skillrun-verify"))
    done = subprocess.run([python, "-c", script()], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 4), done.stdout + done.stderr
    assert "\nRunEnded\n" in done.stdout
