"""The shell's own state: variables, directory, arguments, aliases, and what the builtins show of it."""

from __future__ import annotations

import itertools
import re

from skillrun.bash.nodes import Var
from skillrun.events import EffectKind
from skillrun.policy.evaluation.state import SECRET_NAME, Shell
from skillrun.policy.evaluation.variables import judge_variable
from skillrun.policy.reading import Reading, Special
from skillrun.policy.unknown import Unknown, certain, known

_INERT = (
    ": true false popd dirs exit return break continue shopt umask ulimit wait jobs fg bg disown times getopts logout unalias"
    " help caller suspend"
)


def _nothing(_reading: Reading, _argv: list[str], _shell: Shell) -> str:
    return ""


def _cd(reading: Reading, argv: list[str], shell: Shell) -> str:
    words = [argument for argument in argv[1:] if not re.fullmatch(r"-[LPe@]+|--", argument)]
    target = words[0] if words else shell.variables.get("HOME", ("~",))[0]
    if target == "-":
        target = shell.variables.get("OLDPWD", (reading.unknowns.new(Unknown("variable", "$OLDPWD")),))[0]
    old = shell.cwd
    shell.variables["OLDPWD"] = (old,)
    shell.cwd = reading.path(target, shell) if target else old
    if shell.cwd != old and len(shell.elsewhere) < 8:
        shell.elsewhere |= {old}
    return ""


def _export(reading: Reading, argv: list[str], shell: Shell) -> str:
    options = [word for word in argv[1:] if word.startswith("-")]
    bare = len(options) == len(argv) - 1
    shows = any(re.fullmatch(r"-\w*p\w*", word) for word in options)
    if argv[0] != "local" and shell.top and not shows and not bare:
        reading.findings.leave("variables")
    if bare and not re.fullmatch(r"-\w*[fFgaAirl]\w*", argv[-1]):
        reading.findings.add(EffectKind.SECRET_READ, "the environment", "all variables are shown")
    for word in argv[1:]:
        name, equals, value = word.partition("=")
        if word.startswith("-"):
            continue
        if equals:
            judge_variable(reading.findings, name, (value,), True)
            if certain(name):
                shell.assign(name, (value,), reading.expander.unset(name))
        elif shows and (not certain(name) or SECRET_NAME.search(name.upper())):
            reading.findings.add(EffectKind.SECRET_READ, name, "shown")
        elif argv[0] == "export":
            judge_variable(reading.findings, name, shell.variables.get(name, ()), True)
    if argv[0] != "export" and "i" in "".join(options):
        reading.hidden_arithmetic(shell)
    return ""


def _unset(reading: Reading, argv: list[str], shell: Shell) -> str:
    for name in argv[1:]:
        if name.startswith("HIST"):
            judge_variable(reading.findings, name, (), True)
        if name == "PATH" and "-f" not in argv:
            judge_variable(reading.findings, name, ("",), True)  # bash then looks for programs where it stands
        if not shell.conditional and not name.startswith("-"):
            shell.variables.pop(name, None)
            shell.arrays.pop(name, None)
    return ""


def _read(reading: Reading, argv: list[str], shell: Shell) -> str:
    if shell.top:
        reading.findings.leave("variables")
    names = _names_read(argv[1:])
    data = shell.stdin
    line = data.split("\n", 1)[0]
    source = reading.unknowns.fetched(data)
    below = any(item.kind == "below" for item in reading.unknowns.of(data))
    certainly = bool(data) and known(data) and data.count("\n") <= 1
    words = _broken(line, shell.interval) if certainly else []
    if certainly and names and any(re.fullmatch(r"-\w*a", word) for word in argv[1:]):
        shell.arrays[names[0]] = words
        shell.variables.pop(names[0], None)
        return ""
    for position, name in enumerate(names or ["REPLY"]):
        if len(names) <= 1 and (certainly or below):
            value = line.strip()
        elif certainly and (position < len(names) - 1 or len(words) <= len(names)):
            value = words[position] if position < len(words) else ""
        elif source is not None:
            value = reading.unknowns.new(Unknown("fetched", f"${name}", source=source))
        else:
            value = reading.unknowns.new(Unknown("output", f"${name}"))
        reading.named(name, (value,))
        shell.variables[name] = (value,)
        shell.arrays.pop(name, None)
    return ""


def _names_read(words: list[str]) -> list[str]:
    """The variables that `read` sets: its words but for options and what they take."""
    names: list[str] = []
    takes = False
    for word in words:
        if takes:
            takes = False
        elif word.startswith("-"):
            takes = word[-1] in "dinNptu"
        else:
            names.append(word)
    return names


def _mapfile(reading: Reading, argv: list[str], shell: Shell) -> str:
    """mapfile, readarray: each line of the input is one item."""
    if shell.top:
        reading.findings.leave("variables")
    names: list[str] = []
    delimiter, takes = "\n", ""
    for word in argv[1:]:
        if takes:
            if takes == "C":
                reading.code(word, shell.fork(), argv[0])
            delimiter = word[:1] or "\0" if takes == "d" else delimiter
            takes = ""
        elif word.startswith("-"):
            takes = word[-1] if word[-1] in "dnOsuCc" else ""
        else:
            names.append(word)
    name = names[0] if names else "MAPFILE"
    reading.named(name, (reading.unknowns.new(Unknown("output", f"${name}")),))
    shell.variables.pop(name, None)
    shell.arrays.pop(name, None)
    data = shell.stdin
    if data and known(data) and data.count(delimiter) <= 64:
        shell.arrays[name] = [line.strip("\n") for line in data.rstrip("\n").split(delimiter)]
    elif data:
        source = reading.unknowns.fetched(data)
        kind = "fetched" if source is not None else "output"
        shell.arrays[name] = [reading.unknowns.new(Unknown(kind, f"${name}", source=source or ""))]
    return ""


