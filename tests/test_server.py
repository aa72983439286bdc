"""Other agents install through the server: the real client of the SDK, both protocols, hostile callers; the person approves."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ElicitResult

from skillrun.server.tools import _skill_word
from tests.agent_home import PROTOCOLS, ROOT, SKILL, Home, home_in, needs_view, previewed, run, told, words
from tests.terminal import Terminal

SLOW = f"sleep 987{os.getpid()}"
"""No other process on the machine is called so."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A fresh home."""
    return home_in(tmp_path)


@needs_view
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_seen_then_agreed_then_verified_then_undone(home: Home, protocol: str) -> None:
    """Nothing changes before the person agrees, in the form, to the very changes that were shown; then it can be taken back."""

    async def story() -> None:
        async with home.client(protocol) as client:
            assert client.protocol_version == protocol
            status = await previewed(client, home)
            assert status["state"] == "needs approval"
            assert not home.thing.exists()
            assert "command thing" in status["message"]
            assert status["checks"] == ["test -x ~/.local/bin/thing"]
            done = told(await client.call_tool("commit", {"run": status["run"], "digest": status["digest"]}))
            assert home.asked == [status["message"]]
            assert (done["outcome"], done["verified"], home.thing.exists()) == ("verified", True, True)
            again = told(await client.call_tool("commit", {"run": status["run"], "digest": status["digest"]}))
            assert again["outcome"] == "verified"
            assert len(home.asked) == 1, "what is over is not asked about again"
            assert told(await client.call_tool("verify", {"skill": str(home.path / "thing")}))["verified"]
            assert "test -x" in words(await client.call_tool("plan", {"run": status["run"]}))
            back = told(await client.call_tool("undo", {"run": "last"}))
            assert (back["run"], back["state"], back["asked"]) == (status["run"], "needs approval", "undo")
            assert home.thing.exists()
            undone = told(await client.call_tool("commit", {"run": back["run"], "digest": back["digest"]}))
            assert (undone["exit_code"], home.asked[1:]) == (0, [back["message"]])
            assert not home.thing.exists()

    run(story)


def test_a_form_shows_what_is_most_telling() -> None:
    """A long list is cut in the middle, where its files are, with how to see all; what runs afterwards stays."""
    from skillrun.server.awaited import FORM_LINES, Question

    lines = ("! runs by itself", *(f"file {number}" for number in range(90)), "afterwards this runs")
    asked = Question("commit", "Commit?", lines, "sha256:x").form("the-run").splitlines()
    assert (asked[0], asked[1], asked[-1]) == ("Commit?", "! runs by itself", "afterwards this runs")
    assert len(asked) == FORM_LINES + 2
    assert any("72 more lines" in line and "skillrun approve the-run" in line for line in asked)


@needs_view
@pytest.mark.parametrize(
    "says",
    [ElicitResult(action="accept", content={"agree": False}), ElicitResult(action="decline")],
    ids=["unticked", "declined"],
)
def test_a_no_changes_nothing(home: Home, says: ElicitResult) -> None:
    """A form that is declined, or sent with no, discards: outcome and exit code say so."""
    home.says = says

    async def story() -> None:
        async with home.client() as client:
            status = await previewed(client, home)
            done = told(await client.call_tool("commit", {"run": status["run"], "digest": status["digest"]}))
            assert (done["outcome"], done["exit_code"], done["verified"]) == ("discarded", 4, False)
            assert not home.thing.exists()

    run(story)


@needs_view
def test_a_closed_form_leaves_the_question_open(home: Home) -> None:
    """A form that is closed is no answer: the run still waits, and is told how else it can be answered."""
    home.says = ElicitResult(action="cancel")

    async def story() -> None:
        async with home.client() as client:
            status = await previewed(client, home)
            closed = told(await client.call_tool("commit", {"run": status["run"], "digest": status["digest"]}))
            assert (closed["state"], closed["needs"]) == ("needs approval", f"skillrun approve {status['run']}")
            home.says = ElicitResult(action="decline")
            assert told(await client.call_tool("commit", {"run": status["run"], "digest": status["digest"]}))["exit_code"] == 4

    run(story)


