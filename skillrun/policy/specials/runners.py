"""Programs that run others: text, files and argument lists that become commands."""

from __future__ import annotations

import re
import shlex
from itertools import dropwhile, takewhile

from skillrun.bash.quoting import unescape
from skillrun.events import Effect, EffectKind
from skillrun.policy.evaluation import filters
from skillrun.policy.evaluation.state import Shell
from skillrun.policy.evaluation.variables import judge_variable
from skillrun.policy.harmless.calls import RUNNERS, form, vouch
from skillrun.policy.reading import Reading, Special
from skillrun.policy.unknown import ANY, STAR, Unknown, certain, globbed, known, plain

_ENV_VARIABLE = re.compile(r"\$\{(\w+)\}")
_RELEASE = [
    "ID",
    "ID_LIKE",
    "VERSION_ID",
    "VERSION_CODENAME",
    "UBUNTU_CODENAME",
    "NAME",
    "VERSION",
    "PRETTY_NAME",
    "DISTRIB_ID",
    "DISTRIB_CODENAME",
]

_XARGS_TAKES = frozenset(
    [
        *("-I", "-n", "-P", "-L", "-d", "-E", "-s", "-a"),
        *("--max-args", "--max-procs", "--replace", "--delimiter", "--max-lines", "--arg-file"),
    ]
)

_ITSELF = re.compile(r"-c\s+['\"]?\$\{?0\}?")
_NARROWS = frozenset(["-name", "-iname", "-path", "-regex", "-newer", "-mtime", "-empty", "-size", "-user", "-wholename"])
_BY_NAME = frozenset(
    ["-name", "-iname", "-path", "-ipath", "-regex", "-iregex", "-wholename", "-samefile", "-inum", "-maxdepth"]
)


def _eval(reading: Reading, argv: list[str], shell: Shell) -> str:
    text = " ".join(argv[1:])
    output = reading.code(text, shell, "eval")
    if shell.top and not known(text):
        reading.findings.leave("what it evaluates")
    return output


def _command(reading: Reading, argv: list[str], shell: Shell) -> str:
    words = argv[1:]
    while words and words[0].startswith("-") and len(words[0]) > 1:
        letters, words = words[0][1:], words[1:]
        if letters == "-":
            break
        if argv[0] == "command" and re.fullmatch(r"p*[vV][pvV]*", letters):
            return reading.unknowns.new(Unknown("machine", "$(command -v …)"))
        if argv[0] == "exec" and letters.endswith("a"):
            words = words[1:]  # the name it goes by, as the next word; glued to the letter it is part of this one
        if not re.fullmatch({"exec": r"[cl]*(a.*)?", "command": "p+"}.get(argv[0], "(?!)"), letters):
            reading.findings.unproven(f"{argv[0]} -{letters}")
    if argv[0] == "exec" and words:
        reading.findings.external = True
    return reading.run(words, shell) if words else ""


def _env(reading: Reading, argv: list[str], shell: Shell) -> str:
    words = argv[1:]
    inner = shell.fork()
    options = True
    while words:
        word = words[0]
        if options and word in ("-u", "--unset", "-C", "--chdir", "-a", "--argv0"):
            if word in ("-C", "--chdir") and len(words) > 1:
                inner.cwd = reading.path(words[1], inner)
            words = words[2:]
        elif options and (joined := re.match(r"--chdir=|-[iv0]*C(?=.)", word)):
            inner.cwd = reading.path(word[joined.end() :], inner)
            words = words[1:]
        elif options and word.startswith(("-S", "--split-string", "-vS")):
            text = (
                words[1]
                if word in ("-S", "--split-string") and len(words) > 1
                else re.sub(r"^(--split-string=|-v?S)", "", word)
            )
            rest = words[2:] if word in ("-S", "--split-string") else words[1:]
            return _env(reading, ["env", *_split_string(reading, text, inner), *rest], inner)
        elif word.startswith("-") and options:
            options = word != "--"
            words = words[1:]
        elif "=" in word and certain(word.split("=", 1)[0]):
            name, _, value = word.partition("=")
            judge_variable(reading.findings, name, (value,), True)
            inner.variables[name] = (value,)
            words = words[1:]
        else:
            break
    if words:
        return reading.run(words, inner)
    reading.findings.add(EffectKind.SECRET_READ, "the environment", "all variables are shown")
    return reading.unknowns.new(Unknown("output", "$(env)", secret=True))


