"""What programs do, as data: one TOML file per family, read when a program of that family is first met.

A program is a table:

    [cp]                                 its name (`names = [...]` adds others)
    operands = "read... write"           the role of each operand; `...`: as many as there are
    always = ["network receive HOST"]    effects it has whatever its operands are
    takes = "-S --suffix"                options with a value that means nothing here
    value = { "-t --target-directory" = "write" }    options whose value has a role
    flag = { "-R -r" = "note recursive" }            options without a value that mean something
    quiet = "--dry-run -n"               options that claim to change nothing: then it is looked at (the floor stands)
    looks = "check show"                 first operands that claim the same
    strict = true                        an option not named here makes the call unknown (`plain` names harmless ones)
    style = "single"                     `-name` is one option, not a cluster (find, java, openssl)
    stop = true                          options end at the first operand (wrappers)
    sub.NAME = { ... }                   subcommands: the same keys, options of the parent are inherited
    match = [["cp a /b", "write /b"]]    examples that must hold;  not_match = [["cp --help", "write"]]

Roles are listed in `skillrun.policy.roles`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


class BadKnowledge(Exception):
    """A table that says something this reader does not know: file, program, key."""


@dataclass(slots=True)
class Program:
    """A program, or a subcommand of one, as its table describes it."""

    name: str
    family: str = ""
    operands: tuple[str, ...] = ()
    repeat: int = -1
    """Index into `operands` of the role that is repeated; -1: none."""
    always: tuple[str, ...] = ()
    value: dict[str, str] = field(default_factory=dict)
    flag: dict[str, str] = field(default_factory=dict)
    plain: frozenset[str] = frozenset()
    quiet: frozenset[str] = frozenset()
    looks: frozenset[str] = frozenset()
    strict: bool = False
    single: bool = False
    stop: bool = False
    manager: str = ""
    output: str = ""
    """What its output is: machine (a fact of this machine), read (its input), fetched, guarded (never empty) or unknown."""
    sub: dict[str, Program] = field(default_factory=dict)
    bare: str = ""
    """Role of a call without any operand (`bash`: code from standard input)."""
    examples: tuple[tuple[str, str], ...] = ()
    counterexamples: tuple[tuple[str, str], ...] = ()


_KEYS = frozenset(
    (
        *("names", "operands", "always", "takes", "value", "flag", "plain", "quiet", "strict", "style", "stop", "manager"),
        *("output", "sub", "bare", "looks", "match", "not_match", "about"),
    )
)


def _spread(table: dict[str, str]) -> dict[str, str]:
    return {option: role for options, role in table.items() for option in options.split()}


def _program(name: str, raw: dict[str, Any], family: str, parent: Program | None = None) -> Program:
    foreign = set(raw) - _KEYS
    if foreign:
        raise BadKnowledge(f"{family}.toml: {name}: unknown key {min(foreign)!r}")
    value = dict(parent.value) if parent else {}
    value.update(dict.fromkeys(raw.get("takes", "").split(), ""))
    value.update(_spread(raw.get("value", {})))
    flag = dict(parent.flag) if parent else {}
    flag.update(_spread(raw.get("flag", {})))
    roles = raw.get("operands", "").split()
    repeat = next((i for i, role in enumerate(roles) if role.endswith("...")), -1)
    program = Program(
        name,
        family,
        operands=tuple(role.removesuffix("...") for role in roles),
        repeat=repeat,
        always=tuple(raw.get("always", ())),
        value=value,
        flag=flag,
        plain=frozenset(raw.get("plain", "").split()) | (parent.plain if parent else frozenset()),
        quiet=frozenset(raw.get("quiet", "").split()) | (parent.quiet if parent else frozenset()),
        looks=frozenset(raw.get("looks", "").split()),
        strict=raw.get("strict", parent.strict if parent else False),
        single=raw.get("style", "single" if parent and parent.single else "") == "single",
        stop=raw.get("stop", False),
        manager=raw.get("manager", parent.manager if parent else ""),
        output=raw.get("output", ""),
        bare=raw.get("bare", ""),
        examples=tuple((e[0], w) for e in raw.get("match", ()) for w in e[1:]),
        counterexamples=tuple((e[0], w) for e in raw.get("not_match", ()) for w in e[1:]),
    )
    for names, child in raw.get("sub", {}).items():
        for each in names.split():
            program.sub[each] = _program(f"{name} {each}", child, family, program)
    return program


@cache
def family(name: str) -> dict[str, Program]:
    """The programs of one file, by every name they go by. Raises BadKnowledge."""
    raw = tomllib.loads((_HERE / f"{name}.toml").read_text("utf-8"))
    programs: dict[str, Program] = {}
    for title, table in raw.items():
        program = _program(title, table, name)
        for each in (title, *table.get("names", ())):
            if each in programs:
                raise BadKnowledge(f"{name}.toml: {each} is there twice")
            programs[each] = program
    return programs


@cache
def index() -> dict[str, str]:
    """Program name -> family, from `index.txt` (one family a line), so that a family is read only when it is needed."""
    lines = (_HERE / "index.txt").read_text("utf-8").splitlines()
    return {name: line.split(":")[0] for line in lines for name in line.split(":", 1)[1].split()}


def families() -> list[str]:
    """Every family there is a file for."""
    return sorted(path.stem for path in _HERE.glob("*.toml"))


def write_index() -> str:
    """The text `index.txt` must have (a test compares; `python -m skillrun.policy.knowledge` rewrites it)."""
    return "".join(f"{name}: {' '.join(sorted(family(name)))}\n" for name in families())


def lookup(name: str) -> Program | None:
    """What is known of a program by its bare name; None when nothing is."""
    found = index().get(name)
    return family(found).get(name) if found else None
