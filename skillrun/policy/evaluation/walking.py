"""Walk a program as the shell would, without running anything, and note what every command in it would do.

Both branches of a condition count, a loop's body is read for each known item, a function is read
where it is defined and again where it is called. The output of a command is followed as far as it
is known, because what `echo ... | base64 -d | sh` runs is what matters.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from skillrun.bash.cursor import MAX_PARTS
from skillrun.bash.nodes import (
    AndOr,
    Case,
    Coproc,
    Function,
    Group,
    If,
    Lit,
    Loop,
    Node,
    Pipe,
    Redirect,
    Redirected,
    Seq,
    Simple,
    Sub,
    Test,
)
from skillrun.bash.syntax import parse
from skillrun.events import EffectKind
from skillrun.policy.evaluation.expand import Expander, evaluated
from skillrun.policy.evaluation.findings import BUDGET, Findings
from skillrun.policy.evaluation.state import SECRET_NAME, Shell
from skillrun.policy.evaluation.variables import judge_variable
from skillrun.policy.unknown import TooMuch, Unknown, known, plain
from skillrun.ports import Place
from skillrun.text.patterns import later

MAX_TEXT_DEPTH = 12
"""Programs inside programs: `sh -c "bash -c '...'"`."""
MAX_ITEMS = 8
MAX_OUTPUT = 65_536
_NAMES = later(r"\b[A-Za-z_]\w*\b")
_NUMERIC = frozenset(("-eq", "-ne", "-lt", "-le", "-gt", "-ge"))


class Walker(ABC):
    """Follows a program through its constructs. What a simple command does is known above."""

    def __init__(self, place: Place, budget: int = BUDGET, max_parts: int = MAX_PARTS) -> None:
        self.place = place
        self.max_parts = max_parts
        self.findings = Findings(place, budget)
        self.unknowns = self.findings.unknowns
        self.expander = Expander(self.unknowns, self.substitution, self.hidden_arithmetic, self.prompt)
        self.depth = 0
        self.documents = 0

    @abstractmethod
    def simple(self, node: Simple, shell: Shell) -> str:
        """A simple command; its output."""

    @abstractmethod
    def redirects(self, redirects: list[Redirect], shell: Shell) -> str | None:
        """Note what redirections read and write; the path that standard output goes to, if it was redirected."""

    @abstractmethod
    def store(self, output: str, target: str | None, shell: Shell) -> str:
        """Keep what was written where; what is left of the output."""

    @abstractmethod
    def is_known(self, name: str) -> bool:
        """Is this a program that is known here?"""

    def text(self, text: str, shell: Shell) -> str:
        """Read shell text in this shell; its output."""
        self.depth += 1
        if self.depth > MAX_TEXT_DEPTH:
            raise TooMuch("programs inside programs, too deep")
        script = parse(text, self.max_parts)
        output = self.sequence(script.body, shell)
        self.depth -= 1
        if script.too_large:
            raise TooMuch(script.error)
        if script.error:
            self.findings.add(EffectKind.UNKNOWN, "the command", f"cannot be read as Bash: {script.error}")
        return output

    def code(self, text: str, shell: Shell, by: str) -> str:
        """Read text that a program was told to run as shell code; what of it is fetched or not known counts as such."""
        source = self.unknowns.fetched(text)
        if source is not None:
            self.findings.add(EffectKind.RUN_FETCHED, source, f"run by {by}")
        elif not known(text):
            shown = " ".join(self.unknowns.show(text).split())
            self.findings.add(EffectKind.RUN_CODE, by, f"part of it is not known: {shown[:120]}")
        if len(text.strip()) == 1 and not known(text):
            return self.unknowns.new(Unknown("output", "…"))
        return self.text(plain(text).replace("\0", ""), shell)

    def substitution(self, sub: Sub, shell: Shell) -> str:
        """The value of `$(...)`; for `<(...)` a path that has it as content."""
        if sub.kind == "$":
            return self.sequence(sub.body, shell.fork())[:MAX_OUTPUT].replace("\0", "")
        self.documents += 1
        path = f"/dev/fd/{62 + self.documents}"
        inner = shell.fork()
        if sub.kind == "<":
            shell.files[path] = self.sequence(sub.body, inner)
        else:
            inner.stdin = self.unknowns.new(Unknown("any", "…"))
            self.sequence(sub.body, inner)
        return path

    def sequence(self, seq: Seq, shell: Shell) -> str:
        """Commands one after another."""
        outputs = []
        for position, node in enumerate(seq.items):
            if position in seq.background:
                inner = shell.fork()
                inner.concurrent += 1
                output = self.node(node, inner)
            else:
                output = self.node(node, shell)
            if output:
                outputs.append(output)
        joined = "".join(outputs)
        return joined if len(joined) <= MAX_OUTPUT else self.unknowns.new(Unknown("output", "…"))

    def node(self, node: Node, shell: Shell) -> str:
        """Any construct; its output."""
        if type(node) is Simple:
            return self.simple(node, shell)
        walk: Callable[[Walker, Node, Shell], str] = self._NODES[type(node)]
        return walk(self, node, shell)

    def and_or(self, node: AndOr, shell: Shell) -> str:
        """Both sides count."""
        before = shell.elsewhere
        left = self.node(node.left, shell)
        failed, shell.elsewhere = shell.elsewhere, before if node.op == "&&" else shell.elsewhere
        shell.conditional += 1
        right = self.node(node.right, shell)
        shell.conditional -= 1
        shell.elsewhere = before if node.op == "||" and _leaves(node.right) else shell.elsewhere | failed
        return left + right

    def pipe(self, node: Pipe, shell: Shell) -> str:
        """Each part reads what the one before it prints."""
        data = shell.stdin
        for part in node.parts:
            inner = shell.fork() if len(node.parts) > 1 else shell
            inner.stdin = data
            inner.concurrent += len(node.parts) > 1
            data = self.node(part, inner)
        return data

    def group(self, node: Group, shell: Shell) -> str:
        """Braces keep the shell, parentheses fork it."""
        return self.sequence(node.body, shell.fork() if node.subshell else shell)

    def branches(self, node: If, shell: Shell) -> str:
        """Every branch counts."""
        outputs = []
        for condition, body in node.branches:
            if condition is not None:
                self.sequence(condition, shell)
            shell.conditional += 1
            outputs.append(self.sequence(body, shell))
            shell.conditional -= 1
        return "".join(outputs)

    def loop(self, node: Loop, shell: Shell) -> str:
        """The body, for each known item."""
        outputs = []
        if node.parts:
            self.hidden_arithmetic(shell, evaluated(self.expander.joined(node.parts, shell), shell))
        if node.condition is not None:
            self.sequence(node.condition, shell)
        endless = node.kind == "arith" or (node.condition is not None and _always(node.condition))
        if endless and node.body.background and not any(_waits(item) for item in node.body.items):
            self.findings.floor("fork-bomb", "an endless loop starts programs beside itself and waits for none")
        shell.conditional += 1
        if node.var:
            self.named(node.var, (self.unknowns.new(Unknown("output", f"${node.var}")),))
            if node.words is not None:
                lists = self.expander.arguments(node.words, shell)
                items = list(dict.fromkeys(item for each in lists for item in each))
            else:
                items = list(shell.arguments) if shell.arguments is not None else [self.expander.unset("@")]
            if len(items) > MAX_ITEMS:
                label = f"each of {len(items)} items"
                secret = any(SECRET_NAME.search(item.upper()) for item in items)  # one of them may name a variable that is
                items = [*items[:2], self.unknowns.new(Unknown("output", label, guarded=True, secret=secret))]
            for item in items:
                shell.variables[node.var] = (item,)
                outputs.append(self.sequence(node.body, shell))
        else:
            # A variable may change from round to round, so what the body sets counts before it is read again.
            before = dict(shell.variables)
            outputs.append(self.sequence(node.body, shell))
            if shell.variables != before:
                outputs.append(self.sequence(node.body, shell))
        shell.conditional -= 1
        return "".join(outputs)

    def case(self, node: Case, shell: Shell) -> str:
        """Every case counts."""
        self.expander.joined(node.word, shell)
        outputs = []
        shell.conditional += 1
        for patterns, body in node.items:
            for pattern in patterns:
                self.expander.joined(pattern, shell)
            outputs.append(self.sequence(body, shell))
        shell.conditional -= 1
        return "".join(outputs)

    def function(self, node: Function, shell: Shell) -> str:
        """A definition counts as if it were called, and again when it is."""
        shell.functions[node.name] = node.body
        if shell.top:
            self.findings.leave("functions")
        if self.is_known(node.name):
            self.findings.add(EffectKind.UNKNOWN, node.name, "a function takes the place of a known program")
        inner = shell.fork()
        inner.arguments = None
        self.call_function(node.name, node.body, inner)
        return ""

    def call_function(self, name: str, body: Node, shell: Shell) -> str:
        """Read a function's body; one that starts itself again beside itself is a fork bomb."""
        if id(body) in shell.calls:
            if shell.concurrent or not shell.conditional:
                self.findings.floor("fork-bomb", f"{name} starts itself again and again, beside itself")
            return ""
        outer = shell.calls, shell.concurrent, shell.conditional
        shell.calls, shell.concurrent, shell.conditional = (*shell.calls, id(body)), 0, 0
        output = self.node(body, shell)
        shell.calls, shell.concurrent, shell.conditional = outer
        return output

    def test(self, node: Test, shell: Shell) -> str:
        """Only expansions can do anything here."""
        for word in node.words:
            self.subscripts([self.expander.joined(word, shell)], "[[")
        if node.arithmetic or any(len(w) == 1 and getattr(w[0], "text", "") in _NUMERIC for w in node.words):
            words = [self.expander.joined(word, shell) for word in node.words]
            beside = [
                words[i + step]
                for i, word in enumerate(words)
                if word in _NUMERIC
                for step in (-1, 1)
                if 0 < i + 1 < len(words)
            ]
            self.hidden_arithmetic(shell, words if node.arithmetic else beside)
        return ""

    def named(self, name: str, values: tuple[str, ...]) -> None:
        """A builtin or a loop sets a variable: programs may see it, where they saw it before."""
        judge_variable(self.findings, name, values, name in self.findings.place.variables)

    def subscripts(self, words: list[str], by: str) -> None:
        """Builtins that take a variable's name evaluate its subscript, and the substitutions in it."""
        for word in words:
            if "[" in plain(word) and ("$(" in word or "`" in word):
                self.findings.add(EffectKind.RUN_CODE, by, f"the subscript in {plain(word)[:80]} is evaluated")

    def hidden_arithmetic(self, shell: Shell, texts: Sequence[str] = ()) -> None:
        """Arithmetic evaluates the *text* of variables, substitutions in it included. `texts`: what it is about."""
        for text in texts:
            if not self.findings.fresh and any(self._inherited(name, text, shell) for name in _NAMES.findall(text)):
                self.findings.unproven("arithmetic on a variable of an earlier command, which may hold commands")
            if any(item.kind in ("output", "any", "fetched", "variable") for item in self.unknowns.of(text)):
                self.findings.unproven("arithmetic on a text that is not known, which may hold commands")
        for name, values in shell.variables.items():
            if any("$(" in value or "`" in value for value in values):
                self.findings.add(EffectKind.RUN_CODE, f"${name}", "arithmetic runs the commands inside it")
                for value in values:
                    self.code(value.replace("[", " ").replace("]", " "), shell.fork(), "arithmetic")

    def _inherited(self, name: str, text: str, shell: Shell) -> bool:
        """A variable that this command did not set, nor does the calculation itself."""
        set_here = name in shell.variables or name in shell.arrays or re.search(rf"\b{name}\s*=(?!=)", text) is not None
        return not set_here and not self.place.variables.get(name, "x").isdigit()

    def prompt(self, text: str, shell: Shell) -> None:
        """`${x@P}` expands a text as a prompt: substitutions in it are run."""
        self.code(text, shell.fork(), "a prompt")

    def redirected(self, node: Redirected, shell: Shell) -> str:
        """A compound command with redirections."""
        before = shell.stdin
        target = self.redirects(node.redirects, shell)
        output = self.node(node.body, shell)
        shell.stdin = before
        return self.store(output, target, shell)

    def coproc(self, node: Coproc, shell: Shell) -> str:
        """A command beside this one."""
        inner = shell.fork()
        inner.concurrent += 1
        self.node(node.body, inner)
        return ""

    _NODES: ClassVar[dict[type, Any]] = {
        Seq: sequence,
        AndOr: and_or,
        Pipe: pipe,
        Group: group,
        If: branches,
        Loop: loop,
        Case: case,
        Function: function,
        Test: test,
        Redirected: redirected,
        Coproc: coproc,
    }


def _always(condition: Seq) -> bool:
    """Is this condition one that never ends a loop?"""
    last = condition.items[-1] if condition.items else None
    if not isinstance(last, Simple) or len(last.words) != 1 or len(last.words[0]) != 1:
        return False
    return getattr(last.words[0][0], "text", "") in ("true", ":")


def _waits(node: Node) -> bool:
    """Does this hold a loop up or end it?"""
    if not isinstance(node, Simple) or not node.words or len(node.words[0]) != 1:
        return isinstance(node, AndOr | If | Case)
    return getattr(node.words[0][0], "text", "") in ("wait", "sleep", "break", "return", "exit", "read")


def _leaves(node: Node) -> bool:
    """Does this end the shell or the function (`cd x || exit 1`)?"""
    if isinstance(node, Group) and not node.subshell and node.body.items:
        return _leaves(node.body.items[-1])
    if not isinstance(node, Simple) or not node.words or len(node.words[0]) != 1:
        return False
    first = node.words[0][0]
    return isinstance(first, Lit) and first.text in ("exit", "return")
