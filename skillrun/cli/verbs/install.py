"""`install`, `verify`, `uninstall` and `resume`: the verbs that carry something out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from skillrun.cli.page import Page
from skillrun.errors import Problem

if TYPE_CHECKING:
    from skillrun.cli.carry import Reporting
    from skillrun.run.options import Mode, Options


def _env(name: str) -> str:
    return f"SKILLRUN_{name}"


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every verb of this module takes."""
    options = [
        click.option(
            "--approve",
            type=click.Choice(["ask", "safe", "declared", "all"]),
            metavar="MODE",
            envvar=_env("APPROVE"),
            show_envvar=True,
            help="ask, safe, declared or all.",
        ),
        click.option(
            "--model",
            envvar=_env("MODEL"),
            show_envvar=True,
            default="auto",
            metavar="M",
            help="auto, builtin, claude-..., plan:FILE.",
        ),
        click.option("--set", "inputs", multiple=True, metavar="NAME=VALUE", help="An input of the skill, or of its plan."),
        click.option("--secret", "secrets", multiple=True, metavar="NAME", help="A secret, from the environment or asked for."),
        click.option("--max-cost", type=float, metavar="USD", envvar=_env("MAX_COST"), show_envvar=True, help="US dollars."),
        click.option(
            "--max-tokens", type=int, metavar="N", envvar=_env("MAX_TOKENS"), show_envvar=True, help="Tokens in and out."
        ),
        click.option(
            "--max-turns",
            type=int,
            metavar="N",
            envvar=_env("MAX_TURNS"),
            show_envvar=True,
            hidden=True,
            help="Turns of a model.",
        ),
        click.option(
            "--timeout", type=float, metavar="S", envvar=_env("TIMEOUT"), show_envvar=True, help="Seconds for the whole run."
        ),
        click.option("--json", "as_json", is_flag=True, help="Events as JSON lines on standard output."),
        click.option("--no-input", is_flag=True, envvar=_env("NO_INPUT"), show_envvar=True, help="Never ask anything."),
        click.option("--wait", is_flag=True, help="Wait for another run to end instead of exit 8."),
        click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", hidden=True),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _run(verb: str, spec: str, values: dict[str, Any]) -> int:
    from skillrun.cli.carry import carry_out

    return carry_out(verb, spec, options_of(values), reporting_of(values), values["no_input"])


def options_of(values: dict[str, Any], resumed: bool = False) -> Options:
    """`resumed`: what is not said is as the run had it."""
    from skillrun.run.limits import LEAST, budget, check_limit
    from skillrun.run.options import EffectOptions, Options

    inputs: dict[str, str] = {}
    for pair in values["inputs"]:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Problem(f"--set {pair!r} is not NAME=VALUE", "for example --set PORT=8080")
        inputs[name] = value
    effects = EffectOptions(_mode(values), *(tuple(values.get(name, ())) for name in ("hosts", "only", "except_")))
    for name in LEAST:
        if values[name] is not None:
            check_limit(name, values[name])
    via = values.get("via")
    return Options(
        values["approve"] or ("" if resumed else "ask"),
        f"via:{via}" if via else values["model"],
        inputs,
        values["secrets"],
        effects,
        bool(values.get("frozen")),
        budget({name: values[name] for name in LEAST}),
        values["wait"],
        values.get("locked", False),
    )


def _mode(values: dict[str, Any]) -> Mode:
    if values.get("preview") and values.get("dry_run"):
        raise Problem("--preview and --dry-run exclude one another", "--dry-run is a preview that always discards")
    asked: list[Mode] = [mode for mode in ("preview", "dry-run") if values.get(mode.replace("-", "_"))]
    return asked[0] if asked else "live"


def reporting_of(values: dict[str, Any]) -> Reporting:
    """How the run is shown, from the options of its command line."""
    from skillrun.cli.carry import Reporting

    return Reporting(values["as_json"], values["color"], values.get("junit"), values.get("html"), values.get("report"))


@click.command(
    "install",
    cls=Page,
    examples=("skillrun install ./install.md --preview --max-cost 0.50",),
)
@click.argument("skills", nargs=-1, required=True, metavar="SKILL...")
@common
@click.option("--dry-run", is_flag=True, help="Nothing persists: run in a view that is discarded.")
@click.option("--preview", is_flag=True, help="Run in a view, show what would change, ask once.")
@click.option(
    "--frozen", is_flag=True, envvar=_env("FROZEN"), hidden=True, help="From elsewhere only what skillrun.lock holds."
)
@click.option("--host", "hosts", multiple=True, metavar="H", help="In a view: contact only H (a name, declared, *).")
@click.option("--only", multiple=True, metavar="GLOB", help="Commit only these paths of a preview (--except: not).")
@click.option("--except", "except_", multiple=True, metavar="GLOB", hidden=True, help="With --preview: commit all but these.")
@click.option("--on", "machines", multiple=True, metavar="HOST", help="On HOST instead of here (ssh, @docker/x, @chroot/x).")
@click.option(
    "--via", type=click.Choice(["claude", "codex", "gemini"]), metavar="AGENT", help="Let claude, codex or gemini carry it out."
)
@click.option("--locked", is_flag=True, hidden=True, help="Replay a plan with exactly its versions, or not at all.")
@click.option("--junit", metavar="FILE", help="Also write JUnit XML when the run ends.")
@click.option("--html", metavar="FILE", help="Also write the HTML report when the run ends.")
def install_command(skills: tuple[str, ...], **values: Any) -> int:
    """Carry SKILL out on this machine until its checks pass; or several."""
    if len(skills) > 1 and (values["junit"] or values["html"] or values["inputs"]):
        raise Problem("--junit, --html and --set are for one skill", "install the skills one by one")
    for number, skill in enumerate(skills, 1):
        code = _on_machines(skill, values) if values["machines"] else _run("install", skill, values)
        if code:
            left = ", ".join(skills[number:])
            if left:
                print(f"skillrun: {skill} ended with {code}, so these were not begun: {left}", file=sys.stderr)
            return code
    return 0


def _on_machines(skill: str, values: dict[str, Any]) -> int:
    from skillrun.cli.elsewhere import carry_out_on

    return carry_out_on(values["machines"], skill, options_of(values), reporting_of(values), values["no_input"])


@click.command("verify", cls=Page, examples=("skillrun verify ripgrep", "skillrun verify ./install.md --approve all --json"))
@click.argument("skill")
@common
@click.option("--report", metavar="FILE", help="An agent's report to confirm (its answer; - for stdin).")
def verify_command(skill: str, **values: Any) -> int:
    """Run only SKILL's checks."""
    if values["report"]:
        from skillrun.cli.confirm import load_report

        values["report"] = load_report(values["report"])
    return _run("verify", skill, values)


@click.command("uninstall", cls=Page, examples=("skillrun uninstall ripgrep", "skillrun uninstall ripgrep --preview"))
@click.argument("skill")
@common
@click.option("--dry-run", is_flag=True, help="Nothing persists.")
@click.option("--preview", is_flag=True, help="Run in a view, show what would change, ask once.")
def uninstall_command(skill: str, **values: Any) -> int:
    """Carry out SKILL's uninstall part; its checks must fail afterwards."""
    return _run("uninstall", skill, values)


@click.command("resume", cls=Page, examples=("skillrun resume last",))
@click.argument("run")
@common
def resume_command(run: str, **values: Any) -> int:
    """Go on with RUN (its id, a part of it, or `last`) where it stopped."""
    from skillrun.cli.carry import resume
    from skillrun.cli.elsewhere import machine_of, resume_on_machine

    if machine := machine_of(run):
        return resume_on_machine(machine, run, options_of(values, resumed=True), reporting_of(values), values["no_input"])
    return resume(run, options_of(values, resumed=True), reporting_of(values), values["no_input"])
