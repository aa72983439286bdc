"""The verbs about skills from elsewhere, the lock that holds them and who signed them: add, update, pin, why, sign."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skillrun.cli.page import Page
from skillrun.cli.verbs.skills import JSON, told

if TYPE_CHECKING:
    from skillrun.skills.library import Shelf
    from skillrun.skills.lock import Lock, Locked
    from skillrun.skills.skill import Skill

_AGENT = click.option("--agent", default="", help="Put it where an agent looks: claude, codex, cursor, copilot, ...")
_PROJECT = click.option("--project", is_flag=True, help="Put it into this project, held by its skillrun.lock.")


@click.command(
    "add",
    cls=Page,
    examples=(
        "skillrun add owner/repo@foo",
        "skillrun add ./install.md --name foo",
        "skillrun add owner/repo@foo --project --agent claude",
        "skillrun add --from-lock",
    ),
)
@click.argument("source", default="")
@click.option("--name", default="", help="The name to add it under.")
@click.option("--diff", "only_diff", is_flag=True, help="Only show what changed since it was added.")
@click.option("--replace", "replacing", is_flag=True, help="Take a changed skill unasked, unless it does more than before.")
@click.option("--from-lock", is_flag=True, help="Bring every skill of this project's lock here, the same bytes or none.")
@_AGENT
@_PROJECT
@JSON
def add_command(
    source: str, name: str, only_diff: bool, replacing: bool, from_lock: bool, agent: str, project: bool, as_json: bool
) -> int:
    """Copy a skill into your library, locked to source, commit and bytes. Nothing of it is executed."""
    from skillrun.skills.library import name_for, shelf
    from skillrun.skills.lock import read_lock
    from skillrun.skills.sources import find_skill

    if from_lock:
        return _restore(as_json)
    if not source:
        raise click.UsageError("say what to add: a path, a URL or owner/repo@skill")
    skill, place = find_skill(source), shelf(agent, project)
    name = name or name_for(skill)
    before = read_lock(place.lock).skills.get(name)
    return _take(skill, name, source, place, before, _Taking(only_diff, replacing, as_json))


class _Taking:
    """How a skill is taken: only shown, agreed to beforehand, told as JSON."""

    def __init__(self, only_diff: bool, agreed: bool, as_json: bool) -> None:
        self.only_diff, self.agreed, self.as_json = only_diff, agreed, as_json


def _take(skill: Skill, name: str, spec: str, place: Shelf, before: Locked | None, how: _Taking) -> int:
    """Compare with what was reviewed, ask where that is due, and put it on its shelf."""
    from skillrun.lint.effects import effects_of_skill
    from skillrun.skills.library import add, entry_for
    from skillrun.skills.lock import grown, own_files
    from skillrun.skills.signature import EXTRA, UNCHECKED

    after = entry_for(skill, name, spec, effects_of_skill(skill, own_files(skill)).kinds)
    changed = before.differs(own_files(skill)) if before else []
    more = grown(before, after) if before else []
    lines = [*_text_diff(before, place, skill), *changed, *(f"it does more than before: {line}" for line in more)]
    stands = "changed" if changed or more else "same"
    if how.only_diff:
        shown = {"name": name, "state": stands, "diff": "\n".join(lines), "files": changed, "grown": more}
        return told(how.as_json, shown, "\n".join(lines) or f"{name}: not changed")
    if before and stands == "same" and (place.lock.parent / before.place).is_dir():
        same = {"name": name, "digest": before.digest, "state": "same"}
        return told(how.as_json, same, f"{name} is in your library already, unchanged")
    if before and stands != "same":
        _agree(before, lines, more, how)
    folder = add(skill, replace(after, pinned=before.pinned if before else ""), place)
    unchecked = (f"it is signed, but by whom was not checked: {EXTRA}",) if after.signer == UNCHECKED else ()
    for warning in (*skill.warnings, *unchecked):
        click.echo(f"warning: {warning}", err=True)
    state = "replaced" if before else "added"
    row: dict[str, Any] = {
        "name": name, "digest": after.digest, "source": skill.source, "path": str(folder), "lock": str(place.lock),
        "signer": after.signer, "effects": {kind: list(found) for kind, found in after.effects.items()},
        "hosts": list(after.hosts), "state": state,
    }  # fmt: skip
    return told(how.as_json, row, "\n".join(_added(after, skill, state)))


def _added(entry: Locked, skill: Skill, state: str) -> list[str]:
    """What was added, what it would do, whom it reaches."""
    from skillrun.policy.wording import EFFECTS
    from skillrun.skills.lock import signed_by
    from skillrun.text.escape import shown

    more = ((kind, found) for kind, found in entry.effects.items() if kind != "read")
    kinds = [f"{EFFECTS.get(kind, kind)} {', '.join(found[:4])}".strip() for kind, found in more]
    return [
        f"{entry.name} {state} from {skill.source}",
        f"  {entry.digest} ({len(entry.files)} file{'s' if len(entry.files) != 1 else ''}, {shown(signed_by(entry))})",
        f"  does: {shown('; '.join(kinds)) or 'nothing but look'}",
        f"  hosts: {shown(', '.join(entry.hosts)) or 'none named'}",
        f"  skillrun show {entry.name}    skillrun install {entry.name}",
    ]


def _agree(before: Locked, lines: list[str], more: list[str], how: _Taking) -> None:
    """Raises Problem unless a person, or the option where nothing grew, agrees to the newer version."""
    from skillrun.errors import Problem

    click.echo("\n".join(lines), err=True)
    name = before.name
    if before.pinned:
        raise Problem(f"`{name}` is pinned: {before.pinned}", f"`skillrun pin {name} --off` first", 4)
    if how.agreed and not more:
        return
    if how.as_json or not sys.stdin.isatty():
        hint = "a person has to agree to more effects, on a terminal" if more else "read the difference, then say --replace"
        raise Problem(f"`{name}` is in your library and this one differs", hint, 4)
    if not click.confirm(f"Take this {name} in place of that of {before.added[:10]}?", err=True):
        raise Problem(f"`{name}` stays as it was", "", 4)


def _text_diff(before: Locked | None, place: Shelf, skill: Skill) -> list[str]:
    """The document's difference to the reviewed one, where that is still here as it was reviewed."""
    from skillrun.skills.folder import files_of, read_path
    from skillrun.skills.library import copy_of, diff
    from skillrun.skills.skill import SkillError

    folder = copy_of(before, place.lock) if before else None
    try:
        if before is None or folder is None or before.differs(files_of(folder)):
            return []
        text = diff(read_path(folder).text, skill.text, before.name)
    except (SkillError, OSError):
        return []
    return [text] if text else []


