"""From a document to its understanding: which program, which ways to it, and what is left alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from skillrun.skills.parser.outline import Part
from skillrun.skills.parser.snippets import BUILDS
from skillrun.skills.parser.steps import Draft
from skillrun.skills.parser.understanding import names
from skillrun.skills.parser.understanding.acts import acts
from skillrun.skills.parser.understanding.document import ORDINARY, Document, Said, read
from skillrun.skills.parser.understanding.getting import BRINGS, others_of, ways_of
from skillrun.skills.parser.understanding.program import candidates_of, main_of, programs_of
from skillrun.skills.parser.understanding.proof import proof
from skillrun.skills.parser.understanding.sections import GETTING
from skillrun.skills.skill import Aside, Check, Program, Understood, Wanted

_INSTALL_TITLE = re.compile(
    r"^\W*(?:how to |guide to |steps to )?(?:(?:install|configur|deploy|provision|bootstrap)(?:ing|ation|ment|e)?\b"
    r"|(?:set(?:ting)? ?up|build(?:ing)?|run(?:ning)?|start(?:ing)?)\b)",
    re.IGNORECASE,
)
_BLANK = re.compile(r"<[\w -]+>")
_ASKS = re.compile(r"(?:^|\s)(?:-{0,2}(?:version|help)|-[vVh]|doctor|info|status|ping)\s*$|^(?:command|which|type|test|\[)\s")
"""How a program is asked who and how it is, which it can tell without an account, a file or a network."""
_JUDGES = re.compile(r"\|\s*grep\b|(?:^|[;&|]\s*)(?:test|cmp|diff|\[\[?)\s")
"""What says itself whether an answer is the right one."""
_FOR_AGENTS = ("done when", "todo", "execute now", "success criteria", "objective", "mission")
"""Words in capitals that documents for agents divide themselves by."""
_CHANGES = frozenset(
    ("write", "service", "source", "shell", "fetch", "use", "container", "once", "login", "script", "repository", "look")
)


def understand(title: str, text: str, root: Part, drafts: Sequence[Draft], stated: tuple[Check, ...]) -> Understood:
    """The understanding of a document whose every command is among `drafts`. `stated`: checks it states itself."""
    document = read(title, text, root, drafts)
    main = main_of(document)
    ways = ways_of(document, main) if main else []
    wanted = [Wanted(main, tuple(ways)), *others_of(document, main, ways)] if ways else []
    programs = programs_of(document, main, wanted, _asked(document, stated))
    stated = tuple(check for check in stated if not (wanted and _beside_the_point(check, programs)))
    checks = stated if stated and _about(stated, programs) else ()
    if programs and not checks and wanted:
        checks = (Check(proof(programs[0].name), "derived", wanted[0].ways[0].line),)
    tells_steps = _is_procedure(document, wanted) if wanted else _has_steps(document)
    return Understood(
        programs=tuple(programs),
        wanted=() if tells_steps else tuple(wanted),
        prerequisites=tuple(_prerequisites(document)),
        asides=tuple(_asides(document, wanted)),
        checks=checks,
        tells_steps=tells_steps,
        unsure=tuple(_unsure(document, main, programs, wanted)),
        library=bool(wanted) and not _is_used(document, programs) and not _speaks_of_program(document),
        candidates=tuple(candidates_of(document, main)),
    )


_LINK = re.compile(r"\[(?P<words>[^\]\n]{1,80})\]\((?P<url>https?://[^\s)]{1,300})\)|(?P<bare>https?://[^\s<>)\]`]{1,300})")


def _unsure(document: Document, main: str, programs: Sequence[Program], wanted: Sequence[Wanted]) -> Iterator[str]:
    """What was not clear, in sentences for a person."""
    if not wanted:
        links = [
            match["bare"] or match["url"]
            for match in _LINK.finditer(document.text[:200_000])
            if "install" in (match["bare"] or f"{match['words']} {match['url']}").lower()
        ]
        if built := _lacks_its_source([said for said in document.said if said.place != "development"]):
            yield f"It is built from its source (`{built.splitlines()[0][:80]}`), and nothing in the text brings that here."
            return
        run = [said.text for said in document.said if said.all("container") and said.place != "development"]
        if run:
            yield f"The text gives it only as a container (`{run[0].splitlines()[0][:80]}`), which is run, not installed."
            return
        if needs := _only_needs(document, [said for said in document.said if said.place in (*GETTING, "prerequisites")]):
            yield f"The text gets what its program needs ({', '.join(needs[:5])}), and nothing in it gets the program itself."
            return
        where = f" Its instructions may be at {links[0]}." if links else ""
        yield f"The text names no command that gets its program.{where}"
    elif len(programs) > 1 and not names.same(programs[0].name, main):
        yield f"Its program may be called {programs[0].name} or {programs[1].name}."


def _is_procedure(document: Document, wanted: Sequence[Wanted]) -> bool:
    """Whether the document tells steps to carry out one after another, rather than ways to a program."""
    if any(part.kind == "goal" or (part.pseudo and part.title.lower() in _FOR_AGENTS) for part in document.root.walk()):
        return True
    if any(way.manager == "source" and way.special for way in wanted[0].ways):
        return False  # what would be carried out in a directory that is not here
    if _offers_ways(document, wanted[0].name):
        return False
    chosen = {command.line for item in wanted for way in item.ways for command in way.commands}
    if not _INSTALL_TITLE.match(document.title) or not document.names_itself():
        return False
    if all(way.manager == "source" for way in wanted[0].ways):
        return True
    rest = [
        said
        for said in document.said
        if said.draft.snippet.line not in chosen
        and said.place in (*GETTING, "configuration", "after", "usage", "other", "")
        and not said.draft.role
    ]
    return any(act.kind in _CHANGES for said in rest for act in said.acts)


def _offers_ways(document: Document, main: str) -> bool:
    """Whether a page's parts are ways beside each other: several get the program, and do else what is for the shell alone."""
    getting: dict[int, set[str]] = {}
    doing: dict[int, set[str]] = {}
    for said in document.said:
        part = id(said.draft.part)
        doing.setdefault(part, set()).update(act.kind for act in said.acts)
        for act in said.acts:
            named = any(names.bare(names.base(p, act.manager)) == names.bare(main) for p in act.packages)
            if (act.kind == "install" and named) or (act.program == "git" and main in names.cloned([said.text])):
                getting.setdefault(part, set()).add(act.manager)
    managers = set().union(*getting.values()) if getting else set()
    quiet = {"install", "source", "shell", "use", "look", "once", "refresh"}
    others = [kinds - {"use", "look", "once"} for part, kinds in doing.items() if part not in getting]
    return len(getting) > 1 and len(managers) > 1 and not any(others) and all(doing[part] <= quiet for part in getting)


