"""Where plans lie: beside a skill (`plans/debian-12.toml`), and in the person's own store, by the skill's digest."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skillrun.plans.conditions import in_words, unmet_facts
from skillrun.plans.file import read_plan, to_toml
from skillrun.plans.plan import Plan, PlanError, fingerprint, values_for
from skillrun.record.place import make_private, state_directory
from skillrun.record.seal import is_sealed, seal
from skillrun.skills.signature import FILE as SIGNATURE
from skillrun.skills.skill import Skill, digest_of

BESIDE = "plans"


@dataclass(frozen=True, slots=True)
class Found:
    """A plan that was looked at for a machine. `reason` says why it is not used; empty: it fits."""

    file: Path
    plan: Plan | None
    reason: str = ""


def identity_of(skill: Skill) -> str:
    """The digest of a skill without its plans and its signature, which come from it: it does not change with them."""
    return skill.digest if skill.path is None else identity_in(skill.path.parent, skill.digest)


def identity_in(folder: Path, digest: str) -> str:
    """The same for a skill's directory and its digest."""
    if not (folder / BESIDE).is_dir() and not (folder / SIGNATURE).is_file():
        return digest
    from skillrun.skills.folder import files_of

    files = files_of(folder)
    return digest_of({path: data for path, data in files.items() if path != SIGNATURE and not path.startswith(f"{BESIDE}/")})


def file_name(plan: Plan) -> str:
    """`debian-12.toml`: the machine a plan is for, as a file is called after it."""
    words = [plan.needs("distribution"), plan.needs("release").partition("|")[0]]
    arch = plan.needs("architecture")
    words += [arch] if arch not in ("", "x86_64") else []
    return re.sub(r"[^a-z0-9.-]+", "-", "-".join(word for word in words if word).lower()) + ".toml"


def keep(plan: Plan) -> Path:
    """Keep a plan among this user's own; one that is proven is not overwritten by one that is not. Raises OSError."""
    file = _folder(plan.digest) / file_name(plan)
    if plan.proof is None and file.exists():
        try:
            before, given = read_plan(file)
            if before.proof is not None and given == fingerprint(before):
                return file
        except PlanError:
            pass
    make_private(file.parent)
    beside, text = file.with_suffix(f".{os.getpid()}"), to_toml(plan)
    beside.write_text(seal(text), encoding="utf-8")
    beside.replace(_mark_of(file))
    beside.write_text(text, encoding="utf-8")
    beside.replace(file)
    return file


def _mark_of(file: Path) -> Path:
    """Where this installation's mark on a plan of its own lies."""
    return file.with_suffix(".seal")


def _is_own(file: Path) -> bool:
    """Is a plan in the person's own store as this installation put it there?"""
    try:
        return is_sealed(file.read_text(encoding="utf-8"), _mark_of(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return False


def _folder(digest: str) -> Path:
    return state_directory() / "plans" / digest.removeprefix("sha256:")


def files_for(skill: Skill, identity: str) -> Iterator[Path]:
    """Every plan file for a skill: the person's own first, then those that came with it."""
    places = [_folder(identity)]
    if skill.path is not None:
        places.append(skill.path.parent / BESIDE)
    for place in places:
        if place.is_dir():
            yield from sorted(place.glob("*.toml"))


def known_plan(skill: Skill, facts: Mapping[str, Any], inputs: Mapping[str, str]) -> tuple[Plan | None, tuple[Found, ...]]:
    """The plan for this skill on a machine with these essential facts, and what was looked at and is not used."""
    identity = identity_of(skill)
    rejected: list[Found] = []
    for file in files_for(skill, identity):
        found = examined(file, identity, facts, inputs)
        if found.plan is not None and not found.reason:
            return found.plan, tuple(rejected)
        rejected.append(found)
    return None, tuple(rejected)


def examined(file: Path, identity: str, facts: Mapping[str, Any], inputs: Mapping[str, str]) -> Found:
    """One plan file, and whether it is for this skill, these inputs and such a machine. Never raises."""
    try:
        plan, given = read_plan(file)
    except PlanError as error:
        return Found(file, None, str(error))
    if given != fingerprint(plan) or (file.is_relative_to(state_directory()) and not _is_own(file)):
        return Found(file, plan, EDITED)
    if plan.digest != identity:
        return Found(file, plan, "it was made for another version of the skill")
    unmet = unmet_facts(plan, facts)
    if unmet:
        return Found(file, plan, "; ".join(in_words(*pair) for pair in unmet))
    account = facts.get("user") or {}
    try:
        values_for(plan, inputs, str(account.get("home") or ""), str(account.get("name") or ""))
    except PlanError as error:
        return Found(file, plan, str(error))
    return Found(file, plan)


EDITED = "it was edited since it was made, so nothing is proven of it"
