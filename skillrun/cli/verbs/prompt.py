"""`skillrun prompt SKILL`: the text to paste into any agent."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import click

from skillrun.cli.clipboard import NoClipboard, copy
from skillrun.cli.page import Page
from skillrun.errors import Problem
from skillrun.events import SCHEMA
from skillrun.llm.prompt import AGENTS, paste_text
from skillrun.ports import Brief
from skillrun.skills.skill import Skill


@click.command(
    "prompt",
    cls=Page,
    examples=(
        "skillrun prompt jq --copy",
        "skillrun prompt ./install.md --for claude",
    ),
)
@click.argument("skill", metavar="SKILL")
@click.option("--for", "agent", type=click.Choice(AGENTS), default="generic", help="Whom the text is for. [default: generic]")
@click.option("--copy", "to_clipboard", is_flag=True, help="Also put it on the clipboard (over SSH through the terminal).")
@click.option("--set", "values", multiple=True, metavar="NAME=VALUE", help="An input of the skill.")
@click.option("--no-facts", is_flag=True, help="Leave out what is known of this machine.")
@click.option("--uninstall", is_flag=True, help="The text for taking it away again.")
@click.option("--json", "as_json", is_flag=True, help="One object with the text.")
def prompt_command(
    skill: str, agent: str, to_clipboard: bool, values: tuple[str, ...], no_facts: bool, uninstall: bool, as_json: bool
) -> int:
    """The text to paste into any agent: rules, this machine, checks, the skill, how to report."""
    from skillrun.skills.sources import find_skill

    found = find_skill(skill)
    brief = Brief(
        found,
        "uninstall" if uninstall else "install",
        facts={} if no_facts else _facts(),
        inputs=_inputs(found, values),
        secrets=tuple(secret.name for secret in found.secrets),
        checks=tuple(check.command for check in found.checks),
    )
    text = paste_text(brief if found.source else replace(brief, skill=replace(found, source=skill)), agent)
    copied = _copy(text, strict=not sys.stdout.isatty()) if to_clipboard else ""
    if as_json:
        print(json.dumps({"schema": SCHEMA, "prompt": text, "for": agent, "copied": copied}, ensure_ascii=False))
    elif not copied:
        print(text, end="")
    if copied and not as_json:
        print(f"skillrun: {len(text):,} characters are on the clipboard, by {copied}", file=sys.stderr)
    return 0


def _inputs(skill: Skill, values: tuple[str, ...]) -> dict[str, str]:
    given = dict.fromkeys((item.name for item in skill.inputs), "")
    given.update({item.name: item.default for item in skill.inputs if item.default is not None})
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise Problem(f"--set {value!r} is not NAME=VALUE", "for example --set PORT=8080")
        given[name] = text
    return {name: text or "(ask me)" for name, text in given.items()}


def _facts() -> dict[str, object]:
    """This machine's facts; the text is useful without them, so a machine that cannot be read is no error."""
    from skillrun.host.facts import gather
    from skillrun.secrets import Vault
    from skillrun.targets.local import LocalTarget

    with tempfile.TemporaryDirectory() as folder:
        target = LocalTarget(Path(folder), vault=Vault())
        try:
            return gather(target)
        finally:
            target.close()


def _copy(text: str, strict: bool) -> str:
    try:
        return copy(text)
    except NoClipboard as error:
        if strict:
            raise Problem(f"cannot reach a clipboard: {error}", "leave out --copy and copy the printed text") from None
        print(f"skillrun: cannot reach a clipboard: {error}; here is the text", file=sys.stderr)
        return ""
