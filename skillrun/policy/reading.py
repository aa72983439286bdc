"""What one simple command does: its assignments, redirections and arguments, and the program it names."""

from __future__ import annotations

import fnmatch
import posixpath
import re
import shlex
from collections.abc import Callable, Mapping

from skillrun.bash.cursor import MAX_PARTS
from skillrun.bash.nodes import (
    Assign,
    Redirect,
    Simple,
)
from skillrun.events import EffectKind
from skillrun.policy import paths
from skillrun.policy.arguments import judge_call
from skillrun.policy.evaluation.expand import evaluated
from skillrun.policy.evaluation.findings import BUDGET
from skillrun.policy.evaluation.state import Shell
from skillrun.policy.evaluation.variables import HARMLESS_VARIABLE, judge_variable
from skillrun.policy.evaluation.walking import Walker
from skillrun.policy.harmless.calls import BUILTINS, RUNNERS, vouch
from skillrun.policy.harmless.conditions import Vouched
from skillrun.policy.invocation import Invocation
from skillrun.policy.knowledge import Program, lookup
from skillrun.policy.unknown import Unknown, certain, known, plain
from skillrun.ports import Place
from skillrun.text.patterns import later

_BIN = frozenset(f"{root}/{name}" for root in ("", "/usr", "/usr/local", "/opt/homebrew", "/snap") for name in ("bin", "sbin"))
_HOME_BIN = ("/.local/bin", "/.cargo/bin", "/go/bin", "/.npm-global/bin", "/bin", "/.bun/bin", "/.deno/bin")


def _matching(name: str) -> list[str]:
    """Dangerous programs that a glob may become; one without a letter may become anything and says nothing."""
    pattern = plain(name).rpartition("/")[2]
    return [each for each in _DESTRUCTIVE if fnmatch.fnmatchcase(each, pattern)] if re.search(r"\w", pattern) else []


_DESTRUCTIVE = (
    "rm",
    "dd",
    "mv",
    "shred",
    "find",
    "chmod",
    "chown",
    "tee",
    "sh",
    "bash",
    "env",
    "xargs",
    "kill",
    "pkill",
    "busybox",
)
_NAMING = frozenset(
    (
        *("printf", "read", "unset", "test", "[", "declare", "typeset", "local", "export", "readonly"),
        *("let", "mapfile", "readarray", "wait", "getopts"),
    )
)
_LOOKED_AT = frozenset((EffectKind.READ, EffectKind.SECRET_READ, EffectKind.UNPROVEN))
_SECRET = frozenset((EffectKind.SECRET_READ, EffectKind.UNPROVEN))
_HISTORY = later(r"!(?:[!$*^-]|\d)")

Special = Callable[["Reading", list[str], Shell], str]
"""Reads one program's argument list; its output, as far as it is known."""


def _label(argv: list[str]) -> str:
    """How the output of a command is called: whom pgrep and pidof find is whom `kill` ends, so they are told whole."""
    if argv[0] in ("pgrep", "pidof"):
        return f"$({' '.join(plain(each) for each in argv)})"
    return f"$({argv[0]} …)" if len(argv) > 1 else f"$({argv[0]})"


