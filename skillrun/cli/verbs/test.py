"""`test`: a skill in throw-away machines, with faults put into them, verified from outside."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from skillrun.cli.page import Page
from skillrun.errors import Problem, is_interrupt
from skillrun.events import SCHEMA

if TYPE_CHECKING:
    from skillrun.sandbox.recipes import Scenario
    from skillrun.trials.matrix import Row
    from skillrun.trials.trial import Conditions, TrialResult

T = TypeVar("T")
EXAMPLES = (
    "skillrun test ./my-skill",
    "skillrun test ./my-skill --fault apt-lists-empty --fault sudo-missing",
    "skillrun test ./my-skill --matrix --jobs 2 --junit report.xml",
)


@click.command("test", cls=Page, examples=EXAMPLES)
@click.argument("skill", required=False)
@click.option("--machine", "machines", multiple=True, metavar="M", help="Base machine. Default: debian-12.")
@click.option("--fault", "faults", multiple=True, metavar="F", help="Put this fault in; several at once.")
@click.option("--matrix", is_flag=True, help="No fault, then each fault (all, or each --fault) alone.")
@click.option("--scenarios", is_flag=True, help="The bundled scenarios instead of SKILL.")
@click.option("--draw", "seed", metavar="SEED", help="Machines drawn by this seed instead of SKILL (--count N).")
@click.option("--count", type=click.IntRange(1, 1000), metavar="N", default=10, hidden=True, help="With --draw: so many.")
@click.option("--only", multiple=True, metavar="NAME", help="With --scenarios: these; with --draw: these fault classes.")
@click.option("--literal", is_flag=True, hidden=True, help="With --scenarios: also the literal commands.")
@click.option("--benchmark", is_flag=True, help="With --scenarios: against literal commands and a fix.")
@click.option("--self-test", is_flag=True, hidden=True, help="With --scenarios: test the scenarios themselves.")
@click.option("--model", default="builtin", show_default=True, envvar="SKILLRUN_MODEL", help="Who decides.")
@click.option("--jobs", type=click.IntRange(1, 16), metavar="N", default=1, show_default=True, help="Machines at a time.")
@click.option("--user", default=None, metavar="NAME", help="Who runs it inside: the machine's own user, or root.")
@click.option("--host", "hosts", multiple=True, metavar="H", help="May be contacted too: a name, *.name, name:port.")
@click.option("--open-network", is_flag=True, help="Contact anything, not registries and declared hosts.")
@click.option("--engine", type=click.Choice(("auto", "namespaces", "podman", "docker")), metavar="E", default="auto",
              envvar="SKILLRUN_ENGINE", help="auto, namespaces, podman or docker.")  # fmt: skip
@click.option("--list", "list_them", is_flag=True, help="Machines, faults and scenarios there are.")
@click.option("--json", "as_json", is_flag=True, help="One object.")
@click.option("--junit", metavar="FILE", help="Also write JUnit XML.")
@click.option("--html", metavar="FILE", help="Also write one page.")
def test_command(skill: str | None, list_them: bool, scenarios: bool, self_test: bool, as_json: bool, **more: object) -> int:
    """Run SKILL in throw-away machines, verify it from outside. Exit code 3: failed."""
    from skillrun.sandbox.recipes import RecipeError

    for option in ("junit", "html"):
        if more[option]:
            _try_to_write(Path(str(more[option])))
    try:
        if list_them:
            return _list(as_json)
        if skill is None and not scenarios and not more["seed"]:
            raise Problem("name a skill, --scenarios or --draw", "`skillrun test --list` shows machines and faults")
        found = list(_scenarios(skill, scenarios, more))
    except RecipeError as error:
        raise Problem(str(error), "`skillrun test --list` shows what there is") from error
    if self_test:
        return _self_test(found, more, as_json)
    rows: list[Row] = []
    try:
        _all(found, more, as_json, rows)
    finally:  # whatever ended it, what was found out is kept
        _write(rows, more)
    return _report(rows, as_json)


def _try_to_write(file: Path) -> None:
    """Now, and not after all the trials."""
    try:
        file.open("a").close()
    except OSError as error:
        raise Problem(f"cannot write {file}: {error.strerror}", "choose another file") from error


def _list(as_json: bool) -> int:
    from skillrun.sandbox import recipes

    data = {
        "machines": {name: recipes.machine(name).title for name in recipes.names("machines")},
        "faults": {name: recipes.fault(name).title for name in recipes.names("faults")},
        "scenarios": {name: recipes.scenario(name).title for name in recipes.names("scenarios")},
    }
    if as_json:
        print(json.dumps({"schema": SCHEMA, **data}))
        return 0
    for kind, rows in data.items():
        print(f"{kind}:")
        for name, title in rows.items():
            print(f"  {name:22} {title}")
    return 0


def _scenarios(skill: str | None, bundled: bool, more: dict[str, object]) -> Iterator[Scenario]:
    """What is to be tried: the bundled scenarios, or one for each machine and set of faults."""
    from skillrun.sandbox import recipes
    from skillrun.skills.sources import find_skill

    only = _words(more["only"])
    if more["seed"]:
        from skillrun.trials.draw import draw

        yield from draw(str(more["seed"]), int(str(more["count"])), only)
        return
    if bundled:
        yield from (recipes.scenario(name) for name in only or recipes.names("scenarios"))
        return
    read = find_skill(skill or "")
    if not read.checks:
        raise Problem(f"{read.name} has no check, so a trial could prove nothing", "declare `skillrun-verify`")
    chosen = tuple(_words(more["faults"]))
    sets: list[tuple[str, ...]] = [chosen]
    if more["matrix"]:
        sets = [(), *((name,) for name in chosen or recipes.names("faults"))]
    verify = "\n".join(f"as_user {shlex.quote(check.command)} || fail {shlex.quote(check.command)}" for check in read.checks)
    for machine in _words(more["machines"]) or ["debian-12"]:
        for faults in sets:
            for name in faults:
                recipes.fault(name)
            label = " + ".join([machine, *faults])
            user = str(more["user"] or recipes.machine(machine).user)
            yield recipes.Scenario(
                label, read.title, "skill", machine, user, faults, read.text, "", verify, hosts=read.declared.hosts
            )


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, Sequence) else []


def _all(found: list[Scenario], more: dict[str, object], as_json: bool, rows: list[Row]) -> None:
    """Every trial; each adds its rows when it is over."""
    from skillrun.overlay.process.supervisor import ViewError
    from skillrun.sandbox.base import BuildError
    from skillrun.sandbox.engine import EngineError
    from skillrun.trials import trial
    from skillrun.trials.compare import attempt, compared
    from skillrun.trials.matrix import Row

    model = str(more["model"])

    def one(scenario: Scenario) -> None:
        try:
            outcomes = tried(scenario)
        except (BuildError, ViewError, EngineError) as error:
            reason = " ".join(str(error).split())
            outcomes = [trial.TrialResult(scenario.name, model, 0, False, skipped=f"cannot be set up here: {reason[-200:]}")]
        for row in (Row(scenario, outcome) for outcome in outcomes):
            rows.append(row)
            print(row.line(), file=sys.stderr if as_json else sys.stdout, flush=True)

    def tried(scenario: Scenario) -> list[TrialResult]:
        outcomes: list[TrialResult] = []
        if more["benchmark"] and scenario.naive:
            outcomes += compared(scenario, model, under)
        else:
            if more["literal"] and scenario.naive:
                terminal = any(_fault_needs_terminal(name) for name in scenario.faults)
                outcomes.append(trial.run(scenario, "literal", trial.script(scenario.naive, terminal), under))
            outcomes.append(attempt(scenario, model, under)[0])
        return outcomes

    with _grounds(found, more) as under:
        _each(one, found, more, lambda: _write(rows, more))


def _each(
    work: Callable[[Scenario], T], found: list[Scenario], more: dict[str, object], last: Callable[[], None] = lambda: None
) -> list[T]:
    """The work for every scenario, as many at a time as was asked for. Ctrl-C ends it at once, machines and all.

    `last` is done before that.
    """
    pool = ThreadPoolExecutor(int(str(more["jobs"])))
    try:
        return list(pool.map(work, found))
    except (KeyboardInterrupt, RuntimeError) as error:
        from skillrun.sandbox.folders import remove_own

        if not is_interrupt(error):
            raise
        last()
        remove_own()
        print("skillrun: interrupted", file=sys.stderr, flush=True)
        os._exit(130)  # the trials are in threads, which nothing else ends; machines end with this process
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _grounds(found: list[Scenario], more: dict[str, object]) -> Iterator[Conditions]:
    """What all trials need, made once before they begin. What keeps it from being had is a Problem."""
    from skillrun.overlay.process.supervisor import ViewError
    from skillrun.sandbox.base import BuildError, layers_of
    from skillrun.sandbox.engine import EngineError, find_engine
    from skillrun.sandbox.folders import sweep
    from skillrun.sandbox.images import image_of
    from skillrun.sandbox.network import NoNetwork
    from skillrun.trials.trial import Conditions

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        if os.geteuid() != 0:
            raise ViewError("this is not root")
        sweep()
        engine = find_engine(str(more["engine"]))
        for name in dict.fromkeys(scenario.machine for scenario in found):
            image_of(engine, name, tell) if engine else layers_of(name, tell)
        yield Conditions(None if more["open_network"] else tuple(_words(more["hosts"])), engine, tell)
    except (BuildError, EngineError, ViewError, NoNetwork) as error:
        needs = "it needs root and slirp4netns; overlayfs and debootstrap, or podman or docker (docs/testing.md)"
        raise Problem(f"no throw-away machine: {error}", needs, 7) from error


def _fault_needs_terminal(name: str) -> bool:
    from skillrun.sandbox.recipes import fault

    return fault(name).tty


def _write(rows: list[Row], more: dict[str, object]) -> None:
    """The table as the files that were asked for."""
    from skillrun.trials import matrix

    for option, write in (("junit", matrix.junit), ("html", matrix.page)):
        file = more[option]
        if file:
            Path(str(file)).write_text(write(rows), encoding="utf-8")


def _report(rows: list[Row], as_json: bool) -> int:
    """The table as text or as one object; the exit code."""
    from skillrun.trials import matrix

    if as_json:
        print(json.dumps({"schema": SCHEMA, "trials": [row.to_dict() for row in rows]}))
    else:
        print(matrix.text(rows))
        for row in rows:
            if row.outcome.run_folder:
                print(f"  {row.outcome.scenario}: the whole run is in {row.outcome.run_folder}")
            if row.refused and row.wrong:
                told = f"  {row.outcome.scenario}: not declared, so not reached: {', '.join(row.refused)}"
                print(f"{told} -> `skillrun-hosts` in the skill, or --host")
    mine = [row for row in rows if row.outcome.what != "literal"]
    if mine and all(row.outcome.skipped for row in mine):
        raise Problem("no trial could be set up on this machine", "the reasons are above", 7)
    return 3 if any(row.wrong for row in mine) else 0


def _self_test(found: list[Scenario], more: dict[str, object], as_json: bool) -> int:
    from skillrun.trials import trial

    def one(scenario: Scenario) -> tuple[str, list[str]]:
        wrong = trial.self_test(scenario, under)
        print(f"{'FAIL' if wrong else 'ok  '} {scenario.name}", file=sys.stderr, flush=True)
        return scenario.name, wrong

    with _grounds(found, more) as under:
        spoiled = {name: wrong for name, wrong in _each(one, found, more) if wrong}
    if as_json:
        print(json.dumps({"schema": SCHEMA, "spoiled": spoiled}))
    for name, wrong in spoiled.items():
        print(f"{name}: {'; '.join(wrong)}", file=sys.stderr if as_json else sys.stdout)
    return 3 if spoiled else 0
