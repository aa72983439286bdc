"""The agent a person already has (Claude Code, Codex, Gemini CLI), run in its own headless mode.

It is one call like any other: shown whole, decided upon, carried out by the target (in a preview where one was asked
for), journalled. What the agent says at the end is a claim; the checks decide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace

from skillrun.events import CheckResult, Event, Noted, Reply, Result, State, ToolCall, Turn
from skillrun.llm.prompt import BadReport, paste_text, read_report
from skillrun.ports import Brief, ModelUnavailable

ROUNDS = 2
"""How often the agent is started: once, and once more when a check fails after it said it was done."""
QUIET_S = 600.0
"""A headless agent prints nothing until it is done, so silence is normal."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A program's headless command line. The task comes on its standard input."""

    program: str
    title: str
    command: str
    """As its own help and documentation state it; tried with the real programs, see docs/models.md."""
    install: str


AGENTS: Mapping[str, Agent] = {
    "claude": Agent(
        "claude",
        "Claude Code",
        "claude -p --output-format text --permission-mode acceptEdits --allowedTools Bash Read Edit Write",
        "npm install -g @anthropic-ai/claude-code, then run `claude` once to log in",
    ),
    "codex": Agent(
        "codex",
        "Codex",
        "codex exec --skip-git-repo-check --sandbox danger-full-access --color never -",
        "npm install -g @openai/codex, then `codex login`",
    ),
    "gemini": Agent(
        "gemini",
        "Gemini CLI",
        "gemini --skip-trust --approval-mode yolo --output-format text",
        "npm install -g @google/gemini-cli, then run `gemini` once to log in",
    ),
}
"""Whom `--via` can name."""


_AGAIN = (
    "\nSomething was done for this task before, and it was cut off or another agent did it. Find out what is there before you "
    "act, and do nothing twice.\n"
)
"""For an agent that is started when the run had begun already: after a crash, or as the next one of a chain."""


class ViaModel:
    """Hands the whole task to another agent. `name` is one of AGENTS. Raises KeyError for another."""

    def __init__(self, name: str) -> None:
        self.agent = AGENTS[name]
        self.name = f"via:{name}"
        self._key = name
        self._began = False

    def reply(self, brief: Brief, turns: Sequence[Turn]) -> Generator[Event, None, Reply]:
        """Start the agent, wait for it, finish. Raises ModelUnavailable when it is absent or fails."""
        number, fresh = len(turns), not self._began
        self._began = True
        if not turns or (fresh and turns[-1].results[-1][0].name != "finish"):
            yield Noted(
                f"{self.agent.title} works on its own authority; skillrun sees what it changed, not each of its commands"
            )
            return self._call(number, "shell", self._start(brief, (), _AGAIN if turns else ""))
        call, result = turns[-1].results[-1]
        if call.name == "finish":
            rounds = sum(made.command.startswith(self.agent.command) for turn in turns for made, _ in turn.results)
            if rounds >= ROUNDS and not fresh:
                return self._call(number, "finish", {"outcome": "stuck", "summary": f"{self.agent.title} did not get there"})
            return self._call(number, "shell", self._start(brief, (CheckResult("the checks", False, None, result.output),)))
        if result.state is State.QUIET:
            return self._call(number, "shell_input", {"action": "wait", "timeout_s": QUIET_S})
        if result.state is State.WAITING:
            return self._call(number, "shell_input", {"action": "interrupt"})
        return self._call(number, "finish", self._ended(result))

    def _call(self, number: int, name: str, given: dict[str, object]) -> Reply:
        return Reply(calls=(ToolCall(f"via-{number}", name, given),), model=self.name)

    def _start(self, brief: Brief, failed: Sequence[CheckResult], said: str = "") -> dict[str, object]:
        """The shell call that runs the agent with the task on its standard input."""
        source = brief.skill.source or brief.skill.name
        text = paste_text(replace(brief, skill=replace(brief.skill, source=source)), self._key)
        text += (
            "\nNobody is at the keyboard: do not wait for an answer. You may run what the skill needs within the rules above; "
            "leave out anything the person would have to decide, and report it.\n"
        )
        text += said
        for check in failed:
            text += f"\nA first attempt was made, but the checks say:\n{check.output}\nFind out why and mend it.\n"
        mark = f"SKILLRUN_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        return {
            "command": f"{self.agent.command} <<'{mark}'\n{text}{mark}",
            "why": f"let {self.agent.title} carry the skill out",
            "timeout_s": QUIET_S,
        }

    def _ended(self, result: Result) -> dict[str, object]:
        """What the agent's end means. Raises ModelUnavailable when it never worked on the task."""
        if result.state is State.DENIED:
            return {"outcome": "needs_person", "summary": f"starting {self.agent.title} was not allowed"}
        if result.state is State.EXITED and result.exit_code == 127:
            raise ModelUnavailable(f"{self.agent.title} is not installed ({self.agent.program})", self.agent.install)
        if not result.ok:
            last = next((line.strip() for line in reversed(result.output.splitlines()) if line.strip()), "no output")
            how = f"exit code {result.exit_code}" if result.state is State.EXITED else str(result.state)
            hint = f"try `{self.agent.program}` by itself: it must be logged in; keys in the environment do not reach it"
            raise ModelUnavailable(f"{self.agent.title} failed ({how}): {last[:200]}", hint)
        try:
            report = read_report(result.output)
        except BadReport:
            return {"outcome": "done", "summary": f"{self.agent.title} ended without a report"}
        outcome = str(report.get("outcome"))
        left = "; ".join(str(item) for item in report.get("left_to_do") or ())
        known = outcome if outcome in ("done", "stuck", "needs_person", "refused", "unsupported") else "done"
        return {"outcome": known, "summary": f"{self.agent.title} reports: {known}{'; left to do: ' + left if left else ''}"}