def _split_string(reading: Reading, text: str, shell: Shell) -> list[str]:
    """The words of `env -S`: quotes, `\\_` for a blank, `${NAME}` from the environment."""
    text = re.sub(r"\\([_nrtvf])", " ", plain(text))
    text = _ENV_VARIABLE.sub(lambda m: shell.variables.get(m[1], (reading.expander.unset(m[1]),))[0], text)
    try:
        return shlex.split(text.partition("\\c")[0])
    except ValueError:
        return [reading.unknowns.new(Unknown("output", text[:80]))]


def _shell(reading: Reading, argv: list[str], shell: Shell) -> str:
    """sh, bash, dash, zsh, ksh: `-c TEXT`, a script file, or standard input."""
    inner = shell.fork()
    inner.functions, inner.aliases = {}, {}
    words, flags = _shell_options(reading, argv, shell)
    if "--help" in flags:
        return ""
    if "c" in flags:
        if not words:
            return ""
        inner.arguments = words[2:]
        if len(words) > 1:
            inner.variables["0"] = (words[1],)
        if len(_ITSELF.findall(words[0])) > 1 and re.search(r"&|\|", words[0]):
            reading.findings.floor("fork-bomb", "it starts its own text again and again, beside itself")
        return reading.code(words[0], inner, argv[0])
    if words and "s" not in flags:
        if words[0] in ("-", "/dev/stdin", "/proc/self/fd/0", "/dev/fd/0"):
            words = words[1:]
        else:
            return reading.run_script(words[0], argv[0], shell, words[1:])
    inner.arguments = words
    if not shell.stdin:
        reading.findings.add(EffectKind.RUN_CODE, argv[0], "a shell that takes its commands from the terminal")
        return ""
    inner.stdin = ""
    return reading.code(shell.stdin, inner, argv[0])


def _shell_options(reading: Reading, argv: list[str], shell: Shell) -> tuple[list[str], set[str]]:
    """What stands behind a shell's options, and the letters of its short ones; `--help` for what only asks about it."""
    words, flags = argv[1:], set[str]()
    while words and words[0][:1] in "-+" and len(words[0]) > 1:
        word, *words = words
        if word in ("--help", "--version"):
            return [], {"--help"}
        if word == "--":
            break
        if word in ("--rcfile", "--init-file") and words:
            reading.run_script(words.pop(0), argv[0], shell)
        elif not word.startswith("--"):
            flags.update(word[1:] if word[0] == "-" else "")
            words = words[1:] if word[-1] in "oO" else words
    return words, flags


def _source(reading: Reading, argv: list[str], shell: Shell) -> str:
    words = [word for word in argv[1:] if word != "--"]
    if not words:
        return ""
    path = reading.path(words[0], shell)
    if shell.top:
        reading.findings.leave("what the file sets")
    if words[0] in ("/etc/os-release", "/usr/lib/os-release", "/etc/lsb-release") and path not in shell.files:
        reading.findings.read(path, "its variables are set")
        for name in _RELEASE:
            shell.variables[name] = (reading.unknowns.new(Unknown("machine", f"${name}")),)
        return ""
    return reading.run_script(words[0], argv[0], shell, words[1:])


def _xargs(reading: Reading, argv: list[str], shell: Shell) -> str:
    words, replace, delimiter = _xargs_options(argv)
    words = words or ["echo"]
    items = _xargs_items(reading, shell.stdin, delimiter)
    inner = shell.fork()
    inner.stdin = ""
    if not replace:
        return reading.run([*words, *items[:200]], inner)
    if delimiter is None and known(shell.stdin):
        items = [line.strip(" \t") for line in shell.stdin.split("\n") if line.strip()] or items
    return "".join(reading.run([word.replace(replace, item) for word in words], inner) for item in items[:8])


def _xargs_options(argv: list[str]) -> tuple[list[str], str, str | None]:
    """The command xargs is given, the text it replaces by an item (empty: none), and what lies between items."""
    told = vouch(argv)
    if told.why:
        return _xargs_guessed(argv[1:])
    replace, delimiter = "", None
    for name, value in told.options:
        if name in ("-I", "--replace"):
            replace = value
        elif name in ("-d", "--delimiter"):
            delimiter = unescape(plain(value))
        elif name in ("-0", "--null"):
            delimiter = "\0"
    return told.operands, replace, delimiter


