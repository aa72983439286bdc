"""Command lines nobody wrote: made from the policy's own option tables and from what each program says of itself.

A line is a program (or a subcommand), options from its form in `harmless/calls.txt` and from its `--help`, values and operands
that would tempt it (`w out`, `|./evil`, `system("./evil")`, a file that is not there yet), in a frame of the shell's. The same
seed and the same help texts give the same lines.
"""

from __future__ import annotations

import random
import re
import shlex
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from skillrun.policy.harmless import calls as harmless

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Where packages put programs. What a machine's owner put elsewhere may be anything under a known name."""
_OPTION = re.compile(r"(?<![\w/.-])(--?[A-Za-z0-9][\w-]*)(\[?=\[?[\w<>|.-]+\]?|[ =]<?[A-Z][A-Z_]+>?)?")
"""An option in a help text, and the name of its value where one stands beside it."""
_POOL: dict[str, list[str]] = tomllib.loads((Path(__file__).parent / "cases" / "policy" / "oracle.toml").read_text("utf-8"))
_OPERANDS = ("words", "words", "files", "numbers", "new", "scripts")
_SHELL_ONLY = harmless.BUILTINS - {"[", "echo", "false", "kill", "printf", "pwd", "test", "true"}


@dataclass(slots=True)
class Options:
    """What may be said to a program: (option, whether a value follows, what the value is), and first words it knows."""

    table: list[tuple[str, str, str]] = field(default_factory=list)
    said: list[tuple[str, str, str]] = field(default_factory=list)
    operands: list[str] = field(default_factory=list)
    whole: list[tuple[str, ...]] = field(default_factory=list)


def programs() -> list[str]:
    """Programs of the tables that are installed here, with their subcommands (`git log`); shells' own commands are left out."""
    return [
        name
        for name in sorted(harmless.names())
        if (first := name.split()[0]) not in _SHELL_ONLY and shutil.which(first, path=PATH)
    ]


def options_of_help(text: str) -> list[tuple[str, str, str]]:
    """The options a help text names."""
    found = {name: "=" if value else "" for name, value in reversed(_OPTION.findall(text[:60_000]))}
    return sorted((name, takes, "") for name, takes in found.items())


class Lines:
    """A source of lines. `helps`: name of a program or subcommand -> its help text."""

    def __init__(self, seed: int, helps: Mapping[str, str]) -> None:
        self.seed, self.random = seed, random.Random(seed)
        self.helps = helps
        self.names = programs()

    def take(self, count: int) -> list[str]:
        """So many lines, each program's share the same."""
        by_program: dict[str, list[str]] = {}
        for name in self.names:
            by_program.setdefault(name.split()[0], []).append(name)
        firsts, order = list(by_program), random.Random(self.seed)
        # each program has dice of its own: where one did not tell its options in time, the lines of the others are the same
        dice = {first: random.Random(f"{self.seed} {first}") for first in firsts}
        found: list[str] = []
        while len(found) < count:
            order.shuffle(firsts)
            for first in firsts:
                self.random = dice[first]
                found.append(self.line(self.random.choice(by_program[first])))
        return found[:count]

    @cache  # noqa: B019 - lives as long as the lines are made
    def _options(self, name: str) -> Options:
        form = harmless.form(name)
        assert form is not None  # it is one of the table's
        table = sorted((option, takes, meaning) for option, (takes, meaning) in form.options.items())
        return Options(table, options_of_help(self.helps.get(name, "")), form.operands, sorted(form.whole))

    def line(self, name: str) -> str:
        """One line for a program or subcommand."""
        chance, options = self.random.random, self._options(name)
        words = name.split()
        if len(words) > 1 and chance() < 0.2:
            words[1:1] = self._some(self._options(words[0]), 1)
        if options.whole and chance() < 0.25:
            words += self.random.choice(options.whole)
            words += self._operands([], 1) if chance() < 0.2 else []
        else:
            words += self._some(options, self.random.choice((0, 1, 1, 1, 2, 2, 3)))
            words += self._operands(options.operands, self.random.choice((0, 0, 1, 1, 1, 2, 3)))
        if chance() < 0.1:
            words[1:] = self.random.sample(words[1:], len(words) - 1)
        text = " ".join(self._quoted(word) for word in words)
        if chance() < 0.06:
            text = f"{self.random.choice(_POOL['variables'])} {text}"
        return self.random.choice(_POOL["frames"]).replace("{}", text) if chance() < 0.15 else text

    def _quoted(self, word: str) -> str:
        if word in ("*", "~/new", "{f,new}") or (word.startswith("$(") and self.random.random() < 0.5):
            return word
        return shlex.quote(word)

    def _some(self, options: Options, count: int) -> list[str]:
        words: list[str] = []
        for _ in range(count):
            pool = options.table if options.table and (self.random.random() < 0.8 or not options.said) else options.said
            if pool:
                words += self._written(*self.random.choice(pool), pool)
        return words

    def _written(self, option: str, takes: str, meaning: str, pool: list[tuple[str, str, str]]) -> list[str]:
        """One option as somebody might write it: with its value, glued, bundled, shortened."""
        chance = self.random.random
        value = self._value(meaning) if takes == "=" or (takes and chance() < 0.5) or chance() < 0.03 else None
        if option.startswith("--"):
            if chance() < 0.04 and len(option) > 5:
                option = option[: self.random.randrange(4, len(option))]
            if value is None:
                return [option]
            return [option, value] if takes == "=" and chance() < 0.3 else [f"{option}={value}"]
        if value is None:
            others = [each[0][1:] for each in pool if len(each[0]) == 2 and not each[1]]
            return [option + "".join(self.random.sample(others, min(len(others), self.random.choice((0, 0, 1, 2)))))]
        return [option + value] if chance() < 0.4 else [option, value]

    def _value(self, meaning: str) -> str:
        pick, chance = self.random.choice, self.random.random
        if chance() < 0.3:
            return pick(_POOL["tempting"])
        if meaning == "NUM":
            return pick(_POOL["numbers"])
        if meaning in ("READ", "DIR"):
            return pick(_POOL["files"])
        return pick(_POOL[pick(_OPERANDS[:-1])])

    def _operands(self, roles: list[str], count: int) -> list[str]:
        pick, chance = self.random.choice, self.random.random
        words: list[str] = []
        for position in range(count):
            role = roles[min(position, len(roles) - 1)].rstrip("*?") if roles else ""
            if role == "COMMAND":
                return [
                    *words,
                    *pick((("ls",), ("cat", "f"), ("./evil",), ("touch", "new"), ("sort", "-o", "new", "f"), ("id", "-u"))),
                ]
            if chance() < 0.2:
                words.append(pick(_POOL["tempting"]))
            elif role in ("READ", "NAMES"):
                words.append(pick(_POOL["files"] if chance() < 0.9 else _POOL["new"]))
            elif role == "NUM":
                words.append(pick(_POOL["numbers"]))
            else:
                words.append(pick(_POOL[pick(_OPERANDS)]))
        return words
