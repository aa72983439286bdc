"""Take back what a run changed, and say plainly what cannot be taken back."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skillrun.overlay.kernel.remove import remove_tree
from skillrun.overlay.mount.layers import Layers, write_durably
from skillrun.overlay.transaction.deferred_services import run_here
from skillrun.overlay.transaction.privileged import Work
from skillrun.overlay.transaction.root import Root
from skillrun.rollback import inventory
from skillrun.rollback.as_run import UNDONE_BY
from skillrun.text.escape import size

NEVER = (
    "what was sent over the network stays sent",
    "what running programs did on their own (data they wrote, services they talked to) is not recorded",
)
"""True of every run."""


class UndoError(Exception):
    """A run that cannot be undone: why, and what to do instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class FileBack:
    """A file to be put back as it was. `former` None: there was none, it is removed."""

    path: str
    former: bytes | None
    edited: bool = False
    """Somebody changed it after the run."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What can be taken back of a run that was carried out directly on the machine."""

    commands: tuple[str, ...] = ()
    """Shell text, in order; each one is safe when its subject is gone already."""
    files: tuple[FileBack, ...] = ()
    cannot: tuple[str, ...] = ()
    """What stays, in words."""
    made: tuple[str, ...] = ()
    """Programs and directories that came with the run; they stay unless one of the commands takes them along."""

    @property
    def empty(self) -> bool:
        """Is there nothing to take back?"""
        return not (self.commands or self.files)


def recorded(folder: Path) -> Recorded:
    """What can be taken back of a live run, from what it recorded. Raises OSError, ValueError."""
    before, after = inventory.load(folder, inventory.BEFORE), inventory.load(folder, inventory.AFTER)
    commands: list[str] = []
    cannot: list[str] = []
    made: tuple[str, ...] = ()
    files: list[FileBack] = list(_tool_files(folder))
    if before is not None and after is not None:
        changed = inventory.difference(before, after)
        others = dpkg_packages_of_others(folder)
        kept = [item["name"] for item in changed["packages"] if item["manager"] == "dpkg" and item["name"] in others]
        _package_commands([item for item in changed["packages"] if item["name"] not in kept], commands, cannot)
        cannot += [f"the package {name} stays: {others[name]}" for name in kept]
        files += _start_up_files(before, after, {item.path for item in files})
        handled = {item.path for item in files}
        left = [item for item in changed["files"] if item["path"] not in handled and item["path"] not in before["files"]]
        made = _topmost(item["path"] for item in left if item["change"] == "added")
        cannot += [f"{item['path']} was {item['change']}" for item in left if item["change"] != "added"]
        cannot += [f"user {item['name']} was added and stays" for item in changed["accounts"]]
    elif before is None:
        cannot.append("nothing was recorded before this run, so its packages are not known")
    else:
        cannot.append("the run ended before it recorded what it had installed")
    return Recorded(tuple(commands), tuple(files), (*cannot, *NEVER), made)


def _topmost(paths: Iterable[str]) -> tuple[str, ...]:
    """Without what lies below another of them."""
    found: list[str] = []
    for path in sorted(paths):
        if not (found and path.startswith(f"{found[-1]}/")):
            found.append(path)
    return tuple(found)


def still_there(paths: Iterable[str]) -> Iterator[str]:
    """What stays of these, how large it is, and how it goes away."""
    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            held = sum(os.lstat(f"{top}/{name}").st_size for top, _, names in os.walk(path) for name in names)
            yield f"{path} ({size(held)}); `rm -r {shlex.quote(path)}` removes it"
        elif os.path.lexists(path):
            yield f"{path}; `rm {shlex.quote(path)}` removes it"


