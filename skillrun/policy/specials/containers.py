"""Containers: what runs inside is not seen, but what it may reach of this machine is."""

from __future__ import annotations

import dataclasses
import re

from skillrun.policy.evaluation.state import Shell
from skillrun.policy.reading import Reading, Special
from skillrun.policy.unknown import certain, plain

_TAKES = frozenset(
    [
        "-e",
        "--env",
        "--name",
        "-p",
        "--publish",
        "-w",
        "--workdir",
        "-u",
        "--user",
        "--network",
        "--net",
        "--entrypoint",
        "-h",
        "--hostname",
        "--label",
        "-l",
        "--restart",
        "--memory",
        "-m",
        "--cpus",
        "--platform",
        "--pull",
        "--add-host",
        "--dns",
        "--cap-add",
        "--cap-drop",
        "--security-opt",
        "--device",
        "--env-file",
        "--ulimit",
        "--gpus",
        "--pid",
        "--ipc",
        "--userns",
        "--shm-size",
        "-v",
        "--volume",
        "--mount",
        "--tmpfs",
        "--volumes-from",
        "--log-driver",
        "--log-opt",
        "--health-cmd",
        "--stop-signal",
        "--expose",
        "--cgroupns",
        "--isolation",
    ]
)


def _container(reading: Reading, argv: list[str], shell: Shell) -> str:
    """`run` and `exec`: the command inside is held against the floor, with directories of this machine as they lie there."""
    output = reading.by_table(argv, shell)
    words = argv[1:]
    while words and words[0].startswith("-"):
        words = words[2:] if words[0] in ("-H", "--host", "-c", "--context", "--config", "-l", "--log-level") else words[1:]
    if words[:1] == ["container"]:
        words = words[1:]
    if words[:1] not in (["run"], ["create"], ["exec"]):
        return output
    binds: dict[str, str] = {}
    i = 1
    while i < len(words) and words[i].startswith("-"):
        name, equals, value = words[i].partition("=")
        takes = name in _TAKES and not equals
        if takes and i + 1 < len(words):
            value = words[i + 1]
        if name in ("-v", "--volume", "--mount"):
            binds.update(_bind(plain(value)))
        i += 2 if takes else 1
    inside = words[i + 1 :]
    if inside and binds and all(certain(word) for word in inside):
        _floor_inside(reading, inside, binds)
    return output


def _bind(value: str) -> dict[str, str]:
    """Place inside -> place on this machine, of one `-v` or `--mount`."""
    if "," in value or value.startswith("type="):
        keys = dict(part.partition("=")[::2] for part in value.split(","))
        source = keys.get("source", keys.get("src", ""))
        target = keys.get("target", keys.get("destination", keys.get("dst", "")))
    else:
        match = re.fullmatch(r"(/[^:]*|~[^:]*|\.[^:]*):(/[^:]*)(?::.*)?", value)
        source, target = (match[1], match[2]) if match else ("", "")
    return {target.rstrip("/"): source} if source and target.rstrip("/") else {}


def _floor_inside(reading: Reading, inside: list[str], binds: dict[str, str]) -> None:
    place = dataclasses.replace(reading.place, cwd="/", links={**reading.place.links, **binds})
    other = Reading(place, reading.specials, budget=max(reading.unknowns.budget // 2, 1))
    other.run(inside, Shell.at(place))
    for floor in other.findings.floors:
        reading.findings.floor(floor.rule, floor.reason)


PROGRAMS: dict[str, Special] = dict.fromkeys(("docker", "podman", "nerdctl"), _container)
