"""Figures of the model client: request size, cached share, time and memory. Run: python benchmarks/model.py

Everything is measured against a loopback server that answers at once, so times are the client's own. Tokens are counted
with the o200k vocabulary where the package `bpe-openai` is importable, else estimated at 4.2 bytes a token; both are
approximations of Claude's own tokenizer, which is not public. `--claude PROGRAM` also measures Claude Code's request for
the same one-line task, in the same minute, against the same server.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from skillrun.events import Event, Result, Said, State, Turn  # noqa: E402
from skillrun.llm.credentials import Credentials  # noqa: E402
from skillrun.llm.prompt import SYSTEM  # noqa: E402
from skillrun.llm.tools import definitions  # noqa: E402
from skillrun.models.anthropic import AnthropicModel  # noqa: E402
from skillrun.ports import Brief  # noqa: E402
from skillrun.skills.skill import Skill  # noqa: E402
from tests.messages_server import MessagesServer, call, say  # noqa: E402

TURNS = 20


def counter() -> tuple[Callable[[str], int], str]:
    """How tokens are counted here, and what that is called."""
    try:
        encoding = importlib.import_module("bpe_openai").get_encoding("o200k_base")
    except ImportError:
        return (lambda text: round(len(text.encode()) / 4.2)), "estimate, 4.2 bytes a token"
    return (lambda text: len(encoding.encode(text))), "o200k vocabulary"


def blocks(body: dict[str, Any]) -> list[str]:
    """A request as its cacheable blocks in the order the server sees them: tools, system, messages."""
    out = [json.dumps(tool) for tool in body["tools"]] + [json.dumps(part) for part in body["system"]]
    said = [block for message in body["messages"] for block in message["content"]]
    plain = ({key: value for key, value in block.items() if key != "cache_control"} for block in said)
    return out + [json.dumps(block, ensure_ascii=False) for block in plain]


def install() -> tuple[Brief, list[dict[str, Any]], float, float, float]:
    """A 20-turn install: the brief, the requests, median milliseconds a turn, of them worked, and to the first token."""
    skill = Skill("tool", "Tool", "A tool", "skill", "# Tool\n" + "Install it with the package manager of this machine.\n" * 40)
    facts = {"os": {"system": "linux", "id": "debian", "version": "12"}, "user": {"name": "dev", "home": "/home/dev"}}
    brief = Brief(skill, facts=facts, checks=("tool --version",))
    line = "Setting up package (1.2.3-4) ... done\n"
    turns: list[Turn] = []
    spans, busy, firsts = [], [], []
    replies = [
        call("shell", f"toolu_{n}", "Next step.", command=f"apt-get install -y part-{n}", why="next") for n in range(TURNS)
    ]
    with MessagesServer(replies) as server:
        model = AnthropicModel("claude-sonnet-5-5", Credentials("benchmark", "key"), server.url, native=True)
        list(_warm(server))
        for number in range(TURNS):
            began, worked = time.perf_counter(), time.thread_time()
            first = 0.0
            asked = model.reply(brief, turns)
            while True:
                try:
                    event: Event = next(asked)
                    if isinstance(event, Said) and not first:
                        first = time.perf_counter() - began
                except StopIteration as done:
                    reply = done.value
                    break
            spans.append(time.perf_counter() - began)
            busy.append(time.thread_time() - worked)
            firsts.append(first)
            output = line * (200 if number == 7 else 12 + number)
            result = Result(State.EXITED, 0, output[:8000], output_bytes=len(output), duration_s=2.0)
            turns.append(Turn(reply, ((reply.calls[0], result),)))
        requests = server.requests[-TURNS:]
    turn, own, first = (statistics.median(values) * 1000 for values in (spans, busy, firsts))
    return brief, requests, turn, own, first


def _warm(server: MessagesServer) -> list[Event]:
    """One request outside the measurement, so that the import is not counted as a turn."""
    with MessagesServer([say("warm")]) as other:
        model = AnthropicModel("claude-sonnet-5-5", Credentials("benchmark", "key"), other.url)
        return list(model.reply(Brief(Skill("x", "x", "x", "skill", "x")), ()))


def bare_turn_ms() -> float:
    """Median milliseconds of the same exchange with plain sockets: what no client can be faster than."""
    import http.client

    spans = []
    with MessagesServer([say("x" * 60)] * 40) as server:
        host = server.url.removeprefix("http://")
        for _ in range(40):
            began = time.perf_counter()
            connection = http.client.HTTPConnection(host)
            connection.request("POST", "/v1/messages", json.dumps({"model": "m"}), {"content-type": "application/json"})
            connection.getresponse().read()
            connection.close()
            spans.append(time.perf_counter() - began)
    return statistics.median(spans) * 1000


def claude_request(program: str) -> tuple[int, int, int]:
    """Requests, bytes of the first large one, and tools of Claude Code for a one-line task."""
    with MessagesServer([say("ok")] * 20) as server, tempfile.TemporaryDirectory() as home:
        env = {"HOME": home, "PATH": os.environ["PATH"], "ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "benchmark"}
        done = {"cwd": home, "env": env, "input": "Install jq.", "text": True, "timeout": 120}
        subprocess.run([program, "-p"], capture_output=True, check=False, **done)  # type: ignore[call-overload]
        sizes = [(len(json.dumps(body, ensure_ascii=False).encode()), len(body.get("tools", []))) for body in server.requests]
    largest = max(sizes, default=(0, 0))
    return len(sizes), *largest


SKILL = """---
name: made
description: A file.
metadata:
  skillrun-verify: test -e $HOME/made
