"""`skillrun.lock`: what was reviewed of each skill from elsewhere, to the byte.

For every skill it names where it came from (full address and commit), the SHA-256 of every file and of the whole, who
signed it, its licence, and the effects and hosts that reading its commands showed. What is installed from a locked
source is exactly that or nothing; an update shows what differs, in text and in effects.

The file is JSON with sorted keys, made to be committed beside a project, and kept beside the user's library for skills
that were added for the user. The lock files of other programs are read by `skillrun.skills.foreign_locks`.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from skillrun.skills.foreign_locks import foreign_locks
from skillrun.skills.index import AGENTS, library
from skillrun.skills.signature import UNSIGNED
from skillrun.skills.skill import Skill, SkillError, digest_of

NAME = "skillrun.lock"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Locked:
    """One skill as it was reviewed."""

    name: str
    source: str
    """The full address: a URL, or an absolute path."""
    commit: str = ""
    """Full hash, where the source is a repository."""
    path: str = ""
    """Where in the source the document lies."""
    ref: str = ""
    """The branch or tag that was asked for; empty: the default branch."""
    place: str = ""
    """Where the copy lies, from the lock's directory."""
    digest: str = ""
    """`digest_of` all files."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Relative path -> SHA-256 of its bytes, in hex."""
    signer: str = UNSIGNED
    issuer: str = ""
    """Who vouches for the signer's identity."""
    license: str = ""
    effects: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Kind of effect -> what it touches, as lint reads them from the commands."""
    hosts: Sequence[str] = ()
    added: str = ""
    """ISO 8601, UTC."""
    pinned: str = ""
    """Why it must not be updated; empty: it may."""

    def differs(self, files: Mapping[str, bytes]) -> list[str]:
        """What is not as it was locked, file by file, in words; empty when all bytes are the same."""
        now = hashes(files)
        told = [f"{name} is new" for name in now if name not in self.files]
        told += [f"{name} is gone" for name in self.files if name not in now]
        return sorted(told + [f"{name} changed" for name in now if self.files.get(name, now[name]) != now[name]])


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file: name -> what was reviewed. `path` need not exist yet."""

    path: Path
    skills: Mapping[str, Locked] = field(default_factory=dict)

    def holding(self, source: str, path: str = "") -> Locked | None:
        """The entry for a source, and a place in it, whatever its name."""
        return next((one for one in self.skills.values() if one.source == source and one.path == path), None)

    def with_entry(self, entry: Locked) -> Lock:
        """The same lock with this entry, in place of one of the same name."""
        return replace(self, skills={**self.skills, entry.name: entry})

    def without(self, name: str) -> Lock:
        """The same lock without that name."""
        return replace(self, skills={key: value for key, value in self.skills.items() if key != name})

    def save(self) -> None:
        """Write it, whole or not at all. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        entries = {name: plain(entry) for name, entry in sorted(self.skills.items())}
        text = json.dumps({"version": VERSION, "skills": entries}, indent=2, sort_keys=True, ensure_ascii=False)
        with tempfile.NamedTemporaryFile("w", dir=self.path.parent, prefix=f".{NAME}.", delete=False, encoding="utf-8") as new:
            new.write(text + "\n")
            new.flush()
            os.fsync(new.fileno())
        Path(new.name).chmod(0o644)
        os.replace(new.name, self.path)


def hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    """Relative path -> SHA-256 in hex, of each file."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}


def split_source(source: str) -> tuple[str, str, str]:
    """Address, commit and place in it, of a skill's `source` (`URL#COMMIT:PATH` for a repository's)."""
    address, _, rest = source.partition("#")
    commit, _, path = rest.partition(":")
    return address, commit, path


def locked(name: str, source: str, files: Mapping[str, bytes], **more: Any) -> Locked:
    """An entry for these files. `more`: the other fields of Locked."""
    address, commit, path = split_source(source)
    return Locked(name, address, commit, path, digest=digest_of(files), files=hashes(files), **more)


def read_lock(path: Path) -> Lock:
    """The lock at a path; an empty one where there is none. Raises SkillError for what is no lock file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Lock(path)
    except (OSError, UnicodeDecodeError) as error:
        raise SkillError(f"cannot be read: {error}", str(path)) from None
    try:
        data = json.loads(text)
        if data["version"] != VERSION:
            problem = f"is a lock of version {data['version']}, and this skillrun knows {VERSION}: update skillrun"
            raise SkillError(problem, str(path))
        return Lock(path, {name: _entry(name, row) for name, row in data["skills"].items()})
    except SkillError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SkillError(f"is not a lock file ({error}): take it back from version control, or remove it", str(path)) from None


def project_lock() -> Path | None:
    """The `skillrun.lock` of the working directory, where there is one."""
    path = Path(NAME)
    return path.absolute() if path.is_file() else None


def user_lock() -> Path:
    """Where the lock of the user's own library lies."""
    return Path(library()) / NAME


