"""Programs that a table cannot describe: the shell's own builtins, interpreters, and those that make text into commands."""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from skillrun.events import EffectKind
from skillrun.policy import filters, paths
from skillrun.policy.state import SECRET_NAME, Shell
from skillrun.policy.unknown import ANY, STAR, Unknown, certain, globbed, known, plain
from skillrun.policy.variables import judge_variable
from skillrun.shell.nodes import Var
from skillrun.shell.quoting import unescape

if TYPE_CHECKING:
    from skillrun.policy.reading import Reading

Special = Callable[["Reading", list[str], Shell], str]


def _nothing(_reading: Reading, _argv: list[str], _shell: Shell) -> str:
    return ""


# --- output ---------------------------------------------------------------------------------------


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
        shell.assign(name, (text,), reading.expander.unset(name))
        return ""
    return text


def _cat(reading: Reading, argv: list[str], shell: Shell) -> str:
    files = [argument for argument in argv[1:] if not (argument.startswith("-") and len(argument) > 1)]
    if not files:
        return shell.stdin
    return "".join(shell.stdin if file == "-" else reading.content(_path(reading, file, shell), shell) for file in files)


def _tee(reading: Reading, argv: list[str], shell: Shell) -> str:
    append = "-a" in argv[1:] or "--append" in argv[1:]
    for file in argv[1:]:
        if file.startswith("-"):
            continue
        path = _path(reading, file, shell)
        reading.findings.write(path, "append" if append else "")
        shell.files[path] = (shell.files.get(path, "") if append else "") + shell.stdin
    return shell.stdin


def _path(reading: Reading, text: str, shell: Shell) -> str:
    return paths.absolute(text, shell.cwd, reading.place)


# --- the shell's own state ------------------------------------------------------------------------


def _cd(reading: Reading, argv: list[str], shell: Shell) -> str:
    words = [argument for argument in argv[1:] if not re.fullmatch(r"-[LPe@]+|--", argument)]
    target = words[0] if words else shell.variables.get("HOME", ("~",))[0]
    if target == "-":
        target = shell.variables.get("OLDPWD", (reading.unknowns.new(Unknown("variable", "$OLDPWD")),))[0]
    old = shell.cwd
    shell.variables["OLDPWD"] = (old,)
    shell.cwd = _path(reading, target, shell) if target else old
    if shell.cwd != old and len(shell.elsewhere) < 8:
        shell.elsewhere |= {old}
    return ""


def _export(reading: Reading, argv: list[str], shell: Shell) -> str:
    bare = not any(not word.startswith("-") for word in argv[1:])
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
        else:
            judge_variable(reading.findings, name, shell.variables.get(name, ()), True)
    if argv[0] != "export" and any(word.startswith("-") and "i" in word for word in argv[1:]):
        reading.hidden_arithmetic(shell)
    return ""


def _unset(reading: Reading, argv: list[str], shell: Shell) -> str:
    for name in argv[1:]:
        if name.startswith("HIST"):
            judge_variable(reading.findings, name, (), True)
        if not shell.conditional and not name.startswith("-"):
            shell.variables.pop(name, None)
            shell.arrays.pop(name, None)
    return ""


def _read(reading: Reading, argv: list[str], shell: Shell) -> str:
    names: list[str] = []
    takes = False
    if "-C" in argv[1:-1]:
        reading.code(argv[argv.index("-C") + 1], shell.fork(), argv[0])
    for word in argv[1:]:
        if takes:
            takes = False
        elif word.startswith("-"):
            takes = word[-1] in "dinNptua"
            if word[-1] == "a":
                takes = False
        else:
            names.append(word)
    line = shell.stdin.split("\n", 1)[0]
    source = reading.unknowns.fetched(shell.stdin)
    for name in names or ["REPLY"]:
        if len(names) == 1 and known(shell.stdin) and shell.stdin.count("\n") <= 1 and shell.stdin:
            value = line.strip()
        elif source is not None:
            value = reading.unknowns.new(Unknown("fetched", f"${name}", source=source))
        else:
            value = reading.unknowns.new(Unknown("output", f"${name}"))
        shell.variables[name] = (value,)
        shell.arrays.pop(name, None)
    return ""


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


