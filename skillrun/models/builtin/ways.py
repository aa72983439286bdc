"""Getting a document's program: its ways one after the other, each whole, until the program is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace

from skillrun.models.builtin import caution, choosing, registry, script, user_install
from skillrun.models.builtin.bench import Bench, Stop, Work
from skillrun.models.builtin.choosing import Choice, describe, ranked
from skillrun.models.builtin.moves import packages
from skillrun.models.builtin.remedy import Failure, read_failure
from skillrun.models.builtin.user_install import Got
from skillrun.skills.skill import Understood, Wanted, Way

Doing = Callable[[Bench, script.Piece, Sequence[str]], Work[Failure | None]]
"""Carries out one command with the remedies there are; the failure that is left, else None."""

UNREACHABLE = re.compile(
    r"could not resolve|couldn't resolve|name resolution|resolve host|ENOTFOUND|EAI_AGAIN|network is unreachable"
    r"|connection refused|failed to connect|curl: \((?:6|7|22|28|35|56)\)|wget: unable|404 not found"
    r"|returned error: [45]\d\d|connection timed out",
    re.IGNORECASE,
)
"""How programs say that what they ask for cannot be had from where they look."""
_NOT_LISTED = re.compile(r"^E: (?:Unable to locate package|Package .* has no installation candidate)", re.MULTILINE)
"""How apt says that no list of its own names a package."""
PLACES = re.compile(
    r"(?:>>?|\btee(?:\s+-a)?|-o|--output)\s*(?P<path>/(?:etc/apt|usr/share/keyrings|etc/yum\.repos\.d)/[\w./+-]+)"
)
"""Files of package sources that a command writes."""


def get_all(bench: Bench, do: Doing) -> Work[None]:
    """Everything the document wants, its program first. Raises Stop when the program cannot be had by any way."""
    understood = bench.brief.skill.understood
    assert understood is not None
    yield from say(bench, understood)
    for number, wanted in enumerate(understood.wanted):
        bench.step = number + 1
        try:
            refused = yield from _get(bench, wanted, do)
        except Stop as stop:
            if not number or stop.outcome == "refused":
                raise
            refused = [stop.account]  # what is got beside the program is not what decides
        if refused is None:
            continue
        if number and all(reason.startswith("(not tried)") for reason in refused):
            continue  # another system's name for something of its own
        if wanted.optional or number:
            bench.story.append(f"{wanted.name} could not be installed: {'; '.join(refused)}.")
            continue
        tried = any(not reason.startswith("(not tried)") for reason in refused)
        account = f"{wanted.name} cannot be had here by any way of the document:\n" + "\n".join(
            f"- {reason}" for reason in refused
        )
        raise Stop("stuck" if tried else "unsupported", account)
    afterwards(bench, understood)


def say(bench: Bench, understood: Understood) -> Work[None]:
    """What the document is about, what would be done, what is left out and what is not sure, before anything runs.

    The version is said where something here can ask for it: apt's lists, and the clients of registries that are there.
    """
    first, version = yield from _first(bench, understood)
    name = understood.wanted[0].name
    would = ""
    if not first.no:
        source = f" from {choosing.FROM[first.way.manager]}" if first.way.manager in choosing.FROM else ""
        would = f" I would: install {describe(first.way, version)}{source}."
    bench.explain(f"It is about {name}.{would}")
    left = [describe(way) for way in understood.ways if way is not first.way]
    if left:
        bench.said.append(f"Other ways: {', '.join(left[:6])}{' ...' if len(left) > 6 else ''}.")
    if usage := understood.kind("usage", "after"):
        bench.said.append(f"Left out, since it uses it or comes after: {len(usage)} command{'s' if len(usage) > 1 else ''}.")
    bench.said.extend(f"Not sure: {sentence}" for sentence in understood.unsure)


def _first(bench: Bench, understood: Understood) -> Work[tuple[Choice, str]]:
    """The way that will be taken first, and the version it would bring where that can be known."""
    choices = ranked(understood.ways, bench.facts)
    for choice in choices:
        if choice.no:
            break
        bench.upcoming = user_install.foreseen(bench, choice.way)
        answer = yield from registry.asked(bench, choice.way)
        if not answer.lacks:
            return choice, answer.version or (yield from _candidate(bench, choice.way))
    return replace(choices[0], no=choices[0].no or "it is not there"), ""


def _candidate(bench: Bench, way: Way) -> Work[str]:
    """The version of the way's package that apt would install now; empty for other managers, and where it knows of none."""
    if way.manager != "apt" or not re.fullmatch(r"[a-z0-9][a-z0-9+.-]*", way.packages[0]):
        return ""
    listed = yield from bench.look(f"LC_ALL=C apt-cache policy {way.packages[0]}", "which version would be installed?")
    found = re.search(r"^ +Candidate: (\d\S*)$", listed or "", re.MULTILINE)
    return found[1] if found else ""


