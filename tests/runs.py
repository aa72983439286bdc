"""Runs made of real events, for the tests of everything that reads them."""

from __future__ import annotations

from collections.abc import Iterator

from skillrun.events import (
    Changed,
    Checked,
    CheckResult,
    Decided,
    Decision,
    Effect,
    EffectKind,
    Event,
    Finished,
    Noted,
    Outcome,
    Output,
    Replied,
    Reply,
    Result,
    RunEnded,
    RunStarted,
    Started,
    State,
    ToolCall,
    Usage,
    Verdict,
)

INSTALL = (Effect(EffectKind.INSTALL, "jq", "apt"), Effect(EffectKind.PRIVILEGE, "root"), Effect(EffectKind.NETWORK, "apt"))
LOOK = (Effect(EffectKind.READ, "/etc/os-release"),)

CHANGES = {
    "counts": {"added": 3, "changed": 1, "removed": 0, "bytes": 123456},
    "packages": [
        {"manager": "apt", "name": "jq", "change": "installed", "version": "1.6-2.1"},
        {"manager": "apt", "name": "libjq1", "change": "upgraded", "version": "1.6-2.1", "old": "1.5"},
    ],
    "services": [{"name": "jq.socket", "change": "enabled"}],
    "accounts": [{"kind": "user", "name": "jq", "change": "added"}],
    "groups": [{"name": "programs of packages", "added": 3, "bytes": 120000, "examples": ["/usr/bin/jq"]}],
    "files": [
        {"path": "/etc/jq.conf", "change": "changed", "kind": "settings", "bytes": 40, "diff": "--- old\n+++ new\n-a\n+b\n"},
    ],
    "alerts": [{"level": "warning", "text": "a setting that was there is changed", "path": "/etc/jq.conf"}],
    "kept_out": [{"path": "/var/lib/apt/lists", "reason": "rebuilt at any time"}],
    "deferred": ["systemctl start jq.socket"],
}  # fmt: skip


def started(**given: str) -> RunStarted:
    """The first event of a run of the skill `jq`."""
    values = {"run_id": "r1", "verb": "install", "skill": "jq", "source": "bundled", "digest": "d", "model": "builtin"}
    return RunStarted(**{**values, "target": "local", "tier": "live", **given})  # type: ignore[arg-type]


def call(
    number: int,
    command: str,
    *,
    why: str = "",
    step: int | None = None,
    effects: tuple[Effect, ...] = LOOK,
    output: str = "",
    exit_code: int = 0,
    duration_s: float = 0.2,
    fidelity: str = "",
) -> Iterator[Event]:
    """A command that was allowed and ran, as its events."""
    wish = ToolCall(f"c{number}", "shell", {"command": command, "why": why}, step=step)
    yield Decided(wish, Decision(Verdict.ALLOW, "read-only" if effects == LOOK else "approved", "rule", effects))
    yield Started(wish, "/root")
    if output:
        yield Output(wish.id, output)
    result = Result(
        State.EXITED, exit_code, output, output_bytes=len(output), duration_s=duration_s, cwd="/root", fidelity=fidelity
    )
    yield Finished(wish, result)


def denied(number: int, command: str, reason: str = "it wants more than it declares") -> Iterator[Event]:
    """A command that was not allowed, as its events."""
    wish = ToolCall(f"c{number}", "shell", {"command": command})
    effects = (Effect(EffectKind.PERSISTENCE, "~/.bashrc"),)
    yield Decided(wish, Decision(Verdict.DENY, reason, "floor", effects))
    yield Finished(wish, Result(State.DENIED, output=reason))


def ended(outcome: Outcome = Outcome.VERIFIED, exit_code: int = 0, ok: bool = True) -> Iterator[Event]:
    """The checks and the last event."""
    checks = (CheckResult("jq --version", ok, 0 if ok else 127, "jq-1.6\n" if ok else "jq: not found\n"),)
    yield Checked(checks)
    yield RunEnded(outcome, exit_code, "every check passes", checks, 0.0123, 2, 2, 3.5, "r1")


def good() -> list[Event]:
    """A run that looks, repairs a failure, installs and is verified."""
    return [
        started(),
        Replied(Reply("I look first.", (), "builtin", Usage(100, 20, cost_usd=0.0123))),
        *call(1, "cat /etc/os-release", why="which distribution is it?", output="ID=debian\n"),
        *call(2, "apt-get install -y jq", step=1, effects=INSTALL, output="E: Unable to locate package jq\n", exit_code=100),
        Noted("package lists are stale: refreshing them", "warning"),
        *call(3, "apt-get update && apt-get install -y jq", step=1, effects=INSTALL, output="Setting up jq\n", duration_s=3.1),
        Changed(CHANGES, "recorded"),
        *ended(),
    ]


def refused() -> list[Event]:
    """A run that wanted more than it may, and ended denied."""
    return [started(), *call(1, "true"), *denied(2, "echo 'evil' >> ~/.bashrc"), *ended(Outcome.DENIED, 4, ok=False)]


HOSTILE = (
    "<script>alert(1)</script> [bold red]markup[/] \x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m ::error::forged "
    "\u202egnp.exe ]]> &amp; \"quoted\" 'x' {{ 7*7 }} \x00\x08 \x9b31m end"
)


def hostile() -> list[Event]:
    """A run in which every piece of text is written by an enemy."""
    wish = ToolCall("c1", "shell", {"command": f"echo {HOSTILE}", "why": HOSTILE})
    return [
        started(skill=HOSTILE, model=HOSTILE, source=HOSTILE),
        Replied(Reply(HOSTILE)),
        Decided(wish, Decision(Verdict.ALLOW, HOSTILE, HOSTILE, (Effect(EffectKind.WRITE, HOSTILE, HOSTILE),))),
        Started(wish, HOSTILE),
        Output("c1", HOSTILE + "\n"),
        Finished(wish, Result(State.EXITED, 1, HOSTILE + "\n::error::at the start\n" + HOSTILE, note=HOSTILE, cwd=HOSTILE)),
        Noted(HOSTILE, "warning"),
        Changed({HOSTILE: [HOSTILE], "files": HOSTILE}, "recorded"),
        Checked((CheckResult(HOSTILE, False, 1, HOSTILE, reason=HOSTILE),)),
        RunEnded(Outcome.CHECKS_FAILED, 3, HOSTILE, run_id="r1"),
    ]