def _sudo(reading: Reading, argv: list[str], shell: Shell) -> str:
    """A probe of what sudo would do without asking has no effect; everything else is in the table."""
    if argv[1:] in (["-n", "true"], ["-n", "-v"], ["-nv"], ["-n", "-l"]):
        return ""
    return _by_table(reading, argv, shell)


def _by_table(reading: Reading, argv: list[str], shell: Shell) -> str:
    from skillrun.policy.knowledge import lookup

    program = lookup(argv[0])
    assert program is not None  # SPECIALS names only programs that have a table
    return reading.known_program(program, argv, shell)


def _set(reading: Reading, argv: list[str], shell: Shell) -> str:
    words = argv[1:]
    if not words:
        reading.findings.add(EffectKind.SECRET_READ, "the environment", "all variables are shown")
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
    for word in argv[1:]:
        name, equals, value = word.partition("=")
        if equals:
            reading.code(value, shell.fork(), "alias")
            if name in SPECIALS or _is_known(name):
                base = value.split(" ", 1)[0]
                if base != name:
                    reading.findings.add(EffectKind.UNKNOWN, name, "an alias takes the place of a known program")
            if len(shell.aliases) < 50:
                shell.functions.pop(name, None)
                shell.aliases[name] = "" if value.split(" ", 1)[0] == name else value
                if not shell.aliases[name]:
                    del shell.aliases[name]
    return ""


def _is_known(name: str) -> bool:
    from skillrun.policy.knowledge import lookup

    return lookup(name) is not None


def _trap(reading: Reading, argv: list[str], shell: Shell) -> str:
    words = [word for word in argv[1:] if word != "--"]
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


# --- text that becomes commands -------------------------------------------------------------------


def _eval(reading: Reading, argv: list[str], shell: Shell) -> str:
    return reading.code(" ".join(argv[1:]), shell, "eval")


def _command(reading: Reading, argv: list[str], shell: Shell) -> str:
    words = argv[1:]
    while words and words[0].startswith("-") and len(words[0]) > 1:
        if words[0] in ("-v", "-V"):
            return reading.unknowns.new(Unknown("machine", "$(command -v …)"))
        if words[0] == "-a" and argv[0] == "exec":
            words = words[1:]
        words = words[1:]
    return reading.run(words, shell) if words else ""


def _env(reading: Reading, argv: list[str], shell: Shell) -> str:
    words = argv[1:]
    inner = shell.fork()
    while words:
        word = words[0]
        if word in ("-u", "--unset", "-C", "--chdir"):
            if word in ("-C", "--chdir") and len(words) > 1:
                inner.cwd = _path(reading, words[1], inner)
            words = words[2:]
        elif word.startswith("--chdir="):
            inner.cwd = _path(reading, word[8:], inner)
            words = words[1:]
        elif word in ("-S", "--split-string") or word.startswith(("-S", "--split-string=", "-vS")):
            text = (
                words[1]
                if word in ("-S", "--split-string") and len(words) > 1
                else re.sub(r"^(--split-string=|-v?S)", "", word)
            )
            rest = words[2:] if word in ("-S", "--split-string") else words[1:]
            return _env(reading, ["env", *plain(text).split(), *rest], inner)
        elif word == "--":
            words = words[1:]
            break
        elif word.startswith("-"):
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


def _shell(reading: Reading, argv: list[str], shell: Shell) -> str:
    """sh, bash, dash, zsh, ksh: `-c TEXT`, a script file, or standard input."""
    words = argv[1:]
    inner = shell.fork()
    inner.functions, inner.aliases = {}, {}
    inline = stdin = False
    while words and words[0][:1] in "-+" and len(words[0]) > 1:
        word = words[0]
        words = words[1:]
        if word in ("--help", "--version"):
            return ""
        if word == "--":
            break
        if word in ("--rcfile", "--init-file") and words:
            run_script(reading, words[0], argv[0], shell)
            words = words[1:]
        elif not word.startswith("--"):
            inline = inline or (word[0] == "-" and "c" in word)
            stdin = stdin or (word[0] == "-" and "s" in word)
            if word[-1] in "oO" and words:
                words = words[1:]
    if inline:
        if not words:
            return ""
        inner.arguments = words[2:]
        return reading.code(words[0], inner, argv[0])
    if words and not stdin:
        if words[0] in ("-", "/dev/stdin", "/proc/self/fd/0", "/dev/fd/0"):
            words = words[1:]
        else:
            return run_script(reading, words[0], argv[0], shell, words[1:])
    inner.arguments = words
    if not shell.stdin:
        reading.findings.add(EffectKind.RUN_CODE, argv[0], "a shell that takes its commands from the terminal")
        return ""
    inner.stdin = ""
    return reading.code(shell.stdin, inner, argv[0])


