"""From an argument list and a program's table to effects: options are read as the program would, then roles applied."""

from __future__ import annotations

from collections import deque

from skillrun.events import EffectKind
from skillrun.policy.invocation import Invocation
from skillrun.policy.knowledge import Program
from skillrun.policy.roles import ROLES
from skillrun.policy.unknown import ANY
from skillrun.text.patterns import later

_KINDS = {str(kind): kind for kind in EffectKind}
_SEPARATOR = later(r"(?<=^[a-z-]):|(?<=[a-z]):")
_TAKE_SUBJECT = frozenset(("read", "write", "create", "delete", "delete-tree", "install", "remove"))


def judge_call(call: Invocation) -> None:
    """Read options and operands, follow subcommands, apply every role."""
    program, rest = call.program, call.argv[1:]
    while True:
        operands = _options(call, program, rest)
        if not program.sub:
            break
        if not operands:
            break
        child = program.sub.get(operands[0])
        if child is None:
            if ANY.search(operands[0]) or "*" not in program.sub:
                call.findings.add(EffectKind.UNKNOWN, f"{program.name} {operands[0]}", "not known to this policy")
                _option_roles(call, program)
                return
            child = program.sub["*"]
            rest = operands
        else:
            rest = operands[1:]
        program = call.program = child
    call.operands = operands
    call.quiet = call.quiet or bool(operands and operands[0] in program.looks)
    operands = _option_roles(call, program)
    for role in program.always:
        apply(call, role, "", f"by {program.manager}" if program.manager else "")
    if not operands and program.bare and not any(program.value.get(name) in ("code", "module") for name, _ in call.options):
        apply(call, program.bare, "")
    _operands(call, program, operands)


def _option_roles(call: Invocation, program: Program) -> list[str]:
    """Apply the roles of the options; the operands that are left: a program told what to run in an option has none."""
    for option, value in call.options:
        role = program.value.get(option, program.flag.get(option, ""))
        if role and role.split()[0] not in ("note", "index"):
            apply(call, role, value)
            if program.family == "shells" and role in ("code", "module"):
                call.operands = []
    return call.operands


def _options(call: Invocation, program: Program, rest: list[str]) -> list[str]:
    """Split off the options; notes and indexes are taken at once because operands depend on them."""
    operands: list[str] = []
    left = deque(rest)
    while left:
        argument = left.popleft()
        if argument == "--":
            break
        if argument[:1] in program.flag and (argument == "-" or argument[:1] == "+"):
            _option(call, program, argument[0], argument[1:])
        elif _is_operand(program, argument):
            if program.strict and argument and ANY.match(argument[0]) and not program.sub:
                call.findings.add(EffectKind.UNKNOWN, argument, f"may be any option of {program.name}")
            operands.append(argument)
            if program.stop or program.sub:
                break
        elif argument.startswith("--") or program.single:
            name, equals, value = argument.partition("=")
            name = _whole_name(program, name)
            _option(call, program, name, left.popleft() if not equals and name in program.value and left else value)
        elif argument in program.value:
            _option(call, program, argument, left.popleft() if left else "")
        else:
            _without_value(call, program, argument, left)
    return [*operands, *left]


def _is_operand(program: Program, argument: str) -> bool:
    return len(argument) < 2 or argument[0] not in "-+" or (argument[0] == "+" and argument not in program.flag)


def _without_value(call: Invocation, program: Program, argument: str, left: deque[str]) -> None:
    """One option, or short ones in one word: the first that takes a value has what is left of it, or the next of `left`."""
    if argument in program.flag or argument in program.quiet or argument in program.plain:
        _option(call, program, argument, "")
        return
    for position in range(1, len(argument)):
        short = argument[0] + argument[position]
        if short in program.value:
            value = argument[position + 1 :]
            _option(call, program, short, left.popleft() if not value and left else value)
            return
        _option(call, program, short, "")


def _whole_name(program: Program, name: str) -> str:
    """GNU getopt_long(3) takes any beginning of a long option that fits only one."""
    if not name.startswith("--") or name in program.value or name in program.flag or name in program.quiet:
        return name
    known = {*program.value, *program.flag, *program.quiet, "--help", "--version"}
    fitting = [each for each in known if each.startswith(name) and (program.value.get(each, "x") or each in program.flag)]
    return fitting[0] if len(fitting) == 1 else name