def dpkg_packages_of_others(folder: Path) -> dict[str, str]:
    """Packages that came during the run in `folder`, but not because of it, with the reason to leave them.

    Another run that still has them among what it brought; a repair of what was broken before (apt's history names the command).
    """
    found = dict.fromkeys(_repaired(folder), "a repair of the package database brought it")
    for run in folder.parent.parent.glob("*/changes"):
        if run != folder and not (run.parent / UNDONE_BY).exists():
            before, after = inventory.load(run, inventory.BEFORE), inventory.load(run, inventory.AFTER)
            if before is not None and after is not None:
                brought = after["packages"].get("dpkg", {}).keys() - before["packages"].get("dpkg", {}).keys()
                found |= dict.fromkeys(brought, f"run {run.parent.name} brought it too")
    return found


def _repaired(folder: Path) -> set[str]:
    try:
        began, ended = (
            time.strftime(_APT_TIME, time.localtime((folder / name).stat().st_mtime))
            for name in (inventory.BEFORE, inventory.AFTER)
        )
        text = Path("/var/log/apt/history.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    found: set[str] = set()
    for entry in text.split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in entry.strip().splitlines())
        if began <= fields.get("Start-Date", "") <= ended and _REPAIR.search(fields.get("Commandline", "")):
            found |= {name.partition(":")[0] for name in re.findall(r"([^\s,()]+) \([^)]*\)", fields.get("Install", ""))}
    return found


_APT_TIME = "%Y-%m-%d  %H:%M:%S"
"""How apt writes a time into its history: local, two blanks between (apt-pkg/deb/dpkgpm.cc)."""
_REPAIR = re.compile(r"(?:^|\s)(?:-f|--fix-broken)(?:\s|$)")


def _package_commands(packages: Sequence[Mapping[str, Any]], commands: list[str], cannot: list[str]) -> None:
    groups: dict[tuple[str, str], list[str]] = {}
    for item in packages:
        if item["change"] == "installed":
            groups.setdefault((item["manager"], item["place"]), []).append(item["name"])
        elif item["change"] == "removed" and (text := return_of(item["manager"], item["place"], item["name"], item["old"])):
            commands.append(text)
        else:
            was = f" (was {item['old']})" if item["old"] else ""
            cannot.append(f"{item['manager']} package {item['name']} was {item['change']}{was}; it stays as it is")
    for (manager, place), names in sorted(groups.items()):
        text = removal(manager, place, names)
        if text:
            commands.append(text)
        else:
            cannot.append(f"{manager} packages {', '.join(names)}: no way to remove them is known")


def removal(manager: str, place: str, names: Sequence[str]) -> str:
    """The command that removes packages of a manager again, "" when none is known. Needs root where the manager does."""
    words = " ".join(shlex.quote(name) for name in names)
    sudo = "" if os.geteuid() == 0 else "sudo "
    if manager == "dpkg":
        # dpkg, not apt: it takes exactly these and refuses where something else has come to need one of them.
        return f"{sudo}env DEBIAN_FRONTEND=noninteractive dpkg --purge {words}"
    if manager == "pip":
        return f"{pip_of(place)} uninstall -y {_PIP_SYSTEM if _is_system(place) else ''}{words}"
    if manager == "npm":
        prefix = shlex.quote(place.removesuffix("/lib"))
        return f"{'' if place.startswith('/home') else sudo}npm uninstall --global --prefix {prefix} {words}"
    simple = {
        "pipx": "pipx uninstall",
        "apk": f"{sudo}apk del",
        "rpm": f"{sudo}dnf remove -y",
        "brew": "brew uninstall",
    }
    return f"{simple[manager]} {words}" if manager in simple else ""