def locks() -> Iterator[Lock]:
    """The locks that hold here, the project's first. Raises SkillError for one that cannot be read."""
    project = project_lock()
    if project is not None:
        yield read_lock(project)
    yield read_lock(user_lock())


def refuse_what_differs(entry: Locked, files: Mapping[str, bytes], lock: Path) -> None:
    """Raises SkillError, naming each file, unless these are the bytes that were locked."""
    told = entry.differs(files)
    if told:
        more = f" and {len(told) - 6} more" if len(told) > 6 else ""
        raise SkillError(
            f"`{entry.name}` is not what {lock} holds: {', '.join(told[:6])}{more}. Nothing was run. "
            f"`skillrun update {entry.name}` shows what changed and asks",
            entry.source,
        )


def grown(before: Locked, after: Locked) -> list[str]:
    """What the newer version does, reaches or is signed by that the older did not, in words; empty: nothing more."""
    told = [f"it comes from {after.source}, before from {before.source}"] if before.source != after.source else []
    for kind, subjects in after.effects.items():
        more = [one for one in subjects if one not in before.effects.get(kind, ())]
        if kind not in before.effects:
            told.append(f"a new kind of effect: {kind} {', '.join(more[:6])}".rstrip())
        elif more and kind != "read":
            told.append(f"{kind} also touches {', '.join(more[:6])}")
    told += [f"a new host: {host}" for host in after.hosts if host not in before.hosts]
    if (before.signer, before.issuer) != (after.signer, after.issuer):
        told.append(f"{signed_by(after)}, before {signed_by(before)}")
    if before.license != after.license:
        told.append(f"licence {after.license or 'not named'}, before {before.license or 'not named'}")
    return told


def signed_by(entry: Locked) -> str:
    """Who signed, in words."""
    return f"signed by {entry.signer} ({entry.issuer})" if entry.issuer else entry.signer


def plain(entry: Locked) -> dict[str, Any]:
    """Its fields as plain data, what is empty left out."""
    return {key: value for key, value in asdict(entry).items() if key != "name" and value not in ("", (), {}, [])}


def _entry(name: str, row: Mapping[str, Any]) -> Locked:
    known = {one.name for one in fields(Locked)} - {"name"}
    entry = Locked(name, **{key: value for key, value in row.items() if key in known})
    texts = (entry.source, entry.digest, entry.signer, entry.commit, entry.path)
    if not all(isinstance(text, str) for text in texts) or not isinstance(entry.files, dict):
        raise TypeError(f"`{name}` has a field of another kind")
    return entry


def hold_to_lock(skill: Skill, frozen: bool = False) -> None:
    """Raises SkillError where a lock that holds here names this skill's source and the bytes are others.

    By name, the project's lock holds for the project's skills and the user's for those added for the user; what is named
    by address is looked for in both. `frozen`: what comes from elsewhere and is in no lock is refused too.
    """
    label, _, name = skill.source.partition(":")
    by_name = label in _LABELS
    address, _, path = split_source(skill.source)
    elsewhere = by_name or "://" in address or address.startswith("git@")
    if not elsewhere:
        return None
    files = own_files(skill)
    for lock in locks():
        entry = lock.skills.get(name) if by_name else lock.holding(address, path)
        if entry is not None and (not by_name or (label == "project") == (lock.path != user_lock())):
            return refuse_what_differs(entry, files, lock.path)
    for foreign in foreign_locks(Path.cwd()):
        if foreign.name == (name if by_name else skill.name) and (
            label == "project" or foreign.source in (address, _short(address))
        ):
            return foreign.refuse_what_differs(files)
    if frozen:
        raise SkillError(f"is in no {NAME}, and --frozen takes nothing else: `skillrun add` puts it there", skill.source)
    return None


_LABELS = ("project", "user", "added", *(name for name in AGENTS if name != "agents"))


def _short(address: str) -> str:
    """`owner/repo` of a GitHub address; the address itself for any other."""
    return address.removeprefix("https://github.com/").removesuffix(".git")


def own_files(skill: Skill) -> dict[str, bytes]:
    """Every file that belongs to a skill. Raises SkillError, OSError."""
    from skillrun.skills.folder import files_of

    if skill.path is None:
        return {"SKILL.md": skill.text.encode()}
    if skill.path.name == "SKILL.md":
        return files_of(skill.path.parent)
    return {skill.path.name: skill.path.read_bytes()}