def run_script(reading: Reading, name: str, by: str, shell: Shell, arguments: list[str] | None = None) -> str:
    """Running a file. What this very command wrote there is read; anything else is unknown code."""
    path = _path(reading, name, shell)
    content = shell.files.get(path)
    findings = reading.findings
    if content is None:
        if paths.HARMLESS.match(path) and shell.stdin:
            content = shell.stdin
        else:
            findings.add(EffectKind.RUN_CODE, path, f"run by {by}" if by else "a program this policy does not know")
            return reading.unknowns.new(Unknown("output", f"$({name})"))
    source = reading.unknowns.fetched(content)
    shells = ("sh", "bash", "dash", "zsh", "ksh", "source", ".", "ash")
    if source is not None:
        findings.add(EffectKind.RUN_FETCHED, source, f"as {path}")
        return reading.unknowns.new(Unknown("output", f"$({name})"))
    first = content.split("\n", 1)[0]
    other = first.startswith("#!") and not re.search(r"\b(?:ba|da|z|k|a)?sh\b", first)
    if (by and posixpath.basename(by) not in shells) or (not by and other):
        findings.add(EffectKind.RUN_CODE, path, f"run by {by or first}")
        return reading.unknowns.new(Unknown("output", f"$({name})"))
    inner = shell if by in ("source", ".") else shell.fork()
    if by not in ("source", "."):
        inner.functions, inner.aliases, inner.arguments = {}, {}, arguments or []
    return reading.code(content, inner, path)


def _source(reading: Reading, argv: list[str], shell: Shell) -> str:
    words = [word for word in argv[1:] if word != "--"]
    if not words:
        return ""
    path = _path(reading, words[0], shell)
    if words[0] in ("/etc/os-release", "/usr/lib/os-release", "/etc/lsb-release") and path not in shell.files:
        reading.findings.read(path, "its variables are set")
        for name in (
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
        ):
            shell.variables[name] = (reading.unknowns.new(Unknown("machine", f"${name}")),)
        return ""
    return run_script(reading, words[0], argv[0], shell, words[1:])


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
        "-I",
        "-n",
        "-P",
        "-L",
        "-d",
        "-E",
        "-s",
        "-a",
        "--max-args",
        "--max-procs",
        "--replace",
        "--delimiter",
        "--max-lines",
        "--arg-file",
    ]
)


def _xargs(reading: Reading, argv: list[str], shell: Shell) -> str:
    words, replace = argv[1:], ""
    delimiter = None
    while words and words[0].startswith("-") and words[0] != "-":
        word = words[0]
        if word in _XARGS_TAKES:
            replace = words[1] if word in ("-I", "--replace") and len(words) > 1 else replace
            delimiter = unescape(plain(words[1])) if word in ("-d", "--delimiter") and len(words) > 1 else delimiter
            words = words[2:]
            continue
        if word.startswith(("-I", "--replace=")):
            replace = word[2:] if word.startswith("-I") else word.split("=", 1)[1]
        elif word in ("-i", "--replace"):
            replace = "{}"
        elif word == "-0":
            delimiter = "\0"
        words = words[1:]
    words = words or ["echo"]
    if shell.stdin and len(shell.stdin) < 8192 and not ANY.match(shell.stdin.strip()):
        items = shell.stdin.split(delimiter) if delimiter else filters.shell_words(shell.stdin)
        items = [item for item in items if item]
    elif len(shell.stdin.strip()) == 1:
        items = [shell.stdin.strip()]
    else:
        items = [reading.unknowns.new(Unknown("output", "each line of input"))]
    inner = shell.fork()
    inner.stdin = ""
    if replace:
        output = ""
        for item in items[:8]:
            output += reading.run([word.replace(replace, item) for word in words], inner)
        return output
    return reading.run([*words, *items[:200]], inner)


