"""Who the machines are: an inventory as pyinfra reads it, a list of hosts, or Ansible's.

`FILE.py` is pyinfra's: lists (or `(list, data)`) of hosts (or `(host, data)`), each variable a group, with `group_data/` beside
it. Any other file is a host a line, or Ansible's by its look; `@ansible/FILE` says so. Hosts separated by commas need no file.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from skillrun.errors import Problem
from skillrun.fleet.inventories.member import Member
from skillrun.fleet.inventories.secret_data import HANDLES
from skillrun.text.escape import TREACHEROUS, shown

_FILES = (".py", ".txt", ".ini", ".yml", ".yaml", ".cfg", ".list")
"""What ends like this is a file and no host."""
_ASIDE = "a host a line, or pyinfra's (FILE.py), or Ansible's (@ansible/FILE)"


def read_inventory(word: str) -> list[Member]:
    """The machines an inventory names, each once. Raises Problem: which file, which line, what is wrong."""
    if word.startswith("@ansible/"):
        from skillrun.fleet.inventories.ansible import read_ansible

        members = read_ansible(Path(word.removeprefix("@ansible/")))
    elif word and Path(word).is_dir():
        raise Problem(f"{word} is a directory", _ASIDE)
    elif word and Path(word).exists():
        members = _file(Path(word))
    elif not word.startswith("@") and ("/" in word or Path(word).suffix in _FILES):
        raise Problem(f"there is no inventory {word}", _ASIDE)
    else:
        members = [Member(name.strip()) for name in word.split(",") if name.strip()]
    if not members:
        raise Problem(f"{word or 'the inventory'} names no machine", _ASIDE)
    found: dict[str, Member] = {}
    for member in members:
        found.setdefault(member.name, _sound(word, member))
    return list(found.values())


def _sound(word: str, member: Member) -> Member:
    """The machine, if its name and what we read of its data can be what they should be. Raises Problem."""
    if not member.name or TREACHEROUS.search(member.name) or any(letter.isspace() for letter in member.name):
        raise Problem(f"{word}: {shown(member.name)!r} is no name of a machine", _ASIDE)
    data = dict(member.data)
    if "ssh_port" in data:
        port = str(data["ssh_port"])
        if not port.isdecimal() or not 0 < int(port) < 65_536:
            raise Problem(f"{word}: {shown(member.name)}: the port {shown(port)!r} is no number of one", "1 to 65535")
        data["ssh_port"] = int(port)
    held = data.get(HANDLES, {})
    if not isinstance(held, Mapping) or not all(isinstance(each, str) for pair in held.items() for each in pair):
        example = f'"{HANDLES}": {{"TOKEN": "WEB1_TOKEN"}}'
        raise Problem(f"{word}: {shown(member.name)}: {HANDLES} names no variables", f"for example {example}")
    return replace(member, data=data)


def _file(path: Path) -> list[Member]:
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path} cannot be read: {error}", _ASIDE) from None
    if path.suffix == ".py":
        return _python(path, text)
    looks_like_ansible = path.suffix in (".ini", ".yml", ".yaml") or any(
        line.strip().startswith("[") or "ansible_" in line for line in text.splitlines()
    )
    if looks_like_ansible:
        from skillrun.fleet.inventories.ansible import read_ansible

        return read_ansible(path)
    members: dict[str, Member] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if len(words) > 1:
            raise Problem(f"{path}:{number}: {line.strip()!r} is more than a host", _ASIDE)
        for name in words:
            members.setdefault(name, Member(name, {}, (path.stem,)))
    return list(members.values())


def _python(path: Path, text: str) -> list[Member]:
    """pyinfra's own kind. It is a program of the person's, and runs as one."""
    values: dict[str, Any] = {"__file__": str(path)}
    try:
        exec(compile(text, str(path), "exec"), values)
        groups = {name: value for name, value in values.items() if not name.startswith("_") and _is_group(value)}
        group_data = _group_data(path)
    except SyntaxError as error:
        raise Problem(f"{path}:{error.lineno}: {error.msg}", "correct the inventory") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a program of the person's runs into is theirs to mend
        raise Problem(f"{path}: {type(error).__name__}: {error}", "correct the inventory") from None
    data: dict[str, dict[str, Any]] = {}
    own: dict[str, dict[str, Any]] = {}
    member_of: dict[str, list[str]] = {}
    for group, value in sorted(groups.items(), key=lambda pair: pair[0] != "all"):
        hosts, shared = value if isinstance(value, tuple) else (value, {})
        for entry in hosts:
            name, extra = entry if isinstance(entry, tuple) else (entry, {})
            data.setdefault(name, {}).update({**shared, **group_data.get(group, {})})
            own.setdefault(name, {}).update(extra)
            member_of.setdefault(name, []).append(group)
    everyone = group_data.get("all", {})
    return [Member(name, {**everyone, **data[name], **own[name]}, tuple(member_of[name])) for name in data]


def _is_group(value: Any) -> bool:
    hosts = value[0] if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Mapping) else value
    return isinstance(hosts, Sequence) and not isinstance(hosts, str) and bool(hosts) and all(map(_is_host, hosts))


def _is_host(entry: Any) -> bool:
    if isinstance(entry, tuple):
        return len(entry) == 2 and isinstance(entry[0], str) and isinstance(entry[1], Mapping)
    return isinstance(entry, str)


def _group_data(path: Path) -> dict[str, dict[str, Any]]:
    """`group_data/NAME.py` beside the inventory: what a file defines and did not import."""
    found = {}
    for file in sorted((path.resolve().parent / "group_data").glob("*.py")):
        text = file.read_text("utf-8")
        values: dict[str, Any] = {"__file__": str(file)}
        exec(compile(text, str(file), "exec"), values)
        imported = {
            alias.asname or alias.name.partition(".")[0]
            for node in ast.parse(text).body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        found[file.stem] = {name: v for name, v in values.items() if not name.startswith("_") and name not in imported}
    return found