def _has_steps(document: Document) -> bool:
    """Whether a document without a way to a program changes anything where it speaks of installing, or has no other parts."""
    told = [
        said
        for said in document.said
        if (said.place in (*GETTING, "prerequisites") or not document.parted) and said.draft.role != "skip"
    ]
    if _lacks_its_source(told) or _only_needs(document, told):
        return False
    # what an unknown program writes into a file is a use of it: a key, its completions
    acting = [act for said in told for act in said.acts if act.kind != "write" or act.program in ORDINARY or not act.program]
    kinds = {act.kind for act in acting}
    if kinds - {"use", "look", "once", "login", "publish", "container"}:
        return True
    readable = all(said.acts or acts(_BLANK.sub("blank", said.text)) for said in told)
    return not document.parted and "container" not in kinds and bool(told) and readable


def _only_needs(document: Document, told: Sequence[Said]) -> list[str]:
    """The packages that are got, where that is all that is done and the text names every one as what its program needs."""
    if {act.kind for said in told for act in said.acts} - {"install", "refresh", "shell", "use", "look"}:
        return []
    found = [names.base(package, act.manager) for said in told for act in said.all("install") for package in act.packages]
    return list(dict.fromkeys(found)) if all(document.requires(name) for name in found) else []


def _lacks_its_source(told: Sequence[Said]) -> str:
    """The first command that builds in a source tree which no command before it brings or goes to; else empty."""
    for said in told:
        if BRINGS.search(said.text) or re.match(r"(?:cd|pushd)\s+[~/$\"]", said.text):
            return ""
        for act in said.acts:
            if act.program == "git" or act.kind in ("write", "fetch", "script", "service"):
                return ""
            if act.kind == "source" and BUILDS.match(said.text):
                return said.text
    return ""


