"""The tools of the server: what an agent may ask skillrun to do. The person approves, never the agent.

Every tool answers within `ANSWER_S`: a longer run goes on, and `status` tells how it stands. Written for the `mcp` SDK 2.3,
which speaks the protocol of 2026-07-28 and those before it.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from mcp.server.elicitation import AcceptedElicitation, ElicitationResult
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, Field

from skillrun import __version__
from skillrun.errors import Problem, SkillrunError
from skillrun.overlay.process.egress_proxy import is_here
from skillrun.server.caller import Caller
from skillrun.server.held import Held, HeldRun, HeldUndo, Runs
from skillrun.server.skills import SkillsExtension

ANSWER_S = 45.0
"""Seconds after which a tool answers, whatever the run does: clients give a call a minute."""
BEAT_S = 3.0
"""Seconds between two words on what a run does."""
_SLOW = f"it could not be read within {ANSWER_S:.0f} s: try again, or name a skill that is on this machine"

INSTRUCTIONS = """\
skillrun installs software from a text (a skill) so that it can be seen before it happens and taken back afterwards.
1. `search` or `show` a skill: a bundled name, a path, a URL or owner/repo@skill.
2. `preview` it: everything runs in a copy-on-write view; nothing is changed on the machine. It answers with a run, and,
   when it is done, with the changes, a digest and the state `needs approval`. While it says `working`, ask `status`.
3. Show the person the message and call `commit` with that digest. The person is asked by skillrun, not by you: in a form of
   your client, or, where it has none, with `skillrun approve RUN` in a terminal of theirs.
4. `verify` and `plan` follow what was committed; `undo` takes it back, and is put to the person with `commit` too. Passwords
   are never given here: where one is needed the person continues with `skillrun resume RUN` in a terminal.
Done is what the checks say: `verified` true, never your own judgement."""


class Agreement(BaseModel):
    """The form a person fills in."""

    agree: bool = Field(description="Yes: do exactly this on my machine.")


def _answer(data: Mapping[str, Any], text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=dict(data))


def _told(status: Mapping[str, Any]) -> CallToolResult:
    """A run's status, and in words what to do next."""
    state = status["state"]
    if state == "needs approval":
        next_ = f"Show this to the person, then `commit` with the digest {status['digest']}:\n{status['message']}"
    elif state == "your turn":
        next_ = "Read `next`, then give one call with `do`."
    elif state == "working":
        next_ = f"{status['steps']} commands so far, now: {status['doing'][:200]}. Ask `status` again."
    else:
        next_ = f"{status['outcome']} (exit code {status['exit_code']}): {status['summary']}"
        next_ += f". It needs the person: `{status['needs']}` in a terminal of theirs" if "needs" in status else ""
    return _answer(status, f"run {status['run']}: {state}. {next_}")


def told_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a person could mend becomes an answer for the agent, with what to do next; nothing of the inside is told."""

    @functools.wraps(function)
    async def wrapped(*args: Any, **given: Any) -> Any:
        try:
            return await function(*args, **given)
        except Problem as problem:
            raise ToolError(f"{problem}{'. ' + problem.hint if problem.hint else ''}") from None
        except (SkillrunError, OSError, ValueError) as error:
            raise ToolError(str(error)) from None

    return wrapped


READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
FETCHES = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
REHEARSES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True)
ENDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
CHANGES = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True)

Seen = Context[Runs, Any]
"""What a tool knows of its request; the server's runs are in it."""


def build(forms: bool = True) -> MCPServer[Runs]:
    """The server with all its tools; runs end with it. `forms`: the person may answer in a form of the client."""
    server: MCPServer[Runs] = MCPServer(
        "skillrun", title="skillrun", instructions=INSTRUCTIONS, version=__version__,
        lifespan=functools.partial(_lifespan, forms=forms),
        extensions=[SkillsExtension()], log_level="ERROR",
    )  # fmt: skip
    for tool, hints in TOOLS.items():
        server.add_tool(told_errors(tool), tool.__name__.rstrip("_"), annotations=hints)
    return server