def afterwards(bench: Bench, understood: Understood) -> None:
    """What the document does after installing, told to the person; none of it was done."""
    after = list(dict.fromkeys(aside.text for aside in understood.kind("after")))
    if after:
        bench.story.append(
            "Afterwards the document goes on with (not done): " + "; ".join(f"`{text[:120]}`" for text in after[:5])
        )


def _get(bench: Bench, wanted: Wanted, do: Doing) -> Work[list[str] | None]:
    """One wanted thing by its ways; None when it is there, else each way's reason."""
    reasons: list[str] = []
    choices = ranked(wanted.ways, bench.facts)
    possible = [choice for choice in choices if not choice.no]
    for number, choice in enumerate(possible):
        answer = yield from registry.asked(bench, choice.way)
        if answer.lacks:
            reasons.append(f"(not tried) {choice.words}: {answer.lacks}")
            bench.explain(f"{answer.lacks[:1].upper()}{answer.lacks[1:]}.")
            continue
        try:
            caution.survey(bench, [script.Piece(command.text, 1, command.line) for command in choice.way.commands])
        except Stop as stop:
            if number == len(possible) - 1:
                raise
            reasons.append(f"(not tried) {choice.words}: {stop.account}")
            bench.explain(f"{stop.account} The next way is {possible[number + 1].words}.")
            continue
        failure = yield from _take(bench, choice, do, last=number == len(possible) - 1)
        if failure is None:
            return None
        line = failure.said.strip()
        reasons.append(f"{choice.words}: `{failure.command[:100]}` ended with {failure.exit_code}: {line[:200]}")
        if number < len(possible) - 1:
            instead = possible[number + 1].words
            bench.explain(f"It did not work with {choice.words} ({line[:120]}); the next way is {instead}.")
    reasons += [f"(not tried) {choice.words}: {choice.no}" for choice in choices if choice.no]
    return reasons


def _take(bench: Bench, choice: Choice, do: Doing, last: bool) -> Work[Failure | None]:
    """One way, whole. What is left of a way that failed is taken back where it would harm the next."""
    way = choice.way
    bench.upcoming = user_install.foreseen(bench, way)
    if way.manager in choosing.PYTHON:
        return (yield from _settled(bench, way, user_install.get_python(bench, way), last))
    if way.manager in choosing.NODE:
        return (yield from _settled(bench, way, user_install.get_node(bench, way), last))
    needed = choosing.FROM_THE_DISTRIBUTION.get(way.manager)
    if needed and not bench.tool(way.manager) and not (yield from packages.install(bench, needed, f"{way.manager} builds it")):
        return Failure(f"install {needed}", 1, f"{way.manager} is not here and could not be got")
    made = yield from _absent(bench, way)
    for command in way.commands:
        for piece in script.pieces(command, 1):
            text = script.assume_yes(_as_root(bench, way, piece.text))
            if way.manager == "script" and re.search(r"[^|]\|[^|]", text):
                text = f"(set -o pipefail; {text})"
            failure = yield from _once(bench, script.Piece(text, 1, piece.line), do, last)
            if failure is not None:
                yield from _take_back(bench, made)
                return failure
    if way.manager == "apt":
        yield from _called_otherwise(bench, way)
    return None


def _called_otherwise(bench: Bench, way: Way) -> Work[None]:
    """The programs of a Debian package, where none is called as was expected: names that were taken are changed there."""
    understood = bench.brief.skill.understood
    expected = understood.programs[0].name if understood and understood.programs and way in understood.ways else ""
    if not expected or (yield from user_install.in_new_shells(bench, expected)):
        return
    names = " ".join(shlex.quote(package) for package in way.packages)
    places = r"^/usr/(local/)?(s?bin|games|lib(exec)?/git-core)/[^/]+$"
    look = f"files=$(dpkg -L {names} 2>/dev/null) && {{ grep -E '{places}' <<<\"$files\" || echo none; }}"
    listed = yield from bench.look(look, f"which programs did {names} bring?")
    called = [check for check in bench.brief.checks if re.search(rf"(?<![\w./-]){re.escape(expected)}(?![\w-])", check)]
    if listed == "none" and len(called) < len(bench.brief.checks):
        return  # the document says itself what shows that it is there
    if listed == "none" and len(way.packages) == 1:
        raise Stop("stuck", f"{names} is installed, and it brings no program that could be asked: what uses it has to show it.")
    paths = [path for path in (listed or "").splitlines() if path.startswith("/") and "/git-core/" not in path]
    bench.programs = [path.rsplit("/", 1)[-1] for path in paths]