@needs_view
def test_an_agent_cannot_agree_by_itself(home: Home) -> None:
    """Forged digests, made-up runs and a client without forms approve nothing; the machine's own terminal does."""

    async def story() -> None:
        async with home.client(forms=False) as client:
            status = await previewed(client, home)
            forged = f"sha256:{hashlib.sha256(b'x').hexdigest()}"
            for digest in (forged, "", status["digest"].upper()):
                refused = await client.call_tool("commit", {"run": status["run"], "digest": digest})
                assert refused.is_error
                assert "digest" in words(refused)
            assert (await client.call_tool("commit", {"run": "20200101-x", "digest": status["digest"]})).is_error
            waits = told(await client.call_tool("commit", {"run": status["run"], "digest": status["digest"]}))
            assert (waits["state"], waits["needs"]) == ("needs approval", f"skillrun approve {status['run']}")
            command = [sys.executable, "-m", "skillrun", "approve", status["run"]]
            piped = await anyio.to_thread.run_sync(
                lambda: subprocess.run(command, env=home.env, input="y\n", capture_output=True, text=True, check=False)
            )
            assert piped.returncode == 4, "no terminal, no person"
            assert not home.thing.exists()
            await anyio.to_thread.run_sync(approve_at_terminal, home, status["run"])
            done = told(await client.call_tool("status", {"run": status["run"], "wait_s": 40}))
            assert (done["outcome"], home.thing.exists()) == ("verified", True)

    run(story)


def approve_at_terminal(home: Home, run_id: str) -> None:
    """A person reads the changes and says yes."""
    source = f"import sys; from skillrun.cli import main; sys.exit(main(['approve', {run_id!r}]))"
    with Terminal(source, rows=30, columns=100, environment=home.env) as terminal:
        screen = terminal.wait_for("[y/N]:")
        assert "command thing" in screen
        terminal.type("y\n")
        terminal.wait_for("agreed")
        terminal.rest()


@needs_view
def test_what_changed_since_is_not_committed(home: Home) -> None:
    """A file that came to the same place after the preview stops the commit, whatever was agreed to."""

    async def story() -> None:
        async with home.client() as client:
            status = await previewed(client, home)
            home.thing.parent.mkdir(parents=True, exist_ok=True)
            home.thing.write_text("the person's own")
            done = told(await client.call_tool("commit", {"run": status["run"], "digest": status["digest"]}))
            assert done["exit_code"] != 0
            assert home.thing.read_text() == "the person's own"

    run(story)


@needs_view
def test_the_agent_may_decide_call_by_call(home: Home) -> None:
    """With `decides` = you it gets the brief and gives calls, each through the policy; the checks still have the last word."""

    async def story() -> None:
        async with home.client() as client:
            status = await previewed(client, home, decides="you")
            assert status["state"] == "your turn"

            async def do(tool: str, **given: object) -> CallToolResult:
                return await client.call_tool("do", {"run": status["run"], "tool": tool, "input": given})

            asked = told(await client.call_tool("next", {"run": status["run"]}))
            assert "thing" in asked["brief"]
            assert {"shell", "finish"} <= {tool["name"] for tool in asked["tools"]}
            denied = told(await do("shell", command="rm -rf /", why="to see"))
            assert "denied" in denied["results"][0]["result"]
            assert (await do("shell", cmd="ls")).is_error
            lied = told(await do("finish", outcome="done", summary="x"))
            assert "Not done yet" in lied["results"][0]["result"]
            assert not lied.get("verified")
            command = "mkdir -p ~/.local/bin; printf '#!/bin/sh\\n' > ~/.local/bin/thing; chmod +x ~/.local/bin/thing"
            told(await do("shell", command=command, why="make it"))
            end = told(await do("finish", outcome="done", summary="x"))
            assert end["state"] == "needs approval"
            done = told(await client.call_tool("commit", {"run": end["run"], "digest": end["digest"]}))
            assert done["verified"]

    run(story)


