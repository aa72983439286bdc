"""`plan`: the proven commands of a verified run, as a plan file or exported."""

from __future__ import annotations

from pathlib import Path

import click

from skillrun.cli.page import Page
from skillrun.errors import Problem


@click.command(
    "plan",
    cls=Page,
    examples=(
        "skillrun plan last -o jq.plan.json",
        "skillrun plan last --export bash",
    ),
)
@click.argument("run")
@click.option(
    "--export", type=click.Choice(["json", "bash", "dockerfile", "ansible"]), default="json", show_default=True, help="As what."
)
@click.option("-o", "--output", metavar="FILE", help="Write to FILE instead of standard output.")
@click.option("--json", "as_json", is_flag=True, help="The same as --export json.")
def plan_command(run: str, export: str, output: str | None, as_json: bool) -> int:
    """The smallest proven list of commands of RUN, which must have ended verified."""
    from skillrun.record import plan as plans
    from skillrun.record.journal import JournalError, find_run, read_events

    try:
        plan = plans.plan_of(read_events(find_run(run).journal))
    except (plans.PlanError, JournalError, OSError) as error:
        raise Problem(str(error), "`skillrun runs` lists what there is") from error
    write = {"bash": plans.export_bash, "dockerfile": plans.export_dockerfile, "ansible": plans.export_ansible}
    text = plan.to_json() if as_json or export == "json" else write[export](plan)
    if output is None:
        print(text, end="")
        return 0
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Problem(f"cannot write {output}: {error.strerror}", "choose another file") from error
    return 0
