"""The closed world: a call is allowed outright only in a form that `calls.txt` lists, option by option.

What is not listed is not forbidden and not asked: it is only *looked at* first, where the kernel holds it. So the table may
stay small, and a form belongs in it only when the program's own documentation says that it does nothing but look.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from skillrun.policy.harmless.conditions import AS_WHOLE, CONDITIONS, Vouched
from skillrun.policy.unknown import FOREIGN, certain

_TABLE = Path(__file__).with_name("calls.txt")
_TAKES, _NONE = "=", ""
_ROLES = frozenset(("READ", "WORD", "NUM", "SUB", "COMMAND", "FORMAT", "LOCALHOST", "URL", "NAMES", "TEMPLATE"))


@dataclass(slots=True)
class Form:
    """The harmless calls of a program, or of one of its subcommands."""

    name: str
    options: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Option as it is written -> (how it takes a value: `=`, `[=]` or not at all; what the value is: READ, NUM, text)."""
    operands: list[str] = field(default_factory=list)
    whole: frozenset[tuple[str, ...]] = frozenset()
    """Argument lists that are harmless as a whole."""
    marks: frozenset[str] = frozenset()
    single: bool = False


@cache
def _rows() -> dict[str, str]:
    """Name -> form; a name that shares the form of another points to it with `@`."""
    rows: dict[str, str] = {}
    names: list[str] = []
    for line in _TABLE.read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if line[0] in " \t":
            rows[names[0]] += " " + line.strip()
            continue
        left, _, spec = line.partition(": ")
        parent, slash, children = left.partition(" / ")
        names = [f"{parent} {each}" for each in children.split()] if slash else left.split()
        before = rows.get(names[0], "")
        rows[names[0]] = (rows[before[1:]] if before.startswith("@") else before) + " " + spec.strip()
        for name in names[1:]:
            if name in rows:
                raise ValueError(f"{_TABLE.name}: {name} has a form already")
            rows[name] = "@" + names[0]
    return rows


@cache
def form(name: str) -> Form | None:
    """The form of a program (`ls`) or a subcommand (`git log`); None where none is known."""
    spec = _rows().get(name)
    if spec is None:
        return None
    return form(spec[1:]) if spec[0] == "@" else _parsed(name, spec)


def names() -> Iterator[str]:
    """Every program and subcommand in the table."""
    return iter(_rows())


def _parsed(name: str, spec: str) -> Form:
    found, whole, marks = Form(name), set[tuple[str, ...]](), set[str]()
    for token in spec.split():
        if token[0] == "=":
            whole.add(tuple(token[1:].split("_")) if token != "=" else ())
        elif token[0] == ":":
            name, takes, meaning = _option(token[1:])
            found.options[name] = (takes, meaning)
            found.single = True
        elif token.startswith("--"):
            name, takes, meaning = _option(token)
            found.options[name] = (takes, meaning)
        elif token[0] in "-+" and len(token) > 1:
            name, takes, meaning = _option(token)
            if takes:
                found.options[name] = (takes, meaning)
            else:
                found.options.update({token[0] + letter: (_NONE, "") for letter in token[1:]})
        elif token.rstrip("*?") in _ROLES:
            found.operands.append(token)
        else:
            marks.add(token)
    found.whole, found.marks = frozenset(whole), frozenset(marks)
    return found


def _option(token: str) -> tuple[str, str, str]:
    match = re.fullmatch(r"(.+?)(\[=\]|=)?([A-Z]*)", token)
    assert match is not None  # every text has this shape
    return match[1], match[2] or _NONE, match[3]


def vouch(argv: list[str]) -> Vouched:
    """Is this call one that the table lists? argv[0] is the bare name of the program."""
    rest, result = argv[1:], Vouched()
    found = form(argv[0])
    if found is None:
        result.why = argv[0]
        return result
    while True:
        result.marks |= found.marks
        result.runs = found.operands[:1] == ["COMMAND"]
        if tuple(rest) in found.whole:
            result.whole = True
            return result
        if "ANYTHING" in found.marks:
            return result
        if not found.options and not found.operands:
            result.why = " ".join([argv[0], *rest[:1]])
            return result
        if found.name in AS_WHOLE:
            result.why = AS_WHOLE[found.name](rest)
            return result
        _Reader(found, rest, result).options()
        if result.why or not found.operands or found.operands[0] != "SUB":
            break
        if not result.operands:
            result.why = "" if "BARE" in found.marks else f"{found.name} without a subcommand"
            return result
        first, *rest = result.operands
        deeper = form(f"{found.name} {first}") if certain(first) else None
        if deeper is None:
            result.why = f"{found.name} {first}"
            return result
        found = deeper
    if not result.why:
        _operands(found, result)
    for mark in sorted(found.marks):
        if not result.why and mark in CONDITIONS:
            result.why = CONDITIONS[mark](result)
    return result


