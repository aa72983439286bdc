"""`--locked`: a plan's versions and nothing else, or which of them is gone."""

import json
import re
from pathlib import Path

import pytest

import skillrun
from skillrun.errors import Problem
from skillrun.plans.locked import gone, locked_command
from skillrun.plans.plan import Installed, Plan, PlanError, Step

PLACE = "{{home}}/.local/share/uv/lib/python3.11/site-packages"
PLAN = Plan(
    "x",
    "sha256:1",
    (),
    (Step(run="true"),),
    (),
    installed=(
        Installed("apt", "jq", "1.6-2"),
        Installed("apt", "libjq1", "1.6-2"),
        Installed("pip", "uv", "0.13.9", "index", PLACE, "sha256:ab"),
        Installed("pip", "other", "1", "index", "{{home}}/elsewhere/lib/python3.11/site-packages", "sha256:cd"),
        Installed("npm", "cowsay", "1.6.0", "", "/usr/lib"),
        Installed("npm", "@a/b", "2.0.1", "", "/usr/lib"),
        Installed("npm", "get-stdin", "8.0.0", "", "/usr/lib/node_modules/cowsay", "sha512-xy"),
        Installed("npm", "@c/d", "1.0.0", "", "/usr/lib/node_modules/cowsay/node_modules/get-stdin"),
    ),
)
VALUES = {"home": "/home/ada", "user": "ada", "here": "/home/ada", "tmp": "/tmp/x"}
LOCK = "<<'LOCK'\nuv==0.13.9 --hash=sha256:ab\nLOCK"
COMMANDS = [
    ("sudo apt-get install -y jq", "sudo apt-get install -y jq=1.6-2 libjq1=1.6-2"),
    (
        "sudo DEBIAN_FRONTEND=noninteractive apt-get install jq",
        "sudo DEBIAN_FRONTEND=noninteractive apt-get install jq=1.6-2 libjq1=1.6-2",
    ),
    (
        "DEBIAN_FRONTEND=noninteractive apt-get install jq",
        "DEBIAN_FRONTEND=noninteractive apt-get install jq=1.6-2 libjq1=1.6-2",
    ),
    ("sudo apt-get update", "sudo apt-get update"),
    (
        "~/.local/share/uv/bin/pip install uv",
        f"~/.local/share/uv/bin/pip install --no-deps --require-hashes -r /dev/stdin {LOCK}",
    ),
    ("mkdir -p ~/x", "mkdir -p ~/x"),
    ("echo $HOME", "echo $HOME"),
]


@pytest.mark.parametrize(("command", "wanted"), COMMANDS)
def test_versions_are_put_into_commands(command: str, wanted: str) -> None:
    """apt's with `=`, for what came along too; pip's with hashes, of this place alone; npm's exactly."""
    assert locked_command(Step(run=command), PLAN, VALUES) == wanted


def test_npm_gets_a_lock_of_the_package_and_all_that_lies_in_it() -> None:
    """At the place where npm nests it, each version and integrity; the rights and the prefix of the command stay."""
    text = locked_command(Step(run="sudo npm install -g --prefix ~/.local cowsay@latest @a/b"), PLAN, VALUES)
    _, own, _, lock, rest = re.split(r" <<'LOCK' &&\n|\nLOCK\n", text)
    assert json.loads(own)["dependencies"] == {"cowsay": "1.6.0", "@a/b": "2.0.1"}
    nested = "node_modules/cowsay/node_modules/get-stdin"
    assert json.loads(lock)["packages"] == {
        "": json.loads(own),
        "node_modules/cowsay": {"version": "1.6.0", "dependencies": {"get-stdin": "8.0.0"}},
        nested: {"version": "8.0.0", "integrity": "sha512-xy", "dependencies": {"@c/d": "1.0.0"}},
        f"{nested}/node_modules/@c/d": {"version": "1.0.0"},
        "node_modules/@a/b": {"version": "2.0.1"},
    }
    assert rest.startswith("sudo npm ci --prefix /tmp/x/npm ")
    assert "sudo mv /tmp/x/npm/node_modules/@a/b /usr/lib/node_modules/@a/b &&" in rest
    assert "sudo npm rebuild -g --prefix ~/.local cowsay @a/b &&" in rest


@pytest.mark.parametrize(
    "command",
    [
        "for p in jq; do apt-get install $p; done",
        "apt-get install $(cat list)",
        "pip install a | tee x",
        "npm install -g unknown",
        "npm install",
        "npm install cowsay",
    ],
)
def test_what_cannot_be_pinned_is_not_run(command: str) -> None:
    """Better nothing than another version."""
    with pytest.raises(PlanError, match="version"):
        locked_command(Step(run=command), PLAN, VALUES)


SAID = [
    ("E: Version '1.6-2' for 'jq' was not found", "jq 1.6-2"),
    ("ERROR: No matching distribution found for uv==0.13.9", "uv 0.13.9"),
    ("npm error notarget No matching version found for cowsay@1.6.0.", "cowsay 1.6.0"),
    ("E: Unable to locate package jq", "jq"),
]


@pytest.mark.parametrize(("output", "wanted"), SAID)
def test_what_is_gone_is_named(output: str, wanted: str) -> None:
    """In the managers' own words."""
    assert gone(output, PLAN).startswith(f"no longer to be had: {wanted}")
    assert gone("E: Could not get lock", PLAN) == ""


def test_locked_needs_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one for this machine, or with another model, it is an error and nothing is run."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    (tmp_path / "SKILL.md").write_text(
        "---\nname: x\nmetadata:\n  skillrun-verify: test -e ~/x\n---\n# x\n```bash\ntouch ~/x\n```\n"
    )
    from skillrun.models.choose import speaker
    from skillrun.skills.sources import find_skill

    skill = find_skill(str(tmp_path / "SKILL.md"))
    for model in ("auto", "builtin"):
        with pytest.raises(Problem, match="plan"):
            speaker(model, "install", skill, {}, {}, locked=True)
    assert skillrun.__version__