@asynccontextmanager
async def _lifespan(_: MCPServer[Runs], forms: bool) -> AsyncIterator[Runs]:
    from skillrun.run.effects import finish_what_was_cut

    runs = Runs(forms)
    await anyio.to_thread.run_sync(finish_what_was_cut)
    try:
        yield runs
    finally:
        runs.stop_all()


def _of(ctx: Seen, run: str) -> Held:
    try:
        return ctx.request_context.lifespan_context.of(run)
    except KeyError:
        raise ToolError(f"this server holds no run `{run}`: `preview` begins one") from None


def _skill_word(skill: str) -> str:
    """Raises ToolError for what would read this server's own input, or hand a file to the agent that is no document."""
    word = skill.strip()
    if word in ("", "-") or len(word) > 4096 or not word.isprintable():
        raise ToolError("name a skill: a bundled name, a path, a URL or owner/repo@skill")
    if "://" in word and is_here(urlsplit(word.removeprefix("git+")).hostname or ""):
        raise ToolError("what this machine itself serves is not for an agent to read: name a document or a folder instead")
    path = Path(word).expanduser()
    if path.exists() and not path.is_dir() and path.resolve().suffix.lower() not in (".md", ".markdown"):
        raise ToolError(f"{word} is no Markdown document and no directory with one")
    return word


async def _begun(ctx: Seen, start: Callable[[], Held]) -> CallToolResult:
    """Begin a run and wait for it. One that begins only when nobody waits any more, or was cancelled, is ended at once."""
    runs, until, waited_for = ctx.request_context.lifespan_context, anyio.current_time() + ANSWER_S, True

    def begin() -> Held:
        run = runs.hold(start())
        if not waited_for:
            run.stop()
        return run

    run: Held | None = None
    try:
        with anyio.move_on_at(until):
            run = await anyio.to_thread.run_sync(begin, abandon_on_cancel=True)
    finally:
        waited_for = run is not None
    if run is None:
        raise ToolError(_SLOW)
    return _told(await _waited(ctx, run, max(until - anyio.current_time(), 0.0)))


async def _waited(ctx: Seen, run: Held, seconds: float, ends: bool = True) -> dict[str, Any]:
    """Wait for a run, with a word on what it does every few seconds. `ends`: a call that is cancelled ends the run."""
    try:
        with anyio.move_on_after(seconds):
            while run.state == "working":
                await anyio.to_thread.run_sync(run.wait, BEAT_S, abandon_on_cancel=True)
                await ctx.report_progress(run.steps, None, run.doing[:120] or "reading the machine")
    except anyio.get_cancelled_exc_class():
        if ends:
            run.stop()
        raise
    return run.status()


def _has_forms(ctx: Seen) -> bool:
    """May, and can, this client put a form to its person?"""
    able = ctx.client_capabilities
    return ctx.request_context.lifespan_context.forms and able is not None and able.elicitation is not None


async def search(words: str = "") -> CallToolResult:
    """Skills there are by name: bundled, added, of this project and of the agents on this machine."""
    from skillrun.skills.sources import list_skills

    wanted = words.lower().split()
    found = [
        {"name": one.name, "description": one.description, "from": one.source, "path": one.path}
        for one in await anyio.to_thread.run_sync(list_skills)
        if all(word in f"{one.name} {one.description}".lower() for word in wanted)
    ]
    return _answer({"skills": found}, "\n".join(f"{row['name']}: {row['description']}" for row in found) or "none found")


async def show(skill: str) -> CallToolResult:
    """A skill's text, what was understood of it, its checks, inputs, effects and hosts. Nothing of it is run."""
    word = _skill_word(skill)
    with anyio.move_on_after(ANSWER_S):
        return await anyio.to_thread.run_sync(_shown, word, abandon_on_cancel=True)
    raise ToolError(_SLOW)


