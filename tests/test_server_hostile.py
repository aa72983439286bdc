"""The server under kills, crowds and nonsense: it answers or is gone, and the machine is whole either way."""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult

from tests.agent_home import SKILL, Home, home_in, needs_view, previewed, run, told, words

MANY = 3000
"""Files that a commit brings, so that there is a middle to be killed in."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A fresh home."""
    return home_in(tmp_path)


@needs_view
def test_killed_in_the_middle_of_a_commit_the_next_start_finishes_or_takes_back(home: Home) -> None:
    """kill -9 while files are being carried over: the next server has all of them or none there before it answers."""
    many = f"mkdir -p ~/many && cd ~/many && for i in $(seq {MANY}); do echo $i > $i; done; cd && mkdir -p"
    (home.path / "thing/SKILL.md").write_text(SKILL.replace("mkdir -p", many, 1))
    (home.path / "many").mkdir()  # it is there, so the files come one by one
    middle: list[int] = []

    async def killed() -> None:
        async with home.client() as client:
            status = await previewed(client, home)
            while status["asked"] == "command":  # what it writes to is not known beforehand
                status = told(await client.call_tool("commit", {"run": status["run"], "digest": status["digest"]}))
            server = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "skillrun mcp"], capture_output=True, check=True)

            def kill_in_the_middle() -> None:
                until = time.monotonic() + 60
                while time.monotonic() < until and not brought(home):
                    time.sleep(0.001)
                os.kill(int(server.stdout.split()[0]), signal.SIGKILL)

            async with anyio.create_task_group() as group:
                group.start_soon(anyio.to_thread.run_sync, kill_in_the_middle)
                with pytest.raises(MCPError):
                    await client.call_tool("commit", {"run": status["run"], "digest": status["digest"]})
            middle.append(brought(home))

    async def afterwards() -> None:
        async with home.client() as client:
            assert told(await client.call_tool("search", {"words": "redis"}))["skills"]
            assert (brought(home), home.thing.exists()) in ((0, False), (MANY, True))

    run(killed)
    assert 0 < middle[0] < MANY
    run(afterwards)


def brought(home: Home) -> int:
    """How many of the many files are on the machine."""
    return len(os.listdir(home.path / "many"))


@needs_view
def test_two_clients_do_not_meet(home: Home) -> None:
    """Another server of the same user can neither commit, end nor undo this one's run, and begins none beside it."""

    async def story() -> None:
        async with home.client() as one, home.client() as other:
            status = await previewed(one, home)
            mine = {"run": status["run"], "digest": status["digest"]}
            for tool, given_ in (("commit", mine), ("discard", {"run": status["run"]}), ("status", {"run": status["run"]})):
                refused = await other.call_tool(tool, given_)
                assert (refused.is_error, "holds no run" in words(refused)) == (True, True)
            for tool, given_ in (("preview", {"skill": str(home.path / "thing")}), ("undo", {"run": status["run"]})):
                busy = await other.call_tool(tool, given_)
                assert "another run" in words(busy) or status["run"] in words(busy), words(busy)
                assert busy.is_error or told(busy)["exit_code"] != 0
            assert home.asked == []
            assert told(await one.call_tool("status", {"run": status["run"], "wait_s": 0}))["digest"] == status["digest"]
            assert told(await one.call_tool("commit", mine))["verified"]

    run(story)


@pytest.mark.slow
@needs_view
def test_fifty_calls_of_every_kind_at_once(home: Home) -> None:
    """A crowd of calls while a run waits: each is answered, and the run is as it was."""

    async def story() -> None:
        async with home.client() as client:
            status = await previewed(client, home)
            mine = {"run": status["run"]}
            kinds: list[tuple[str, dict[str, Any]]] = [
                ("search", {"words": "redis"}), ("show", {"skill": "redis"}), ("explain", {"command": "rm -rf ~"}),
                ("status", {**mine, "wait_s": 0}), ("commit", {**mine, "digest": "sha256:" + "0" * 64}),
                ("preview", {"skill": str(home.path / "thing")}), ("do", {**mine, "tool": "shell", "input": {"command": "id"}}),
                ("plan", mine), ("show", {"skill": "no-such"}), ("undo", mine),
            ]  # fmt: skip
            answers: list[tuple[str, CallToolResult]] = []

            async def ask(tool: str, given_: dict[str, Any]) -> None:
                answers.append((tool, await client.call_tool(tool, given_)))

            async with anyio.create_task_group() as group:
                for _ in range(5):
                    for tool, given_ in kinds:
                        group.start_soon(ask, tool, given_)
            assert len(answers) == 50
            refused = {tool for tool, answer in answers if answer.is_error}
            assert refused >= {"commit", "do", "undo"}
            assert not refused & {"search", "explain", "status"}
            assert told(await client.call_tool("status", {**mine, "wait_s": 0}))["digest"] == status["digest"]
            assert home.asked == []
            told(await client.call_tool("discard", mine))

    run(story)
    assert not home.thing.exists()


