"""A verb's help page: what it does, examples, then one line for each option with its environment variable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

WIDTH = 80
"""Columns a page is written for; a narrower terminal wraps, a wider one is not filled."""


class Page(click.Command):
    """A command with examples, whose help fits a screen of 25 lines."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **more: Any) -> None:
        more["context_settings"] = {"help_option_names": ["-h", "--help"], **(more.get("context_settings") or {})}
        super().__init__(*args, **more)
        self.examples = tuple(examples)

    def get_help(self, ctx: click.Context) -> str:
        """The whole page, without a line end."""
        formatter = click.HelpFormatter(width=min(WIDTH, ctx.terminal_width or click.HelpFormatter().width))
        self.format_help(ctx, formatter)
        return formatter.getvalue().rstrip("\n")

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Usage and purpose, examples, options."""
        self.format_usage(ctx, formatter)
        formatter.write_text(" ".join((self.help or "").split()))
        formatter.write("\n")
        for example in self.examples:
            formatter.write(f"  {example}\n")
        rows = [_row(option) for option in self.params if isinstance(option, click.Option) and not option.hidden]
        if rows:
            with formatter.section("Options"):
                formatter.write_dl(rows, col_max=32)


def _row(option: click.Option) -> tuple[str, str]:
    """An option and what it does; the default where one is shown, the environment variable where it has one."""
    words = ", ".join(option.opts)
    if not option.is_flag:
        choices = option.type.choices if isinstance(option.type, click.Choice) else ()
        words += f" {option.metavar or '|'.join(map(str, choices)) or option.type.name.upper()}"
    text = option.help or ""
    if option.show_default:
        text += f" Default: {option.default}."
    if option.envvar:
        text += f" [{option.envvar}]"
    return words, text.strip()
