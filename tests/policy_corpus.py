"""The corpus of commands: where it lies, the place it is judged in, how it is read and rewritten.

One line of a file is one case: `verdict <tab> threat <tab> command <tab> effects`, a newline inside a command
written as `⏎`, effects separated by ` ; `. `python -m tests.policy_corpus` rewrites the effects after a change; read the
difference before you commit it, because it is what the policy will say from then on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from skillrun.events import Decision
from skillrun.policy.judge import Judge
from skillrun.ports import Place

FOLDER = Path(__file__).parent / "cases" / "policy"
VARIABLES = {"PATH": "/usr/bin:/bin", "HOME": "/home/me", "USER": "me", "SHELL": "/bin/bash", "LANG": "C.UTF-8"}
PLACE = Place("/home/me/work", "/home/me", "me", VARIABLES)


@dataclass(frozen=True, slots=True)
class Case:
    """A command with what must come of it. `verdict` `refuse` means: asked or denied, never allowed."""

    file: str
    line: int
    verdict: str
    threat: str
    command: str
    effects: tuple[str, ...]


def cases() -> list[Case]:
    """Every case of every file."""
    found = []
    for path in sorted(FOLDER.glob("*.tsv")):
        for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
            if line and not line.startswith("#"):
                verdict, threat, command, effects = (line + "\t" * 3).split("\t")[:4]
                wanted = tuple(effect for effect in effects.split(" ; ") if effect)
                found.append(Case(path.stem, number, verdict, threat, unescaped(command), wanted))
    return found


def unescaped(command: str) -> str:
    """The command as it is run; `⇥` stands for a tab."""
    return command.replace("⏎", "\n").replace("⇥", "\t")


def told(decision: Decision) -> tuple[str, ...]:
    """The effects of a decision as they are written in a case."""
    return tuple(re.sub(r"\s+", " ", f"{effect.kind} {effect.subject}").strip() for effect in decision.effects)


def rewrite() -> None:
    """Write every case's effects as the policy tells them now; verdicts and threats stay as people wrote them."""
    judge = Judge()
    for path in sorted(FOLDER.glob("*.tsv")):
        lines = []
        for line in path.read_text("utf-8").split("\n"):
            if line and not line.startswith("#"):
                verdict, threat, command = (line + "\t" * 3).split("\t")[:3]
                effects = told(judge.command(unescaped(command), PLACE).decision)
                line = "\t".join((verdict, threat, command, " ; ".join(effects)))
            lines.append(line)
        path.write_text("\n".join(lines), "utf-8")


if __name__ == "__main__":
    rewrite()