def _broken(line: str, interval: str) -> list[str]:
    """A line as `read` breaks it."""
    for mark in interval:
        line = line.replace(mark, "\0")
    return [word for word in line.split("\0") if word]


def _printenv(reading: Reading, argv: list[str], _shell: Shell) -> str:
    names = [word for word in argv[1:] if not word.startswith("-")]
    if not names or any(not certain(name) or SECRET_NAME.search(name.upper()) for name in names):
        reading.findings.add(EffectKind.SECRET_READ, " ".join(names) or "the environment", "shown")
        return reading.unknowns.new(Unknown("output", "$(printenv)", secret=True))
    return "".join(reading.expander.part(Var(name, quoted=True), _shell, False)[0] + "\n" for name in names)


def _history(reading: Reading, argv: list[str], _shell: Shell) -> str:
    if any(re.fullmatch(r"-\w*[cdw]\w*", word) for word in argv[1:]):
        reading.findings.add(EffectKind.DEFENCE_OFF, "the shell's history", "cleared or rewritten")
    return reading.unknowns.new(Unknown("output", "$(history)"))


def _hook(reading: Reading, argv: list[str], shell: Shell) -> str:
    """complete, compgen, bind: what they are told to call later."""
    for option, value in itertools.pairwise(argv[1:]):
        if option in ("-C", "-W", "-F"):
            reading.code(value, shell.fork(), argv[0])
    if argv[0] == "bind" and len(argv) > 1 and argv[1] not in ("-p", "-P", "-l", "-v", "-V", "-s", "-S", "-q"):
        reading.findings.add(EffectKind.RUN_CODE, "bind", "keys are given commands")
    return ""


def _set(reading: Reading, argv: list[str], shell: Shell) -> str:
    words = argv[1:]
    if not words:
        reading.findings.add(EffectKind.SECRET_READ, "the environment", "all variables are shown")
    if any(re.fullmatch(r"-[A-Za-z]*a[A-Za-z]*|allexport|-[A-Za-z]*[kP]", word) for word in words):
        reading.findings.unproven("set: what is assigned later is seen by every program")
    while words and re.match(r"[-+][A-Za-z]", words[0]):
        words = words[2:] if words[0][1:].endswith("o") else words[1:]
    if words:
        shell.arguments = words[1:] if words[0] == "--" else words
    return ""


def _shift(_reading: Reading, argv: list[str], shell: Shell) -> str:
    if shell.arguments is not None and not shell.conditional:
        count = int(argv[1]) if len(argv) > 1 and argv[1].isdigit() else 1
        shell.arguments = shell.arguments[count:]
    elif shell.conditional:
        shell.arguments = None
    return ""


def _alias(reading: Reading, argv: list[str], shell: Shell) -> str:
    if shell.top and any("=" in word for word in argv[1:]):
        reading.findings.leave("aliases")
    for word in argv[1:]:
        name, equals, value = word.partition("=")
        if equals:
            reading.code(value, shell.fork(), "alias")
            if reading.is_known(name):
                base = value.split(" ", 1)[0]
                if base != name:
                    reading.findings.add(EffectKind.UNKNOWN, name, "an alias takes the place of a known program")
            if len(shell.aliases) < 50:
                shell.functions.pop(name, None)
                shell.aliases[name] = "" if value.split(" ", 1)[0] == name else value
                if not shell.aliases[name]:
                    del shell.aliases[name]
    return ""


def _trap(reading: Reading, argv: list[str], shell: Shell) -> str:
    words = [word for word in argv[1:] if word != "--"]
    if shell.top and len(words) > 1:
        reading.findings.leave("traps")
    if len(words) > 1 and words[0] not in ("-", "") and not words[0].startswith("-"):
        reading.code(words[0], shell.fork(), "trap")
    return ""


def _enable(reading: Reading, argv: list[str], _shell: Shell) -> str:
    if "-f" in argv or "-n" in argv:
        reading.findings.add(EffectKind.RUN_CODE, "enable", "changes the shell's own commands")
    return ""


def _hash(reading: Reading, argv: list[str], _shell: Shell) -> str:
    if "-p" in argv:
        reading.findings.add(EffectKind.RUN_CODE, "hash", "another file takes the place of a program")
    return ""


def _let(reading: Reading, _argv: list[str], shell: Shell) -> str:
    reading.hidden_arithmetic(shell)
    return ""


def _test(reading: Reading, argv: list[str], shell: Shell) -> str:
    if any(word in ("-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v") for word in argv):
        reading.hidden_arithmetic(shell)
    return ""


def _which(reading: Reading, argv: list[str], _shell: Shell) -> str:
    return reading.unknowns.new(Unknown("machine", f"$({' '.join(argv)[:40]})"))


PROGRAMS: dict[str, Special] = {
    "cd": _cd,
    "pushd": _cd,
    "export": _export,
    "declare": _export,
    "typeset": _export,
    "local": _export,
    "readonly": _export,
    "unset": _unset,
    "read": _read,
    "mapfile": _mapfile,
    "readarray": _mapfile,
    "set": _set,
    "shift": _shift,
    "alias": _alias,
    "trap": _trap,
    "enable": _enable,
    "hash": _hash,
    "let": _let,
    "test": _test,
    "[": _test,
    "printenv": _printenv,
    "history": _history,
    "complete": _hook,
    "compgen": _hook,
    "bind": _hook,
    "type": _which,
    "which": _which,
    "whereis": _which,
    **dict.fromkeys(_INERT.split(" "), _nothing),
}
