"""Walk a program as the shell would, without running anything, and note what every command in it would do.

Both branches of a condition count, a loop's body is read for each known item, a function is read
where it is defined and again where it is called. The output of a command is followed as far as it
is known, because what `echo ... | base64 -d | sh` runs is what matters.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any, ClassVar

from skillrun.events import EffectKind
from skillrun.policy import paths, specials
from skillrun.policy.expand import Expander
from skillrun.policy.findings import BUDGET, Findings
from skillrun.policy.knowledge import Program, lookup
from skillrun.policy.roles import Run, judge_call
from skillrun.policy.state import Shell
from skillrun.policy.unknown import TooMuch, Unknown, certain, known, plain
from skillrun.policy.variables import judge_variable
from skillrun.ports import Place
from skillrun.shell.cursor import MAX_PARTS
from skillrun.shell.nodes import (
    AndOr,
    Assign,
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
from skillrun.shell.syntax import parse

MAX_TEXT_DEPTH = 12
"""Programs inside programs: `sh -c "bash -c '...'"`."""
MAX_ITEMS = 8
MAX_OUTPUT = 65_536
_BIN = frozenset(f"{root}/{name}" for root in ("", "/usr", "/usr/local", "/opt/homebrew", "/snap") for name in ("bin", "sbin"))
_HOME_BIN = ("/.local/bin", "/.cargo/bin", "/go/bin", "/.npm-global/bin", "/bin", "/.bun/bin", "/.deno/bin")


class Reading:
    """One command being read. `findings` is what comes of it."""

    def __init__(self, place: Place, budget: int = BUDGET, max_parts: int = MAX_PARTS) -> None:
        self.place = place
        self.max_parts = max_parts
        self.findings = Findings(place, budget)
        self.unknowns = self.findings.unknowns
        self.expander = Expander(self.unknowns, self.substitution, self.hidden_arithmetic)
        self.depth = 0
        self.documents = 0

    # --- text ------------------------------------------------------------------------------------

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
        return self.text(plain(text), shell)

    def substitution(self, sub: Sub, shell: Shell) -> str:
        """The value of `$(...)`; for `<(...)` a path that has it as content."""
        if sub.kind == "$":
            return self.sequence(sub.body, shell.fork())[:MAX_OUTPUT]
        self.documents += 1
        path = f"/dev/fd/{62 + self.documents}"
        inner = shell.fork()
        if sub.kind == "<":
            shell.files[path] = self.sequence(sub.body, inner)
        else:
            inner.stdin = self.unknowns.new(Unknown("any", "…"))
            self.sequence(sub.body, inner)
        return path

    # --- control flow ----------------------------------------------------------------------------

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
        walk: Callable[[Reading, Node, Shell], str] = self._NODES[type(node)]
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
            self.expander.joined(node.parts, shell)
        if node.condition is not None:
            self.sequence(node.condition, shell)
        shell.conditional += 1
        if node.var:
            if node.words is not None:
                lists = self.expander.arguments(node.words, shell)
                items = list(dict.fromkeys(item for each in lists for item in each))
            else:
                items = list(shell.arguments) if shell.arguments is not None else [self.expander.unset("@")]
            if len(items) > MAX_ITEMS:
                label = f"each of {len(items)} items"
                items = [*items[:2], self.unknowns.new(Unknown("output", label, guarded=True))] if items else []
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
        if lookup(node.name) is not None or node.name in specials.SPECIALS:
            self.findings.add(EffectKind.UNKNOWN, node.name, "a function takes the place of a known program")
        inner = shell.fork()
        inner.arguments = None
        self.call_function(node.name, node.body, inner)
        return ""

    def call_function(self, name: str, body: Node, shell: Shell) -> str:
        """Read a function's body; one that starts itself again beside itself is a fork bomb."""
        if id(body) in shell.calls:
            if shell.concurrent:
                self.findings.floor("fork-bomb", f"{name} starts itself again and again, beside itself")
            return ""
        outer = shell.calls, shell.concurrent
        shell.calls, shell.concurrent = (*shell.calls, id(body)), 0
        output = self.node(body, shell)
        shell.calls, shell.concurrent = outer
        return output

    def test(self, node: Test, shell: Shell) -> str:
        """Only expansions can do anything here."""
        for word in node.words:
            self.subscripts([self.expander.joined(word, shell)], "[[")
        if node.arithmetic or any(len(w) == 1 and getattr(w[0], "text", "") in _NUMERIC for w in node.words):
            self.hidden_arithmetic(shell)
        return ""

    def subscripts(self, words: list[str], by: str) -> None:
        """Builtins that take a variable's name evaluate its subscript, and the substitutions in it."""
        for word in words:
            if "[" in plain(word) and ("$(" in word or "`" in word):
                self.findings.add(EffectKind.RUN_CODE, by, f"the subscript in {plain(word)[:80]} is evaluated")

    def hidden_arithmetic(self, shell: Shell) -> None:
        """Arithmetic evaluates the *text* of variables, substitutions in it included."""
        for name, values in shell.variables.items():
            if any("$(" in value or "`" in value for value in values):
                self.findings.add(EffectKind.RUN_CODE, f"${name}", "arithmetic runs the commands inside it")
                for value in values:
                    self.code(value.replace("[", " ").replace("]", " "), shell.fork(), "arithmetic")

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

    # --- simple commands ---------------------------------------------------------------------------

    def simple(self, node: Simple, shell: Shell) -> str:
        """Assignments, redirections, then each argument list the words may become."""
        self.unknowns.spend(2)
        lists = self.expander.arguments(node.words, shell) if node.words else [[]]
        if node.declares:
            lists = [[*each, *(assign.name for assign in node.declares)] for each in lists]
        before = shell.stdin
        prefix = bool(node.words)
        saved = {}
        for assign in node.assigns:
            if prefix:
                saved[assign.name] = shell.variables.get(assign.name)
            self.assign(assign, shell, exported=prefix)
        for assign in node.declares:
            self.assign(assign, shell, exported=True)
        target = self.redirects(node.redirects, shell) if node.redirects else None
        output = "" if node.words or node.assigns else shell.stdin if node.redirects else ""
        for argv in lists:
            if argv:
                output += self.run(argv, shell)
        for name, old in saved.items():
            if old is None:
                shell.variables.pop(name, None)
            else:
                shell.variables[name] = old
        shell.stdin = before
        return self.store(output, target, shell) if target is not None else output

    def assign(self, assign: Assign, shell: Shell, exported: bool) -> None:
        """One assignment."""
        expander = self.expander
        if assign.index:
            self.subscripts([f"[{expander.joined(assign.index, shell)}]"], assign.name)
            self.hidden_arithmetic(shell)
        if assign.values is not None:
            items = [item for each in expander.arguments(assign.values, shell)[:1] for item in each]
            old = shell.arrays.get(assign.name, []) if assign.append else []
            shell.arrays[assign.name] = old + items
            shell.variables.pop(assign.name, None)
            return
        values = expander.one(assign.value, shell) if assign.value else ("",)
        judge_variable(self.findings, assign.name, values, exported or assign.name in self.place.variables)
        if assign.append:
            old_values = shell.variables.get(assign.name)
            if old_values is None:
                old_values = (expander.unset(assign.name),)
            values = tuple(old + value for old in old_values for value in values)
        if assign.index:
            shell.arrays.pop(assign.name, None)
            shell.variables.pop(assign.name, None)
            return
        shell.assign(assign.name, values, self.unknowns.new(Unknown("variable", f"${assign.name}")))

    def redirects(self, redirects: list[Redirect], shell: Shell) -> str | None:
        """Note what redirections read and write; the path that standard output goes to, if it was redirected."""
        target: str | None = None
        for redirect in redirects:
            operator = redirect.op
            value = self.expander.joined(redirect.target, shell)
            if operator == "<<":
                shell.stdin = value
                continue
            if operator == "<<<":
                shell.stdin = value + "\n"
                continue
            if operator in (">&", "<&") and (value == "-" or value.rstrip("-").isdigit()):
                continue
            if value.startswith(("/dev/tcp/", "/dev/udp/")):
                host = value.split("/")[3] if value.count("/") > 3 else value
                self.findings.add(EffectKind.NETWORK, host, "send, a raw connection")
                shell.stdin = self.unknowns.new(Unknown("fetched", value, source=value))
                continue
            path = paths.absolute(plain(value) if certain(plain(value)) else value, shell.cwd, self.place)
            if operator in ("<", "<&"):
                shell.stdin = self.content(path, shell)
                continue
            self.findings.write(path, "append" if ">>" in operator else "")
            if redirect.fd in ("", "1", "&"):
                target = ("+" if ">>" in operator else "=") + path
        return target

    def store(self, output: str, target: str | None, shell: Shell) -> str:
        """Remember what was written where, so that running it later in the same command is understood."""
        if target is None:
            return output
        path = target[1:]
        old = shell.files.get(path, "") if target[0] == "+" or shell.conditional else ""
        shell.files[path] = old + output
        return ""

    def content(self, path: str, shell: Shell) -> str:
        """Reading a file: what was just written there, or something not known."""
        if path in shell.files:
            return shell.files[path]
        self.findings.read(path)
        if path in ("/dev/null", "/dev/stdin", "-"):
            return "" if path == "/dev/null" else shell.stdin
        secret = paths.is_kind(path, "secret", self.place.home)
        return self.unknowns.new(Unknown("output", path, secret=secret))

    # --- programs ----------------------------------------------------------------------------------

    def run(self, argv: list[str], shell: Shell) -> str:
        """Judge one argument list; its output."""
        name = argv[0]
        if not certain(name):
            return self.unknown_program(argv, shell)
        if any("{{secret:" in argument for argument in argv):
            self.findings.add(EffectKind.SECRET_READ, name, "a secret on the command line can be read by other programs")
        if any(not each.isascii() for each in argv):
            for item in {item for each in argv for item in self.unknowns.of(each) if item.secret}:
                self.findings.add(EffectKind.SECRET_READ, item.label, f"given to {plain(name)}")
        if any(each[:1] == "!" and _HISTORY.match(plain(each)) for each in argv):
            self.findings.add(EffectKind.UNKNOWN, "!", "an interactive shell would put an earlier command here")
        if name in shell.functions:
            inner_arguments, shell.arguments = shell.arguments, argv[1:]
            output = self.call_function(name, shell.functions[name], shell)
            shell.arguments = inner_arguments
            return output
        if name in shell.aliases:
            return self.text(" ".join([shell.aliases[name], *(shlex.quote(plain(each)) for each in argv[1:])]), shell)
        bare, trusted = self.bare(name, shell)
        if trusted:
            if bare in _NAMING:
                self.subscripts(argv[1:], bare)
            special = specials.SPECIALS.get(bare)
            if special is not None:
                self.findings.executables[bare] = None
                return special(self, [bare, *argv[1:]], shell)
            program = lookup(bare)
            if program is not None:
                self.findings.executables[bare] = None
                return self.known_program(program, [bare, *argv[1:]], shell)
        return self.run_file(name, argv, shell)

    def bare(self, name: str, shell: Shell) -> tuple[str, bool]:
        """The name without a directory programs are expected in; whether it may be taken at its word."""
        if "/" not in name:
            return name, True
        path = paths.absolute(name, shell.cwd, self.place)
        directory, _, base = path.rpartition("/")
        home = self.place.home
        trusted = directory in _BIN or (home != "/" and directory.startswith(home) and directory[len(home) :] in _HOME_BIN)
        return base, trusted and path not in shell.files

    def known_program(self, program: Program, argv: list[str], shell: Shell) -> str:
        """A program with a table."""
        run = Run(argv, program, self.findings, shell.cwd, shell.stdin, shell.elsewhere)
        run.evaluate = lambda rest: self.run(rest, shell) if rest else ""
        run.shell = lambda text: self.code(text, shell.fork(), argv[0])
        run.script = lambda path, by: specials.run_script(self, path, by, shell)
        judge_call(run)
        output = run.program.output
        if output == "read":
            return shell.stdin
        label = f"$({argv[0]} …)" if len(argv) > 1 else f"$({argv[0]})"
        if output == "temporary":
            made = self.unknowns.new(Unknown("temporary", label, guarded=True))
            if not run.quiet:
                self.findings.write(made)
            return made
        return self.unknowns.new(Unknown("machine" if output == "machine" else "output", label))

    def unknown_program(self, argv: list[str], shell: Shell) -> str:
        """The name of the program itself is not known."""
        name = argv[0]
        source = self.unknowns.fetched(name)
        if source is not None:
            self.findings.add(EffectKind.RUN_FETCHED, source, "its first word is the program")
        else:
            self.findings.add(EffectKind.RUN_CODE, name, "which program this is, is not known")
        return self.unknowns.new(Unknown("output", "$(…)"))

    def run_file(self, name: str, argv: list[str], shell: Shell) -> str:
        """A program that nothing is known of; a file this very command wrote is read as what it is."""
        if "/" in name:
            path = paths.absolute(name, shell.cwd, self.place)
            if path in shell.files:
                specials.run_script(self, path, "", shell, argv[1:])
                return self.unknowns.new(Unknown("output", f"$({name} …)"))
        else:
            path = name
        self.findings.executables[name] = None
        self.findings.add(EffectKind.RUN_CODE, path, "a program this policy does not know")
        return self.unknowns.new(Unknown("output", f"$({name} …)"))

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


def _leaves(node: Node) -> bool:
    """Does this end the shell or the function (`cd x || exit 1`)?"""
    if isinstance(node, Group) and not node.subshell and node.body.items:
        return _leaves(node.body.items[-1])
    if not isinstance(node, Simple) or not node.words or len(node.words[0]) != 1:
        return False
    first = node.words[0][0]
    return isinstance(first, Lit) and first.text in ("exit", "return")


_NAMING = frozenset(
    (
        *("printf", "read", "unset", "test", "[", "declare", "typeset", "local", "export", "readonly"),
        *("let", "mapfile", "readarray", "wait", "getopts"),
    )
)
_HISTORY = re.compile(r"!(?:[!$*^-]|\d)")
_NUMERIC = frozenset(("-eq", "-ne", "-lt", "-le", "-gt", "-ge"))
