"""The body of a document: its parts, and what they mean for a skill."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from skillrun.skills.frontmatter import FrontMatter
from skillrun.skills.parser.blocks import blocks_of
from skillrun.skills.parser.check_rules import derived, stated
from skillrun.skills.parser.declared import declared_by, declared_checks, line_of, metadata_of
from skillrun.skills.parser.inputs import declared_inputs, declared_secrets, placeholders
from skillrun.skills.parser.labels import plain
from skillrun.skills.parser.outline import Part, normal, outline, sections
from skillrun.skills.parser.rules import answers_in, rules_in
from skillrun.skills.parser.steps import Draft, Harvest
from skillrun.skills.parser.understanding.reading import understand
from skillrun.skills.parser.understanding.sections import GETTING, class_of, classes
from skillrun.skills.parser.ways import assign, steps_of
from skillrun.skills.skill import Check, Input, Secret, Skill, SkillCommand, Step, Understood

_NO_STEPS = frozenset(("usage", "integration", "development"))
"""Parts of a page on a program whose commands are none of its installation."""
_NO_PROOF = frozenset(("usage", "configuration", "integration", "development", "after", "update", "uninstall"))
"""Parts whose commands are nobody's proof that something is installed."""
_ANSWERS = re.compile(
    r"\b(?:accessible|available|reachable|answers|responds|running|listening|served|up|open)\b[^.\n]{0,40}?(?P<url>https?://(?:localhost|127\.0\.0\.1|\[::1\])[^\s`\"'<>)]*)",
    re.IGNORECASE,
)
_HARVESTED = {"steps", "prerequisites", "human", "inputs", "goal"}


