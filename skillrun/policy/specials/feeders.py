"""Programs that run a command on each item they find or are given: find and xargs."""

from __future__ import annotations

from itertools import dropwhile, takewhile

from skillrun.bash.quoting import unescape
from skillrun.events import Effect, EffectKind
from skillrun.policy.evaluation import filters
from skillrun.policy.evaluation.state import Shell
from skillrun.policy.harmless.calls import RUNNERS, form, vouch
from skillrun.policy.reading import Reading, Special
from skillrun.policy.unknown import ANY, STAR, Unknown, certain, globbed, known, plain

_XARGS_TAKES = frozenset(
    [
        *("-I", "-n", "-P", "-L", "-d", "-E", "-s", "-a"),
        *("--max-args", "--max-procs", "--replace", "--delimiter", "--max-lines", "--arg-file"),
    ]
)

_NARROWS = frozenset(["-name", "-iname", "-path", "-regex", "-newer", "-mtime", "-empty", "-size", "-user", "-wholename"])
_BY_NAME = frozenset(
    ["-name", "-iname", "-path", "-ipath", "-regex", "-iregex", "-wholename", "-samefile", "-inum", "-maxdepth"]
)


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


PROGRAMS: dict[str, Special] = {
    "xargs": _xargs,
    "gxargs": _xargs,
    "find": _find,
    "gfind": _find,
}