def _option(call: Invocation, program: Program, name: str, value: str) -> None:
    if name in ("--help", "--version") or name in program.quiet:
        call.quiet = True
        return
    role = program.value.get(name, program.flag.get(name))
    if role is None:
        if program.strict and name not in program.plain:
            call.findings.add(EffectKind.UNKNOWN, f"{program.name} {name}", "an option this policy does not know")
        return
    word, _, argument = role.partition(" ")
    if word == "note":
        call.notes.add(argument)
    elif word in ("cwd", "work", "login", "root"):
        _stand(call, word, value, argument)
    elif word == "index":
        call.index = value
        apply(call, role, value)
    call.options.append((name, value))


def _stand(call: Invocation, word: str, value: str, argument: str) -> None:
    """An option says where the program, and what it runs, works. `login`: as after a login, so in somebody's home.

    `cwd NAME=`: of an option that sets many things, only where it sets that one.
    """
    if word == "login":
        call.notes.add("shell")
        call.cwd = "/root"
    elif word == "root":
        call.cwd = "/"  # one is put there; what is a part of another root directory counts as the machine's own
    elif value.startswith(argument):
        call.cwd = call.path(value[len(argument) :])


def _operands(call: Invocation, program: Program, operands: list[str]) -> None:
    roles, repeat = program.operands, program.repeat
    if "reference" in call.notes and roles[:1] == ("plain",):
        roles, repeat = roles[1:], repeat - 1  # taken from another file, so no operand says it
    if not roles:
        return
    if repeat < 0:
        pairs = list(zip(roles, operands, strict=False))
    else:
        after = len(roles) - repeat - 1
        middle = max(len(operands) - repeat - after, 0)
        pairs = list(zip(roles[:repeat], operands, strict=False))
        pairs += [(roles[repeat], operand) for operand in operands[repeat : repeat + middle]]
        if after:
            pairs += list(zip(roles[-after:], operands[repeat + middle :], strict=False))
    for position, (role, operand) in enumerate(pairs):
        if role == "root":
            call.cwd = "/"
        elif role == "run-command":
            words = operands[position + 1 :]
            words = words[1:] if words[:1] == ["--"] else words
            if operand in ("run", "exec") and words and call.evaluate is not None:
                call.evaluate(words)
            return
        elif role in ("command", "env-command"):
            _inner_command(call, operands[position:], role)
            return
        if role == "words":
            if call.shell is not None:
                call.shell(" ".join(operands[position:]))
            return
        apply(call, role, operand)


def _inner_command(call: Invocation, words: list[str], role: str) -> None:
    if words[1:2] == ["-c"] and call.program.value.get("-c") == "shell":
        words = words[1:]  # the user stands first (runuser(1))
    if words[0] == "-c" and len(words) > 1:
        if call.shell is not None:
            call.shell(words[1])
    elif call.evaluate is not None:
        call.evaluate(["env", *words] if role == "env-command" else words)


def apply(call: Invocation, role: str, value: str, remark: str = "") -> None:
    """Turn one role into effects. `remark` says whose doing it is, where that is a package manager's."""
    word, _, argument = _SEPARATOR.sub(" ", role, count=1).partition(" ")
    handler = ROLES.get(word)
    if handler is not None:
        if not value and argument and word in _TAKE_SUBJECT:
            value, argument = _expanded(call, argument), remark
        handler(call, value, argument)
    elif word in _KINDS:
        kind = _KINDS[word]
        subject, detail = (value, argument) if value else (argument or call.name, "")
        if kind is EffectKind.NETWORK and not detail:
            detail = "receive"
        call.findings.add(kind, subject, ", ".join(filter(None, (detail, remark))))
    elif word == "work":
        call.findings.write(call.cwd, remark)
    elif word and word not in ("plain", "note", "cwd", "root", "login", "run-command"):
        raise ValueError(f"{call.name}: unknown role {role!r}")


def _expanded(call: Invocation, subject: str) -> str:
    """A path in a table may start with `~`."""
    return call.findings.place.home.rstrip("/") + subject[1:] if subject.startswith("~/") else subject