def _prerequisites(document: Document) -> list[str]:
    found: list[str] = []
    for said in document.said:
        for act in said.all("install"):
            bases = [names.base(package, act.manager) for package in act.packages]
            if said.place == "prerequisites" or (bases and all(name in names.TOOLS for name in bases)):
                found += bases
    return list(dict.fromkeys(name for name in found if name))[:20]


def _asides(document: Document, wanted: Sequence[Wanted]) -> list[Aside]:
    chosen = {(command.line, command.text) for item in wanted for way in item.ways for command in way.commands}
    found = []
    for said in document.said:
        if (said.draft.snippet.line, said.text) in chosen:
            continue
        kinds = {act.kind for act in said.acts}
        kind = {
            "uninstall": "uninstall",
            "update": "update",
            "development": "development",
            "usage": "usage",
            "integration": "usage",
        }.get(said.place, "")
        if not kind:
            kind = (
                "after"
                if kinds & {"write", "shell", "service", "login"}
                else "usage"
                if kinds & {"use", "once", "publish", "container"}
                else "other"
            )
        found.append(Aside(kind, said.text, said.draft.snippet.line, said.title))
    return found


def _is_used(document: Document, programs: Sequence[Program]) -> bool:
    used = document.used_words()
    return any(program.name in used for program in programs)


def _speaks_of_program(document: Document) -> bool:
    return bool(re.search(r"\bcommand[- ]line\b|\bCLI\b|\bterminal\b|\bcommand\b|\bconsole\b", document.text[:60_000]))


_SHOWS_A_FILE = re.compile(r"(?:test|\[)\s+-[defsx]\s+[~/$][^;&|]*$")
"""A check that a file is there, which no program's name has to stand in."""


_NEEDED = re.compile(r"(?:git|node|npm|python3?|pip3?|uv|pipx|docker|brew|cargo|go|java|ruby|curl)\b")
"""Programs that are what another one needs, where a check asks them who they are."""


def _beside_the_point(check: Check, programs: Sequence[Program]) -> bool:
    """Whether what is installed well may fail a check, or something else pass it: one that does more than use and look, that
    speaks of none of the document's programs, or a use that shows nothing certain.
    """
    if {act.kind for act in acts(check.command)} - {"use", "look"} or not acts(check.command):
        return True
    if _SHOWS_A_FILE.match(check.command):
        return False
    if not any(re.search(rf"(?<![\w.-]){re.escape(program.name)}(?![\w.-])", check.command) for program in programs):
        return True
    used = check.command.split()[0] in {program.name for program in programs}
    return used and not check.expect and not (_ASKS.search(check.command) or _JUDGES.search(check.command))


def _asked(document: Document, stated: Sequence[Check]) -> frozenset[str]:
    """The programs that stated checks ask who they are, without those that the document needs or gets others with."""
    found = {act.program for check in stated if _ASKS.search(check.command) for act in acts(check.command) if act.kind == "use"}
    return frozenset(name for name in found if not (_NEEDED.fullmatch(name) or name in names.TOOLS or document.requires(name)))


def _about(stated: Sequence[Check], programs: Sequence[Program]) -> bool:
    """Whether a stated check proves something of the document's own program, not of what it needs."""
    if not programs:
        return True
    text = "\n".join(check.command for check in stated)
    return any(re.search(rf"(?<![\w-]){re.escape(program.name)}(?![\w-])", text) for program in programs) or not all(
        _NEEDED.match(check.command.removeprefix("sudo ")) for check in stated
    )