@needs_view
def test_a_killed_server_leaves_nothing(home: Home) -> None:
    """Killed while a preview waits: nothing on the machine, and the next server begins clean."""

    async def killed() -> None:
        async with home.client() as client:
            status = await previewed(client, home)
            found = subprocess.run(
                ["pgrep", "-f", "-P", str(os.getpid()), "skillrun mcp"], capture_output=True, text=True, check=True
            )
            os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
            with pytest.raises(MCPError):
                await client.call_tool("commit", {"run": status["run"], "digest": status["digest"]})

    run(killed)
    assert not home.thing.exists()

    async def afterwards() -> None:
        async with home.client() as client:
            status = await previewed(client, home)
            assert status["state"] == "needs approval"
            told(await client.call_tool("discard", {"run": status["run"]}))

    run(afterwards)
    assert not home.thing.exists()


@needs_view
def test_discarding_and_cancelling_end_a_run(home: Home) -> None:
    """A run that takes long is ended by `discard`, and by a cancelled call; nothing of it goes on."""
    slow = SKILL.replace("mkdir -p", f"{SLOW} && mkdir -p")
    (home.path / "thing/SKILL.md").write_text(slow)

    async def story() -> None:
        async with home.client() as client:
            with anyio.move_on_after(6):
                await client.call_tool("preview", {"skill": str(home.path / "thing")})
            until = time.monotonic() + 30
            while sleeping() and time.monotonic() < until:
                await anyio.sleep(0.2)
            assert not sleeping()
            assert told(await client.call_tool("search", {"words": "redis"}))["skills"]

    run(story)
    assert not home.thing.exists()


def sleeping() -> bool:
    """Is anything of the slow skill still there?"""
    return subprocess.run(["pgrep", "-f", f"^{SLOW}"], capture_output=True, check=False).returncode == 0


def test_reading_needs_nobody_and_runs_nothing(home: Home) -> None:
    """search, show and explain answer at once, fifty at a time, and read their own standard input never."""
    (home.path / "trap").mkdir()
    (home.path / "trap/SKILL.md").write_text(SKILL.replace("thing", "trap") + "\n```bash\ntouch ~/canary\n```\n")

    async def story() -> None:
        async with home.client() as client:
            shown = told(await client.call_tool("show", {"skill": str(home.path / "trap")}))
            assert shown["checks"] == ["test -x ~/.local/bin/trap"]
            assert (await client.call_tool("show", {"skill": "-"})).is_error
            assert (await client.call_tool("preview", {"skill": " - "})).is_error
            assert (await client.call_tool("show", {"skill": "no-such-skill"})).is_error
            answers: list[CallToolResult] = []

            async def ask(number: int) -> None:
                answers.append(await client.call_tool("explain", {"command": f"rm -rf /tmp/{number}"}))

            async with anyio.create_task_group() as group:
                for number in range(50):
                    group.start_soon(ask, number)
            assert len(answers) == 50
            assert all(told(answer)["verdict"] for answer in answers)
            assert told(await client.call_tool("explain", {"command": "rm -rf /"}))["verdict"] == "deny"

    run(story)
    assert not (home.path / "canary").exists()


HOSTILE: list[tuple[str, dict[str, Any]]] = [
    ("commit", {}),
    ("commit", {"run": 1, "digest": []}),
    ("status", {"run": "../../etc/passwd"}),
    ("status", {"run": "x", "wait_s": 1e9}),
    ("undo", {"run": "../../../etc"}),
    ("plan", {"run": "\0"}),
    ("do", {"run": "x", "tool": "shell", "input": "ls"}),
    ("show", {"skill": "/etc/shadow"}),
    ("show", {"skill": "x" * 100_000}),
    ("explain", {"command": "a|" * 200_000}),
    ("preview", {"skill": "/dev/zero"}),
    ("preview", {"skill": "https://127.0.0.1:9/x.md"}),
    ("preview", {"skill": "file:///etc/passwd"}),
    ("nonsense", {}),
    ("preview", {"skill": "redis", "decides": "me"}),
    ("preview", {"skill": "redis", "inputs": {"NOPE": "1"}}),
]
"""A tool and what it is given: each is to be answered with an error, or what it would do with a verdict."""


