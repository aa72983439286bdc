"""Fetch and execute, taken apart: download to a file, look at it, run exactly those bytes.

`unpack` recognises the one-liners of real installers and gives the two commands they stand for; it
knows nothing of the network. `describe` says what the downloaded text would do, by the same rules as any command.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from skillrun.bash.nodes import Lit, Node, Pipe, Simple, Sub, Word
from skillrun.bash.syntax import parse
from skillrun.events import Decision, EffectKind
from skillrun.policy.judge import Judge
from skillrun.policy.knowledge import Program, lookup
from skillrun.policy.unknown import known
from skillrun.ports import Place

_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "ash"))
_INTERPRETERS = _SHELLS | {"python", "python3", "perl", "ruby", "node", "php"}
_WRAPPERS = frozenset(("sudo", "doas", "env", "nice", "nohup", "command", "exec", "time"))


@dataclass(frozen=True, slots=True)
class FetchedScript:
    """The parts of a fetch-and-execute command. Quoted for the shell where they are commands."""

    url: str
    fetcher: tuple[str, ...]
    """The download command, printing to standard output."""
    wrapper: tuple[str, ...]
    """What the interpreter was started through (`sudo -E`)."""
    interpreter: str
    arguments: tuple[str, ...]
    options: tuple[str, ...] = ()
    """Options of the interpreter (`bash -x`)."""
    assignments: tuple[tuple[str, str], ...] = ()

    def fetch_command(self, path: str) -> str:
        """Shell text that writes the script to `path` and runs nothing."""
        return f"{shlex.join(self.fetcher)} > {shlex.quote(path)}"

    def run_command(self, path: str) -> str:
        """Shell text that runs exactly the bytes in `path`, as the original would have."""
        words = [*self.wrapper, self.interpreter, *self.options, path, *self.arguments]
        assigned = "".join(f"{name}={shlex.quote(value)} " for name, value in self.assignments)
        return assigned + shlex.join(words)


@dataclass(frozen=True, slots=True)
class Description:
    """What a person is shown of a script before it runs."""

    bytes: int
    lines: int
    sha256: str
    decision: Decision


def describe(data: bytes, place: Place, judge: Judge | None = None) -> Description:
    """Size, digest and effects of a script's bytes. Text that is not UTF-8 is read as far as it goes."""
    text = data.decode("utf-8", "replace")
    decision = (judge or Judge()).script(text, place).decision
    return Description(len(data), text.count("\n") + (not text.endswith("\n")), hashlib.sha256(data).hexdigest(), decision)


def review(data: bytes, script: FetchedScript, place: Place, judge: Judge) -> Description:
    """Like `describe`, together with what the script is started through (`sudo -E`); what is no shell text stays unread."""
    started = FetchedScript("", (), script.wrapper, "true", (), (), script.assignments)
    findings = judge.read(started.run_command("x"), place)
    if script.interpreter == "." or script.interpreter.rsplit("/", 1)[-1] in _SHELLS:
        inside = judge.script_findings(data.decode("utf-8", "replace"), place)
        findings.effects.update(inside.effects)
        findings.floors.update(inside.floors)
        findings.executables.update(inside.executables)
    else:
        findings.add(EffectKind.RUN_CODE, f"{script.interpreter} code from {script.url}")
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    return Description(len(data), lines, hashlib.sha256(data).hexdigest(), judge.decide(findings))


def unpack(command: str) -> FetchedScript | None:
    """The parts of `curl URL | sh`, `bash <(curl URL)`, `sh -c "$(curl URL)"` and their kin; None for anything else.

    Only commands that consist of nothing but this are taken apart, and only when every word of them is literal.
    """
    if not any(sign in command for sign in "|(`"):
        return None
    script = parse(command)
    if script.error or len(script.body.items) != 1 or script.body.background:
        return None
    node = script.body.items[0]
    if isinstance(node, Pipe):
        if len(node.parts) != 2 or node.negated:
            return None
        return _piped(node.parts[0], node.parts[1])
    return _substituted(node) if isinstance(node, Simple) else None


def _words(node: Node) -> list[str] | None:
    """The words of a simple command without redirections, when all are literal."""
    if not isinstance(node, Simple) or node.redirects or node.declares:
        return None
    words = [_literal(word) for word in node.words]
    return [word for word in words if word is not None] if None not in words else None


def _literal(word: Word) -> str | None:
    if not all(isinstance(part, Lit) for part in word):
        return None
    texts = [(part.text, part.quoted) for part in word if isinstance(part, Lit)]
    if any(not quoted and any(mark in text for mark in "*?[{~") for text, quoted in texts):
        return None
    return "".join(text for text, _ in texts)


