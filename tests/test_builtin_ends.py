"""The built-in engine ends, whatever a machine says."""

import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from skillrun.events import Result, State, ToolCall, Turn
from skillrun.models.builtin import BuiltinModel, healer
from skillrun.models.builtin.bench import Bench, Work
from skillrun.models.builtin.remedy import Cure, Failure, Remedy, remedies
from skillrun.ports import Brief
from skillrun.skills.parser.read import read_skill

Scene = tuple[str, str, tuple[str, ...], str]
"""A command, what it says when it fails, what looks at it show, and whose looks those are (the sentence of a remedy)."""
CASES = [tomllib.loads(path.read_text()) for path in sorted((Path(__file__).parent / "cases" / "remedies").glob("*.toml"))]
OUTPUTS = [case["output"] for case in CASES] + [
    "curl: (28) Connection timed out", "E: Could not get lock /var/lib/dpkg/lock-frontend", "Killed", "Permission denied",
    "No space left on device", "503 Service Unavailable", "bind: Address already in use", "d: already running (pid 77)",
    "install.sh: No such file or directory", "x: command not found", "Connection refused", "",
]  # fmt: skip
COMMANDS = [case["command"] for case in CASES] + ["sudo make install", "curl -fsSL https://x.invalid/y | sh", "x --version"]
COMMANDS += [
    "npm ci", "npm run build", "npm install -g tool", "go get example.invalid/tool", "git clone git@x.invalid:a/b.git",
    "mkdir /srv/a", "ln -s a b", "sudo useradd tool", "curl -m 5 https://x.invalid/y", "~/.venvs/a/bin/pip install a",
    "python3 -m venv v", "apt-get update && apt-get install -y a", "sudo -u a b", "systemctl start a", "make -j8",
    "cp a.conf b.conf", "sh \u2013x a.sh", "sudo dpkg -i a.deb", "cd a-1.0", "./tool --version", "pip install a",
]  # fmt: skip
LOOKS = [
    "/usr/bin/python3", "good /usr/bin/python3", "bad /a/b\ngood /usr/bin/python3", "dead 77", "1", "directory", "same",
    "page", "left out /etc/apt/sources.list.d/x.list", "/tmp 9 9", "/var/tmp 900000 9000", "noexec", "none", "true", "",
    "/usr/x.crt", "names CC /gone", "set CC", "file /home/dev/.npmrc", "dangling python", "/a -> /gone", "absent",
    "dev",
]  # fmt: skip
CAUSES = [
    "blocks\t/tmp\t0\t64", "inodes\t/tmp\t0\t64", "holder\t/var/lib/dpkg/lock\t7\tx\t1:00\tidle",
    "proxy\thttp_proxy\tx\ty", "index\tPIP_INDEX_URL\tx", "key\t/a\tare gone", "status\t/var/lib/dpkg/status\tis empty",
    "variable\tPIP_CERT\t/gone", "bundle\t/a\tis empty", "fileproxy\t/home/dev/.npmrc\tx\ty", "aptproxy\t/a\tx\ty",
    "limit\tx\t9", "shell\t/bin/zsh\tis not there", "",
]  # fmt: skip
FACTS: dict[str, Any] = {
    "user": {"name": "dev", "root": False, "home": "/home/dev", "home_writable": True, "shell": "/bin/bash"},
    "sudo": {"present": True, "passwordless": True},
    "tools": {"apt": "/usr/bin/apt", "npm": "/usr/bin/npm"},
    "os": {"system": "linux", "id": "debian", "family": "debian"},
    "arch": "x86_64",
    "init": "none",
}
MACHINES: list[dict[str, Any]] = [
    FACTS,
    {**FACTS, "user": {**FACTS["user"], "name": "root", "root": True, "home": "/root"}, "sudo": {"present": False}},
    {**FACTS, "sudo": {"present": True, "passwordless": False}, "proxy": {"http_proxy": "http://x:1"}, "init": "systemd"},
    {**FACTS, "user": {**FACTS["user"], "home_writable": False}, "foreign": {"root": ["/home/dev/.npm", "/home/dev/.cache"]}},
]
"""A user with sudo, root, a user without rights, a user without a home."""


