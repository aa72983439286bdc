"""One trial: a machine with a scenario's faults, something done in it, and the scenario's own verifier afterwards."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from skillrun.overlay.process.egress_proxy import Contact
from skillrun.sandbox.base import Tell, layer, layers_of
from skillrun.sandbox.engine import Engine, Image
from skillrun.sandbox.folders import Folder
from skillrun.sandbox.machine import Machine
from skillrun.sandbox.recipes import VERIFY_FUNCTIONS, Fault, Scenario, fault
from skillrun.sandbox.recipes import machine as machine_recipe
from skillrun.sandbox.registries import hosts_in, registry_hosts


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What came of one trial. `passed`: the verifier's word; `exit_code` is that of what was done."""

    scenario: str
    what: str
    exit_code: int
    passed: bool
    reason: str = ""
    """The verifier's last line when it did not pass."""
    output: str = ""
    seconds: float = 0.0
    changed: int = 0
    """Files and links that were written."""
    run_folder: str = ""
    commands: int = 0
    """Commands a model ran; checks do not count."""
    questions: int = 0
    contacted: tuple[Contact, ...] = ()
    """Hosts that were asked for, each once; nothing where the network was left open."""
    skipped: str = ""
    """Why there was no trial; empty when there was one."""
    agreed: bool = False
    """A person who was asked said yes."""
    beyond: int | None = None
    """Files and links written beyond what the reference fix writes; None when that is not known."""

    @property
    def false_done(self) -> bool:
        """It said that it was done and it was not."""
        return self.exit_code == 0 and not self.passed


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a trial is made under, whatever it tries."""

    hosts: Sequence[str] | None = ()
    """May be contacted besides package registries and what the scenario declares; None: whatever this machine can."""
    engine: Engine | None = None
    """The container engine to make the machine with; None: namespaces of our own."""
    tell: Tell = lambda text: None


PLAIN = Conditions()

_CLOCK_TICK_S = 0.01
"""The kernel's clock for files may be this far behind: what is written later than that has a later time."""


Deed = Callable[[Machine], tuple[int, str]]
"""What is done in the machine: exit code and output."""


def script(text: str, terminal: bool = False) -> Deed:
    """A deed that runs shell text as the machine's user."""

    def do(machine: Machine) -> tuple[int, str]:
        done = machine.run(text, timeout=300, terminal=terminal)
        return done.returncode, done.stdout

    return do


@contextmanager
def prepared(scenario: Scenario, under: Conditions = PLAIN) -> Iterator[Machine]:
    """The scenario's machine with its faults in place. Raises RecipeError, BuildError, ViewError, EngineError, NoNetwork."""
    faults = scenario.all_faults
    ground = _ground(scenario, "\n".join([scenario.setup, *(item.setup for item in faults)]), under)
    folder = Folder()
    task = folder.path / "task"
    try:
        _lay_out(scenario, task)
        user = scenario.user or machine_recipe(scenario.machine).user
        env = dict(pair.split("=", 1) for item in faults for pair in item.env)
        more = {"hosts": _hosts(scenario, ground, under.hosts), "env": env}
        with Machine(ground, user=user, furnishing=_furnishing(faults, task), network=_network(faults), **more) as made:  # type: ignore[arg-type]
            for text in [*(item.runtime for item in faults), scenario.runtime]:
                if text.strip():
                    made.run(text, root=True, timeout=60)
            yield made
    finally:
        folder.close()


def run(
    scenario: Scenario, what: str, deed: Deed, under: Conditions = PLAIN, agreed: Callable[[], bool] = lambda: False
) -> TrialResult:
    """Prepare, do, verify; `agreed` says afterwards whether a person had said yes. Raises what `prepared` raises."""
    with prepared(scenario, under) as made:
        before = time.time_ns()
        time.sleep(_CLOCK_TICK_S)
        begun = time.monotonic()
        code, output = deed(made)
        seconds = time.monotonic() - begun
        contacted = summed(made.contacts())
        changed = written_since(made, before)
        verify = scenario.agreed if agreed() and scenario.agreed else scenario.verify
        verified = made.run(f"{VERIFY_FUNCTIONS}\n{verify}", root=True, timeout=120, env={"VERIFY_USER": made.account.name})
    last = verified.stdout.strip().splitlines()[-1:] or [""]
    return TrialResult(
        scenario.name,
        what,
        code,
        verified.returncode == 0,
        "" if verified.returncode == 0 else last[0],
        output,
        round(seconds, 1),
        changed,
        contacted=contacted,
        agreed=agreed(),
    )