_NARROWS = frozenset(["-name", "-iname", "-path", "-regex", "-newer", "-mtime", "-empty", "-size", "-user", "-wholename"])


def _find(reading: Reading, argv: list[str], shell: Shell) -> str:
    words = argv[1:]
    starts: list[str] = []
    while words and words[0] in ("-H", "-L", "-P"):
        words = words[1:]
    while words and not words[0].startswith(("-", "(", "!")):
        starts.append(words[0])
        words = words[1:]
    starts = starts or ["."]
    for start in starts:
        reading.findings.read(_path(reading, start, shell))
    narrowed = any(
        word in ("-name", "-iname", "-path", "-regex", "-newer", "-mtime", "-empty", "-size", "-user", "-wholename")
        for word in words
    )
    i = 0
    while i < len(words):
        word = words[i]
        i += 1
        if word in ("-exec", "-execdir", "-ok", "-okdir"):
            end = next(
                (j for j in range(i, len(words)) if words[j] == ";" or (words[j] == "+" and words[j - 1] == "{}")), len(words)
            )
            found = [_found(start, narrowed) for start in starts]
            for item in found[:4]:
                reading.run([part.replace("{}", item) for part in words[i:end]], shell.fork())
            i = end + 1
        elif word == "-delete":
            for start in starts:
                path = _path(reading, start, shell)
                reading.findings.delete(
                    path if not narrowed else _path(reading, _found(start, True), shell),
                    not narrowed or path in ("/", reading.place.home),
                    "what find finds",
                )
        elif word in ("-fprint", "-fprint0", "-fls", "-fprintf") and i < len(words):
            reading.findings.write(_path(reading, words[i], shell))
            i += 1
        elif word.startswith("-files0-from"):
            i += 1
        elif not certain(word) and not known(word) and len(word) == 1:
            reading.findings.add(EffectKind.UNKNOWN, word, "may be any option of find")
    below = reading.unknowns.new(Unknown("machine", "…"))
    named = next((globbed(words[i + 1]) for i, word in enumerate(words[:-1]) if word in ("-name", "-iname")), "")
    return "".join(f"{_path(reading, start, shell)}/{below}{named}\n" for start in starts)


def _found(start: str, narrowed: bool) -> str:
    return start.rstrip("/") + "/" + STAR + (STAR if narrowed else "") if narrowed else start


def _fetch(reading: Reading, argv: list[str], shell: Shell) -> str:
    """curl, wget and their kind: what they print, or write, is fetched."""
    from skillrun.policy.knowledge import lookup
    from skillrun.policy.roles import Run, judge_call

    program = lookup(argv[0])
    assert program is not None  # SPECIALS names only programs that have a table
    run = Run(argv, program, reading.findings, shell.cwd, shell.stdin)
    judge_call(run)
    url = next((operand for operand in run.operands if not operand.startswith("-")), "")
    options = {**dict(run.options), **{key: value for key, value in run.options if key == "--url"}}
    url = url or options.get("--url", "")
    shown = reading.unknowns.show(url)
    fetched = reading.unknowns.new(Unknown("fetched", f"what {shown} sends", source=shown))
    output = (
        options.get("-o")
        or options.get("--output")
        or (options.get("-O") or options.get("--output-document") if argv[0] == "wget" else "")
    )
    saves = argv[0] in ("wget", "aria2c", "axel") or "-O" in options or "--remote-name" in options or "-OJ" in options
    if output and output != "-":
        shell.files[run.path(output)] = fetched
        return ""
    if saves and output != "-":
        base = posixpath.basename(urlsplit(plain(url)).path) if known(url) else ""
        if base:
            shell.files[paths.absolute(base, options.get("-P", run.cwd) or run.cwd, reading.place)] = fetched
        return ""
    return fetched


def _copy(reading: Reading, argv: list[str], shell: Shell) -> str:
    """cp, mv, install, ln: the table's effects, and the content goes along."""
    from skillrun.policy.knowledge import lookup

    program = lookup(argv[0])
    assert program is not None
    reading.known_program(program, argv, shell)
    operands = [_path(reading, word, shell) for word in argv[1:] if not word.startswith("-")]
    if len(operands) >= 2:
        for source in operands[:-1]:
            if source in shell.files:
                content = shell.files[source]
                shell.files[operands[-1]] = content
                shell.files[operands[-1].rstrip("/") + "/" + posixpath.basename(source)] = content
    return ""