def _shown(word: str) -> CallToolResult:
    from skillrun.lint.effects import effects_of_skill
    from skillrun.skills.lock import own_files
    from skillrun.skills.sources import find_skill

    skill = find_skill(word)
    data = {
        "name": skill.name, "description": skill.description, "source": skill.source, "digest": skill.digest,
        "checks": [check.command for check in skill.checks],
        "inputs": [{"name": one.name, "default": one.default, "choices": list(one.choices)} for one in skill.inputs],
        "secrets": [secret.name for secret in skill.secrets],
        "effects": effects_of_skill(skill, own_files(skill)).kinds, "hosts": list(skill.declared.hosts or ()),
        "warnings": list(skill.warnings),
    }  # fmt: skip
    return _answer(data, skill.text)


async def explain(command: str) -> CallToolResult:
    """What a shell command would do on this machine and what would be decided. Nothing is run."""
    return await anyio.to_thread.run_sync(_explained, command)


def _explained(command: str) -> CallToolResult:
    from skillrun.host.place import here
    from skillrun.policy.judge import Judge, in_words
    from skillrun.policy.rulebook import load_rules

    decision = Judge(load_rules()).command(command, here()).decision
    effects = [{"kind": str(effect.kind), "subject": effect.subject} for effect in decision.effects]
    data = {"verdict": str(decision.verdict), "reason": decision.reason, "rule": decision.rule, "effects": effects}
    lines = [f"{decision.verdict}: {decision.reason}", *(f"  it {in_words(effect)}" for effect in decision.effects)]
    return _answer(data, "\n".join(lines))


async def preview(
    skill: str, ctx: Seen, inputs: dict[str, str] | None = None, decides: Literal["skillrun", "you"] = "skillrun"
) -> CallToolResult:
    """Carry a skill out in a copy-on-write view: nothing on the machine changes before a person has agreed.

    `decides`: skillrun (its engine, a proven plan or the model the person has set up), or you, call by call.
    """
    model = Caller() if decides == "you" else "auto"
    word = _skill_word(skill)
    return await _begun(ctx, lambda: HeldRun("install", word, "preview", inputs=inputs or {}, model=model))


async def verify(skill: str, ctx: Seen) -> CallToolResult:
    """Run only a skill's checks on the machine itself."""
    word = _skill_word(skill)
    return await _begun(ctx, lambda: HeldRun("verify", word, "live"))


async def status(run: str, ctx: Seen, wait_s: Annotated[float, Field(ge=0, le=ANSWER_S)] = 20.0) -> CallToolResult:
    """How a run stands; waits so long for it to stand at anything but work, or for the person to approve on the machine."""
    held = _of(ctx, run)
    question = held.person.question
    if question is not None and (not _has_forms(ctx) or held.person.closed == question.digest):
        await anyio.to_thread.run_sync(held.person.wait_for_word, question, wait_s, abandon_on_cancel=True)
    return _told(await _waited(ctx, held, wait_s, ends=False))


async def discard(run: str, ctx: Seen) -> CallToolResult:
    """End a run; what it did in its view is thrown away, and nothing was changed on the machine."""
    held = _of(ctx, run)
    held.stop()
    await anyio.to_thread.run_sync(held.thread.join, 20.0)
    return _told(held.status())


def word_on_run(run: str, digest: str, ctx: Seen) -> Elicit[Agreement] | Agreement:
    """The person's word on what this digest names. Asked twice it is the same question: the digest covers every letter."""
    question = _of(ctx, run).person.question
    if question is None or question.digest != digest or not _has_forms(ctx):
        return Agreement(agree=False)  # nothing is asked here, and the tool says what is wrong
    return Elicit(question.form(run), Agreement)