def test_hostile_calls_are_answered_and_run_nothing(home: Home) -> None:
    """Wrong types, paths that lead out, things that never end: an error each, and the server answers the next call."""

    async def story() -> None:
        async with home.client(forms=False) as client:
            for tool, given in HOSTILE:
                try:
                    result = await client.call_tool(tool, given)
                except MCPError:
                    continue
                data = result.structured_content or {}
                assert result.is_error or data.get("exit_code") or tool == "explain", (tool, given, result)
                assert "Traceback" not in words(result)
            assert told(await client.call_tool("search", {"words": "redis"}))["skills"]

    run(story)


def test_the_tools_tell_the_truth_of_themselves(home: Home) -> None:
    """What reads says so, what changes the machine says so, and every tool has a description and a schema."""

    async def story() -> None:
        async with home.client() as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            reading = {name for name, tool in tools.items() if tool.annotations and tool.annotations.read_only_hint}
            assert reading == {"search", "show", "explain", "status", "next", "plan"}
            assert {name for name, tool in tools.items() if tool.annotations and tool.annotations.destructive_hint} == {
                "commit"
            }
            assert all(tool.description and "ctx" not in str(tool.input_schema) for tool in tools.values())
            assert "word" not in tools["commit"].input_schema["properties"], "the person's word is no argument"

    run(story)


def test_skills_are_served_with_their_digests(home: Home) -> None:
    """`skills/list` and `skills/get` name every file of each bundled skill; what is read is what they name."""
    from mcp_types import PaginatedRequestParams
    from pydantic import BaseModel, ConfigDict

    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")

    async def story() -> None:
        from mcp_types import Request

        async with home.client() as client:
            listed = await client.session.send_request(Request(method="skills/list", params=PaginatedRequestParams()), Open)
            skills = {skill["frontmatter"]["name"]: skill for skill in listed.model_dump()["skills"]}
            assert {"redis", "ripgrep"} <= set(skills)
            resource = skills["redis"]["resources"][0]
            read = (await client.read_resource(resource["uri"])).contents[0]
            data = read.text.encode()  # type: ignore[union-attr]
            assert (len(data), f"sha256:{hashlib.sha256(data).hexdigest()}") == (resource["size"], resource["digest"])
            assert data == (ROOT / "skills/redis/SKILL.md").read_bytes()

    run(story)


@needs_view
def test_the_agents_own_key_is_not_spent(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent's credentials in the environment choose no model here: the engine that needs none decides."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-of-the-agent")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")

    async def story() -> None:
        async with home.client() as client:
            assert (await previewed(client, home))["state"] == "needs approval"

    run(story)


def test_without_the_extra_it_says_what_to_install(home: Home) -> None:
    """`skillrun mcp` where the SDK is missing is an error with what to do; on a terminal it says what it is."""
    program = "import sys; sys.modules['mcp'] = None; from skillrun.cli import main; sys.exit(main(['mcp']))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=home.env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert (done.returncode, "skillrun-agent[mcp]" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "word",
    ["http://127.0.0.1:9/x.md", "http://localhost/x.md", "https://[::1]/x.md", "https://169.254.169.254/latest/meta-data",
     "git+ssh://localhost/x", "https://127.9.9.9/x"],
)  # fmt: skip
def test_an_agent_reads_nothing_that_this_machine_serves(word: str) -> None:
    """The server stands where the agent may not: it is no way to the machine's own services or a cloud's metadata."""
    with pytest.raises(ToolError, match="this machine itself serves"):
        _skill_word(word)
    assert _skill_word("https://docs.example.org/install.md")