def _restore(as_json: bool) -> int:
    """Every skill of the project's lock, fetched at its commit and compared before it is put in its place."""
    from skillrun.errors import Problem
    from skillrun.skills.library import Shelf, add
    from skillrun.skills.lock import NAME, own_files, project_lock, read_lock, refuse_what_differs
    from skillrun.skills.sources import find_skill

    path = project_lock()
    if path is None:
        raise Problem(f"there is no {NAME} here", "`skillrun add SOURCE --project` begins one")
    brought = []
    for name, entry in read_lock(path).skills.items():
        skill = find_skill(address_of(entry, exact=True))
        refuse_what_differs(entry, own_files(skill), path)
        folder = path.parent / (entry.place or f".agents/skills/{name}")
        add(skill, entry, Shelf(folder.parent, path))
        brought.append(name)
    return told(as_json, {"names": brought, "state": "restored"}, f"{', '.join(brought) or 'nothing'} as locked in {path}")


def address_of(entry: Locked, exact: bool = False) -> str:
    """What `find_skill` understands for a locked skill: at its commit, or at the ref it was asked for."""
    if not entry.commit and not entry.path:
        return entry.source
    return f"{entry.source}#{entry.commit if exact else entry.ref}:{entry.path}"


def _held(name: str) -> tuple[Lock, Locked]:
    """The lock that holds a name here, and its entry. Raises Problem."""
    from skillrun.errors import Problem
    from skillrun.skills.lock import locks

    for lock in locks():
        if name in lock.skills:
            return lock, lock.skills[name]
    raise Problem(f"no lock holds `{name}`", "`skillrun list` shows what there is, `skillrun add` takes a skill in")