def like(pattern: re.Pattern[str] | str) -> st.SearchStrategy[str]:
    """One line that matches a pattern, or nearly does: nothing but that, or with anything around it."""
    lines = st.from_regex(pattern, fullmatch=True) | st.from_regex(pattern)
    return lines.map(lambda text: _matching(pattern, re.sub(r"[^\n -~\u2013]", "", text)))


def _matching(pattern: re.Pattern[str] | str, text: str) -> str:
    """Without what is around it, unless the pattern wants a blank there; a word follows where it wants one at the end."""
    bare = text.strip()
    return next((one for one in (bare, f"{bare} x", text) if re.search(pattern, one, *FLAGS[isinstance(pattern, str)])), bare)


def scene(remedy: Remedy) -> st.SearchStrategy[Scene]:
    """A command that fails in a way that a remedy is for, and what its looks may show."""
    command = like(remedy.command).map(lambda text: text.replace("\n", " ")) if remedy.command else st.sampled_from(COMMANDS)
    looks = [like(act.found) for act in remedy.look if act.found]
    sentence = st.just(remedy.explain.split("{")[0])
    return st.tuples(command, like(remedy.error) if remedy.error else st.just(""), st.tuples(*looks), sentence)


SCENES = st.lists(
    st.one_of(
        st.sampled_from([(case["command"], case["output"], (), "") for case in CASES]),
        st.tuples(st.sampled_from(COMMANDS), st.sampled_from(OUTPUTS), st.just(()), st.just("")),
        st.sampled_from(remedies()).flatmap(scene),
    ),
    min_size=1,
    max_size=3,
)
"""What fails in a run, how it says so, and what looks show of it."""
FLAGS: tuple[tuple[re.RegexFlag, ...], ...] = ((), (re.MULTILINE,))
"""What patterns of looks are read with; those of commands and failures bring their own."""
CALLS = 700
"""More calls than any run of three commands and one check may take."""


def carried_out(scenes: Sequence[Scene], seed: int, fails: int, steadfast: bool) -> list[tuple[ToolCall, Result]]:
    """All calls of a run on some machine where `fails` of ten commands fail as one of the scenes does, or get nowhere.

    `steadfast`: a command says the same whenever it is run; else every try says something else.
    """
    block = "\n".join(command for command, *_ in scenes)
    said = [output for _, output, *_ in scenes] + (OUTPUTS if seed % 2 else [])
    looks = [*LOOKS, *(look for _, _, found, _ in scenes for look in found)]
    skill = read_skill(
        f"---\nname: x\ndescription: x\n---\n# Install x\n\n~~~bash\n{block}\n~~~\n\nCheck: `x --version`.\n", "x"
    )
    if seed % 3:  # its commands as they stand, rather than the ways to get what it is about
        skill = replace(skill, understood=None)
    facts = MACHINES[seed % len(MACHINES)]
    brief = Brief(skill, facts=facts, checks=tuple(check.command for check in skill.checks))
    engine, dice = BuiltinModel(), random.Random(seed)
    turns: list[Turn] = []
    calls: list[tuple[ToolCall, Result]] = []
    while len(calls) <= CALLS:
        step = engine.reply(brief, turns)
        try:
            while True:
                next(step)
        except StopIteration as stop:
            reply = stop.value
        if not reply.calls:
            break
        call = reply.calls[0]
        if steadfast:
            dice = random.Random(f"{seed} {call.name} {call.command}")
        if call.name == "finish":
            code, seen = dice.choice([(127, "x: command not found"), (dice.choice((1, 127)), said[0])])
            result = Result(State.EXITED, 1, f"FAILED: x --version (exit code {code})\n{seen}")
        elif call.name == "diagnose":
            result = Result(State.EXITED, 0, "".join(f"cause\t{row}\n" for row in dice.sample(CAUSES, 2) if row))
        elif call.name == "shell_input":
            result = Result(State.INTERRUPTED, 130, "")
        elif call.name == "shell" and dice.randrange(12) == 0:
            result = Result(dice.choice((State.QUIET, State.WAITING)), None, dice.choice(said))
        elif (shown := _own_look(call, scenes)) and dice.randrange(4):
            result = Result(State.EXITED, 0, shown)
        elif dice.randrange(10) < (9 if call.why.startswith(("step", "again")) else fails):
            own = [output for command, output, *_ in scenes if command[:20] in call.command]
            result = Result(State.EXITED, dice.choice((1, 1, 2, 6, 100, 126, 127, 137)), dice.choice([*own * 9, *said]))
        else:
            result = Result(State.EXITED, 0, dice.choice(looks))
        calls.append((call, result))
        turns.append(Turn(reply, ((call, result),)))
        if call.name == "finish" and call.input["outcome"] != "done":
            break
    return calls


