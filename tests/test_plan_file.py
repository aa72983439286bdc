"""A plan's file: TOML for people, the same from one time to the next, read strictly."""

import tomllib
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from skillrun.plans.file import parse_plan, read_plan, schema, to_toml
from skillrun.plans.plan import (
    Answer,
    Condition,
    Installed,
    Plan,
    PlanError,
    PlanInput,
    Postcondition,
    Proof,
    Step,
    fingerprint,
)

PLAN = Plan(
    skill="jq",
    digest="sha256:1",
    conditions=(Condition("distribution", "debian", "step 1 names its packages"), Condition("release", "12|13", "proven")),
    steps=(
        Step(
            run="sudo apt-get install -y jq",
            why='why "quoted"',
            effects=("install jq",),
            leaves=(Postcondition("package", "apt:jq", "1.6-2"),),
            complete=True,
            number=1,
        ),
        Step(
            run="cat <<'E' > x\n'''odd\\ and \x07 and \x7f\nE\n",
            directory="{{home}}/src",
            environment={"PATH": "{{home}}/bin:$PATH", "odd-name": 'a"b'},
            umask="077",
            ends=3,
            answers=(Answer("Which port?", "{{PORT}}"),),
            kept="services are not started there",
        ),
        Step(
            path="{{home}}/.x",
            content="line\nwith 'quotes'\n",
            mode="0600",
            leaves=(Postcondition("file", "{{home}}/.x", "ab"),),
        ),
    ),
    checks=("jq --version", "test 'a' = \"a\""),
    inputs=(PlanInput("PORT", "Which port?", "8080"), PlanInput("KEY", secret=True), PlanInput("N", default="1", fixed=True)),
    installed=(Installed("apt", "jq", "1.6-2", "bookworm/main"), Installed("pip", "x", "1", "index", "{{home}}/v", "sha256:2")),
    proof=Proof("2026-11-29", "Debian 12, minimal", 5, ("touch a", "touch b"), 3.5, 7, ("service x",)),
    made="2026-11-29",
    run_id="r1",
    home="/home/ada",
)


def test_a_plan_reads_back() -> None:
    """Every field of a plan survives its file, whatever characters it holds, and the published schema accepts the file."""
    text = to_toml(PLAN)
    assert parse_plan(text, "x") == (PLAN, fingerprint(PLAN))
    jsonschema.validate(tomllib.loads(text), schema())


def test_an_edit_shows() -> None:
    """Every part of what a plan does is in its fingerprint; who made it when is not."""
    step = replace(PLAN.steps[0], run="sudo apt-get install -y jq nmap")
    edited = replace(PLAN, steps=(step, *PLAN.steps[1:]))
    assert fingerprint(edited) != fingerprint(PLAN)
    assert fingerprint(replace(PLAN, run_id="r2", made="", home="")) == fingerprint(PLAN)


BAD = {
    "empty": ("", "schema"),
    "no TOML": ("schema = ", "not a plan file"),
    "another schema": ("schema = 1", "schema 1 is not 2"),
    "no steps": ('schema = 2\nskill = "x"\ndigest = "d"', "no steps"),
    "no digest": ('schema = 2\nskill = "x"', "digest"),
    "unknown field": ('schema = 2\nskill = "x"\ndigest = "d"\nrun = "rm"', "`run` is not known"),
    "unknown field of a step": ('schema = 2\nskill = "x"\ndigest = "d"\n[[steps]]\nrum = "x"', "steps 1: `rum`"),
    "both": ('schema = 2\nskill = "x"\ndigest = "d"\n[[steps]]\nrun = "x"\npath = "y"', "either"),
    "wrong kind": ('schema = 2\nskill = "x"\ndigest = "d"\n[[steps]]\nrun = 3', "`run` has a value of the wrong kind"),
    "a bool for a code": ('schema = 2\nskill = "x"\ndigest = "d"\n[[steps]]\nrun = "x"\nends = true', "`ends`"),
    "steps no list": ('schema = 2\nskill = "x"\ndigest = "d"\nsteps = 3', "steps"),
    "checks no list": ('schema = 2\nskill = "x"\ndigest = "d"\nchecks = [1]\n[[steps]]\nrun = "x"', "checks"),
    "unknown placeholder": ('schema = 2\nskill = "x"\ndigest = "d"\n[[steps]]\nrun = "echo {{WHAT}}"', "{{WHAT}}"),
    "unknown condition": (
        'schema = 2\nskill = "x"\ndigest = "d"\n[[steps]]\nrun = "x"\n[[conditions]]\nabout = "moon"\nneeds = "full"\nwhy = ""',
        "moon",
    ),
    "no postcondition": (
        'schema = 2\nskill = "x"\ndigest = "d"\n[[steps]]\nrun = "x"\nleaves = [{ kind = "spell", subject = "y" }]',
        "postcondition",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_spoiled_file_is_named_with_what_is_wrong(name: str, tmp_path: Path) -> None:
    """Neither a traceback nor a guess: the file, and the place in it. The published schema refuses it too."""
    text, words = BAD[name]
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(PlanError) as error:
        read_plan(file)
    assert str(file) in str(error.value)
    assert words in str(error.value)
    if name not in ("no TOML", "unknown placeholder"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(tomllib.loads(text), schema())


def test_a_missing_file_and_a_foreign_one(tmp_path: Path) -> None:
    """No such file, and bytes that are no text."""
    with pytest.raises(PlanError, match="No such file"):
        read_plan(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PlanError, match="UTF-8"):
        read_plan(tmp_path / "b.toml")
