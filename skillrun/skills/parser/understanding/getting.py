"""The ways a document offers to get a program, and what else it has its reader install."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from skillrun.skills.parser.understanding import names
from skillrun.skills.parser.understanding.acts import Act
from skillrun.skills.parser.understanding.document import VERSION, Document, Said
from skillrun.skills.skill import SkillCommand, Wanted, Way

_OPTIONAL = re.compile(
    r"\boptional(?:ly)?\b|\bif you (?:want|need|wish|like|plan)\b|\bfor (?:the )?\w+ support\b", re.IGNORECASE
)
_COMPANIED = ("apt", "dnf", "yum", "brew", "zypper", "apk", "snap")
"""Managers whose way may begin with a package source of the vendor's, or with new lists."""
_LANGUAGES = ("pip", "pipx", "uv tool", "uv", "npm", "pnpm", "yarn", "bun", "cargo", "go", "gem")
_UNUSUAL = re.compile(
    r"\b(?:pre-?releases?|beta|alpha|nightly|nightlies|development version|dev(?:elopment)? builds?|bleeding|unstable|canary"
    r"|release candidate|specific version|(?:a|the|any) (?:given|particular|certain|different|older|previous) "
    r"(?:version|release|branch|commit)|unreleased|latest (?:git|master|main|commit|development|unreleased)"
    r"|from (?:the )?(?:master|main) branch|upgrade|update)\b",
    re.IGNORECASE,
)

_BUILDS = re.compile(
    r"\bc?make\b|\bmeson\b|\bninja\b|configure|\bcargo\b|\bgo\b|setup\.py|pip install \.|(?:Makefile|Build)\.PL|[/ ]build"
)
BRINGS = re.compile(
    r"(?:^|[;&|]\s*)(?:sudo\s+)?(?:(?:curl|wget|apt(?:-get)?\s+source)\b|(?:tar|unzip|cp)\s(?:[^;&|\n]*\s)?[~/$]|cd\s+[~/$](?!path\b))",
    re.MULTILINE,
)
"""Commands that bring a source which was not cloned: fetched, unpacked or copied from a place of this machine, or gone to."""


def ways_of(document: Document, main: str) -> list[Way]:
    """The ways to one package, the ordinary before the unusual, else in the document's order."""
    found: list[tuple[int, Way]] = []
    named = {act.manager for said in document.said for act in said.all("install") if _names_it(act, main)}
    for number, said in enumerate(document.said):
        stage = said.stage
        if stage > 5 or said.draft.role in ("uninstall", "update", "trouble"):
            continue
        for act in said.all("install"):
            packages = [package for package in act.packages if names.same(names.base(package, act.manager), main)]
            if packages and not (act.manager in named and all(_is_less(package, act.manager, main) for package in packages)):
                found.append((stage, _way(document, said, number, act, tuple(packages))))
                break
        else:
            scripts = said.all("script")
            if scripts and stage < 4 and _of_main(scripts[0].packages, main, said):
                found.append((stage, _way(document, said, number, scripts[0], scripts[0].packages)))
    if found:
        least = min(stage for stage, _ in found)
        found = [(stage, way) for stage, way in found if stage <= max(least, 2) or (stage == 3 and least == 3)]
    ways = [way for _, way in found]
    ways += _built(document, main)
    unique: dict[tuple[object, ...], Way] = {}
    for way in ways:
        key = (
            way.manager,
            tuple(names.base(p, way.manager) for p in way.packages),
            bool(way.special),
            way.scope == "project",
        )
        unique.setdefault(key, way)
    return sorted(unique.values(), key=lambda way: (bool(way.special), way.scope == "project"))


def _names_it(act: Act, main: str) -> bool:
    """Whether a command gets what is called exactly so."""
    return any(names.bare(names.base(package, act.manager)) == names.bare(main) for package in act.packages)


def _is_less(package: str, manager: str, main: str) -> bool:
    """Whether a name is only the beginning of the program's: where its manager has both, it is what the program is made for."""
    return names.bare(main).startswith(names.bare(names.base(package, manager)) + "-")


def _of_main(addresses: Sequence[str], main: str, said: Said) -> bool:
    """Whether a fetched script is the program's own: its address names it, or no other name stands in it."""
    text = " ".join(addresses).lower()
    if names.bare(main).replace("-", "") in re.sub(r"[^a-z0-9]", "", text):
        return True
    if any(names.host_name(address) in names.TOOLS for address in addresses):
        return False
    tools = ("astral", "homebrew", "rustup", "nvm", "get-pip", "bootstrap.pypa", "docker", "nodesource")
    return not any(re.search(rf"\b{tool}\b", text) for tool in tools)