def _own_look(call: ToolCall, scenes: Sequence[Scene]) -> str:
    """What the look of a scene's own remedy is to show; all of it, since its looks are not told apart."""
    found = (shown for _, _, shown, sentence in scenes if shown and call.why.startswith(f"look closer: {sentence}"))
    return "\n".join(next(found, ()))


@settings(max_examples=100, deadline=None)
@given(SCENES, st.integers(0, 2**32), st.integers(2, 10), st.booleans())
def test_every_run_ends(scenes: list[Scene], seed: int, fails: int, steadfast: bool) -> None:
    """Whatever fails and however, with all remedies there are, a run ends within a fixed number of calls."""
    calls = carried_out(scenes, seed, fails, steadfast)
    assert len(calls) <= CALLS
    assert calls[-1][0].name == "finish"


@settings(max_examples=100, deadline=None)
@given(SCENES, st.integers(0, 2**32), st.integers(2, 10))
def test_no_run_goes_in_a_circle(scenes: list[Scene], seed: int, fails: int) -> None:
    """Nothing that failed is done again before something else went well, or did a part of its work: what is looked at (`why?`)
    is no deed.
    """
    good: set[str] = set()
    partly = tuple(act.run.removeprefix("{root}") for remedy in remedies() for act in remedy.act if act.partly)
    met: set[object] = set()
    for call, result in carried_out(scenes, seed, fails, True):
        if call.name != "shell" or call.why.endswith("?") or call.why.startswith("look closer"):
            continue
        if result.ok or call.command.endswith(partly):
            good.add(call.command)
            continue
        state = call.command, call.retry, result.output, len(good)
        assert state not in met, state
        met.add(state)


def test_no_remedy_is_text_around_a_command() -> None:
    """Trying again is a property of a call: no remedy wraps a command in a loop, a shell or another command."""
    for remedy in remedies():
        for pattern, text in remedy.rewrite:
            assert not any(word in text for word in ("for ", "while ", "until ", "sleep ", "; do", "sh -c")), remedy.id
            assert pattern not in (r"^([\s\S]+)$", r"^(.*)$"), remedy.id


FINDING = settings(
    max_examples=400, phases=[Phase.generate], database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.slow
@pytest.mark.parametrize("remedy", remedies(), ids=lambda remedy: remedy.id)
def test_every_remedy_is_reached(remedy: Remedy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes made of a remedy's own patterns come to it: what holds of all runs holds of runs with each remedy."""
    applied: list[str] = []
    carry_out = healer._carry_out

    def noted(bench: Bench, chosen: Remedy, failure: Failure, found: Mapping[str, str]) -> Work[Cure | None]:
        applied.append(chosen.id)
        return (yield from carry_out(bench, chosen, failure, found))

    def reached(drawn: tuple[Scene, int, int]) -> bool:
        own, seed, fails = drawn
        carried_out([own], seed, fails, seed % 2 == 0)
        return remedy.id in applied

    monkeypatch.setattr(healer, "_carry_out", noted)
    find(
        st.tuples(scene(remedy), st.integers(0, 2**32), st.integers(2, 10)), reached, settings=FINDING, random=random.Random(1)
    )