def return_of(manager: str, place: str, name: str, version: str) -> str:
    """The command that brings a removed package back in the version it had, "" when none is known."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    if manager == "dpkg" and version:
        return f"{sudo}env DEBIAN_FRONTEND=noninteractive apt-get install -y -q {shlex.quote(f'{name}={version}')}"
    if manager == "pip" and version:
        where = "--user " if "/.local/lib/" in place else ""
        system = _PIP_SYSTEM if _is_system(place) else ""
        return f"{pip_of(place)} install -q {where}{system}{shlex.quote(f'{name}=={version}')}"
    if manager == "npm" and version:
        prefix = shlex.quote(place.removesuffix("/lib"))
        word = shlex.quote(f"{name}@{version}")
        return f"{'' if place.startswith('/home') else sudo}npm install --silent --global --prefix {prefix} {word}"
    return ""


_PIP_SYSTEM = "--break-system-packages "


def pip_of(place: str) -> str:
    """pip of the interpreter whose packages lie there; an environment has one of its own."""
    top, _, rest = place.rpartition("/lib/")
    own = f"{top}/bin/python"
    sudo = "sudo " if place.startswith("/usr/") and os.geteuid() != 0 else ""
    return f"{shlex.quote(own) if os.path.exists(own) else sudo + (rest.partition('/')[0] or 'python3')} -m pip"


def _is_system(place: str) -> bool:
    return not os.path.exists(f"{place.rpartition('/lib/')[0]}/pyvenv.cfg")


def _tool_files(folder: Path) -> Iterator[FileBack]:
    for path, item in inventory.read_kept(folder).items():
        now = _read(path)
        former = (folder / inventory.PRE / item["name"]).read_bytes() if item["existed"] else None
        if now == former:
            continue
        written = item["after"]
        edited = bool(written) and (now is None or hashlib.sha256(now).hexdigest() != written)
        yield FileBack(path, former, edited)


def _start_up_files(before: Mapping[str, Any], after: Mapping[str, Any], known: set[str]) -> list[FileBack]:
    found = []
    for path, former in before["files"].items():
        then = after["files"].get(path)
        if path in known or former == then:
            continue
        now = _read(path)
        edited = (base64.b64encode(now).decode() if now is not None else None) != then
        found.append(FileBack(path, None if former is None else base64.b64decode(former), edited))
    return found


def edited_settings(commands: Sequence[str]) -> list[str]:
    """Settings files of packages that are going to be purged which somebody edited (dpkg --verify)."""
    found = []
    for command in commands:
        words = shlex.split(command)
        if "--purge" in words:
            code, text = run_here(["dpkg", "--verify", *words[words.index("--purge") + 1 :]], "/")
            if code != 127:
                found += [line.split(None, 2)[2] for line in text.splitlines() if line[2:3] == "5" and line[10:11] == "c"]
    return found


def prune(run_folder: Path) -> int:
    """Give up the way back of a run: bytes freed. Raises CommitError while a transaction is unfinished, OSError."""
    changes = run_folder / "changes"
    freed = Work(changes, root_for(changes)).drop()
    pre = changes / inventory.PRE
    if pre.is_dir():
        freed += sum(path.stat().st_size for path in pre.iterdir())
        remove_tree(pre)
    for name in (inventory.BEFORE, inventory.AFTER):
        (changes / name).unlink(missing_ok=True)
    return freed


def root_for(folder: Path, ask: bool = True) -> Root | None:
    """Who has the rights to work on this run's view: a process of root's for the root view of an ordinary user, else None.

    `ask`: sudo may ask for a password.
    """
    try:
        layers = Layers.load(folder)
    except (OSError, ValueError):
        return None
    why = "What this run changed is kept where only root may write; password of %p: "
    words = ("sudo", "-p", why, "--") if ask else ("sudo", "-n", "--")
    return Root(words) if layers.tier == "R" and os.geteuid() != 0 else None


def _read(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except OSError:
        return None


def put_back(item: FileBack, keep_in: Path) -> str:
    """Put one file back; its present version is kept in `keep_in`, whose path is returned ("" when there was none).

    A symbolic link is written through, as editors do; owner and mode stay. Raises OSError.
    """
    path = Path(os.path.realpath(item.path))
    now = _read(str(path))
    kept = ""
    if now is not None:
        keep_in.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = str(keep_in / f"{len(list(keep_in.iterdir()))}-{path.name}")
        write_durably(Path(kept), now)
    if item.former is None:
        path.unlink(missing_ok=True)
        return kept
    status = path.stat() if path.exists() else None
    write_durably(path, item.former)
    if status is not None:
        os.chown(path, status.st_uid, status.st_gid)
        os.chmod(path, status.st_mode & 0o7777)
    return kept
