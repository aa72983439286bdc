"""What a shell knows at one point of a command: variables, directory, functions, arguments, files just written."""

from __future__ import annotations

from dataclasses import dataclass, field

from skillrun.bash.nodes import Node
from skillrun.ports import Place
from skillrun.text.patterns import later

SECRET_NAME = later(r"TOKEN|SECRET|PASSW|API_?KEY|PRIVATE_KEY|CREDENTIAL|ACCESS_KEY")
"""Variables whose value is never looked at and counts as a secret."""
MAX_VALUES = 6
"""A variable may have this many possible values (from branches); beyond, it counts as unknown."""


@dataclass(slots=True)
class Shell:
    """Copied for a subshell. `files` (content of paths written in this very command) is shared, as a disk is."""

    cwd: str
    variables: dict[str, tuple[str, ...]] = field(default_factory=dict)
    arrays: dict[str, list[str]] = field(default_factory=dict)
    functions: dict[str, Node] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    arguments: list[str] | None = None
    files: dict[str, str] = field(default_factory=dict)
    stdin: str = ""
    interval: str = " \t\n"
    elsewhere: frozenset[str] = frozenset()
    """Other directories the shell may be in, because a `cd` may have failed unnoticed."""
    calls: tuple[int, ...] = ()
    """Identities of the function bodies being read, innermost last: a name may be defined anew on the way."""
    concurrent: int = 0
    """How many of them were left through a pipe or `&`."""
    top: bool = False
    """The shell the command was typed into: what is set here outlives the command."""
    conditional: int = 0
    """Greater than zero where a command may not be reached: assignments then add a value instead of replacing."""

    @classmethod
    def at(cls, place: Place) -> Shell:
        """The shell as a command finds it."""
        variables: dict[str, tuple[str, ...]] = {
            name: (value,) for name, value in place.variables.items() if SECRET_NAME.search(name.upper()) is None
        }
        variables.setdefault("HOME", (place.home,))
        variables["PWD"] = (place.cwd,)
        if place.user:
            variables.setdefault("USER", (place.user,))
            variables.setdefault("LOGNAME", (place.user,))
        return cls(place.cwd, variables, top=True)

    def fork(self) -> Shell:
        """A subshell: it sees everything and changes nothing but files."""
        return Shell(
            self.cwd,
            dict(self.variables),
            dict(self.arrays),
            dict(self.functions),
            dict(self.aliases),
            self.arguments,
            self.files,
            self.stdin,
            self.interval,
            self.elsewhere,
            self.calls,
            self.concurrent,
            False,
            self.conditional,
        )

    def standing(self, cwd: str) -> Shell:
        """This shell, or for another directory one of its own that works there."""
        if cwd == self.cwd:
            return self
        there = self.fork()
        there.cwd, there.variables["PWD"] = cwd, (cwd,)
        return there

    def assign(self, name: str, values: tuple[str, ...], unknown: str) -> None:
        """Set a variable. `unknown` stands for it when there are too many possible values."""
        if self.conditional and name in self.variables:
            values = tuple(dict.fromkeys(self.variables[name] + values))
        self.variables[name] = values if len(values) <= MAX_VALUES else (unknown,)
        self.arrays.pop(name, None)
        if name == "IFS" and len(values) == 1:
            self.interval = values[0]