def _way(document: Document, said: Said, number: int, act: Act, packages: tuple[str, ...]) -> Way:
    draft = said.draft
    companions: list[Said] = []
    for before in reversed(document.said[:number]):
        kinds = {act.kind for act in before.acts}
        alone = (
            {"repository", "refresh"}
            if before.draft.block != draft.block
            else {"repository", "refresh", "fetch", "write", "look", "shell"}
        )
        if (
            before.draft.labels != draft.labels
            or before.draft.part is not draft.part
            or not kinds <= alone
            or before.draft.role
        ):
            break
        companions.insert(0, before)
    if act.manager not in _COMPANIED or any("dpkg" in before.text for before in companions):
        companions = []
    if not any(before.all("repository") or before.all("fetch") for before in companions):
        companions = [before for before in companions if before.all("refresh")]
    words = said.words
    why = names.special(packages[0], act.manager) if packages and act.kind == "install" else ""
    if not why and (
        match := _UNUSUAL.search(
            f"{draft.sentence[-160:]} {draft.snippet.comment} {' '.join(label.words for label in draft.labels)} {said.title}"
        )
    ):
        why = match.group().lower() if not _installs_first(words) else ""
    if why == names.NO_VERSION:
        packages = tuple(names.base(package, act.manager) for package in packages)  # whoever has none in mind means the latest
    if act.manager == "cargo" and "--git" in said.text:
        why = "a development version"
    texts = [s.text if why != names.NO_VERSION else VERSION.sub("", s.text) for s in (*companions, said)]
    commands = tuple(
        SkillCommand(text, s.draft.snippet.line, s.draft.lang, s.draft.when)
        for text, s in zip(texts, (*companions, said), strict=True)
    )
    label = next((label.words for label in reversed(draft.labels) if label.words), "")
    return Way(
        act.manager,
        packages,
        commands,
        draft.snippet.line,
        act.scope,
        label,
        draft.when,
        why,
        any(a.root for a in said.acts),
    )


def _built(document: Document, main: str) -> list[Way]:
    """Ways that build the program from its source: the commands of one part, in order."""
    found: dict[int, list[Said]] = {}
    for said in document.said:
        if said.place in ("source", "install", "top", "start") and not said.draft.role and said.draft.part:
            found.setdefault(id(said.draft.part), []).append(said)
    ways = []
    for part in found.values():
        kinds = [act.kind for said in part for act in said.acts]
        if "source" not in kinds or (part[0].place == "start" and "install" in kinds):
            continue
        taken = [
            said
            for said in part
            if not {a.kind for a in said.acts} & {"script", "container", "once", "login", "publish", "service"}
        ]
        if any(
            act.kind == "install" and any(names.same(names.base(p, act.manager), main) for p in act.packages)
            for s in taken
            for act in s.acts
        ):
            taken = [
                s
                for s in taken
                if not any(
                    a.kind == "install" and any(names.same(names.base(p, a.manager), main) for p in a.packages) for a in s.acts
                )
            ]
            if not any(act.kind == "source" for said in taken for act in said.acts):
                continue
        cloned = [act for said in taken for act in said.acts if act.program == "git"]
        if not cloned and not _BUILDS.search(" ".join(s.text for s in taken)):
            continue
        last = max(number for number, s in enumerate(taken) if any(a.kind in ("source", "write") for a in s.acts))
        commands = tuple(SkillCommand(s.text, s.draft.snippet.line, s.draft.lang, s.draft.when) for s in taken[: last + 1])
        ways.append(
            Way(
                "source",
                (main,),
                commands,
                commands[0].line,
                label=part[0].title,
                special="" if cloned or any(BRINGS.search(said.text) for said in taken) else "needs its source at hand",
            )
        )
    return ways


def others_of(document: Document, main: str, ways: Iterable[Way]) -> list[Wanted]:
    """Other packages that the parts with the ways to the program have their reader install."""
    lines = {way.line for way in ways}
    home = {
        id(said.draft.part)
        for said in document.said
        if said.place in ("install", "top") and said.draft.snippet.line in lines and said.all("install")
    }
    of_a_language = any(way.manager in _LANGUAGES for way in ways)
    found: dict[str, list[tuple[Way, bool]]] = {}
    for number, said in enumerate(document.said):
        if id(said.draft.part) not in home or said.draft.role or len({label.words for label in said.draft.labels}) > 1:
            continue
        for act in said.all("install"):
            named = [(p, names.base(p, act.manager)) for p in act.packages]
            if any(names.same(name, main) or name in names.TOOLS or "$" in name for _, name in named) or not named:
                continue
            if of_a_language and act.manager in _COMPANIED and said.draft.snippet.line > min(lines):
                continue  # the program is there by then: what the system would add is for one of its parts
            if any(package.startswith(("git+", "http:", "https:")) for package, _ in named):
                continue  # most likely the program itself, as it is being developed
            key = names.bare(named[0][1])
            optional = bool(_OPTIONAL.search(said.words))
            found.setdefault(key, []).append((_way(document, said, number, act, act.packages), optional))
    return [
        Wanted(key, tuple(way for way, _ in ways), any(optional for _, optional in ways))
        for key, ways in list(found.items())[:3]
    ]


def _installs_first(words: str) -> bool:
    return bool(re.match(r"\W*(?:to )?(?:install|get)\b[^.]*\bor (?:to )?(?:update|upgrade)\b", words, re.IGNORECASE)) or bool(
        re.search(r"\binstall(?:ing|ation)?\W+(?:&|and|or|/)\W*(?:updat|upgrad)", words, re.IGNORECASE)
    )
