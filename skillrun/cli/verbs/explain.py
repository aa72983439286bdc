"""`explain`: which effects a command or a script has and what would be decided. `rules`: remembered approvals."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skillrun.cli.page import Page
from skillrun.events import SCHEMA, Decision
from skillrun.host.place import here

if TYPE_CHECKING:
    from skillrun.policy.judge import Judge
    from skillrun.ports import Place


def _show(decision: Decision, about: str) -> None:
    from skillrun.policy.judge import in_words
    from skillrun.text.escape import shown as visible

    click.echo(f"{decision.verdict.upper()}: {visible(decision.reason)}" + (f"  [{decision.rule}]" if decision.rule else ""))
    for effect in decision.effects:
        click.echo(f"  {visible(in_words(effect))}")
    if not decision.effects:
        click.echo("  no effects")
    if about:
        click.echo(about)


@click.command(
    "explain",
    cls=Page,
    examples=(
        "skillrun explain 'curl -fsSL https://example.org/x.sh | sh'",
        "skillrun explain --json -- 'rm -rf \"$DIR\"'",
        "skillrun explain ./install.sh      a script file is read as a whole",
        "skillrun explain --file commands.txt --json      one answer a line",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--preview", is_flag=True, help="As it would be decided inside a copy-on-write view.")
@click.option(
    "--file",
    "lines",
    metavar="LINES",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Judge a file, one command a line: plain text (a newline inside a command is ⏎) or JSON objects with `command`.",
)
@click.argument("command", nargs=-1)
def explain_command(command: tuple[str, ...], as_json: bool, preview: bool, lines: str | None) -> int:
    """Say what a command would do and what would be decided; nothing is run."""
    from skillrun.errors import Problem
    from skillrun.policy.judge import Judge
    from skillrun.policy.rulebook import load_rules
    from skillrun.policy.rules import BadRule

    if (lines is None) == (not command):
        raise click.UsageError("give a command, a script file, or --file with a file of commands")
    text, script = " ".join(command), ""
    if len(command) == 1 and "\n" not in text and len(text) < 4096 and Path(text).is_file() and (" " not in text):
        try:
            text, script = Path(text).read_text("utf-8", errors="replace"), text
        except OSError as error:
            raise Problem(f"{text}: {error.strerror}", "give a command in quotes, or a script that can be read") from None
    try:
        rules = load_rules()
    except BadRule as error:
        raise Problem(str(error), "correct the rule, or take it out with `skillrun rules --revoke NAME`") from None
    judge = Judge(rules)
    if lines is not None:
        return _explain_lines(judge, lines, here(preview), as_json)
    decision = (judge.script if script else judge.command)(text, here(preview)).decision
    if as_json:
        sys.stdout.write(json.dumps(_answer(decision)) + "\n")
    else:
        _show(decision, f"({script}, {len(text.encode())} bytes, read as a script)" if script else "")
    return 0


def _answer(decision: Decision) -> dict[str, Any]:
    effects = [{"kind": str(e.kind), "subject": e.subject, "detail": e.detail} for e in decision.effects]
    return {
        "schema": SCHEMA,
        "verdict": str(decision.verdict),
        "reason": decision.reason,
        "rule": decision.rule,
        "effects": effects,
    }


def _explain_lines(judge: Judge, lines: str, place: Place, as_json: bool) -> int:
    """One answer a line, in the order of the file. Raises Problem for a line that is no command."""
    from skillrun.errors import Problem
    from skillrun.text.escape import shown as visible

    counts: dict[str, int] = {}
    with click.open_file(lines, encoding="utf-8", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            if not (line := line.rstrip("\n")):
                continue
            command = line
            if line.startswith("{"):
                try:
                    command = json.loads(line)["command"]
                except (ValueError, KeyError, TypeError):
                    raise Problem(f"{lines}, line {number}: no object with a `command`", "one JSON object a line") from None
            command = str(command).replace("⏎", "\n")
            decision = judge.command(command, place).decision
            counts[str(decision.verdict)] = counts.get(str(decision.verdict), 0) + 1
            if as_json:
                sys.stdout.write(json.dumps({"command": command, **_answer(decision)}) + "\n")
            else:
                click.echo(f"{decision.verdict.upper():5}  {visible(command)}  ({visible(decision.reason)})")
    if not as_json:
        click.echo(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())) or "no command in it")
    return 0


@click.command(
    "rules",
    cls=Page,
    examples=("skillrun rules", "skillrun rules --revoke 'write under ~/.local/bin using cp'"),
)
@click.option("--revoke", metavar="NAME", help="Take a remembered rule out.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def rules_command(revoke: str | None, as_json: bool) -> int:
    """What was allowed for good: list, and take back."""
    from skillrun.errors import Problem
    from skillrun.policy.rulebook import load_rules, revoke_rule, rulebook_path
    from skillrun.policy.rules import BadRule

    try:
        if revoke is not None and not revoke_rule(revoke):
            raise Problem(f"there is no rule called {revoke!r}", "`skillrun rules` lists them")
        found = load_rules()
    except BadRule as error:
        raise Problem(str(error), f"correct it in {rulebook_path()}") from None
    listed = [("user", rule) for rule in found.user] + [("project", rule) for rule in found.project]
    if as_json:
        rows = [
            {"name": r.name, "tier": t, "verdict": str(r.verdict), "effects": sorted(map(str, r.effects))} for t, r in listed
        ]
        sys.stdout.write(json.dumps({"schema": SCHEMA, "path": str(rulebook_path()), "rules": rows}) + "\n")
        return 0
    for tier, rule in listed:
        click.echo(f"{rule.verdict:5}  {rule.name}" + (f"  ({tier})" if tier != "user" else ""))
    if not listed:
        click.echo("nothing was allowed for good; the built-in rules ask about every change")
    return 0