def _decoder(reading: Reading, argv: list[str], shell: Shell) -> str:
    """base64, xxd, gunzip and their kind: what they make of known text is known."""
    words = argv[1:]
    named = any(not word.startswith("-") for word in words)
    to_output = argv[0] == "gunzip" and re.search(r"(^| )-\w*[clt]", " ".join(words))
    if named and not to_output and argv[0] in ("gunzip", "xxd", "uudecode"):
        _by_table(reading, argv, shell)
    data = shell.stdin
    takes = {"-w", "--wrap", "-in", "-n", "-k", "-iv", "-pass"}
    skip = False
    for position, word in enumerate(words):
        if skip:
            skip = False
            if words[position - 1] == "-in":
                data = reading.content(_path(reading, word, shell), shell)
        elif word in takes:
            skip = True
        elif not word.startswith("-") and not (argv[0] == "openssl" and position == 0) and word != "r":
            data = reading.content(_path(reading, word, shell), shell)
    decoded = filters.decode(argv, data) if known(data) else None
    if decoded is not None:
        return decoded
    source = reading.unknowns.fetched(data)
    if source is not None:
        return reading.unknowns.new(Unknown("fetched", f"$({argv[0]} …)", source=source))
    secret = any(item.secret for item in reading.unknowns.of(data))
    return reading.unknowns.new(Unknown("output", f"$({argv[0]} …)", secret=secret))


def _filter(reading: Reading, argv: list[str], shell: Shell) -> str:
    """tr, rev, head, sort, ...: files they read count as read; known input through them is followed where that is easy."""
    from skillrun.policy.knowledge import lookup

    program = lookup(argv[0])
    assert program is not None
    reading.known_program(program, argv, shell)
    data = shell.stdin
    files = [_path(reading, word, shell) for word in argv[1:] if _path(reading, word, shell) in shell.files]
    if files:
        data = "".join(shell.files[file] for file in files)
    worked = filters.work(argv, data) if data and known(data) else None
    if worked is not None:
        return worked
    items = reading.unknowns.of(data)
    kinds = {item.kind for item in items}
    source = reading.unknowns.fetched(data)
    if source is not None:
        return reading.unknowns.new(Unknown("fetched", f"$({argv[0]} …)", source=source))
    kind = "machine" if data and kinds <= {"machine"} and files == [] else "output"
    return reading.unknowns.new(Unknown(kind, f"$({argv[0]} …)", secret=any(item.secret for item in items)))


def _sed(reading: Reading, argv: list[str], shell: Shell) -> str:
    words, scripts, files = argv[1:], [], list[str]()
    in_place = False
    i = 0
    while i < len(words):
        word = words[i]
        i += 1
        if word in ("-e", "--expression") and i < len(words):
            scripts.append(words[i])
            i += 1
        elif word.startswith("--expression="):
            scripts.append(word.split("=", 1)[1])
        elif word in ("-f", "--file") or word.startswith("--file="):
            reading.findings.add(EffectKind.RUN_CODE, "sed", "a script from a file")
            i += word in ("-f", "--file")
        elif word.startswith("--in-place") or (word.startswith("-") and not word.startswith("--") and "i" in word):
            in_place = True
            if word.endswith("e") and "i" not in word[-2:] and i < len(words):
                scripts.append(words[i])
                i += 1
        elif word.startswith("-") and len(word) > 1:
            if word in ("--help", "--version"):
                return ""
            if word.endswith("e") and not word.startswith("--") and i < len(words):
                scripts.append(words[i])
                i += 1
        else:
            files.append(word)
    if not scripts and files:
        scripts, files = [files[0]], files[1:]
    for script in scripts:
        if not filters.harmless_sed(plain(script)):
            reading.findings.add(
                EffectKind.RUN_CODE, "sed", f"a script that may run commands or write files: {plain(script)[:80]}"
            )
    for file in files:
        path = _path(reading, file, shell)
        if in_place:
            reading.findings.write(path, "edited in place")
        else:
            reading.findings.read(path)
    return _filter_output(reading, argv, shell, files)