def _xargs_guessed(words: list[str]) -> tuple[list[str], str, str | None]:
    """The same where an option is not known: whatever begins with a dash is one."""
    replace, delimiter = "", None
    while words and words[0].startswith("-") and words[0] != "-":
        word, value = words[0], "".join(words[1:2])
        if word in _XARGS_TAKES:
            replace = value if word in ("-I", "--replace") and value else replace
            delimiter = unescape(plain(value)) if word in ("-d", "--delimiter") and value else delimiter
            words = words[2:]
            continue
        if word.startswith(("-I", "--replace=")):
            replace = word[2:] if word.startswith("-I") else word.split("=", 1)[1]
        elif word in ("-i", "--replace"):
            replace = "{}"
        elif word == "-0":
            delimiter = "\0"
        words = words[1:]
    return words, replace, delimiter


def _xargs_items(reading: Reading, stdin: str, delimiter: str | None) -> list[str]:
    if stdin and len(stdin) < 8192 and not ANY.match(stdin.strip()):
        items = stdin.split(delimiter) if delimiter else filters.shell_words(stdin)
        return [item for item in items if item]
    if len(stdin.strip()) == 1:
        return [stdin.strip()]
    return [reading.unknowns.new(Unknown("output", "each line of input"))]


def _find(reading: Reading, argv: list[str], shell: Shell) -> str:
    words = list(dropwhile(("-H", "-L", "-P").__contains__, argv[1:]))
    starts = list(takewhile(lambda word: not word.startswith(("-", "(", "!")), words))
    words = words[len(starts) :]
    starts = starts or ["."]
    for start in starts:
        reading.findings.read(reading.path(start, shell))
    narrowed = not _NARROWS.isdisjoint(words)
    i = 0
    while i < len(words):
        word = words[i]
        i += 1
        if word in ("-exec", "-execdir", "-ok", "-okdir"):
            end = _end_of_command(words, i)
            before = set(reading.findings.effects)
            found = {start: _found(start, narrowed) for start in starts}
            _find_runs(reading, words[i:end], list(found.values()), shell)
            if word in ("-execdir", "-okdir"):
                _find_runs_beside(reading, words[i:end], found, shell)
            new = [effect for effect in reading.findings.effects if effect not in before]
            if _BY_NAME.isdisjoint(words) and _changes_it(new, starts, reading, shell):
                _spare_the_machine(reading, starts, shell)
            i = end + 1
        elif word == "-delete":
            for start in starts:
                _find_deletes(reading, start, words, shell)
        elif word in ("-fprint", "-fprint0", "-fls", "-fprintf") and i < len(words):
            reading.findings.write(reading.path(words[i], shell))
            i += 1
        elif word.startswith("-files0-from"):
            i += 1
        elif not certain(word) and not known(word) and len(word) == 1:
            reading.findings.add(EffectKind.UNKNOWN, word, "may be any option of find")
    return _find_output(reading, words, starts, shell)


def _find_runs_beside(reading: Reading, command: list[str], found: dict[str, str], shell: Shell) -> None:
    """The same command beside what is found: at least where it starts, or above.

    Which directories these are is a guess, so it counts for the floor alone.
    """
    effects = dict(reading.findings.effects)
    for start, file in list(found.items())[:4]:
        top = reading.path(start, shell)
        for folder in (top, top.rpartition("/")[0] or "/"):
            _find_runs(reading, command, [file], shell.standing(folder))
    reading.findings.effects = effects


def _changes_it(effects: list[Effect], starts: list[str], reading: Reading, shell: Shell) -> bool:
    """Is something removed, or something that was found written?"""
    tops = tuple(reading.path(start, shell).rstrip("/") for start in starts)
    written = [effect.subject for effect in effects if effect.kind is EffectKind.WRITE]
    below = any(path == top or path.startswith(top + "/") for path in written for top in tops)
    return below or any(effect.kind is EffectKind.DELETE for effect in effects)


def _spare_the_machine(reading: Reading, starts: list[str], shell: Shell) -> None:
    """What is removed from a tree the machine needs must at least be picked by its name."""
    for start in starts:
        if reading.findings.vital(reading.path(start, shell)):
            reading.findings.floor(
                "whole-tree", f"what find finds in {plain(start)} is picked by nothing that spares the machine"
            )


