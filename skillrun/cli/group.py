"""The click group: verbs loaded when asked for, errors as two lines and exit code 2."""

from __future__ import annotations

import errno
import importlib
import sys
from typing import Any

import click

from skillrun import __version__
from skillrun.cli.streams import flushed
from skillrun.cli.verbs import VERBS
from skillrun.errors import Problem, is_interrupt
from skillrun.text.folding import folded, width_of

HEAD = """\
skillrun VERB ...: install software from a piece of text, verify it, undo it.
  skillrun install ripgrep              a bundled skill
  skillrun install ./my-tool --preview  show what would change, ask once
"""
GROUPS = {
    "run": ("install", "verify", "uninstall", "fleet"),
    "after": ("runs", "report", "resume", "undo", "plan", "approve", "installed", "outdated", "upgrade", "purge"),
    "skills": ("list", "show", "prompt", "add", "update", "pin", "why", "remove"),
    "write": ("init", "lint", "test", "sign"),
    "ask": ("explain", "rules", "facts", "doctor", "mcp"),
}
"""Where each verb stands on the first page."""
BESIDES = ("fleet", "installed", "outdated", "upgrade", "purge", "approve", "mcp", "update", "pin", "why", "rules", "sign")
"""Verbs that the first page names without a line of their own, so that it fits a screen."""
LINT = "run `skillrun lint` on it for all complaints at once"
SPECS = "give a name of `skillrun list`, a file, a directory, a URL, owner/repo or -"


class Verbs(click.Group):
    """Subcommands by name, imported only when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's click command; None for an unknown name."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(VERBS[cmd_name][0])
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb, or an error that names the one that was probably meant."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            raise Problem(f"there is no verb `{args[0]}`", _meant(args[0]))
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        """The table of verbs, without importing any of them."""
        rows = [
            f"{label if place == 0 else '':<7} {verb:<10} {VERBS[verb][1]}"
            for label, verbs in GROUPS.items()
            for place, verb in enumerate([verb for verb in verbs if verb not in BESIDES])
        ]
        half = len(BESIDES) // 2
        rows += [f"{'besides':<7} {' '.join(BESIDES[:half])}", f"{'':<7} {' '.join(BESIDES[half:])}"]
        return HEAD + "\n".join([*rows, "`skillrun VERB --help` says more; docs/cli.md has all pages; `--version`."])


def _meant(word: str) -> str:
    """What somebody probably wanted who wrote this where a verb belongs."""
    from difflib import get_close_matches

    from skillrun.skills.index import named

    if named(word) or "/" in word or word.endswith(".md"):
        return f"did you mean `skillrun install {word}`?"
    if close := get_close_matches(word, VERBS, n=2, cutoff=0.6):
        return f"did you mean {' or '.join(f'`skillrun {verb}`' for verb in close)}?"
    return "skillrun --help"


@click.group(cls=Verbs, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="skillrun %(version)s")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Install software from a piece of text, verify it, undo it."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def complain(message: str, hint: str, as_json: bool) -> None:
    """Write an error: one line what is wrong, one what to do; with --json an object of the envelope.

    In a job on GitHub, whose reader sees neither, as an annotation of the job.
    """
    import os

    if os.environ.get("GITHUB_ACTIONS") == "true" and not sys.stderr.isatty():
        from skillrun.surfaces.github import Annotation

        said = f"{message}\n{hint}" if hint else message
        print(Annotation("error", "skillrun", said).command(), file=sys.stderr)
        if not as_json:
            return
    if as_json:
        import json

        from skillrun.events import SCHEMA

        print(json.dumps({"schema": SCHEMA, "error": {"message": message, "hint": hint}}))
        return
    columns = width_of(sys.stderr)
    print(folded(f"skillrun: {message}", columns), file=sys.stderr)
    if hint:
        print(folded(f"  -> {hint}", columns, 3), file=sys.stderr)


def _keep_traceback() -> str:
    """Write the traceback where it can be sent from; what to do with it."""
    import traceback

    from skillrun.record.place import state_directory

    file = state_directory() / "internal-error.txt"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        return traceback.format_exc()
    return f"this is a fault of skillrun; please report it with {file}"


def run(args: list[str]) -> int:
    """Run a verb; every error a person made becomes a message and an exit code."""
    code = _run(args)
    # What a run came to is on disk whoever listens; of any other verb the text is all there is.
    return code if flushed() or args[:1] in (["install"], ["verify"], ["uninstall"], ["resume"]) else code or 1


def _run(args: list[str]) -> int:
    as_json = "--json" in args[: args.index("--") if "--" in args else None]
    try:
        value: Any = group.main(args, prog_name="skillrun", standalone_mode=False)
    except Problem as problem:
        complain(problem.message, problem.hint, as_json)
        return problem.code
    except click.UsageError as error:
        complain(error.format_message(), f"{error.ctx.command_path if error.ctx else 'skillrun'} --help", as_json)
        return 2
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        complain(error.format_message(), "", as_json)
        return 2
    except (click.Abort, KeyboardInterrupt):
        print("\nskillrun: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except OSError as error:
        # Of an interrupt on a terminal that is closed click cannot even print the empty line.
        closed = error.errno == errno.EIO or is_interrupt(error)
        return 130 if closed else _failed(error, as_json)
    except Exception as error:  # noqa: BLE001  said in two lines, whatever it is
        return 130 if isinstance(error, RuntimeError) and is_interrupt(error) else _failed(error, as_json)
    return value if isinstance(value, int) else 0


def _failed(error: Exception, as_json: bool) -> int:
    """A skill that cannot be read is 2, a full disk is 1; anything else is a fault of ours, told whole in a file."""
    from skillrun.skills.skill import SkillError

    if isinstance(error, SkillError):
        complain(str(error), LINT if error.line else SPECS, as_json)
        return 2
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        where = f": {error.filename}" if error.filename else ""
        hint = "make room, or set XDG_STATE_HOME (runs) and XDG_DATA_HOME (skills) to places that can be written"
        complain(f"cannot write: {error.strerror}{where}", hint, as_json)
        return 1
    complain(f"internal error: {type(error).__name__}: {error}", _keep_traceback(), as_json)
    return 1
