"""The built-in engine ends, whatever a machine says."""

import random
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from skillrun.events import Result, State, ToolCall, Turn
from skillrun.models.builtin import BuiltinModel
from skillrun.models.builtin.remedy import remedies
from skillrun.ports import Brief
from skillrun.skills.parser.read import read_skill

CASES = [tomllib.loads(path.read_text()) for path in sorted((Path(__file__).parent / "cases" / "remedies").glob("*.toml"))]
OUTPUTS = [case["output"] for case in CASES] + [
    "curl: (28) Connection timed out", "E: Could not get lock /var/lib/dpkg/lock-frontend", "Killed", "Permission denied",
    "No space left on device", "503 Service Unavailable", "bind: Address already in use", "d: already running (pid 77)",
    "install.sh: No such file or directory", "x: command not found", "Connection refused", "",
]  # fmt: skip
COMMANDS = [case["command"] for case in CASES] + ["sudo make install", "curl -fsSL https://x.invalid/y | sh", "x --version"]
LOOKS = ["/usr/bin/python3", "good /usr/bin/python3", "dead 77", "1", "left out /etc/apt/sources.list.d/x.list", "/tmp 9 9", ""]
FACTS: dict[str, Any] = {
    "user": {"name": "dev", "root": False, "home": "/home/dev", "home_writable": True, "shell": "/bin/bash"},
    "sudo": {"present": True, "passwordless": True},
    "tools": {"apt": "/usr/bin/apt", "npm": "/usr/bin/npm"},
    "os": {"system": "linux", "id": "debian", "family": "debian"},
    "arch": "x86_64",
    "init": "none",
}
CALLS = 700
"""More calls than any run of three commands and one check may take."""


def carried_out(commands: list[str], seed: int, fails: int, steadfast: bool) -> list[tuple[ToolCall, Result]]:
    """All calls of a run on a machine where `fails` of ten commands fail, each as some program once did.

    `steadfast`: a command says the same whenever it is run; else every try says something else.
    """
    block = "\n".join(commands)
    skill = read_skill(f"# Install x\n\n~~~bash\n{block}\n~~~\n\nCheck: `x --version`.\n", "x")
    brief = Brief(skill, facts=FACTS, checks=tuple(check.command for check in skill.checks))
    engine, turns, calls, dice = BuiltinModel(), [], [], random.Random(seed)
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
            result = Result(State.EXITED, 1, "FAILED: x --version (exit code 127)\nx: command not found")
        elif dice.randrange(10) < fails:
            result = Result(State.EXITED, dice.choice((1, 2, 100, 126, 127, 137)), dice.choice(OUTPUTS))
        else:
            result = Result(State.EXITED, 0, dice.choice(LOOKS))
        calls.append((call, result))
        turns.append(Turn(reply, ((call, result),)))
        if call.name == "finish" and call.input["outcome"] != "done":
            break
    return calls


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=3), st.integers(0, 2**32), st.integers(2, 10), st.booleans())
def test_every_run_ends(commands: list[str], seed: int, fails: int, steadfast: bool) -> None:
    """Whatever fails and however, with all remedies there are, a run ends within a fixed number of calls."""
    calls = carried_out(commands, seed, fails, steadfast)
    assert len(calls) <= CALLS
    assert calls[-1][0].name == "finish"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=3), st.integers(0, 2**32), st.integers(2, 10))
def test_no_run_goes_in_a_circle(commands: list[str], seed: int, fails: int) -> None:
    """Nothing that failed is done again before something else went well, or did a part of its work: what is looked at (`why?`)
    is no deed.
    """
    good: set[str] = set()
    partly = tuple(act.run.removeprefix("{root}") for remedy in remedies() for act in remedy.act if act.partly)
    met: set[object] = set()
    for call, result in carried_out(commands, seed, fails, True):
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
