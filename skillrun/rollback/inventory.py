"""What is installed on a machine, read cheaply before and after a live run: the difference is what undo can take back."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from skillrun.overlay.diff.packages import dpkg_versions
from skillrun.overlay.mount.layers import write_durably
from skillrun.ports import Command, Target, result_of

BEFORE, AFTER, PRE = "before.json", "after.json", "pre"
SCHEMA = 1

START_UP = (".bashrc", ".bash_profile", ".bash_login", ".profile", ".zshrc", ".zshenv", ".zprofile", ".config/fish/config.fish")
"""Start-up files below the home directory whose text is kept."""
SYSTEM_FILES = ("/etc/environment", "/etc/profile", "/etc/bash.bashrc", "/etc/hosts")
_FILE_LIMIT = 256 << 10
_LISTS = {"program": "programs", "unit": "units", "user": "users", "directory": "directories"}


def record_inventory(target: Target) -> dict[str, Any]:
    """Packages by manager, programs, units and users of the machine, and the text of start-up files.

    Two commands and a few file reads. What cannot be read is left out; never raises for that.
    """
    data: dict[str, Any] = {"schema": SCHEMA, "packages": {}, "files": {}}
    data |= {"programs": [], "units": [], "users": [], "directories": []}
    status = _get(target, "/var/lib/dpkg/status", 64 << 20)
    data["packages"]["dpkg"] = {name: version for (name, _), version in dpkg_versions(status).items()}
    home = _read_look(_look(target), data)
    for path in (*(f"{home}/{name}" for name in START_UP), *SYSTEM_FILES) if home else SYSTEM_FILES:
        found = _get(target, path, _FILE_LIMIT + 1)
        if found is None or len(found) <= _FILE_LIMIT:
            data["files"][path] = None if found is None else base64.b64encode(found).decode()
    return data


def _read_look(text: str, data: dict[str, Any]) -> str:
    home = ""
    packages = data["packages"]
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "home":
            home = rest
        elif kind == "pip":
            place, _, name = rest.removesuffix(".dist-info").rpartition("/")
            name, _, version = name.rpartition("-")
            packages.setdefault("pip", {})[f"{name} {place}"] = version
        elif kind == "npm":
            version, _, path = rest.partition(" ")
            place, _, name = path.partition("/node_modules/")
            packages.setdefault("npm", {})[f"{name} {place}"] = version
        elif kind in ("pipx", "apk"):
            packages.setdefault(kind, {})[rest] = ""
        elif kind in ("rpm", "brew"):
            name, _, version = rest.partition(" ")
            packages.setdefault(kind, {})[name] = version
        elif kind in _LISTS:
            data[_LISTS[kind]].append(rest)
    return home


def _look(target: Target) -> str:
    """What the script lists. Where the target is this very machine, a process of its own runs it, and no terminal is needed."""
    look = Path(__file__).with_name("inventory.bash").read_text(encoding="utf-8")
    if target.here:
        argv = ["bash", "--noprofile", "--norc", "-c", f"{look}\nlist"]
        env = dict(target.variables)
        nothing = subprocess.DEVNULL
        listed = subprocess.run(argv, env=env, stdin=nothing, stdout=subprocess.PIPE, stderr=nothing, check=False)
        return listed.stdout.decode("utf-8", "surrogateescape")
    # by way of a file: a command's own output may be shortened
    result = result_of(target.run(Command(f'(\n{look}\nf=$(mktemp) && {{ list >"$f" 2>/dev/null; printf %s "$f"; }}\n)')))
    path = result.output.strip().splitlines()[-1] if result.ok and result.output.strip() else ""
    if not path.startswith("/"):
        return ""
    text = (_get(target, path, 64 << 20) or b"").decode("utf-8", "surrogateescape")
    result_of(target.run(Command(f"rm -f '{path}'")))
    return text


def _get(target: Target, path: str, limit: int) -> bytes | None:
    try:
        return target.get(path, limit)
    except OSError:
        return None


def save(folder: Path, name: str, inventory: Mapping[str, Any]) -> None:
    """Write `before.json` or `after.json` (`name`) into a run's `changes/`. Raises OSError."""
    write_durably(folder / name, json.dumps(inventory).encode())