def _fetcher(node: Node) -> tuple[str, tuple[str, ...]] | None:
    """(URL, words) of a download that prints to standard output."""
    words = _words(node)
    if not words or words[0] not in ("curl", "wget") or (isinstance(node, Simple) and node.assigns):
        return None
    urls, rest, stdout = list[str](), words[1:], words[0] == "curl"
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            urls.append(word)
        else:
            for name, value in _options(lookup(words[0]), word, rest):
                stdout = _to_stdout(words[0], name, value, stdout)
    if len(urls) != 1 or not stdout or not known(urls[0]):
        return None
    return urls[0], tuple(words)


def _options(program: Program | None, word: str, rest: list[str]) -> Iterator[tuple[str, str]]:
    """The options in one word, each with its value, which may be the next of `rest`: that is taken from there."""
    takes = program.value if program else {}
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        yield name, rest.pop(0) if name in takes and not equals and rest else value
        return
    for position in range(1, len(word)):
        short = "-" + word[position]
        if short in takes:
            yield short, word[position + 1 :] or (rest.pop(0) if rest else "")
            return
        yield short, ""


def _to_stdout(program: str, option: str, value: str, before: bool) -> bool:
    named = ("-o", "--output") if program == "curl" else ("-O", "--output-document")
    if option in named:
        return value == "-"
    return before and not (program == "curl" and option in ("-O", "--remote-name", "-J"))


def _interpreter(words: list[str]) -> tuple[tuple[str, ...], str, list[str]] | None:
    """(wrapper, interpreter, arguments), the wrapper's options included."""
    for position, word in enumerate(words):
        name = word.rsplit("/", 1)[-1]
        if name in _INTERPRETERS:
            return tuple(words[:position]), word, words[position + 1 :]
        if position == 0 and name not in _WRAPPERS:
            return None
    return None


def _piped(left: Node, right: Node) -> FetchedScript | None:
    fetched, words = _fetcher(left), _words(right)
    if fetched is None or words is None or not isinstance(right, Simple):
        return None
    found = _interpreter(words)
    assigned = [(assign.name, _literal(assign.value)) for assign in right.assigns]
    if found is None or any(value is None for _, value in assigned):
        return None
    wrapper, interpreter, arguments = found
    kept = _interpreter_options(arguments)
    if kept is None:
        return None
    arguments = arguments[1:] if arguments[:1] in (["-"], ["/dev/stdin"]) else arguments
    if arguments and arguments[0] == "--":
        arguments = arguments[1:]
    pairs = tuple((name, value or "") for name, value in assigned)
    return FetchedScript(*fetched, wrapper, interpreter, tuple(arguments), tuple(kept), pairs)


def _interpreter_options(arguments: list[str]) -> list[str] | None:
    """Take the options off that an interpreter has before its script; None where they name another script."""
    kept: list[str] = []
    while arguments and arguments[0].startswith("-") and arguments[0] != "-":
        option = arguments.pop(0)
        if option == "--":
            break
        if option == "-s":
            continue
        if option.startswith("--") or "c" in option or "s" in option:
            return None
        kept.append(option)
    return kept


def _substituted(node: Simple) -> FetchedScript | None:
    """`bash <(curl URL) args`, `sh -c "$(curl URL)" "" args`, `eval "$(curl URL)"`, `bash < <(curl URL)`."""
    if node.assigns or node.declares or not node.words:
        return None
    sub, redirected = _substitution(node)
    fetched = _fetcher(sub.body.items[0]) if sub is not None else None
    words = [("\0" if len(word) == 1 and word[0] is sub else _literal(word)) for word in node.words]
    if sub is None or fetched is None or None in words:
        return None
    plain = [word or "" for word in words]
    if plain[0] == "eval" and plain[1:] == ["\0"]:
        return FetchedScript(*fetched, (), ".", ())
    found = _interpreter(plain)
    if found is None or found[1].rsplit("/", 1)[-1] not in _SHELLS:
        return None
    wrapper, interpreter, arguments = found
    behind = _behind_script(arguments, sub.kind, redirected)
    return None if behind is None else FetchedScript(*fetched, wrapper, interpreter, tuple(behind))


def _substitution(node: Simple) -> tuple[Sub | None, bool]:
    """The one command in a command's words, or in its one redirected input (then True)."""
    sub, redirected = next((part for word in node.words for part in word if isinstance(part, Sub)), None), False
    if sub is None and len(node.redirects) == 1 and node.redirects[0].op == "<":
        sub = next((part for part in node.redirects[0].target if isinstance(part, Sub)), None)
        redirected = True
    elif node.redirects:
        return None, False
    whole = sub is not None and len(sub.body.items) == 1 and not sub.body.background
    return (sub if whole else None), redirected


def _behind_script(arguments: list[str], kind: str, redirected: bool) -> list[str] | None:
    """The arguments of the script itself; None where the fetched text is not what the shell runs."""
    if redirected:
        return None if arguments else []
    if arguments[:2] == ["-c", "\0"] and kind == "$":
        return arguments[3:]
    return arguments[1:] if arguments[:1] == ["\0"] and kind == "<" else None
