"""The command line with a model behind a server: how each kind of end looks from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.messages_server import Fault, Line, MessagesServer, call, error, message, say

SKILL = """---
name: made
description: A file.
metadata:
  skillrun-verify: test "$(cat $HOME/made)" = yes
---
# Made
Write yes into ~/made.
"""


KEY = "sk-ant-test-key-0001"


def install(
    home: Path, script: Iterable[Line], *args: str, key: str = KEY, approve: str = "all"
) -> tuple[subprocess.CompletedProcess[str], MessagesServer]:
    """`skillrun install` in a home of its own, with the real client talking to a loopback server."""
    (home / "made.skill").mkdir()
    (home / "made.skill/SKILL.md").write_text(SKILL)
    with MessagesServer(script) as server:
        env = {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "dumb", "PYTHONPATH": os.getcwd()}
        env |= {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": key}
        command = [sys.executable, "-m", "skillrun", "install", "./made.skill", "--approve", approve, "--no-input", *args]
        done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    assert KEY not in done.stdout + done.stderr
    journals = list((home / ".local/state/skillrun/runs").glob("*/journal.jsonl"))
    assert all(KEY not in path.read_text() for path in journals), "the key is in the journal"
    return done, server


DONE = call("finish", "toolu_f", outcome="done", summary="it is there")


def test_its_own_key_is_masked_though_it_looks_like_a_path(tmp_path: Path) -> None:
    """It shows neither in output, nor in the server's words, nor in the journal."""
    key = "/srv/k1"
    script = [
        call("shell", "toolu_1", command="printf %s:%s: $(head -c 7 key) $(cat key)", why="see"),
        Fault("status", status=401, body=error("authentication_error", f"no such key: {key}:")),
    ]
    (tmp_path / "key").write_text(key)
    done, _ = install(tmp_path, script, "--model", "test", "--json", key=key)
    assert done.returncode == 6, done.stdout + done.stderr
    journal = next((tmp_path / ".local/state/skillrun/runs").glob("*/journal.jsonl")).read_text()
    for shown in (done.stdout, done.stderr, journal):
        assert f"{key}:" not in shown


def test_a_model_mends_what_it_broke_and_the_checks_decide(tmp_path: Path) -> None:
    """A false `done` comes back with the check's words; the next attempt passes; exit code 0; no key in any child."""
    script = [
        call("shell", "toolu_1", command="env | grep -c ANTHROPIC; echo no > $HOME/made", why="write it"),
        DONE,
        call("shell", "toolu_2", command="echo yes > $HOME/made", why="write what the check wants"),
        call("finish", "toolu_g", outcome="done", summary="now it is"),
    ]
    done, server = install(tmp_path, script, "--model", "test", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    end = json.loads(done.stdout.splitlines()[-1])
    assert (end["type"], end["outcome"], end["turns"]) == ("RunEnded", "verified", 4)
    first = server.requests[1]["messages"][2]["content"][0]["content"]
    assert "\n0\n" in first, f"a command saw a key or a base URL: {first}"
    told = server.requests[2]["messages"][4]["content"][0]["content"]
    assert told.startswith("Not done yet.")
    assert "FAILED" in told


@pytest.mark.parametrize(
    ("line", "args", "code", "says"),
    [
        (Fault("status", status=401, body=error("authentication_error", "invalid x-api-key")), (), 6, "ANTHROPIC_API_KEY"),
        pytest.param(
            Fault("status", status=429, body=error("rate_limit_error", "spend limit reached")),
            (),
            6,
            "spending limit",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            message([], "refusal") | {"stop_details": {"explanation": "I will not."}},
            (),
            4,
            "I will not.",
            marks=pytest.mark.slow,
        ),
        (call("shell", "t", command="true", why="x"), ("--max-cost", "1"), 5, "price of this model is unknown"),
        (call("finish", "t", outcome="unsupported", summary="needs a moon"), (), 7, "needs a moon"),
        pytest.param(say("I think it is done."), ("--max-turns", "1"), 5, "limit of 1 turns", marks=pytest.mark.slow),
    ],
    ids=["bad-key", "spend-limit", "refusal", "unknown-price", "unsupported", "turns"],
)
def test_every_other_end_has_its_exit_code_and_its_words(
    tmp_path: Path, line: Line, args: tuple[str, ...], code: int, says: str
) -> None:
    """Each way to end without success: its own exit code, the reason and what to do, and one request only."""
    done, server = install(tmp_path, [line], "--model", "test", *args)
    assert done.returncode == code, done.stdout + done.stderr
    assert says in done.stdout + done.stderr
    assert len(server.requests) == 1