@pytest.mark.slow
@needs_view
def test_a_long_preview_says_what_it_does(home: Home) -> None:
    """Every few seconds the client is told how many commands there were and which one runs."""
    (home.path / "thing/SKILL.md").write_text(SKILL.replace("mkdir -p", "sleep 9 && mkdir -p", 1))
    told_: list[tuple[float, str]] = []

    async def seen(progress: float, total: float | None, message: str | None) -> None:
        told_.append((time.monotonic(), message or ""))

    async def story() -> None:
        async with home.client() as client:
            given_ = {"skill": str(home.path / "thing")}
            status = told(await client.call_tool("preview", given_, progress_callback=seen))
            assert status["state"] == "needs approval"
            told(await client.call_tool("discard", {"run": status["run"]}))

    run(story)
    assert any("sleep 9" in message for _, message in told_)
    assert max(after - before for (before, _), (after, _) in itertools.pairwise(told_)) < 6


class Raw:
    """A server that is spoken to in bytes."""

    def __init__(self, home: Home) -> None:
        command = [sys.executable, "-m", "skillrun", "mcp"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=home.env, cwd=home.path
        )
        self.number = 0
        self.buffer = b""
        info = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
        self.send(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": info}).encode())
        self.send(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')

    def send(self, line: bytes) -> None:
        """One line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.replace(b"\n", b" ") + b"\n")
        self.process.stdin.flush()

    def alive(self, seconds: float = 30) -> bool:
        """Does it still answer?"""
        self.number += 1
        wanted = f'"ping-{self.number}"'.encode()
        self.send(json.dumps({"jsonrpc": "2.0", "id": f"ping-{self.number}", "method": "ping"}).encode())
        assert self.process.stdout is not None
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if wanted in self.buffer:
                self.buffer = b""
                return True
            if select.select([self.process.stdout], [], [], 1)[0]:
                piece = os.read(self.process.stdout.fileno(), 1 << 16)
                if not piece:
                    return False
                self.buffer += piece
        return False

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Raw, Path]]:
    """One server for all nonsense, and its home: a skill there leaves a mark wherever it is carried out."""
    home = home_in(tmp_path_factory.mktemp("home"))
    server = Raw(home)
    yield server, home.path
    server.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
METHODS = ("tools/call", "tools/list", "resources/read", "resources/list", "skills/list", "skills/get", "initialize", "ping",
           "server/discover", "completion/complete", "notifications/cancelled", "prompts/get", "logging/setLevel")  # fmt: skip
TOOLS = ("search", "show", "explain", "preview", "status", "commit", "discard", "verify", "undo", "plan", "next", "do")
PATHS = st.sampled_from(
    ("/etc/passwd", "../..", "skill://redis/../../x", "-", "file:///etc/shadow", "https://127.0.0.1:9/x", "\0")
)
FIELDS = ("run", "digest", "skill", "command", "tool", "input", "inputs", "decides", "wait_s", "words", "word", "ctx")
CALLS = st.builds(
    lambda name, fields: {"name": name, "arguments": fields},
    st.sampled_from(TOOLS),
    st.dictionaries(st.sampled_from(FIELDS), JSON | PATHS, max_size=4) | JSON,
)
MESSAGES = st.builds(
    lambda number, method, params: {"jsonrpc": "2.0", "id": number, "method": method, "params": params},
    st.integers() | st.text(max_size=5) | JSON,
    st.sampled_from(METHODS) | st.text(max_size=12),
    JSON | CALLS | st.builds(lambda uri: {"uri": uri}, PATHS | st.text(max_size=20)),
)
LINES = (
    MESSAGES.map(lambda message: json.dumps(message).encode())
    | CALLS.map(lambda call: json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": call}).encode())
    | st.binary(max_size=60)
    | st.sampled_from((b"[" * 5000, b'{"jsonrpc":"2.0","id":1e999,"method":"ping"}', b"\xff\xfe", b"[]", b"{}", b"null"))
)


def nonsense(raw: tuple[Raw, Path], lines: list[bytes]) -> None:
    """Say this, and see that it still answers and nothing was run."""
    server, home = raw
    for line in lines:
        server.send(line)
    assert server.alive()
    assert not (home / ".local/bin/thing").exists()
    runs = home / ".state/skillrun/runs"
    assert not runs.is_dir() or not list(runs.glob("*/changes/state.json")), "nothing was committed"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(lines=st.lists(LINES, min_size=1, max_size=4))
def test_nonsense_neither_ends_the_server_nor_runs_anything(raw: tuple[Raw, Path], lines: list[bytes]) -> None:
    """Whatever stands in a request, the next one is answered."""
    nonsense(raw, lines)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(lines=st.lists(LINES, min_size=1, max_size=6))
def test_much_nonsense(raw: tuple[Raw, Path], lines: list[bytes]) -> None:
    """The same, five hundred times."""
    nonsense(raw, lines)