class Body:
    """One document being read: front matter, parts, drafts."""

    def __init__(self, front: FrontMatter, text: str, path: Path | None) -> None:
        self.front, self.text, self.path = front, text, path
        self.blocks = blocks_of(front.body, front.body_line)
        self.root = outline(self.blocks)
        self.kinds: dict[int, str] = {}
        self._inherit(self.root, "")
        self.title = self._title()

    def _inherit(self, part: Part, outer: str) -> None:
        for inner in part.parts:
            kind = inner.kind or (outer if outer != "goal" else "")
            if outer in ("uninstall", "troubleshooting", "update", "rules", "usage"):
                kind = outer
            self.kinds[id(inner)] = kind
            if not inner.kind and kind in ("uninstall", "done"):
                inner.kind = kind
            self._inherit(inner, kind)

    def _title(self) -> str:
        tops = [part for part in self.root.walk() if part.level == 1 and not part.pseudo]
        named = next((part for part in tops if part.parts or any(not b.quoted for b in part.blocks)), tops[0] if tops else None)
        if named:
            return named.title
        heading = next((part.title for part in self.root.walk() if part.level), "")
        first = next((block.text for block in self.blocks if block.kind == "text"), "")
        name = self.front.text("name")
        return name or heading or plain(first.split("\n")[0])[:100] or (self.path.stem if self.path else "skill")

    def _name(self, kind: str) -> str:
        name = self.front.text("name")
        if name:
            return name
        if self.path and self.path.name == "SKILL.md" and kind == "skill" and self.path.parent.name:
            return self.path.parent.name
        words = re.sub(
            r"^(?:how to )?(?:installing|install|set(?:ting)? ?up|run|installation (?:of"
            r"|guide for))\s+",
            "",
            normal(self.title),
        )
        words = re.sub(r"\s+v?\d[\d.]*$", "", words)
        slug = re.sub(r"[^a-z0-9]+", "-", words).strip("-")[:64].strip("-")
        return slug or (re.sub(r"[^a-z0-9]+", "-", self.path.stem.lower()).strip("-") if self.path else "") or "skill"

    def _kind(self) -> str:
        if self.front.present:
            return "skill"
        named = self.path is not None and ("install" in self.path.name.lower() or self.path.name == "SKILL.md")
        headed = any(part.level == 1 for part in self.root.walk()) and any(block.kind == "code" for block in self.blocks)
        structured = any(part.kind in ("steps", "done", "goal") for part in self.root.walk())
        return "install" if named or headed or structured else "prompt"

    def _harvest(self, accepted: set[str]) -> Harvest:
        """Commands of the parts whose role is accepted."""
        found = Harvest()
        accept = frozenset(id(part) for part in self.root.walk() if self._role(part) in accepted)
        found.part(self.root, (), None, accept)
        return found

    def _role(self, part: Part) -> str:
        return self.kinds.get(id(part), "") if part.level else "root"

    def _accepted(self) -> set[str]:
        """Roles whose commands are steps: only parts known to tell what to do, where there are any; else all not left out."""
        told = any(
            self._role(part) in ("steps", "prerequisites")
            and any(block.kind != "heading" for block in part.blocks)
            and not part.label
            for part in self.root.walk()
        )
        kinds = {"root", *_HARVESTED, "done"}
        return kinds if told else kinds | {""}

    def skill(self, digest: str, source: str, warnings: list[str]) -> Skill:
        """Everything the document says, put together."""
        front, kind = self.front, self._kind()
        meta = metadata_of(front)
        harvest = self._harvest(self._accepted() | ({"usage"} if kind == "prompt" else set()))
        name = self._name(kind)
        understood = None if declared_checks(front) else self._understand(harvest.drafts)
        wanted = understood.wanted if understood else ()
        installing = [draft for draft in harvest.drafts if not draft.role]
        if understood and not wanted and not front.present and class_of(self.title) not in GETTING:
            places = classes(self.root, self.title)
            installing = [draft for draft in installing if places.get(id(draft.part), "") not in _NO_STEPS]
        assign(installing)
        steps = steps_of(installing, harvest.steps)
        if wanted and class_of(self.title) and not front.text("name"):
            name = re.sub(r"[^a-z0-9]+", "-", wanted[0].name.lower()).strip("-") or name
        inputs, secrets = self._inputs(
            meta, [c for item in wanted for way in item.ways[:1] for c in way.commands] or _commands(steps)
        )
        lines = front.body.split("\n")
        parts = (*sections(self.root, lines, front.body_line), *rules_in(self.blocks, self.root))
        return Skill(
            name=name,
            title=self.title,
            description=front.text("description") or self._description(),
            kind=kind,
            text=self.text,
            path=self.path,
            source=source,
            digest=digest,
            version=meta.get("version") or front.text("version"),
            sections=parts,
            steps=steps,
            checks=self._proofs(understood, harvest.drafts, name),
            uninstall=self._uninstall(meta, harvest.drafts),
            inputs=inputs,
            secrets=secrets,
            answers=answers_in(self.blocks, meta.get("skillrun-answers", "")),
            keep=tuple(meta.get("skillrun-keep", "").split()),
            declared=declared_by(front),
            metadata=meta,
            warnings=tuple(warnings),
            understood=understood,
        )

    def _understand(self, told: list[Draft]) -> Understood:
        """Which program the document is about and the ways to it: of every command in it, wherever it stands."""
        whole = Harvest(whole=True)
        whole.part(self.root, (), None, frozenset(id(part) for part in self.root.walk()))
        found = understand(self.title, self.text, self.root, whole.drafts, stated(told))
        return replace(found, tells_steps=True) if self.front.present and not found.wanted else found

    def _description(self) -> str:
        text = next((b.text for b in self.blocks if b.kind == "text" and not b.item and not b.quoted), "")
        return " ".join(plain(text).split())[:1024]

    def _inputs(self, meta: dict[str, str], commands: list[SkillCommand]) -> tuple[tuple[Input, ...], tuple[Secret, ...]]:
        inputs = declared_inputs(meta.get("skillrun-inputs", ""), line_of(self.front, "skillrun-inputs"))
        secrets = declared_secrets(meta.get("skillrun-secrets", ""), line_of(self.front, "skillrun-secrets"))
        required = self.front.fields.get("required_environment_variables")
        names = required if isinstance(required, list) else required.split() if isinstance(required, str) else []
        known = {secret.name for secret in secrets} | {value.name for value in inputs}
        secrets += tuple(Secret(str(name)) for name in names if isinstance(name, str) and name not in known)
        known |= {secret.name for secret in secrets}
        more_inputs, more_secrets = placeholders(commands, known)
        return inputs + more_inputs, secrets + more_secrets

    def _proofs(self, understood: Understood | None, drafts: list[Draft], name: str) -> tuple[Check, ...]:
        """Its checks. Where nothing gets the document's program, what else it has installed proves nothing of it."""
        if understood and understood.wanted:
            return understood.checks
        found = self._checks(drafts, name)
        if understood and not understood.tells_steps:
            return tuple(check for check in found if check.origin != "derived" or name in check.command)
        return found

    def _checks(self, drafts: list[Draft], name: str) -> tuple[Check, ...]:
        if declared := declared_checks(self.front):
            return declared
        places = classes(self.root, self.title)
        used = [draft for draft in drafts if places.get(id(draft.part), "") not in _NO_PROOF]
        names = [name for name in (normal(self.title), name) if not class_of(name)]
        own = [draft for draft in used if places.get(id(draft.part), "") != "prerequisites"]
        return self._conditions() or stated(drafts) or derived(own, names) or derived(used, names)

    def _conditions(self) -> tuple[Check, ...]:
        """What a part that says when it is done names as an address that must answer, with what else is stated there."""
        done = [block for part in self.root.walk() if part.kind == "done" for block in part.blocks if block.kind == "text"]
        found = [(block.line, match["url"]) for block in done for match in _ANSWERS.finditer(block.text[:5000])]
        return tuple(Check(f"curl -fsS -o /dev/null {url.rstrip('.,)')}", "stated", line) for line, url in found[:3])

    def _uninstall(self, meta: dict[str, str], drafts: list[Draft]) -> tuple[Step, ...]:
        said = meta.get("skillrun-uninstall", "").strip()
        parts = [part for part in self.root.walk() if part.level and said and normal(said) == normal(part.title)]
        if said and not parts:
            line = line_of(self.front, "skillrun-uninstall")
            commands = tuple(SkillCommand(text.strip(), line) for text in said.split("\n") if text.strip())
            return (Step(1, "Uninstall", said, line, commands),)
        found = self._drafts_in(parts or [part for part in self.root.walk() if self._role(part) == "uninstall"])
        found = found or [draft for draft in drafts if draft.role == "uninstall"]
        for draft in found:
            draft.role = ""
        assign(found)
        steps = {id(draft.step): draft.step for draft in found}
        return steps_of(found, list(steps.values()))

    def _drafts_in(self, parts: Sequence[Part]) -> list[Draft]:
        """The commands of these parts of the document alone, read as a way of their own."""
        harvest = Harvest()
        if parts:
            harvest.part(self.root, (), None, frozenset(id(below) for part in parts for below in part.walk()))
        return [draft for draft in harvest.drafts if draft.role in ("", "uninstall")]


def _commands(steps: tuple[Step, ...]) -> list[SkillCommand]:
    return [command for step in steps for command in step.commands]
