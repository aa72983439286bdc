"""Real documents carried out, each in a throw-away Debian 12 machine of its own, by the built-in engine and without a key.

    python benchmarks/documents_run.py FOLDER [--half fresh] [--only OWNER/NAME ...] [--json FILE]

Method: FOLDER as in `benchmarks/documents.py`. An ordinary user who may use sudo; `--approve ask`, with a person who says yes
to every question. Verified rightly: exit code 0, and the program that an attentive person expects is found by a new login shell
from outside, with no process left. Usage run: a command of the run, checks aside, that only uses a program of the document's,
logs in, publishes or starts a service. What counts as installable here is for whoever reads the lines: the machines reach the
package registries only, so a document whose ways lead elsewhere can only end with the true reason.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from documents import CORPUS

from skillrun.events import Decision, Event, RunEnded, Started, ToolCall
from skillrun.ports import Approval, Place
from skillrun.record.journal import TRIALS, keep_skill, new_run
from skillrun.run.api import begin
from skillrun.run.options import Options
from skillrun.run.unattended import Nobody
from skillrun.sandbox.machine import Machine
from skillrun.sandbox.recipes import Scenario
from skillrun.skills.parser.read import read_skill
from skillrun.skills.parser.understanding.acts import acts
from skillrun.skills.skill import SkillError
from skillrun.targets.machine import MachineTarget
from skillrun.trials import trial

USES = frozenset(("once", "service", "publish", "login"))


class Willing(Nobody):
    """A person who says yes, and counts."""

    attended = True

    def __init__(self) -> None:
        self.asked = 0

    def approve(self, call: ToolCall, decision: Decision, place: Place) -> Approval:
        """Yes, this once."""
        self.asked += 1
        return Approval("once")


@dataclass(frozen=True, slots=True)
class Carried:
    """How one document came out."""

    document: str
    exit_code: int
    there: bool
    """The expected program is found from outside and nothing is left running."""
    seconds: float
    commands: int
    questions: int
    used: tuple[str, ...]
    said: str


def carried(repository: str, file: Path, program: str) -> Carried:
    """One document in a machine. Raises what `trial.run` raises."""
    skill = read_skill(file)
    there = f"as_user 'command -v {program}' || fail 'no {program}'\n" if program else "fail 'no program was expected'\n"
    verify = f"{there}pgrep -u dev . && fail 'something is left'; true"
    scenario = Scenario(f"document-{file.stem}", repository, "skill", "debian-12", "dev", (), skill.text, "", verify)
    person, events = Willing(), list[Event]()
    folder = new_run("document", TRIALS)
    keep_skill(folder, skill.text, None)

    def deed(machine: Machine) -> tuple[int, str]:
        target = MachineTarget(machine, folder.outputs)
        try:
            events.extend(begin("install", skill, Options("ask", "builtin"), person, target, folder=folder).events)
            ended = next(event for event in reversed(events) if isinstance(event, RunEnded))
            return ended.exit_code, ended.summary
        finally:
            target.close()

    outcome = trial.run(scenario, "builtin", deed)
    calls = [event.call for event in events if isinstance(event, Started) and event.call.name == "shell"]
    names = {one.name for one in skill.understood.programs} if skill.understood else set()
    used = tuple(
        call.command
        for call in calls
        if any(act.kind in USES or (act.kind == "use" and act.program in names) for act in acts(call.command))
    )
    return Carried(
        repository, outcome.exit_code, outcome.passed, outcome.seconds, len(calls), person.asked, used, outcome.output
    )


def main() -> None:
    """A line for each document, then the sums."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--half")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    rows = []
    for row in tomllib.loads(CORPUS.read_text("utf-8"))["document"]:
        name = row["repository"]
        if (wanted.half and row["half"] != wanted.half) or (wanted.only and name not in wanted.only):
            continue
        found = sorted(wanted.folder.glob(name.replace("/", "+") + ".*"))
        if not found:
            continue
        try:
            one = carried(name, found[0], row["program"])
        except SkillError as error:
            print(f"{name}: not read ({error})")
            continue
        rows.append(one)
        right = "right" if one.exit_code == 0 and one.there else "WRONG" if one.exit_code == 0 else "not"
        last = one.said.strip().splitlines()[-1:] or [""]
        print(
            f"{name}: {right}, exit {one.exit_code}, {one.seconds:.0f} s, {one.commands} commands, {one.questions} questions, "
            f"{len(one.used)} usage | {row['way'] or 'no way'} | {last[0][:120]}",
            flush=True,
        )
        if wanted.json:
            wanted.json.write_text(json.dumps([asdict(done) for done in rows], indent=1), encoding="utf-8")
    said = [one for one in rows if one.exit_code == 0]
    done = [one for one in said if one.there]
    if rows:
        print(
            f"{len(rows)} documents: verified rightly {len(done)}, wrongly {len(said) - len(done)}, "
            f"usage run in {sum(bool(one.used) for one in rows)}; of those verified the median is "
            f"{statistics.median([one.commands for one in done] or [0]):g} commands, "
            f"{statistics.median([one.questions for one in done] or [0]):g} questions, "
            f"{statistics.median([one.seconds for one in done] or [0]):.0f} s"
        )


if __name__ == "__main__":
    main()
