"""Which program a document is about: agreement of its title, its packages, its repository and what it has typed afterwards."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from skillrun.skills.parser.labels import vocabulary
from skillrun.skills.parser.understanding import names
from skillrun.skills.parser.understanding.acts import FOREIGN
from skillrun.skills.parser.understanding.document import Document
from skillrun.skills.parser.understanding.sections import GETTING, class_of
from skillrun.skills.skill import Program, Wanted


def main_of(document: Document) -> str:
    """The package (or project) the document is about; empty when nothing says."""
    titles = [name for name in names.spoken([document.title]) if not class_of(name)] if document.names_itself() else []
    repository, badges, used = names.repository(document.text), names.badges(document.text), document.used_words()
    score: Counter[str] = Counter()
    managers: dict[str, set[str]] = {}
    spelled: dict[str, str] = {}
    early: set[str] = set()
    for said in document.said:
        stage = said.stage
        for act in said.all("install"):
            for package in act.packages:
                name = names.base(package, act.manager)
                key = names.bare(name)
                if not key or "$" in name or stage > 5:
                    continue
                spelled.setdefault(key, name)
                managers.setdefault(key, set()).add(act.manager)
                score[key] = max(score[key], 6 - stage)
                early |= {key} if stage <= 1 else set()
    agreeing: Counter[str] = Counter()
    named = titles[0] if titles and repository and names.same(titles[0], repository) else ""
    for key in score:
        agreeing[key] += 5 * any(names.same(key, title) for title in titles[:2])
        agreeing[key] += 2 * any(names.bare(title) == key for title in titles[2:]) + 2 * any(
            key == names.bare(title) for title in titles[:1]
        )
        agreeing[key] += 4 * bool(repository and names.same(key, repository))
        if not named or names.same(key, named):
            agreeing[key] += 2 * any(names.same(key, badge) for badge in badges)
        agreeing[key] += 2 * any(names.same(key, word) or names.program_of(spelled[key]) == word for word in used)
        score[key] += agreeing[key] + min(len(managers[key]), 3) - 6 * (spelled[key] in names.TOOLS)
    if score:
        best = max(score, key=lambda key: (score[key], -list(score).index(key)))
        if score[best] >= 4 and (agreeing[best] or (best in early and len(score) == 1)):
            return spelled[best]
    source = [
        said
        for said in document.said
        if said.place in GETTING and (said.all("source") or said.all("script") or said.all("fetch") or said.all("container"))
    ]
    if source or score:
        addresses = [address for said in source for act in said.all("script") for address in act.packages]
        cloned = names.cloned(said.text for said in source)
        known: list[str] = [
            *(title for title in titles[:1] if any(names.same(title, host) for host in map(names.host_name, addresses))),
            *(name for name in map(names.host_name, addresses) if repository and names.same(name, repository)),
            *(title for title in titles[:1] if any(names.same(title, name) for name in (*cloned, repository))),
            *(cloned if len(cloned) == 1 else ()),
            *titles[:1],
            repository,
            *badges[:1],
            *(word for word, _ in used.most_common(1)),
            *map(names.host_name, addresses),
        ]
        if known and any(known) and source:
            return next(name for name in known if name)
    if score and score[best] >= 4 and (agreeing[best] or best in early):
        return spelled[best]
    return ""


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


def programs_of(document: Document, main: str, wanted: Sequence[Wanted]) -> list[Program]:
    """The commands the document's program is called by, with the signs for each."""
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
        if title in used or title in signs:
            sign(title, "the title")
    if (name := names.repository(document.text)) and (name in signs or name in used):
        sign(name, "its repository")
    for name, count in used.most_common(3):
        related = names.same(name, main) or name in main or main in name or count >= max(2, 0.5 * sum(used.values()))
        if name in signs or related:
            sign(name, f"{count} commands of the text" if count > 1 else "a command of the text")
    weights = {
        name: len(words) + 3 * min(used[name], 2) + (name in vocabulary().binaries.values()) for name, words in signs.items()
    }
    return [Program(name, tuple(dict.fromkeys(signs[name]))) for name in sorted(signs, key=lambda n: -weights[n])]