class Reading(Walker):
    """One command being read. `findings` is what comes of it. `specials`: programs that a table cannot describe."""

    def __init__(self, place: Place, specials: Mapping[str, Special], budget: int = BUDGET, max_parts: int = MAX_PARTS) -> None:
        super().__init__(place, budget, max_parts)
        self.specials = specials

    def is_known(self, name: str) -> bool:
        """Has it a table, or code of its own?"""
        return lookup(name) is not None or name in self.specials

    def path(self, text: str, shell: Shell) -> str:
        """An argument as an absolute path."""
        return paths.absolute(text, shell.cwd, self.place)

    def simple(self, node: Simple, shell: Shell) -> str:
        """Assignments, redirections, then each argument list the words may become."""
        self.unknowns.spend(2)
        lists = self.expander.arguments(node.words, shell) if node.words else [[]]
        if node.declares:
            lists = [[*each, *(assign.name for assign in node.declares)] for each in lists]
        before = shell.stdin
        prefix = bool(node.words)
        saved, interval = {}, shell.interval
        for assign in node.assigns:
            if prefix:
                saved[assign.name] = shell.variables.get(assign.name)
                self.unlisted(assign.name)
            elif shell.top:
                self.findings.leave("variables")
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
        if "IFS" in saved:
            shell.interval = interval
        shell.stdin = before
        return self.store(output, target, shell) if target is not None else output

    def assign(self, assign: Assign, shell: Shell, exported: bool) -> None:
        """One assignment."""
        expander = self.expander
        if assign.index:
            index = expander.joined(assign.index, shell)
            self.subscripts([f"[{index}]"], assign.name)
            self.hidden_arithmetic(shell, evaluated(index, shell))
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
                self.findings.add(EffectKind.NETWORK, host, "receive" if operator == "<" else "send, a raw connection")
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
        old = shell.files.get(path, "")
        if target[0] == "+":
            output = old + output
        elif shell.conditional and old:  # it may hold either, so both are read, each on lines of its own
            output = f"{old}\n{output}"
        shell.files[path] = output
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

    def run(self, argv: list[str], shell: Shell) -> str:
        """Judge one argument list; its output."""
        name = argv[0]
        if shell.top:
            self.findings.leaves = False
        if not certain(name):
            return self.unknown_program(argv, shell)
        self._given_away(argv)
        if name in shell.functions:
            inner_arguments, shell.arguments = shell.arguments, argv[1:]
            output = self.call_function(name, shell.functions[name], shell)
            shell.arguments = inner_arguments
            return output
        if name in shell.aliases:
            return self.text(" ".join([shell.aliases[name], *(shlex.quote(plain(each)) for each in argv[1:])]), shell)
        bare, trusted = self.bare(name, shell)
        if not trusted:
            return self.run_file(name, argv, shell)
        if bare in _NAMING:
            self.subscripts(argv[1:], bare)
        special = self.specials.get(bare)
        program = lookup(bare) if special is None else None
        if special is None and program is None:
            return self.run_file(name, argv, shell)
        self.findings.executables[bare] = None
        told = self.vouched(bare, argv, shell)
        if special is not None:
            return special(self, [bare, *argv[1:]], shell)
        assert program is not None  # one of the two is
        return self.known_program(program, [bare, *argv[1:]], shell, told)

    def _given_away(self, argv: list[str]) -> None:
        """Secrets among the words of a command, which other programs can see; and words that mean an earlier command."""
        if any("{{secret:" in argument for argument in argv):
            self.findings.add(EffectKind.SECRET_READ, argv[0], "a secret on the command line can be read by other programs")
        for item in {item for each in argv if not each.isascii() for item in self.unknowns.of(each) if item.secret}:
            self.findings.add(EffectKind.SECRET_READ, item.label, f"given to {plain(argv[0])}")
        if any(each[:1] == "!" and _HISTORY.match(plain(each)) for each in argv):
            self.findings.add(EffectKind.UNKNOWN, "!", "an interactive shell would put an earlier command here")

    def vouched(self, bare: str, argv: list[str], shell: Shell) -> Vouched:
        """Is this call in a form that is known to be harmless? What it reads is noted; where it is not, that is noted too."""
        self.findings.external = self.findings.external or bare not in BUILTINS
        if bare in RUNNERS:
            return Vouched(runs=True)
        told = vouch([bare, *argv[1:]])
        for path in told.reads:
            if path != "-":
                self.findings.read(self.path(path, shell))
        for path in told.names:
            self.findings.add(EffectKind.READ, self.path(path, shell))
        of_itself = told.whole and argv[1:2] and argv[1].startswith("-")
        if not told.why and ("HERE" in told.marks or ("OWN" in told.marks and not of_itself)):
            where = self.path(told.directory, shell) if told.directory else shell.cwd
            if not paths.is_kind(where, "packaged", self.place.home):
                told.why = f"{bare}: the settings of {where} may name programs"
        if told.why:
            self.findings.unproven(told.why)
        elif "SOCKET" in told.marks:
            self.findings.services = True
        if not told.harmless:
            self.given(argv, shell, bare)
        return told

    def given(self, argv: list[str], shell: Shell, by: str) -> None:
        """The floor under what nobody knows: what protects is never handed to it, and a raw disk not to a stranger."""
        stranger = lookup(by) is None and by not in self.specials
        for word in argv[1:]:
            for part in {word, word.partition("=")[2]} - {""}:
                path = self.path(part, shell) if known(part) else ""
                if path and paths.is_protected(path, self.place):
                    self.findings.floor("protection", f"{path} belongs to the protection that is asking")
                elif stranger and path.startswith("/dev/") and paths.is_kind(path, "disk", self.place.home):
                    self.findings.floor("raw-disk", f"{path} is a raw disk, and nobody here knows what {by} does to it")

    def unlisted(self, name: str) -> None:
        """A variable is set for a program: only a short list of them is known to mean nothing dangerous."""
        if not HARMLESS_VARIABLE.fullmatch(name):
            self.findings.unproven(f"{name} may mean anything to a program")

    def bare(self, name: str, shell: Shell) -> tuple[str, bool]:
        """The name without a directory programs are expected in; whether it may be taken at its word."""
        if "/" not in name:
            return name, True
        path = paths.absolute(name, shell.cwd, self.place)
        directory, _, base = path.rpartition("/")
        home = self.place.home
        trusted = directory in _BIN or (home != "/" and directory.startswith(home) and directory[len(home) :] in _HOME_BIN)
        return base, trusted and path not in shell.files

    def known_program(self, program: Program, argv: list[str], shell: Shell, told: Vouched) -> str:
        """A program with a table. Where the call is known to be harmless, only what it reads and asks counts."""
        before, floors = dict(self.findings.effects), dict(self.findings.floors)
        run = Invocation(argv, program, self.findings, shell.cwd, shell.stdin, shell.elsewhere)
        run.evaluate = lambda rest: self.run(rest, shell.standing(run.cwd)) if rest else ""
        run.shell = lambda text: self.code(text, shell.standing(run.cwd).fork(), argv[0])
        run.script = lambda path, by: self.run_script(path, by, shell.standing(run.cwd))
        judge_call(run)
        harmless = told.harmless or told.whole
        if harmless or run.quiet:
            # What claims to change nothing is looked at, unless the floor says what it would do if the claim is not true.
            seen = _LOOKED_AT if harmless else _SECRET
            self.findings.effects = {e: None for e in self.findings.effects if e in before or e.kind in seen}
            self.findings.floors = floors if harmless else self.findings.floors
        output = run.program.output
        nothing = output != "temporary" and all(e in before or e.kind in _LOOKED_AT for e in self.findings.effects)
        if told.acts and ("ANYTHING" in told.marks if run.quiet else nothing):
            self.findings.unproven(f"{argv[0]}, which is there to change something")
        if output == "read":
            return shell.stdin
        if output == "temporary":
            made = self.unknowns.new(Unknown("temporary", _label(argv), guarded=True))
            if not run.quiet:
                self.findings.write(made)
            return made
        return self.unknowns.new(Unknown("machine" if output == "machine" else "output", _label(argv)))

    def by_table(self, argv: list[str], shell: Shell) -> str:
        """A program that has a table, whatever else is known of it."""
        program = lookup(argv[0])
        assert program is not None  # only programs with a table are read this way
        return self.known_program(program, argv, shell, vouch(argv))

    def unknown_program(self, argv: list[str], shell: Shell) -> str:
        """The name of the program itself is not known."""
        name = argv[0]
        source = self.unknowns.fetched(name)
        if source is not None:
            self.findings.add(EffectKind.RUN_FETCHED, source, "its first word is the program")
        else:
            self.findings.add(EffectKind.RUN_CODE, name, "which program this is, is not known")
            for match in _matching(name) if known(name) else ():
                self.unknowns.spend(20)
                self.run([match, *argv[1:]], shell.fork())
        return self.unknowns.new(Unknown("output", "$(…)"))

    def run_file(self, name: str, argv: list[str], shell: Shell) -> str:
        """A program that nothing is known of; a file this very command wrote is read as what it is."""
        if "/" in name:
            path = paths.absolute(name, shell.cwd, self.place)
            if path in shell.files:
                self.run_script(path, "", shell, argv[1:])
                return self.unknowns.new(Unknown("output", f"$({name} …)"))
        else:
            path = name
        self.findings.executables[name] = None
        self.findings.external = True
        self.given(argv, shell, name)
        self.findings.add(EffectKind.RUN_CODE, path, "a program this policy does not know")
        return self.unknowns.new(Unknown("output", f"$({name} …)"))

    def run_script(self, name: str, by: str, shell: Shell, arguments: list[str] | None = None) -> str:
        """Running a file. What this very command wrote there is read; anything else is unknown code."""
        path = self.path(name, shell)
        content = shell.files.get(path)
        findings = self.findings
        if content is None:
            if paths.HARMLESS.match(path) and shell.stdin:
                content = shell.stdin
            else:
                findings.add(EffectKind.RUN_CODE, path, f"run by {by}" if by else "a program this policy does not know")
                return self.unknowns.new(Unknown("output", f"$({name})"))
        source = self.unknowns.fetched(content)
        shells = ("sh", "bash", "dash", "zsh", "ksh", "source", ".", "ash")
        if source is not None:
            findings.add(EffectKind.RUN_FETCHED, source, f"as {path}")
            return self.unknowns.new(Unknown("output", f"$({name})"))
        first = content.split("\n", 1)[0]
        other = first.startswith("#!") and not re.search(r"\b(?:ba|da|z|k|a)?sh\b", first)
        if (by and posixpath.basename(by) not in shells) or (not by and other):
            findings.add(EffectKind.RUN_CODE, path, f"run by {by or first}")
            return self.unknowns.new(Unknown("output", f"$({name})"))
        inner = shell if by in ("source", ".") else shell.fork()
        if by not in ("source", "."):
            inner.functions, inner.aliases, inner.arguments = {}, {}, arguments or []
        return self.code(content, inner, path)
