"""Bash as data: what a command line consists of, without saying what it would do.

A `Word` is a tuple of parts, so that quoting, which decides what a character means, is never lost.
Nothing here is expanded; `skillrun.bash.syntax.parse` builds it from text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass


@dataclass(slots=True)
class Lit:
    """Characters that stand for themselves. Unquoted ones may still be a glob, a tilde or a brace."""

    text: str
    quoted: bool = False


@dataclass(slots=True)
class Var:
    """`$name` or `${name op word}`. `prefix` is `!` (indirect), `#` (length) or empty."""

    name: str
    quoted: bool = False
    op: str = ""
    word: Word = ()
    prefix: str = ""
    index: Word = ()


@dataclass(slots=True)
class Sub:
    """A program inside a word. `kind`: `$` command substitution, `<` or `>` process substitution."""

    body: Seq
    quoted: bool = False
    kind: str = "$"


@dataclass(slots=True)
class Arith:
    """`$((...))`; `parts` holds the expansions inside it."""

    text: str
    parts: Word = ()
    quoted: bool = False


Part = Lit | Var | Sub | Arith
Word = tuple[Part, ...]


@dataclass(slots=True)
class Assign:
    """`name=value`; `values` instead of `value` for an array."""

    name: str
    value: Word = ()
    append: bool = False
    index: Word = ()
    values: list[Word] | None = None


@dataclass(slots=True)
class Redirect:
    """A redirection. For `<<` the target is the here-document's text; `fd` is empty when it was not written."""

    op: str
    fd: str
    target: Word


@dataclass(slots=True)
class Simple:
    """Assignments, words, redirections. `declares`: assignments that are arguments of export, declare, local, ..."""

    words: list[Word] = field(default_factory=list)
    assigns: list[Assign] = field(default_factory=list)
    redirects: list[Redirect] = field(default_factory=list)
    declares: list[Assign] = field(default_factory=list)


@dataclass(slots=True)
class Seq:
    """Commands one after another; `background` holds the positions of those followed by `&`."""

    items: list[Node] = field(default_factory=list)
    background: set[int] = field(default_factory=set)


@dataclass(slots=True)
class AndOr:
    """`left && right` or `left || right`."""

    left: Node
    op: str
    right: Node


@dataclass(slots=True)
class Pipe:
    """`a | b | c`; each part runs in a subshell. `negated`: `! a | b`."""

    parts: list[Node]
    negated: bool = False


@dataclass(slots=True)
class Group:
    """`{ ...; }` or, with `subshell`, `( ... )`."""

    body: Seq
    subshell: bool


@dataclass(slots=True)
class If:
    """Branches in order; a condition of None is `else`."""

    branches: list[tuple[Seq | None, Seq]]


@dataclass(slots=True)
class Loop:
    """`kind`: for | select | while | until | arith. `words` None: over the positional parameters."""

    kind: str
    body: Seq
    var: str = ""
    words: list[Word] | None = None
    condition: Seq | None = None
    parts: Word = ()


@dataclass(slots=True)
class Case:
    """`case word in patterns) body;; esac`."""

    word: Word
    items: list[tuple[list[Word], Seq]]


@dataclass(slots=True)
class Function:
    """A definition; the body runs when the name is called."""

    name: str
    body: Node


@dataclass(slots=True)
class Test:
    """`[[ ... ]]` or `(( ... ))`: nothing but its expansions can have an effect."""

    words: list[Word]
    arithmetic: bool = False


@dataclass(slots=True)
class Redirected:
    """A compound command with redirections."""

    body: Node
    redirects: list[Redirect]


@dataclass(slots=True)
class Coproc:
    """`coproc [NAME] command`."""

    body: Node


Node = Simple | Seq | AndOr | Pipe | Group | If | Loop | Case | Function | Test | Redirected | Coproc


def simple_commands(node: object) -> Iterator[Simple]:
    """Every simple command below a node, in order, inside substitutions too."""
    if isinstance(node, Simple):
        yield node
    if is_dataclass(node):
        for each in fields(node):
            yield from simple_commands(getattr(node, each.name))
    elif isinstance(node, list | tuple):
        for item in node:
            yield from simple_commands(item)
