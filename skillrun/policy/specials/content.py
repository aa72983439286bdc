"""What is printed, copied and fetched, and where it goes: content is followed as far as it is known."""

from __future__ import annotations

import dataclasses
import posixpath
import re
from urllib.parse import urlsplit

from skillrun.bash.quoting import unescape
from skillrun.policy import paths
from skillrun.policy.arguments import judge_call
from skillrun.policy.evaluation import filters
from skillrun.policy.evaluation.state import Shell
from skillrun.policy.invocation import Invocation
from skillrun.policy.knowledge import lookup
from skillrun.policy.reading import Reading, Special
from skillrun.policy.unknown import Unknown, known, plain


def _echo(_reading: Reading, argv: list[str], _shell: Shell) -> str:
    words = argv[1:]
    newline, escapes = True, False
    while words and re.fullmatch(r"-[neE]+", words[0]):
        newline = newline and "n" not in words[0]
        escapes = "e" in words[0]
        words = words[1:]
    text = plain(" ".join(words))
    return (unescape(text) if escapes else text) + ("\n" if newline else "")


def _printf(reading: Reading, argv: list[str], shell: Shell) -> str:
    words = argv[1:]
    name = ""
    if len(words) > 1 and words[0] == "-v":
        name, words = words[1], words[2:]
    if words and words[0] == "--":
        words = words[1:]
    if not words:
        return ""
    text = filters.printf(words[0], words[1:])
    if text is None:
        text = reading.unknowns.new(Unknown("output", "$(printf …)"))
    if name:
        reading.named(name, (text,))
        shell.assign(name, (text,), reading.expander.unset(name))
        return ""
    return text


def _cat(reading: Reading, argv: list[str], shell: Shell) -> str:
    files = [argument for argument in argv[1:] if not (argument.startswith("-") and len(argument) > 1)]
    if not files:
        return shell.stdin
    return "".join(shell.stdin if file == "-" else reading.content(reading.path(file, shell), shell) for file in files)


def _tee(reading: Reading, argv: list[str], shell: Shell) -> str:
    append = "-a" in argv[1:] or "--append" in argv[1:]
    for file in argv[1:]:
        if file.startswith("-"):
            continue
        path = reading.path(file, shell)
        reading.findings.write(path, "append" if append else "")
        shell.files[path] = (shell.files.get(path, "") if append else "") + shell.stdin
    return shell.stdin


def _copy(reading: Reading, argv: list[str], shell: Shell) -> str:
    """cp, mv, install, ln: the table's effects, and the content goes along."""

    reading.by_table(argv, shell)
    operands = [reading.path(word, shell) for word in argv[1:] if not word.startswith("-")]
    if len(operands) == 2 and argv[0] == "ln":
        links = {**reading.place.links, operands[1]: operands[0]}
        reading.place = reading.findings.place = dataclasses.replace(reading.place, links=links)
    if len(operands) >= 2:
        _into_directory(reading, operands)
        for source in operands[:-1]:
            content = shell.files.get(source)
            if content is None and reading.bare(source, shell)[1] and reading.is_known(posixpath.basename(source)):
                content = f'#!/bin/sh\nexec {source} "$@"\n'  # a copy of a program, or a link to it, is that program
            if content is not None:
                shell.files[operands[-1]] = content
                shell.files[operands[-1].rstrip("/") + "/" + posixpath.basename(source)] = content
    return ""


def _into_directory(reading: Reading, operands: list[str]) -> None:
    """The last operand may be a directory: what would lie in it counts where that means more."""
    home, target = reading.place.home, operands[-1]
    for source in operands[:-1]:
        inside = f"{target.rstrip('/')}/{posixpath.basename(source)}"
        if any(paths.is_kind(inside, kind, home) and not paths.is_kind(target, kind, home) for kind in _MEANING_MORE):
            reading.findings.write(inside, "if that is a directory")


_MEANING_MORE = ("persistence", "agent", "sudoers", "defence", "protection")


def _dd(reading: Reading, argv: list[str], shell: Shell) -> str:
    output = shell.stdin
    for word in argv[1:]:
        key, _, value = word.partition("=")
        path = reading.path(value, shell)
        if key == "if":
            output = reading.content(path, shell)
        elif key == "of":
            reading.findings.write(path)
            shell.files[path] = output
            output = ""
    return output


def _fetch(reading: Reading, argv: list[str], shell: Shell) -> str:
    """curl, wget and their kind: what they print, or write, is fetched."""
    program = lookup(argv[0])
    assert program is not None  # SPECIALS names only programs that have a table
    run = Invocation(argv, program, reading.findings, shell.cwd, shell.stdin)
    judge_call(run)
    options = dict(run.options)
    url = next((operand for operand in run.operands if not operand.startswith("-")), "") or options.get("--url", "")
    shown = reading.unknowns.show(url)
    fetched = reading.unknowns.new(Unknown("fetched", f"what {shown} sends", source=shown))
    named = ("-o", "--output", "-O", "--output-document") if argv[0] == "wget" else ("-o", "--output")
    output = next((options[name] for name in named if options.get(name)), "")
    if output and output != "-":
        shell.files[run.path(output)] = fetched
        return ""
    saves = argv[0] in ("wget", "aria2c", "axel") or not {"-O", "--remote-name", "-OJ"}.isdisjoint(options)
    if not saves or output == "-":
        return fetched
    base = posixpath.basename(urlsplit(plain(url)).path) if known(url) else ""
    file = paths.absolute(base or "index.html", options.get("-P", run.cwd) or run.cwd, reading.place)
    if argv[0] == "wget" and url and "--spider" not in argv:
        reading.findings.write(file)
    if base:
        shell.files[file] = fetched
    return ""


PROGRAMS: dict[str, Special] = {
    "echo": _echo,
    "printf": _printf,
    "cat": _cat,
    "tee": _tee,
    "curl": _fetch,
    "wget": _fetch,
    "cp": _copy,
    "mv": _copy,
    "install": _copy,
    "ln": _copy,
    "dd": _dd,
}
