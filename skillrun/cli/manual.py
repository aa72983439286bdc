"""The manual of the command line, made from the help pages: `python -m skillrun.cli.manual docs/cli.md`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from skillrun.cli.group import group
from skillrun.cli.verbs import VERBS

HEAD = """# The command line

Made from the help pages by `python -m skillrun.cli.manual docs/cli.md`; a test compares.
A name in brackets is the environment variable that stands in for the option.
Every verb takes `--json`: one object `{"schema": 1, ...}` on standard output, for a live run one event a line, `RunEnded` last.
An error is an object of the same envelope: `{"schema": 1, "error": {"message", "hint"}}`. Exit codes are in the README.
"""


def manual() -> str:
    """The whole text, Markdown."""
    parts = [HEAD, _block(help_page())]
    parts += [f"## {verb}\n\n{_block(help_page(verb))}" for verb in VERBS]
    return "\n".join(parts)


def help_page(verb: str = "") -> str:
    """One page as `skillrun VERB --help` prints it on a screen of 80 columns."""
    context = click.Context(group, info_name="skillrun", terminal_width=80)
    if not verb:
        return group.get_help(context)
    command = group.get_command(context, verb)
    assert command is not None
    return command.get_help(click.Context(command, parent=context, info_name=verb, terminal_width=80))


def _block(text: str) -> str:
    return f"```\n{text}\n```\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(manual(), encoding="utf-8")