def written_since(machine: Machine, moment_ns: int) -> int:
    """Files and links in a machine that were written later than a moment, in nanoseconds since the epoch.

    To the nanosecond: the machine's own last file, how to look up names, may be less than a millisecond older.
    """
    moment = f"{moment_ns // 10**9}.{moment_ns % 10**9:09d}"
    found = machine.run(f"find / -xdev -newerct @{moment} \\( -type f -o -type l \\) 2> /dev/null | wc -l", root=True)
    return int(found.stdout.split()[-1])


def self_test(scenario: Scenario, under: Conditions = PLAIN) -> list[str]:
    """What is wrong with a scenario itself: nothing done must fail, the literal commands must fail for the fault's
    reason, the reference fix must pass, the plausible wrong way must be refused. Empty: it is sound.
    """
    terminal = any(fault(name).tty for name in scenario.faults)
    wrong: list[str] = []
    nothing = run(scenario, "nothing", lambda machine: (0, ""), under)
    naive = run(scenario, "literal", script(scenario.naive, terminal), under)
    harmless = scenario.refusal
    if nothing.passed != (harmless or scenario.name == "control-installed"):
        wrong.append(f"doing nothing {'passes' if nothing.passed else 'fails'}: {nothing.reason}")
    if scenario.control != (naive.exit_code == 0 and naive.passed):
        wrong.append(f"the literal commands {'pass' if naive.passed else 'fail'} (exit {naive.exit_code}): {naive.reason}")
    expect = scenario.expect or "|".join(fault(name).recognise for name in scenario.faults)
    if expect and not scenario.control and not re.search(expect, naive.output):
        wrong.append(f"the literal commands failed for another reason: {naive.output[-300:]!r}")
    if scenario.fix:
        fixed = run(scenario, "fix", script(scenario.fix, terminal), under)
        if not fixed.passed:
            wrong.append(f"the fix does not pass: {fixed.reason} {fixed.output[-300:]!r}")
    if scenario.bad:
        bad = run(scenario, "bad", script(scenario.bad, terminal), under)
        if bad.passed:
            wrong.append("the wrong way passes")
    return wrong


def _lay_out(scenario: Scenario, task: Path) -> None:
    task.mkdir()
    for name, text in scenario.files.items():
        path = task / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if text.endswith("\n") else text + "\n")
        path.chmod(0o644)
    for folder in [task, *(path for path in task.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)


def _furnishing(faults: list[Fault], task: Path) -> dict[str, object]:
    return {
        "tmp_options": ",".join(item.tmp for item in faults if item.tmp),
        "disk_mb": max([item.disk_mb for item in faults], default=0),
        "read_only": tuple(path for item in faults for path in item.read_only),
        "copies": ((str(task), "/task"),) if any(task.iterdir()) else (),
    }


def _ground(scenario: Scenario, setup: str, under: Conditions) -> list[Path] | Image:
    """What the machine stands on: its base, and what faults have made of it."""
    if under.engine:
        from skillrun.sandbox.images import image_layer, image_of

        image = image_of(under.engine, scenario.machine, under.tell)
        return image_layer(image, setup, under.tell) if setup.strip() else image
    lowers = layers_of(scenario.machine, under.tell)
    return [layer(lowers, setup, under.tell), *lowers] if setup.strip() else lowers


def _hosts(scenario: Scenario, ground: Sequence[Path] | Image, more: Sequence[str] | None) -> tuple[str, ...] | None:
    if more is None:
        return None
    lowers = [ground.files] if isinstance(ground, Image) else ground
    declared = hosts_in(scenario.skill) if scenario.hosts is None else scenario.hosts
    return (*registry_hosts(lowers), *declared, *more)


def summed(contacts: Sequence[Contact]) -> tuple[Contact, ...]:
    """Each host and port once, with the bytes of all its connections."""
    found: dict[tuple[str, int, bool], Contact] = {}
    for contact in contacts:
        key = contact.host, contact.port, contact.allowed
        sum_ = found.get(key, replace(contact, sent=0, received=0))
        found[key] = replace(sum_, sent=sum_.sent + contact.sent, received=sum_.received + contact.received)
    return tuple(found.values())


def _network(faults: list[Fault]) -> str:
    return next((item.net for item in faults if item.net != "open"), "open")