---
# Made
"""
PROGRAM = """
import os, sys
import skillrun.models.anthropic
if os.environ["PRELOAD"] == "no":
    skillrun.models.anthropic.preload = lambda: None
from skillrun import cli
try:
    cli.program()
except SystemExit as end:
    code = end.code
with open(os.environ["PEAK"], "w") as file:
    file.writelines(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
sys.exit(code)
"""
"""The command line, which leaves its peak of memory behind; a parent's own memory would count into what it is told."""


def whole_run(turns: int, preload: bool = True) -> tuple[float, float, float]:
    """A real install in a process of its own: peak MB, processor seconds, ms from exec to the first request."""
    script = [call("shell", f"toolu_{n}", "Next step.", command=f"seq {n} 200", why="next") for n in range(turns - 2)]
    script.append(call("shell", "toolu_w", command="touch $HOME/made", why="what the skill asks for"))
    script.append(call("finish", "toolu_f", outcome="done", summary="done"))
    with MessagesServer(script) as server, tempfile.TemporaryDirectory() as home:
        Path(home, "SKILL.md").write_text(SKILL)
        env = {"HOME": home, "PATH": os.environ["PATH"], "TERM": "dumb", "PYTHONPATH": str(ROOT)}
        env |= {"ANTHROPIC_API_KEY": "benchmark", "ANTHROPIC_BASE_URL": server.url}
        env |= {"PEAK": f"{home}/peak", "PRELOAD": "yes" if preload else "no"}
        options = ["--approve", "all", "--no-input", "--model", "claude-sonnet-5-5"]
        argv = [sys.executable, "-c", PROGRAM, "install", f"{home}/SKILL.md", *options]
        began = time.monotonic()
        child = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"the run ended with exit code {child.returncode}")
        peak = int(Path(home, "peak").read_text().split()[1]) / 1024
        return peak, used.ru_utime + used.ru_stime, (server.times[0] - began) * 1000


def import_ms() -> float:
    """Milliseconds that importing the client takes in a process of its own (median of three)."""
    program = "import time; t = time.perf_counter(); import anthropic; print(time.perf_counter() - t)"
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout for _ in range(3)
    ]
    return statistics.median(float(text) for text in runs) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="how often exec to first request is measured, both ways")
    parser.add_argument("--claude", metavar="PROGRAM", help="also measure this Claude Code")
    options = parser.parse_args()
    count, method = counter()
    print(f"tokens: {method}; loopback server that answers at once; {TURNS} turns")
    ours = SYSTEM + json.dumps(definitions(), ensure_ascii=False)
    print(f"before the skill and the facts: {count(ours)} tokens, {len(ours.encode())} bytes (goal: 1500 tokens)")
    brief, requests, turn_ms, own_ms, first_ms = install()
    sizes = [sum(count(block) for block in blocks(body)) for body in requests]
    cached = [0]
    for before, after in itertools.pairwise(requests):
        old, new = blocks(before), blocks(after)
        same = next((at for at, (one, two) in enumerate(zip(old, new, strict=False)) if one != two), len(old))
        cached.append(sum(count(block) for block in new[:same]))
    print(f"first request, with a skill of {count(brief.skill.text)} tokens: {sizes[0]} tokens; last of {TURNS}: {sizes[-1]}")
    grown = [after - before for before, after in itertools.pairwise(sizes)]
    print(f"added a turn: median {statistics.median(grown):.0f} tokens")
    share = sum(cached) / sum(sizes)
    print(f"input tokens readable from cache over the run: {share:.1%} (goal: 90 %); all input {sum(sizes)}")
    bare = bare_turn_ms()
    print(f"time a turn: {turn_ms:.1f} ms, {own_ms:.1f} of them processor time (goal: 8 beyond the server)")
    print(f"bare HTTP in the same minute: {bare:.1f} ms a turn")
    print(f"first token: {first_ms:.1f} ms after the turn began")
    print(f"client import in its own process: {import_ms():.0f} ms, hidden in a thread beside facts and questions")
    peak, used, _ = whole_run(TURNS)
    _, short, _ = whole_run(2)
    print(f"a whole run of {TURNS} turns, real process: {peak:.1f} MB at its peak (goal: 96 MB)")
    print(f"processor time a turn there, command, policy and journal included: {(used - short) / (TURNS - 2) * 1000:.0f} ms")
    pairs = [(whole_run(2)[2], whole_run(2, preload=False)[2]) for _ in range(options.pairs)]
    with_it, without = (statistics.median(values) for values in zip(*pairs, strict=True))
    print(
        f"exec to first request: {with_it:.0f} ms; {without:.0f} ms when the client is imported only then ({len(pairs)} pairs)"
    )
    if options.claude:
        number, size, tools = claude_request(options.claude)
        mine = len(json.dumps(requests[0], ensure_ascii=False).encode())
        print(f"Claude Code, one-line task: {number} requests, the largest {size} bytes with {tools} tools")
        print(f"ours with a skill of its own length: {mine} bytes; theirs is {size / mine:.1f} times as large")


if __name__ == "__main__":
    main()
