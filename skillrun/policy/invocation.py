"""A program about to be judged: its arguments, the table that describes it, where it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from skillrun.events import EffectKind
from skillrun.policy import paths
from skillrun.policy.evaluation.findings import Findings
from skillrun.policy.knowledge import Program


@dataclass(slots=True)
class Invocation:
    """One program with its arguments, as its table describes it; what is read of it is noted in it."""

    argv: list[str]
    program: Program
    findings: Findings
    cwd: str
    stdin: str = ""
    elsewhere: frozenset[str] = frozenset()
    notes: set[str] = field(default_factory=set)
    evaluate: Callable[[list[str]], str] | None = None
    """Judge a command given as an argument list (wrappers)."""
    shell: Callable[[str], str] | None = None
    """Judge shell text."""
    script: Callable[[str, str], object] | None = None
    """Judge the running of a file (path, interpreter)."""
    quiet: bool = False
    operands: list[str] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)
    index: str = ""

    @property
    def name(self) -> str:
        """The program's name as it is known."""
        return self.program.name

    def always_words(self) -> str:
        """All that the table says this program always does, as one text."""
        return "\n".join(self.program.always)

    def path(self, text: str) -> str:
        """An argument as an absolute path."""
        return paths.absolute(text, self.cwd, self.findings.place)

    def reads(self, text: str, remark: str = "") -> None:
        """It reads the file this argument names."""
        if text and text != "-":
            read = self.findings.read_tree if "recursive" in self.notes else self.findings.read
            read(self.path(text), remark)

    def writes(self, text: str, remark: str = "") -> None:
        """It writes the file this argument names; what its table words as a sentence stays one."""
        if " " in text and "/" not in text and text in self.always_words():
            self.findings.add(EffectKind.WRITE, text, remark)
        elif text and text != "-":
            self.findings.write(self.path(text), remark)


Role = Callable[[Invocation, str, str], None]
"""Notes what follows from one value: (invocation, value, the role's own argument)."""
