"""Ansible's inventories: asked of `ansible-inventory` where that is installed, else read here as far as plain files go."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from skillrun.errors import Problem
from skillrun.fleet.inventories.member import Member

_NAMES = {
    "ansible_host": "ssh_hostname",
    "ansible_ssh_host": "ssh_hostname",
    "ansible_port": "ssh_port",
    "ansible_ssh_port": "ssh_port",
    "ansible_user": "ssh_user",
    "ansible_ssh_user": "ssh_user",
    "ansible_ssh_private_key_file": "ssh_key",
    "ansible_private_key_file": "ssh_key",
    "ansible_password": "ssh_password",
    "ansible_ssh_pass": "ssh_password",
    "ansible_become_password": "_sudo_password",
    "ansible_become_pass": "_sudo_password",
}
"""Ansible's behavioural parameters -> pyinfra's data."""


MOST = 10_000
"""Machines that a range may stand for."""


def read_ansible(path: Path) -> list[Member]:
    """The machines of an inventory. Raises Problem."""
    if not path.exists():
        raise Problem(f"there is no inventory {path}", "@ansible/FILE names an INI or YAML inventory of Ansible's")
    if program := shutil.which("ansible-inventory"):
        done = subprocess.run([program, "-i", str(path), "--list"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Problem(f"{path}: ansible-inventory: {done.stderr.strip()[-300:]}", "correct the inventory")
        return _listed(json.loads(done.stdout))
    if path.is_dir():
        raise Problem(f"{path} is a directory", "directories and plugins need `ansible-inventory` on PATH")
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path} cannot be read: {error}", "an inventory is a text file") from None
    if path.suffix in (".yml", ".yaml") or text.lstrip().startswith(("---", "all:")):
        return _flat(_yaml(path, text))
    return _flat(_ini(path, text))


def _listed(data: Mapping[str, Any]) -> list[Member]:
    values = data.get("_meta", {}).get("hostvars", {})
    groups = {name: group for name, group in data.items() if name != "_meta"}
    member_of: dict[str, list[str]] = {name: [] for name in values}
    for name, group in groups.items():
        for host in group.get("hosts", ()):
            member_of.setdefault(host, []).append(name)
    return [_member(host, values.get(host, {}), names) for host, names in member_of.items()]


def _member(host: str, values: Mapping[str, Any], groups: list[str]) -> Member:
    data: dict[str, Any] = {_NAMES.get(name, name): value for name, value in values.items()}
    name = "@local" if values.get("ansible_connection") == "local" else host
    if values.get("ansible_connection") in ("docker", "community.docker.docker"):
        name = f"@docker/{values.get('ansible_host', host)}"
    return Member(name, data, tuple(groups))


class _Groups:
    """Groups while they are read: hosts with their own variables, children, variables."""

    def __init__(self) -> None:
        self.hosts: dict[str, dict[str, Any]] = {}
        self.members: dict[str, list[str]] = {}
        self.children: dict[str, list[str]] = {}
        self.vars: dict[str, dict[str, Any]] = {}


def _flat(found: _Groups) -> list[Member]:
    above: dict[str, list[str]] = {}
    for group, children in found.children.items():
        for child in children:
            above.setdefault(child, []).append(group)

    def line(group: str, seen: tuple[str, ...] = ()) -> Iterator[str]:
        for parent in above.get(group, ()):
            if parent not in seen:
                yield from line(parent, (*seen, group))
        yield group

    members = []
    for host, own in found.hosts.items():
        groups = [group for group, hosts in found.members.items() if host in hosts]
        order = list(dict.fromkeys(["all", *(each for group in groups for each in line(group))]))
        values = {name: value for group in order for name, value in found.vars.get(group, {}).items()}
        members.append(_member(host, {**values, **own}, [group for group in order if group != "all"] or ["ungrouped"]))
    return members


def _ini(path: Path, text: str) -> _Groups:
    found, group, kind = _Groups(), "ungrouped", "hosts"
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if header := re.fullmatch(r"\[([^\]:]+)(?::(vars|children))?\]", line.partition(" #")[0].strip()):
            group, kind = header[1], header[2] or "hosts"
            found.members.setdefault(group, [])
            continue
        if line.startswith("["):
            raise Problem(f"{path}:{number}: {line!r} is no group", "[name], [name:vars] or [name:children]")
        if kind == "children":
            found.children.setdefault(group, []).append(line.split()[0])
            continue
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise Problem(f"{path}:{number}: {error}", "correct the inventory") from None
        if kind == "vars":
            name, equals, value = line.partition("=")
            if not equals:
                raise Problem(f"{path}:{number}: {line!r} is not NAME=VALUE", "correct the inventory")
            found.vars.setdefault(group, {})[name.strip()] = value.strip().strip("'\"")
            continue
        if bad := [word for word in words[1:] if "=" not in word]:
            raise Problem(f"{path}:{number}: {bad[0]!r} is not NAME=VALUE", "a host, then its variables")
        own = dict(word.split("=", 1) for word in words[1:])
        for host in _ranged(f"{path}:{number}", words[0]):
            found.hosts.setdefault(host, {}).update(own)
            found.members.setdefault(group, []).append(host)
    return found


def _ranged(place: str, name: str) -> list[str]:
    """`web[01:03]` as its three names. Raises Problem, which names the place."""
    match = re.search(r"\[(\w+):(\w+)\]", name)
    if match is None:
        return [name]
    first, last = match[1], match[2]
    if first.isdecimal() and last.isdecimal():
        count = int(last) - int(first) + 1
    else:
        count = ord(last) - ord(first) + 1 if len(first) == len(last) == 1 else 0
    if not 0 < count <= MOST:
        raise Problem(f"{place}: {match[0]} is no range of up to {MOST} machines", "for example [01:20] or [a:f]")
    if first.isdecimal():
        width = len(first) if first.startswith("0") else 0
        values = [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
    else:
        values = [chr(code) for code in range(ord(first), ord(last) + 1)]
    return [whole for value in values for whole in _ranged(place, name[: match.start()] + value + name[match.end() :])]


def _yaml(path: Path, text: str) -> _Groups:
    from skillrun.skills.frontmatter import plain_yaml

    try:
        data = plain_yaml(text)
    except ValueError as error:
        raise Problem(f"{path}: {error}", "correct the inventory") from None
    found = _Groups()

    def table(value: Any, what: str) -> Mapping[str, Any]:
        if value and not isinstance(value, Mapping):
            raise Problem(f"{path}: {what}: {value!r} is no table of names", "each host and each group is a key: `web1:`")
        return value or {}

    def walk(name: str, body: Any) -> None:
        body = table(body, name)
        found.members.setdefault(name, [])
        found.vars.setdefault(name, {}).update(table(body.get("vars"), f"vars of {name}"))
        for pattern, own in table(body.get("hosts"), f"hosts of {name}").items():
            for host in _ranged(str(path), str(pattern)):
                found.hosts.setdefault(host, {}).update(table(own, f"the host {host}"))
                found.members[name].append(host)
        for child, inner in table(body.get("children"), f"children of {name}").items():
            found.children.setdefault(name, []).append(child)
            walk(child, inner)

    for name, body in data.items():
        walk(name, body)
    return found