def load(folder: Path, name: str) -> dict[str, Any] | None:
    """Read it back; None when it was not written. Raises OSError, ValueError."""
    try:
        data: dict[str, Any] = json.loads((folder / name).read_bytes())
    except FileNotFoundError:
        return None
    return data


# --- files written through tools -------------------------------------------------------------------


class Readable(Protocol):
    """Whatever files can be read from: a Target, or this machine."""

    def get(self, path: str, limit: int | None = None) -> bytes:
        """A file's bytes. Raises OSError."""
        ...


class Here:
    """Files of this machine, with this process's rights."""

    def get(self, path: str, limit: int | None = None) -> bytes:
        """A file's bytes. Raises OSError."""
        with open(path, "rb") as file:
            return file.read(-1 if limit is None else limit)


def keep_before(target: Readable, path: str, folder: Path) -> None:
    """Keep a file as it is right before a tool overwrites it: `changes/pre/`. Only the first time counts. Raises OSError."""
    index = read_kept(folder)
    if path in index:
        return
    pre = folder / PRE
    pre.mkdir(mode=0o700, parents=True, exist_ok=True)
    data = None
    try:
        data = target.get(path)
    except FileNotFoundError:
        data = None
    name = f"{len(index)}"
    if data is not None:
        write_durably(pre / name, data)
    index[path] = {"existed": data is not None, "name": name, "after": ""}
    write_durably(pre / "index.json", json.dumps(index).encode())


def note_after(path: str, data: bytes, folder: Path) -> None:
    """Note what a tool wrote, so that a later edit can be told from it. Raises OSError."""
    index = read_kept(folder)
    if path in index:
        index[path]["after"] = hashlib.sha256(data).hexdigest()
        write_durably(folder / PRE / "index.json", json.dumps(index).encode())


def read_kept(folder: Path) -> dict[str, dict[str, Any]]:
    """Path -> {"existed", "name" of the copy, "after": digest of what was written}. Raises OSError, ValueError."""
    try:
        data: dict[str, dict[str, Any]] = json.loads((folder / PRE / "index.json").read_bytes())
    except FileNotFoundError:
        return {}
    return data


# --- the difference ---------------------------------------------------------------------------------


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What a live run changed, in the words of a Changed event."""
    packages = []
    for manager in sorted(before["packages"].keys() | after["packages"].keys()):
        old, new = before["packages"].get(manager, {}), after["packages"].get(manager, {})
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                name, _, place = key.partition(" ")
                change = "installed" if key not in old else "removed" if key not in new else "upgraded"
                version, former = new.get(key, old.get(key, "")), old.get(key, "")
                packages.append(
                    {"manager": manager, "name": name, "change": change, "version": version, "old": former, "place": place}
                )
    files = [
        {"path": path, "change": _change(before["files"].get(path), after["files"].get(path)), "kind": "file"}
        for path in sorted(before["files"].keys() | after["files"].keys())
        if before["files"].get(path) != after["files"].get(path)
    ]
    for key, kind in (("programs", "file"), ("units", "file"), ("directories", "directory")):
        old_paths, new_paths = set(before.get(key, after.get(key, ()))), set(after.get(key, ()))
        files += [{"path": path, "change": "added", "kind": kind} for path in sorted(new_paths - old_paths)]
        files += [{"path": path, "change": "removed", "kind": kind} for path in sorted(old_paths - new_paths)]
    users = sorted(set(after["users"]) - set(before["users"]))
    return {
        "packages": packages,
        "files": files,
        "accounts": [{"kind": "user", "name": name, "change": "added"} for name in users],
    }


def _change(old: str | None, new: str | None) -> str:
    return "added" if old is None else "removed" if new is None else "changed"


def brought(folder: Path) -> list[dict[str, Any]]:
    """The packages a live run changed, by the inventories in its `changes/`; none where one of them is not there."""
    before, after = load(folder, BEFORE), load(folder, AFTER)
    packages: list[dict[str, Any]] = difference(before, after)["packages"] if before and after else []
    return packages
