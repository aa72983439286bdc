"""Alternatives: which of a document's commands replace one another.

Commands under sibling labels (`## Debian`, `## macOS`; `With npm:`, `Or with pip:`) are ways of one alternative. A way
inside a way is flattened when nothing else stands beside it, so that choosing one way is always enough.
"""

from __future__ import annotations

from itertools import groupby, pairwise

from skillrun.skills.parser.labels import Label, manager_of
from skillrun.skills.parser.snippets import installs
from skillrun.skills.parser.steps import Draft, StepDraft
from skillrun.skills.skill import SkillCommand, Step, When


def assign(drafts: list[Draft]) -> None:
    """Give every draft its alternative and way, in place."""
    _label_or(drafts)
    _label_managers(drafts)
    _label_default(drafts)
    counter = [0]
    _assign(drafts, 0, "", "", counter)


def _units(drafts: list[Draft]) -> list[list[Draft]]:
    """Consecutive drafts that stand together: same block, same labels, same side of an `or`."""
    return [list(unit) for _, unit in groupby(drafts, key=lambda d: (d.block, d.labels, d.or_before, id(d.step)))]


def _label_or(drafts: list[Draft]) -> None:
    """Make ways of what stands before and after an `or`, where nothing else labels them."""
    units = _units(drafts)
    for number, (before, unit) in enumerate(pairwise(units)):
        here, there = unit[0], before[0]
        if not here.or_before or here.step is not there.step:
            continue
        depth = max(len(here.labels), len(there.labels))
        if len(there.labels) < depth or here.labels == there.labels:
            _append(before, Label(When(), "", "as written first"))
        if len(here.labels) < max(depth, len(before[0].labels)):
            _append(unit, Label(When(), "", f"or ({number + 1})"))


def _append(unit: list[Draft], label: Label) -> None:
    for draft in unit:
        draft.labels = (*draft.labels, label)


def _label_managers(drafts: list[Draft]) -> None:
    """`apt install x` and `brew install x` beside one another replace one another without being told."""
    for _, together in groupby(drafts, key=lambda d: (id(d.step), d.labels, bool(manager_of(d.snippet.text)))):
        unit = list(together)
        managers = {manager_of(draft.snippet.text) for draft in unit}
        if len(managers) > 1:
            for draft in unit:
                manager = manager_of(draft.snippet.text)
                _append([draft], Label(When(manager=(manager,), note=manager), "", manager))


def _label_default(drafts: list[Draft]) -> None:
    """An unlabelled installation followed by labelled ones of the same step is the default way."""
    units = _units(drafts)
    for before, unit in pairwise(units):
        here, there = unit[0], before[0]
        if there.step is not here.step or len(here.labels) != len(there.labels) + 1 or here.labels[:-1] != there.labels:
            continue
        if (
            all(installs(d.snippet.text) for d in before)
            and any(installs(d.snippet.text) for d in unit)
            and here.labels[-1].when.root is None
        ):
            _append(before, Label(When(), here.labels[-1].topic, "as written first"))


def _assign(drafts: list[Draft], depth: int, group: str, way: str, counter: list[int]) -> None:
    for run in _runs(drafts, depth):
        if len(run[0].labels) <= depth:
            for draft in run:
                draft.group, draft.way = group, way
            continue
        ways: dict[str, list[Draft]] = {}
        for draft in run:
            ways.setdefault(draft.labels[depth].words, []).append(draft)
        if len(ways) < 2:
            _assign(run, depth + 1, group, way, counter)
            continue
        flat = bool(group) and len(run) == len(drafts)
        if not flat:
            counter[0] += 1
        name = group if flat else f"a{counter[0]}"
        for words, members in ways.items():
            _assign(members, depth + 1, name, f"{way} / {words}" if flat else words, counter)


def _runs(drafts: list[Draft], depth: int) -> list[list[Draft]]:
    """Stretches of drafts that are unlabelled at this depth, or whose labels can be ways of one alternative."""
    runs: list[list[Draft]] = []
    seen: set[str] = set()
    for draft in drafts:
        label = draft.labels[depth] if len(draft.labels) > depth else None
        last = runs[-1][-1] if runs else None
        previous = last.labels[depth] if last and len(last.labels) > depth else None
        joins = last is not None and (label is None) == (previous is None)
        if joins and label and previous and last and label.words != previous.words:
            across = draft.step is not last.step and min(draft.part_labels, last.part_labels) <= depth
            joins = label.topic == previous.topic and label.words not in seen and not across
        if joins:
            runs[-1].append(draft)
        else:
            runs.append([draft])
            seen = set()
        if label:
            seen.add(label.words)
    return runs


def steps_of(drafts: list[Draft], planned: list[StepDraft]) -> tuple[Step, ...]:
    """The steps in order, numbered from 1: those with commands, and those a person has to do."""
    commands: dict[int, list[SkillCommand]] = {}
    for draft in drafts:
        piece = draft.snippet
        commands.setdefault(id(draft.step), []).append(
            SkillCommand(piece.text, piece.line, draft.lang, draft.when, draft.group, draft.way)
        )
    optional = _optional(drafts)
    steps: list[Step] = []
    for step in sorted(planned, key=lambda s: commands[id(s)][0].line if id(s) in commands else s.line):
        found = tuple(commands.get(id(step), ()))
        if not found and not step.human and not _is_task(step):
            continue
        human = step.human and not found
        steps.append(
            Step(
                len(steps) + 1, step.title, step.text, step.line, found, step.optional or id(step) in optional,
                human, step.skip_if, step.when,
            )
        )  # fmt: skip
    return tuple(steps)


def _is_task(step: StepDraft) -> bool:
    """Whether a step without commands still tells to do something: it is a task or a numbered item with its own words."""
    return bool(step.text) and step.title != "" and step.text.replace("`", "").startswith(step.title[:20])


def _optional(drafts: list[Draft]) -> set[int]:
    """Steps that only repeat an installation another way (`Building from source` after `Installation`)."""
    found: set[int] = set()
    installed = False
    for draft in drafts:
        pure = draft.labels[:1] and draft.part_labels and draft.labels[0].when == When(note=draft.labels[0].when.note)
        if pure and not draft.group and installed:
            found.add(id(draft.step))
        installed = installed or installs(draft.snippet.text)
    return found
