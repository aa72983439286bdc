"""Programs that run others: text, files and argument lists that become commands."""

from __future__ import annotations

import re
import shlex

from skillrun.events import EffectKind
from skillrun.policy.evaluation.state import Shell
from skillrun.policy.evaluation.variables import judge_variable
from skillrun.policy.harmless.calls import form
from skillrun.policy.reading import Reading, Special
from skillrun.policy.unknown import Unknown, certain, known, plain
from skillrun.text.patterns import later

_ENV_VARIABLE = later(r"\$\{(\w+)\}")
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

_ITSELF = re.compile(r"-c\s+['\"]?\$\{?0\}?")


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


def _sudo(reading: Reading, argv: list[str], shell: Shell) -> str:
    """A probe of what sudo would do without asking has no effect; everything else is in the table."""
    if (found := form("sudo")) is not None and tuple(argv[1:]) in found.whole:
        return ""
    return reading.by_table(argv, shell)


_BWRAP_PAIRS = later(r"--(?:ro-|dev-)?bind(?:-try|-data)?|--symlink|--setenv|--file|--chmod|--perms|--size|--overlay")


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
    "busybox": _busybox,
    "bwrap": _bwrap,
    "toybox": _busybox,
    "sudo": _sudo,
}
