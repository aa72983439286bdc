"""`skillrun mcp` serves other agents; `skillrun approve` gives a person's word to a run that one of them began."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import termios

import click

from skillrun.cli.page import Page
from skillrun.errors import Problem
from skillrun.events import SCHEMA

CALLERS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL")
"""An agent hands its own environment to its servers: its key is for its own requests, and no run here is to spend it."""


@click.command("mcp", cls=Page, examples=("skillrun mcp", "claude mcp add skillrun -- skillrun mcp", "skillrun mcp --terminal"))
@click.option("--terminal", is_flag=True, help="Never ask in a form of the client: only `skillrun approve` agrees to anything.")
def mcp_command(terminal: bool) -> int:
    """Serve the Model Context Protocol on standard input and output, for agents that install through skillrun."""
    try:
        from skillrun.server.tools import build
    except ImportError as error:
        raise Problem(f"the server needs more than is installed ({error.name})", "install skillrun-agent[mcp]") from None
    if sys.stdin.isatty():
        raise Problem("this speaks a protocol that nobody types", "an agent starts it: see docs/agents.md")
    _leave_terminal()
    for name in CALLERS:
        os.environ.pop(name, None)
    build(forms=not terminal).run("stdio")
    return 0


def _leave_terminal() -> None:
    """Have no controlling terminal: no program of a run may ask a person who talks to their agent there."""
    with contextlib.suppress(OSError):
        os.setsid()
    with contextlib.suppress(OSError), open("/dev/tty", "rb", buffering=0) as terminal:
        fcntl.ioctl(terminal, termios.TIOCNOTTY)


@click.command("approve", cls=Page, examples=("skillrun approve last", "skillrun approve 20261129-1032"))
@click.argument("run")
@click.option("--no", "refused", is_flag=True, help="Say no.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def approve_command(run: str, refused: bool, as_json: bool) -> int:
    """Say yes, or no, to what a RUN that an agent began waits for: its changes, or a command."""
    from skillrun.record.journal import JournalError, find_run
    from skillrun.server.awaited import APPROVAL, WAITING
    from skillrun.text.escape import shown

    try:
        folder = find_run(run)
        asked = json.loads((folder.path / WAITING).read_text("utf-8"))
    except JournalError as error:
        raise Problem(str(error), "`skillrun runs` lists what there is") from None
    except (OSError, ValueError):
        raise Problem(f"the run {folder.id} waits for no approval", "ask the agent how it stands") from None
    for line in str(asked["message"]).split("\n"):
        click.echo(shown(line), err=as_json)
    if not refused:
        if not sys.stdin.isatty():
            raise Problem("only a person at a terminal can agree to this", "run it in a terminal of yours", 4)
        refused = not click.confirm(f"Agree to this ({folder.id})?", default=False, err=as_json)
    path = folder.path / APPROVAL
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump({"digest": asked["digest"], "yes": not refused}, file)
    word = "refused" if refused else "agreed; the agent goes on"
    click.echo(json.dumps({"schema": SCHEMA, "run": folder.id, "agreed": not refused}) if as_json else word)
    return 4 if refused else 0