def _once(bench: Bench, piece: script.Piece, do: Doing, last: bool) -> Work[Failure | None]:
    """One command; while there is another way, a host that cannot be reached is not waited for."""
    if last:
        return (yield from do(bench, piece, ()))
    result = yield from bench.shell(piece.text, f"line {piece.line}")
    if result.ok or result.by_person:
        bench.done.append(piece.text)
        return None
    failure = read_failure(piece.text, result)
    if failure.denied or UNREACHABLE.search(failure.text):
        return failure
    if _NOT_LISTED.search(failure.text):  # asked again once the lists are new, and no more: there is another way
        yield from bench.shell(f"{bench.root}apt-get update", "its package lists may be old")
        result = yield from bench.shell(piece.text, f"line {piece.line}, with new lists")
        if result.ok:
            bench.done.append(piece.text)
        return None if result.ok else read_failure(piece.text, result)
    return (yield from do(bench, piece, ()))


def _settled(bench: Bench, way: Way, work: Work[Got], last: bool) -> Work[Failure | None]:
    """What came of a user-level installation: the program found by new shells, or the failure."""
    got = yield from work
    result = got.result
    if not result.ok and bench.mend and not result.by_person:
        failure = read_failure(got.command, result)
        if failure.denied:
            raise Stop("refused", f"Line {way.line}: `{got.command}` was not allowed ({failure.text.strip()[:300]}).")
        if user_install.NO_PROGRAM.search(failure.text):
            raise _library(way)
        if last or not UNREACHABLE.search(failure.text):
            result = yield from bench.mend(bench, got.command, result)
        if not result.ok:
            return read_failure(got.command, result)
    bench.done.append(got.command)
    understood = bench.brief.skill.understood
    expected = understood.programs[0].name if understood and understood.programs and way in understood.ways else ""
    if got.programs and expected not in got.programs:
        bench.programs, expected = got.programs, got.programs[0]
    if not expected or (yield from user_install.in_new_shells(bench, expected)):
        return None
    if way.manager in choosing.NODE:
        programs = yield from user_install.node_programs(bench, way, got)
        programs = programs or (yield from user_install.link_directory(bench, way, got))
        if not programs:
            raise _library(way)
        if expected not in programs:
            bench.programs, expected = programs, programs[0]
            if (yield from user_install.in_new_shells(bench, expected)):
                return None
    yield from user_install.on_login_path(bench, got)
    return None


def _library(way: Way) -> Stop:
    name, how = way.packages[0], way.commands[-1].text
    return Stop("unsupported", f"{name} brings no program: it is a library, for a project of yours: `{how}` there.")


def _as_root(bench: Bench, way: Way, text: str) -> str:
    """A package manager's command with the rights it needs, where the document leaves them to its reader."""
    if bench.is_root:
        return text if bench.facts.get("sudo", {}).get("present") else script.without_sudo(text)
    if not bench.can_root or way.manager not in choosing.SYSTEM or re.search(r"\bsudo\b", text):
        return text
    return re.sub(rf"(^|[;&|(]\s*)(?=(?:apt-get|apt|aptitude|{way.manager})\b)", rf"\g<1>{bench.root}", text)


def _absent(bench: Bench, way: Way) -> Work[list[str]]:
    """The files of package sources that this way would make and that are not there."""
    paths = list(dict.fromkeys(match["path"] for command in way.commands for match in PLACES.finditer(command.text)))
    if not paths:
        return []
    listed = yield from bench.look(
        f'for f in {" ".join(map(shlex.quote, paths))}; do [ -e "$f" ] || echo "$f"; done',
        "which package sources are there already?",
    )
    return [line for line in (listed or "").splitlines() if line in paths]


def _take_back(bench: Bench, made: Sequence[str]) -> Work[None]:
    if made:
        yield from bench.shell(
            f"{bench.root}rm -f {' '.join(map(shlex.quote, made))}",
            "a source that leads nowhere would stand in the way of every later installation",
        )