class _Reader:
    """Reads an argument list as its program would; the first thing not in the form is the reason it is not vouched for."""

    def __init__(self, found: Form, rest: list[str], result: Vouched) -> None:
        self.found, self.rest, self.result, self.at = found, rest, result, 0

    def options(self) -> None:
        """Options into `result.options`, everything else into `result.operands`."""
        found, rest, result = self.found, self.rest, self.result
        result.operands = []
        stop = bool(found.operands) and found.operands[0] in ("SUB", "COMMAND")
        while self.at < len(rest) and not result.why:
            word = rest[self.at]
            self.at += 1
            if word == "--":
                result.operands += rest[self.at :]
                return
            if word and FOREIGN.match(word[0]) and "ANYOPTION" not in found.marks:
                self.no(f"{word} may become an option")
            elif len(word) < 2 or word[0] not in "-+" or (word[0] == "+" and found.operands[:1] == ["FORMAT"]):
                result.operands.append(word)
                if stop:
                    result.operands += rest[self.at :]
                    return
            else:
                self.option(word)

    def no(self, what: str) -> None:
        """This is not in the form."""
        self.result.why = f"{self.found.name} {what}"

    def option(self, word: str) -> None:
        """One word that is an option, or several bundled."""
        found = self.found
        name, equals, value = word.partition("=")
        if word.startswith("--") or (found.single and name in found.options):
            takes, meaning = found.options.get(name, ("?", ""))
            if takes == "?" or (equals and takes == _NONE):
                self.no(word)
            elif equals or takes != _TAKES:
                self.value(name, meaning, value)
            else:
                self.next_value(name, meaning)
            return
        if found.single or not certain(word[:2]):
            self.no(word)
            return
        for position in range(1, len(word)):
            short = word[0] + word[position]
            takes, meaning = found.options.get(short, ("?", ""))
            if takes == "?":
                if not (word[1:].isdigit() and "NUMBER" in found.marks):
                    self.no(word)
                return
            glued = word[position + 1 :]
            if takes == _NONE:
                self.result.options.append((short, ""))
            elif glued or takes != _TAKES:
                self.value(short, meaning, glued)
                return
            else:
                self.next_value(short, meaning)
                return

    def next_value(self, name: str, meaning: str) -> None:
        """The next word is this option's value."""
        if self.at >= len(self.rest):
            self.no(f"{name} without its value")
            return
        self.value(name, meaning, self.rest[self.at])
        self.at += 1

    def file(self, value: str) -> None:
        """A value or an operand that names a file it reads."""
        self.result.reads.append(value)
        if _ADDRESS.match(value):
            self.no(f"{value}: an address and no file")

    def value(self, name: str, meaning: str, value: str) -> None:
        """What an option's value means."""
        result = self.result
        result.options.append((name, value))
        if meaning == "READ":
            self.file(value)
        elif meaning == "DIR":
            result.directory = value
            if not certain(value):
                self.no(f"{name}: the directory is not known")
        elif (pattern := _VALUES.get(meaning)) is not None and value and not pattern.fullmatch(value):
            self.no(f"{name} {value}")


_ADDRESS = re.compile(r"[A-Za-z][\w+.-]+:")
"""RFC 3986: openssl(1) fetches `-in http://...`, libxml2 and rpm the same."""

_VALUES = {
    "NUM": re.compile(r"[-+]?[\d.:,]+[a-zA-Z%]*"),
    "SHOPT": re.compile(r"pipefail|errexit|nounset|xtrace|noglob"),
    "HEADER": re.compile(r"(?!@)(?:(?!%output|%stderr).)*", re.DOTALL),
    "DEVNULL": re.compile(r"/dev/null|-"),
    "FORMAT": re.compile(r"\+.*", re.DOTALL),
    "TEMPLATE": re.compile(r"(?:/tmp/|/var/tmp/)?[\w.-]+"),
    "LOCALHOST": re.compile(r"localhost|127(?:\.\d+){1,3}|::1"),
    "URL": re.compile(r"(?:https?://)?(?:[\w.-]+|\[[\da-f:]+\])(?::\d+)?(?:[/?][^{}\[\]]*)?"),
}
"""What a value or an operand must look like. curl: `@` reads a file, `%output{}` writes one, braces are several URLs."""


def _operands(found: Form, result: Vouched) -> None:
    wanted = found.operands
    if wanted and wanted[0] == "COMMAND":
        return
    if "PATTERN" in found.marks and any(name in _GIVEN for name, _ in result.options):
        wanted = wanted[1:]
    for position, operand in enumerate(result.operands):
        role = wanted[position] if position < len(wanted) else wanted[-1] if wanted and wanted[-1].endswith("*") else ""
        kind = role.rstrip("*?")
        if not kind:
            result.why = f"{found.name} {operand}"
        elif kind == "READ":
            _Reader(found, [], result).file(operand)
        elif kind == "NAMES":
            result.names.append(operand)
        elif (pattern := _VALUES.get(kind)) is not None and not pattern.fullmatch(operand):
            result.why = f"{found.name} {operand}"


_GIVEN = frozenset(("-e", "-f", "--regexp", "--file", "--files", "--type-list", "--expression"))

RUNNERS = frozenset(["eval", "builtin", "exec", ".", "source", "busybox", "toybox"])
"""What they run is judged by itself, and their own options by the code that opens them."""

BUILTINS = frozenset(
    (
        *[
            ":",
            ".",
            "[",
            "alias",
            "bg",
            "bind",
            "break",
            "builtin",
            "caller",
            "cd",
            "command",
            "compgen",
            "complete",
            "compopt",
            "continue",
            "declare",
            "dirs",
            "disown",
            "echo",
            "enable",
            "eval",
        ],
        *[
            "exec",
            "exit",
            "export",
            "false",
            "fc",
            "fg",
            "getopts",
            "hash",
            "help",
            "history",
            "jobs",
            "kill",
            "let",
            "local",
            "logout",
            "mapfile",
            "popd",
            "printf",
            "pushd",
            "pwd",
            "read",
        ],
        *[
            "readarray",
            "readonly",
            "return",
            "set",
            "shift",
            "shopt",
            "source",
            "suspend",
            "test",
            "times",
            "trap",
            "true",
            "type",
            "typeset",
            "ulimit",
            "umask",
            "unalias",
            "unset",
            "wait",
        ],
    )
)
"""Commands of the shell itself (bash(1), SHELL BUILTIN COMMANDS)."""