def _end_of_command(words: list[str], start: int) -> int:
    """Where the command of -exec ends: at `;`, or at `+` behind `{}`."""
    ends = (j for j in range(start, len(words)) if words[j] == ";" or (words[j] == "+" and words[j - 1] == "{}"))
    return next(ends, len(words))


def _find_runs(reading: Reading, command: list[str], found: list[str], shell: Shell) -> None:
    if command and (command[0] in RUNNERS or "COMMAND" in (opened.operands if (opened := form(command[0])) else ())):
        reading.findings.unproven(f"find runs {command[0]} on what it finds")
    for item in found[:4]:
        reading.run([part.replace("{}", item) for part in command], shell.fork())


def _find_deletes(reading: Reading, start: str, words: list[str], shell: Shell) -> None:
    narrowed = any(word in _NARROWS for word in words)
    path = reading.path(start, shell)
    wide = not any(word in _BY_NAME for word in words) and reading.findings.vital(path)
    reading.findings.delete(
        path if not narrowed or wide else reading.path(_found(start, True), shell),
        not narrowed or wide or path in ("/", reading.place.home),
        "what find finds",
    )


def _find_output(reading: Reading, words: list[str], starts: list[str], shell: Shell) -> str:
    """The paths find prints, as far as they can be told."""
    below = reading.unknowns.new(Unknown("machine" if any(word in _NARROWS for word in words) else "below", "…"))
    named = next((globbed(words[i + 1]) for i, word in enumerate(words[:-1]) if word in ("-name", "-iname")), "")
    ends = "\0" if "-print0" in words else "\n"
    return "".join(f"{reading.path(start, shell)}/{below}{named}{ends}" for start in starts)


def _found(start: str, narrowed: bool) -> str:
    return start.rstrip("/") + "/" + STAR + (STAR if narrowed else "") if narrowed else start


def _sudo(reading: Reading, argv: list[str], shell: Shell) -> str:
    """A probe of what sudo would do without asking has no effect; everything else is in the table."""
    if (found := form("sudo")) is not None and tuple(argv[1:]) in found.whole:
        return ""
    return reading.by_table(argv, shell)


_BWRAP_PAIRS = re.compile(r"--(?:ro-|dev-)?bind(?:-try|-data)?|--symlink|--setenv|--file|--chmod|--perms|--size|--overlay")


def _bwrap(reading: Reading, argv: list[str], shell: Shell) -> str:
    """bwrap(1): options that take two words are left out, the rest is in the table."""
    words, rest = argv[:1], argv[1:]
    while rest and _BWRAP_PAIRS.fullmatch(rest[0]):
        rest = rest[2:] if rest[0] in ("--perms", "--size") else rest[3:]
    while rest and rest[0].startswith("--"):
        length = 2 if rest[0] in ("--chdir", "--dev", "--proc", "--tmpfs", "--dir", "--unsetenv", "--uid", "--gid") else 1
        words += rest[:length]
        rest = rest[length:]
        while rest and _BWRAP_PAIRS.fullmatch(rest[0]):
            rest = rest[2:] if rest[0] in ("--perms", "--size") else rest[3:]
    return reading.by_table([*words, *rest], shell)


def _busybox(reading: Reading, argv: list[str], shell: Shell) -> str:
    if len(argv) < 2 or argv[1].startswith("-"):
        if argv[1:] not in ([], ["--list"], ["--help"]):
            reading.findings.unproven(" ".join(argv[:2]))
        return ""
    return reading.run(argv[1:], shell)


PROGRAMS: dict[str, Special] = {
    "eval": _eval,
    "command": _command,
    "builtin": _command,
    "exec": _command,
    "env": _env,
    "sh": _shell,
    "bash": _shell,
    "dash": _shell,
    "zsh": _shell,
    "ksh": _shell,
    "ash": _shell,
    "rbash": _shell,
    "source": _source,
    ".": _source,
    "xargs": _xargs,
    "gxargs": _xargs,
    "find": _find,
    "gfind": _find,
    "busybox": _busybox,
    "bwrap": _bwrap,
    "toybox": _busybox,
    "sudo": _sudo,
}