@click.command("update", cls=Page, examples=("skillrun update foo", "skillrun update foo --diff"))
@click.argument("name")
@click.option("--diff", "only_diff", is_flag=True, help="Only show what changed, in text and in effects.")
@click.option("--replace", "replacing", is_flag=True, help="Take it without asking, unless it does more than before.")
@JSON
def update_command(name: str, only_diff: bool, replacing: bool, as_json: bool) -> int:
    """Take a skill's newest version: the difference in text and in effects first, and a question where it does more."""
    from skillrun.skills.library import Shelf
    from skillrun.skills.sources import find_skill

    lock, entry = _held(name)
    spec = address_of(entry)
    folder = (lock.path.parent / entry.place).parent if entry.place else lock.path.parent
    return _take(find_skill(spec), name, spec, Shelf(folder, lock.path), entry, _Taking(only_diff, replacing, as_json))


@click.command("pin", cls=Page, examples=('skillrun pin foo --because "2.0 drops Debian 12"', "skillrun pin foo --off"))
@click.argument("name")
@click.option("--because", default="", help="Why it must stay as it is; it is shown to whoever wants to update it.")
@click.option("--off", is_flag=True, help="Let it be updated again.")
@JSON
def pin_command(name: str, because: str, off: bool, as_json: bool) -> int:
    """Keep a skill at the version it has, with the reason."""
    if off == bool(because.strip()):
        raise click.UsageError("give --because REASON, or --off")
    lock, entry = _held(name)
    lock.with_entry(replace(entry, pinned="" if off else because.strip())).save()
    text = f"{name} may be updated again" if off else f"{name} stays at {entry.digest[:19]}: {because.strip()}"
    return told(as_json, {"name": name, "pinned": "" if off else because.strip(), "lock": str(lock.path)}, text)


@click.command("why", cls=Page, examples=("skillrun why foo",))
@click.argument("name")
@JSON
def why_command(name: str, as_json: bool) -> int:
    """Where a skill is from, who signed it, what it does, and why it is at this version."""
    from skillrun.skills.lock import plain

    lock, entry = _held(name)
    row: dict[str, Any] = {"name": name, "lock": str(lock.path), **plain(entry)}
    skip = ("files", "effects", "hosts")
    lines = [f"{key:>8}  {value}" for key, value in row.items() if key not in skip]
    lines += [f"    does  {kind} {', '.join(map(str, found))}".rstrip() for kind, found in entry.effects.items()]
    lines += [f"   hosts  {', '.join(entry.hosts)}"] if entry.hosts else []
    return told(as_json, row, "\n".join(lines))


@click.command("sign", cls=Page, examples=("skillrun sign ./my-tool", "skillrun sign ./my-tool --check"))
@click.argument("skill", metavar="DIRECTORY", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--check", "only_check", is_flag=True, help="Only say who signed it, and whether that holds.")
@JSON
def sign_command(skill: Path, only_check: bool, as_json: bool) -> int:
    """Sign a skill's files with Sigstore: you say in a browser, or a CI system says, who you are. Publish the signature too."""
    from skillrun.errors import Problem
    from skillrun.skills.folder import files_of
    from skillrun.skills.signature import EXTRA, FILE, UNCHECKED, UNSIGNED, sign, signer_of
    from skillrun.text.escape import shown

    files = files_of(skill)
    if "SKILL.md" not in files:
        raise Problem(f"{skill} has no SKILL.md: only a skill's directory is signed", "skillrun init NAME makes one")
    if only_check:
        signer = signer_of(files)
        if signer.name == UNCHECKED:
            raise Problem("it is signed, and checking that needs more than is installed", EXTRA)
    else:
        bundle, signer = sign(files)
        (skill / FILE).write_bytes(bundle)
    row = {"path": str(skill), "signer": signer.name, "issuer": signer.issuer, "state": "checked" if only_check else "signed"}
    if signer.name == UNSIGNED:
        told(as_json, row, f"{skill} is not signed")
        return 3
    return told(as_json, row, f"{skill} is signed by {shown(signer.name)}, as {shown(signer.issuer)} vouches")