def _awk(reading: Reading, argv: list[str], shell: Shell) -> str:
    words, files = argv[1:], list[str]()
    program: str | None = None
    i = 0
    while i < len(words):
        word = words[i]
        i += 1
        if word in ("-F", "-v", "--field-separator", "--assign"):
            i += 1
        elif word in ("-f", "--file", "-E", "--exec", "-l", "--load", "-i", "--include") or word.startswith("--file="):
            reading.findings.add(EffectKind.RUN_CODE, argv[0], "a script from a file")
            program = program or ""
            i += "=" not in word
        elif word in ("--help", "--version", "-V", "-W"):
            return ""
        elif word.startswith("-") and len(word) > 1:
            continue
        elif program is None:
            program = word
        elif "=" not in word:
            files.append(word)
    if program and not filters.harmless_awk(plain(program)):
        reading.findings.add(
            EffectKind.RUN_CODE, argv[0], f"a script that may run commands or write files: {plain(program)[:80]}"
        )
    for file in files:
        reading.content(_path(reading, file, shell), shell)
    return _filter_output(reading, argv, shell, files)


def _filter_output(reading: Reading, argv: list[str], shell: Shell, files: list[str]) -> str:
    data = "" if files else shell.stdin
    source = reading.unknowns.fetched(data)
    if source is not None:
        return reading.unknowns.new(Unknown("fetched", f"$({argv[0]} …)", source=source))
    items = reading.unknowns.of(data)
    machine = bool(items) and all(item.kind == "machine" for item in items)
    return reading.unknowns.new(
        Unknown("machine" if machine else "output", f"$({argv[0]} …)", secret=any(i.secret for i in items))
    )


def _dd(reading: Reading, argv: list[str], shell: Shell) -> str:
    output = shell.stdin
    for word in argv[1:]:
        key, _, value = word.partition("=")
        path = _path(reading, value, shell)
        if key == "if":
            output = reading.content(path, shell)
        elif key == "of":
            reading.findings.write(path)
            shell.files[path] = output
            output = ""
    return output


def _busybox(reading: Reading, argv: list[str], shell: Shell) -> str:
    if len(argv) < 2 or argv[1].startswith("--"):
        return ""
    return reading.run(argv[1:], shell)


def _which(reading: Reading, argv: list[str], _shell: Shell) -> str:
    return reading.unknowns.new(Unknown("machine", f"$({' '.join(argv)[:40]})"))


_INERT = (
    ": true false popd dirs exit return break continue shopt umask ulimit wait jobs fg bg disown times getopts logout unalias"
    " help caller suspend"
)

SPECIALS: dict[str, Special] = {
    "echo": _echo,
    "printf": _printf,
    "cat": _cat,
    "tee": _tee,
    "cd": _cd,
    "pushd": _cd,
    "export": _export,
    "declare": _export,
    "typeset": _export,
    "local": _export,
    "readonly": _export,
    "unset": _unset,
    "read": _read,
    "mapfile": _read,
    "readarray": _read,
    "set": _set,
    "shift": _shift,
    "alias": _alias,
    "trap": _trap,
    "enable": _enable,
    "hash": _hash,
    "let": _let,
    "test": _test,
    "[": _test,
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
    "curl": _fetch,
    "wget": _fetch,
    "cp": _copy,
    "mv": _copy,
    "install": _copy,
    "ln": _copy,
    "base64": _decoder,
    "base32": _decoder,
    "xxd": _decoder,
    "gunzip": _decoder,
    "zcat": _decoder,
    "uudecode": _decoder,
    "tr": _filter,
    "rev": _filter,
    "head": _filter,
    "tail": _filter,
    "sort": _filter,
    "tac": _filter,
    "cut": _filter,
    "grep": _filter,
    "egrep": _filter,
    "fgrep": _filter,
    "uniq": _filter,
    "sed": _sed,
    "gsed": _sed,
    "awk": _awk,
    "gawk": _awk,
    "mawk": _awk,
    "nawk": _awk,
    "dd": _dd,
    "busybox": _busybox,
    "toybox": _busybox,
    "printenv": _printenv,
    "history": _history,
    "complete": _hook,
    "compgen": _hook,
    "bind": _hook,
    "sudo": _sudo,
    "type": _which,
    "which": _which,
    "whereis": _which,
    **dict.fromkeys(_INERT.split(" "), _nothing),
}
