"""The bundled skills ship plans for Debian 12 and 13: made by real runs on throw-away machines, and still true."""

from pathlib import Path

import pytest

from skillrun.events import ToolCall, Verdict
from skillrun.plans.conditions import in_words
from skillrun.plans.exports import FORMATS, CannotSay, export
from skillrun.plans.file import read_plan
from skillrun.plans.lab import ground, machine_lab
from skillrun.plans.looking import survey
from skillrun.plans.plan import fingerprint, values_for
from skillrun.plans.proof import Prover, unmet_in
from skillrun.plans.store import file_name, identity_of
from skillrun.policy.judge import Judge
from skillrun.ports import Place
from skillrun.skills.sources import find_skill
from tests.lab import on_a_machine, real_installs

SKILLS = Path(__file__).parents[1] / "skills"
PLANS = sorted(SKILLS.glob("*/plans/*.toml"))
PLACE = Place(cwd="/home/dev", home="/home/dev", user="dev", variables={"HOME": "/home/dev", "PATH": "/usr/bin:/bin"})


def name(path: Path) -> str:
    """`jq/debian-12`."""
    return f"{path.parent.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", PLANS, ids=name)
def test_a_shipped_plan_is_for_the_skill_beside_it(path: Path) -> None:
    """Not edited, proven in at least two runs, and made from the very bytes of its skill: a changed skill needs new plans."""
    plan, given = read_plan(path)
    skill = find_skill(str(path.parent.parent / "SKILL.md"))
    assert given == fingerprint(plan)
    assert plan.digest == identity_of(skill), "the skill has changed: `skillrun plan skills/NAME/SKILL.md --on MACHINE`"
    assert path.name == file_name(plan)
    assert plan.proof is not None
    assert plan.proof.runs >= 2
    assert plan.checks == tuple(check.command for check in skill.checks if check.origin == "declared")
    assert not plan.home
    assert not plan.run_id


@pytest.mark.parametrize("path", PLANS, ids=name)
def test_looking_needs_nobodys_leave(path: Path) -> None:
    """What a replay looks at first only reads, so that a replay with nothing to do asks nothing."""
    plan, _ = read_plan(path)
    for locked in (False, True):
        text = survey(plan, values_for(plan, {}, "/home/dev", "dev"), locked)
        decision = Judge()(ToolCall("look", "shell", {"command": text}), PLACE)
        assert decision.verdict is Verdict.ALLOW, decision.reason


@pytest.mark.parametrize("path", PLANS, ids=name)
def test_every_package_has_a_version_and_an_origin(path: Path) -> None:
    """And what pip brought from its index has the hash that a lock file would have."""
    plan, _ = read_plan(path)
    for entry in plan.installed:
        assert entry.version
        assert entry.origin
    assert not any("://" in entry.origin for entry in plan.installed), "an origin is no mirror of somebody's"


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_says_some_of_them(form: str) -> None:
    """What it refuses, it refuses with a reason."""
    said = []
    for path in PLANS:
        try:
            said.append(export(form, read_plan(path)[0]))
        except CannotSay as error:
            assert str(error)  # noqa: PT017
    assert said


def held(path: Path) -> str:
    """What differs when a plan is carried out once more on a fresh machine, or which of its conditions is not met there."""
    plan, _ = read_plan(path)
    prover = Prover(machine_lab(path.stem), path.stem)
    return prover.confirm(plan) or "; ".join(in_words(*pair) for pair in prover.outside)


class TestSomeOfThem:
    """In the gate two whose machine is there anyway; the other Debian would be built for its plan alone."""

    pytestmark = on_a_machine

    @pytest.fixture
    def built(self, path: Path) -> None:
        """The machine under it is there: whichever test comes first would pay for it otherwise."""
        ground(path.stem)

    @pytest.mark.usefixtures("built")
    @pytest.mark.parametrize(
        "path",
        [
            pytest.param(SKILLS / "tmux/plans/debian-12.toml", id="tmux/debian-12"),
            pytest.param(SKILLS / "jq/plans/debian-12.toml", id="jq/debian-12"),
            pytest.param(SKILLS / "jq/plans/debian-13.toml", id="jq/debian-13", marks=pytest.mark.slow),
        ],
    )
    def test_it_still_holds(self, path: Path) -> None:
        """Every step ends as it should and leaves what it should, and the checks pass."""
        assert held(path) == ""


class TestConditions:
    """On the machine that each plan is for, as bare as an image."""

    pytestmark = on_a_machine

    @pytest.mark.parametrize("machine", ["debian-12", pytest.param("debian-13", marks=pytest.mark.slow)])
    def test_a_bare_machine_meets_them(self, machine: str) -> None:
        """A plan that asked for what its own steps bring would never be used there."""
        mine = [path for path in PLANS if path.stem == machine]
        assert mine
        with machine_lab(machine)() as room:
            unmet = {name(path): [in_words(*pair) for pair in unmet_in(room, read_plan(path)[0])] for path in mine}
        assert not any(unmet.values()), unmet


class TestAllOfThem:
    """Slowly: every plan that is shipped."""

    pytestmark = real_installs

    @pytest.mark.parametrize("path", PLANS, ids=name)
    def test_it_still_holds(self, path: Path) -> None:
        """Every step ends as it should and leaves what it should, and the checks pass."""
        assert held(path) == ""
