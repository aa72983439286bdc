"""The oracle that is not the policy: lines nobody wrote are judged, and what is allowed is run and traced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from skillrun.events import Decision, EffectKind, Verdict
from skillrun.policy.judge import Judge, Reviewed
from skillrun.ports import Place
from tests import oracle_machine
from tests.oracle_lines import Lines, programs

HELPERS = Path(__file__).parent / "cases" / "policy" / "own_programs.txt"
PLACE = Place(oracle_machine.WORK, "/root", "root", dict(oracle_machine.ENVIRONMENT))
MANY = 5000
"""Lines from which on subcommands are asked for their help, too: that alone takes ten seconds."""
SLOW = ("gcloud", "pip", "pip2", "pip3", "npm", "mvn", "java", "javac", "gdb", "kubectl", "aws", "terraform")
ALLOWED = Reviewed(Decision(Verdict.ALLOW, "whatever it is"))
"""What a judge says that knows no harm."""
Problem = tuple[str, str, str]
"""Program of the line, what it did, to what."""


@dataclass(slots=True)
class Found:
    """What came of it."""

    lines: int
    verdicts: dict[str, int] = field(default_factory=dict)
    programs: set[str] = field(default_factory=set)
    """Programs of which at least one line was allowed and run."""
    problems: list[tuple[Problem, str]] = field(default_factory=list)

    def figures(self) -> str:
        """In one sentence."""
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items()))
        return (
            f"{self.lines} lines ({told}); {self.verdicts.get('allow', 0)} run, of {len(self.programs)} programs; "
            f"{len({line for _, line in self.problems})} lines did more than look"
        )


@cache
def helpers() -> dict[str, set[str]]:
    """Program -> programs it starts by itself, whatever is said to it."""
    found: dict[str, set[str]] = {}
    for line in HELPERS.read_text("utf-8").splitlines():
        names, _, rest = line.partition("#")[0].partition(":")
        for name in names.split():
            found.setdefault(name, set()).update(rest.split())
    return found


def ask(seed: int, count: int, beside: int = 2) -> Found:
    """Make so many lines, judge them, run those that are allowed. Raises RuntimeError where no machine can be made."""
    names = programs() if count > MANY else [name for name in programs() if " " not in name and name not in SLOW]
    lines = Lines(seed, oracle_machine.helps(names)).take(count)
    return tell(lines, beside)


def tell(lines: Sequence[str], beside: int = 2) -> Found:
    """Judge these lines, and run those that are allowed."""
    judge, found, allowed = Judge(), Found(len(lines)), list[str]()
    for line in lines:
        verdict = judge.command(line, PLACE).decision.verdict
        found.verdicts[str(verdict)] = found.verdicts.get(str(verdict), 0) + 1
        if verdict is Verdict.ALLOW:
            allowed.append(line)
    for line, did in zip(allowed, oracle_machine.run(allowed, beside), strict=True):
        reading = judge.read(line, PLACE)
        named = [name.rpartition("/")[2] for name in reading.executables]
        found.programs.update(named)
        own = {"bash", *named, *(helper for name in named for helper in helpers().get(name, ()))}
        asked = reading.services or any(effect.kind is EffectKind.NETWORK for effect in reading.effects)
        for kind, subject in sorted(did.deeds):
            if kind == "exec" and subject.startswith(oracle_machine.SYSTEM) and subject.rpartition("/")[2] in own:
                continue
            if kind == "connect" and asked:
                continue
            found.problems.append(((named[0] if named else "", kind, subject), line))
    return found
