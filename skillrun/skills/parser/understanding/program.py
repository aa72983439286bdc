"""Which program a document is about: agreement of its title, its packages, its repository and what it has typed afterwards."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from skillrun.skills.parser.labels import vocabulary
from skillrun.skills.parser.understanding import names
from skillrun.skills.parser.understanding.acts import FOREIGN
from skillrun.skills.parser.understanding.document import Document
from skillrun.skills.parser.understanding.sections import GETTING, class_of
from skillrun.skills.skill import Program, Wanted


def main_of(document: Document) -> str:
    """The package (or project) the document is about; empty when nothing says."""
    signs = _Signs(document)
    packages = _packages(document)
    agreeing = {key: signs.agree(key, package) for key, package in packages.items()}
    score = {key: package.weight(agreeing[key]) for key, package in packages.items()}
    own = names.bare(signs.repository)
    best = (
        max(score, key=lambda key: (score[key], key == own and packages[key].listed, -list(score).index(key))) if score else ""
    )
    sure = bool(best) and score[best] >= 4
    project = _project(document, signs)
    alone = packages[best].early and len(score) == 1 if sure else False
    if sure and (agreeing[best] or (alone and not names.same(project, signs.named))):
        return packages[best].spelled
    return project


@dataclass(slots=True)
class _Package:
    """A package that the document has installed."""

    spelled: str
    managers: set[str] = field(default_factory=set)
    stage: int = 6
    """How far from the beginning the first command that installs it stands."""
    listed: bool = False
    """Whether it is got by its name rather than from an address."""

    @property
    def early(self) -> bool:
        return self.stage <= 1

    def weight(self, agreeing: int) -> int:
        return 6 - self.stage + agreeing + min(len(self.managers), 3) - 6 * (self.spelled in names.TOOLS)


def _packages(document: Document) -> dict[str, _Package]:
    """What the document has installed, each under its bare name."""
    found: dict[str, _Package] = {}
    for said in document.said:
        for act in said.all("install") if said.stage <= 5 else ():
            for package in act.packages:
                name = names.base(package, act.manager)
                key = names.bare(name)
                if key and "$" not in name:
                    one = found.setdefault(key, _Package(name))
                    one.managers.add(act.manager)
                    one.stage = min(one.stage, said.stage)
                    one.listed = one.listed or "://" not in package
    return found


class _Signs:
    """What else names the program: title, repository, badges, and the words typed afterwards."""

    def __init__(self, document: Document) -> None:
        spoken = names.spoken([document.title]) if document.names_itself() else []
        self.titles = [name for name in spoken if not class_of(name)]
        self.repository, self.badges = names.repository(document.text), names.badges(document.text)
        self.used = document.used_words()
        agreed = self.titles and self.repository and names.same(self.titles[0], self.repository)
        self.named = self.titles[0] if agreed else ""

    def agree(self, key: str, package: _Package) -> int:
        """How much speaks for a package as the document's own."""
        found = 5 * any(names.same(key, title) for title in self.titles[:2])
        found += 2 * any(names.bare(title) == key for title in self.titles[2:])
        found += 2 * any(names.bare(title) == key for title in self.titles[:1])
        found += 4 * bool(self.repository and names.same(key, self.repository))
        if not self.named or names.same(key, self.named):
            found += 2 * any(names.same(key, badge) for badge in self.badges)
        program = names.program_of(package.spelled)
        return found + 2 * any(names.same(key, word) or program == word for word in self.used)


def _project(document: Document, signs: _Signs) -> str:
    """The name of a project that is got as source, by a script or as a container; empty where nothing is."""
    kinds = ("source", "script", "fetch", "container")
    source = [said for said in document.said if said.place in GETTING and any(said.all(kind) for kind in kinds)]
    hosts = [names.host_name(address) for said in source for act in said.all("script") for address in act.packages]
    cloned = names.cloned(said.text for said in source)
    title, repository = next(iter(signs.titles), ""), signs.repository
    known = [
        title if any(names.same(title, host) for host in hosts) else "",
        *(host for host in hosts if repository and names.same(host, repository)),
        title if any(names.same(title, name) for name in (*cloned, repository)) else "",
        next((name for name in signs.titles if name in signs.used and not document.requires(name)), ""),
        *(cloned if len(cloned) == 1 else ()),
        title,
        repository,
        *signs.badges[:1],
        *(word for word, _ in signs.used.most_common(1)),
        *hosts,
    ]
    return next(filter(None, known), "") if source else ""


def candidates_of(document: Document, main: str) -> list[str]:
    """Names under which the document may speak of its program, likeliest first."""
    titles = names.spoken([document.title])
    known = [
        names.bare_program(main),
        *titles,
        names.repository(document.text),
        *names.badges(document.text),
        *document.used_words(),
    ]
    return list(dict.fromkeys(name for name in known if name))[:20]


def programs_of(document: Document, main: str, wanted: Sequence[Wanted], asked: Collection[str] = ()) -> list[Program]:
    """The commands the document's program is called by, with the signs for each.

    `asked`: whom the checks that the document states ask who they are. One alone that is of one stem with the package is how
    its program is called: `pip install pygments` brings `pygmentize`, mongodb-org brings `mongod`.
    """
    if not main:
        return []
    used = document.used_words()
    packages = [
        names.base(package, way.manager)
        for way in (wanted[0].ways if wanted else ())
        if way.manager not in ("script", "source", "container", *FOREIGN)
        for package in way.packages
    ]
    signs: dict[str, list[str]] = {}

    def sign(name: str, words: str) -> None:
        if name and re.fullmatch(r"[\w][\w.+-]*", name):
            signs.setdefault(name, []).append(words)

    for package in dict.fromkeys([main, *packages]):
        sign(names.program_of(package), f"the package {package}")
    for address in [
        package for way in (wanted[0].ways if wanted else ()) if way.manager == "script" for package in way.packages
    ]:
        sign(names.host_name(address), f"the address {address}")
    for title in names.spoken([document.title])[:2]:
        if title in signs or (title in used and (names.same(title, main) or not document.requires(title))):
            sign(title, "the title")
    if (name := names.repository(document.text)) and (name in signs or name in used):
        sign(name, "its repository")
    for name, count in used.most_common(3):
        related = names.same(name, main) or name in main or main in name or count >= max(2, 0.5 * sum(used.values()))
        if name in signs or (related and not (document.requires(name) and not names.same(name, main))):
            sign(name, f"{count} commands of the text" if count > 1 else "a command of the text")
    alone = next(iter(asked)) if len(asked) == 1 else ""
    if alone and alone not in signs and any(_one_stem(package, alone) for package in [main, *packages]):
        sign(alone, "the check of the text")
    weights = {
        name: len(words) + 3 * min(used[name], 2) + (name in vocabulary().binaries.values()) for name, words in signs.items()
    }
    return [Program(name, tuple(dict.fromkeys(signs[name]))) for name in sorted(signs, key=lambda n: -weights[n])]


def _one_stem(package: str, name: str) -> bool:
    """Whether two names begin alike, by four letters and by half of the shorter one."""
    shorter = min(len(package), len(name))
    alike = max(4, (shorter + 1) // 2)
    return shorter >= alike and package[:alike].lower() == name[:alike].lower()
