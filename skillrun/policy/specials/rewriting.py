"""Decoders and filters: what they make of known text is known, and what they make of fetched text is fetched."""

from __future__ import annotations

import re
from collections import deque

from skillrun.events import EffectKind
from skillrun.policy.evaluation import filters
from skillrun.policy.evaluation.state import Shell
from skillrun.policy.reading import Reading, Special
from skillrun.policy.unknown import Unknown, known, plain


def _decoder(reading: Reading, argv: list[str], shell: Shell) -> str:
    """base64, xxd, gunzip and their kind: what they make of known text is known."""
    words = argv[1:]
    named = any(not word.startswith("-") for word in words)
    to_output = argv[0] == "gunzip" and re.search(r"(^| )-\w*[clt]", " ".join(words))
    if named and not to_output and argv[0] in ("gunzip", "xxd", "uudecode"):
        reading.by_table(argv, shell)
    data = shell.stdin
    takes = {"-w", "--wrap", "-in", "-n", "-k", "-iv", "-pass"}
    skip = False
    for position, word in enumerate(words):
        if skip:
            skip = False
            if words[position - 1] == "-in":
                data = reading.content(reading.path(word, shell), shell)
        elif word in takes:
            skip = True
        elif not word.startswith("-") and not (argv[0] == "openssl" and position == 0) and word != "r":
            data = reading.content(reading.path(word, shell), shell)
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

    reading.by_table(argv, shell)
    data = shell.stdin
    files = [reading.path(word, shell) for word in argv[1:] if reading.path(word, shell) in shell.files]
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
    kind = "machine" if data and kinds <= {"machine", "below"} and files == [] else "output"
    return reading.unknowns.new(Unknown(kind, f"$({argv[0]} …)", secret=any(item.secret for item in items)))


def _sed(reading: Reading, argv: list[str], shell: Shell) -> str:
    told = _sed_words(reading, argv[1:])
    if told is None:
        return ""
    scripts, files, in_place = told
    for script in scripts:
        if not filters.harmless_sed(plain(script)):
            reading.findings.add(
                EffectKind.RUN_CODE, "sed", f"a script that may run commands or write files: {plain(script)[:80]}"
            )
    for file in files:
        path = reading.path(file, shell)
        if in_place:
            reading.findings.write(path, "edited in place")
        else:
            reading.findings.read(path)
    return _filter_output(reading, argv, shell, files)


_SED_IN_PLACE = re.compile(r"--in-place|-(?!-).*i")
_SED_TAKES_SCRIPT = re.compile(r"--expression|(?:--in-plac|-(?!-)).*(?<!i)e")
"""A bundle that ends with `e` does; behind an `i` that is the end of a backup's name."""


def _sed_words(reading: Reading, words: list[str]) -> tuple[list[str], list[str], bool] | None:
    """(scripts, files, whether they are edited in place) of sed; None for what only asks about it."""
    scripts, files, in_place = list[str](), list[str](), False
    left = deque(words)
    while left:
        word = left.popleft()
        if word in ("--help", "--version"):
            return None
        if word in ("-f", "--file") or word.startswith("--file="):
            reading.findings.add(EffectKind.RUN_CODE, "sed", "a script from a file")
            if left and "=" not in word:
                left.popleft()
        elif word.startswith("--expression="):
            scripts.append(word.split("=", 1)[1])
        elif word.startswith("-") and len(word) > 1:
            in_place = in_place or _SED_IN_PLACE.match(word) is not None
            if _SED_TAKES_SCRIPT.fullmatch(word) and left:
                scripts.append(left.popleft())
        else:
            files.append(word)
    if not scripts and files:
        scripts, files = files[:1], files[1:]
    return scripts, files, in_place


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
        reading.content(reading.path(file, shell), shell)
    return _filter_output(reading, argv, shell, files)


def _filter_output(reading: Reading, argv: list[str], shell: Shell, files: list[str]) -> str:
    data = "" if files else shell.stdin
    source = reading.unknowns.fetched(data)
    if source is not None:
        return reading.unknowns.new(Unknown("fetched", f"$({argv[0]} …)", source=source))
    items = reading.unknowns.of(data)
    machine = bool(items) and all(item.kind in ("machine", "below") for item in items)
    return reading.unknowns.new(
        Unknown("machine" if machine else "output", f"$({argv[0]} …)", secret=any(i.secret for i in items))
    )


PROGRAMS: dict[str, Special] = {
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
}