async def commit(
    run: str, digest: str, ctx: Seen, word: Annotated[ElicitationResult[Agreement], Resolve(word_on_run)]
) -> CallToolResult:
    """Put what a run waits for to the person: a command, in the end its changes, or taking them back. They decide.

    `digest` is the one `status` names: if what is asked has changed since, nothing is done.
    """
    held = _of(ctx, run)
    question = held.person.question
    if question is None:
        return _told(held.status())
    if question.digest != digest:
        raise ToolError("this digest is not of what is asked now: read `status` again and show it to the person")
    if not _has_forms(ctx):
        needed = f"skillrun approve {run}"
        text = f"this client has no form to ask the person with: they run `{needed}` in a terminal; then ask `status`"
        return _answer({**held.status(), "needs": needed}, text)
    if word.action == "cancel":  # also what a client does by itself where nobody sits at it
        held.person.closed = digest
        needed = f"skillrun approve {run}"
        text = f"the form was closed without an answer: the person can answer with `{needed}` in a terminal; then ask `status`"
        return _answer({**held.status(), "needs": needed}, text)
    held.person.answer(digest, isinstance(word, AcceptedElicitation) and word.data.agree)
    return _told(await _waited(ctx, held, ANSWER_S, ends=False))


async def next_(run: str, ctx: Seen) -> CallToolResult:
    """For a run you decide: the brief with the tools there are, or what your last call came to."""
    held, caller = _own(ctx, run)
    await _waited(ctx, held, ANSWER_S / 2, ends=False)
    return _turn(held, caller)


async def do(run: str, tool: str, ctx: Seen, input: dict[str, Any] | None = None) -> CallToolResult:  # noqa: A002
    """For a run you decide: one call of a tool that `next` names, through policy and walls like any other.

    `finish` ends it; the checks then decide.
    """
    held, caller = _own(ctx, run)
    caller.give(tool, input or {})
    await _waited(ctx, held, ANSWER_S, ends=False)
    return _turn(held, caller)


def _own(ctx: Seen, run: str) -> tuple[Held, Caller]:
    held = _of(ctx, run)
    if held.caller is None:
        raise ToolError("skillrun decides this run itself: `preview` with `decides` = you begins one of yours")
    return held, held.caller


def _turn(held: Held, caller: Caller) -> CallToolResult:
    """What the agent reads before its next call."""
    status_ = held.status()
    if status_["state"] != "your turn":
        return _told(status_)
    told = caller.told()
    parts = [str(told.get("brief", "")), *(str(row["result"]) for row in told.get("results", ()))]
    return _answer({**status_, **told}, "\n".join(part for part in parts if part))


async def undo(run: str, ctx: Seen) -> CallToolResult:
    """Take back what a run changed, by its id or `last`. It answers with what that means and a digest for `commit`."""
    held = ctx.request_context.lifespan_context.held(run)
    if held is not None and held.state != "ended":
        raise ToolError("that run is not over: `discard` ends it")
    return await _begun(ctx, lambda: HeldUndo(run))


async def plan(run: str = "last") -> CallToolResult:
    """The proven plan of a verified run, which installs the same on the next machine without a model."""
    return await anyio.to_thread.run_sync(_planned, run)


def _planned(run: str) -> CallToolResult:
    from skillrun.plans.distill import distilled
    from skillrun.plans.file import to_toml
    from skillrun.plans.plan import PlanError
    from skillrun.record.journal import JournalError, find_run, read_events

    try:
        folder = find_run(run)
        kept = folder.path / "plan.toml"
        text = kept.read_text("utf-8") if kept.exists() else to_toml(distilled(read_events(folder.journal)))
    except (PlanError, JournalError) as error:
        raise ToolError(str(error)) from None
    return _answer({"run": folder.id, "plan": text}, text)


TOOLS: Mapping[Callable[..., Any], ToolAnnotations] = {
    search: READS, show: FETCHES, explain: READS, preview: REHEARSES, status: READS, commit: CHANGES, discard: ENDS,
    next_: READS, do: REHEARSES, verify: REHEARSES, undo: REHEARSES, plan: READS,
}  # fmt: skip
"""What an agent may call, and what a client may tell its person of each."""
