"""What is true of a machine, read through a Target: nested plain data, a missing fact is absent.

Everything comes from one Bash script in one call: its probes start together, each with its own time
limit, and are read in order. Nothing is written on the machine that is looked at. Cheap facts come from
files; versions are asked only of the programs a caller names.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skillrun.host.shell_profiles import new_terminal, start_files

if TYPE_CHECKING:
    from skillrun.events import Result
    from skillrun.ports import Target

MARK = "==fact== "
"""Starts the line that names the probe whose output follows."""

MANAGERS = (
    "apt",
    "dnf",
    "yum",
    "pacman",
    "apk",
    "zypper",
    "brew",
    "nix",
    "snap",
    "flatpak",
    "pip",
    "pipx",
    "uv",
    "npm",
    "cargo",
)
"""Programs that install software, in the order they are looked for."""

RUNTIMES = ("python3", "node", "npm", "git", "curl", "gcc", "make", "java", "go", "ruby", "cargo", "docker")
"""Programs whose versions are worth a line in `skillrun facts`."""

NEEDED = {"make": "gcc", "cmake": "gcc", "pip": "python3", "pipx": "python3", "npx": "node", "npm": "node"}
"""Programs that are of no use without another one, and that one."""

FAMILIES = {
    "debian": "debian",
    "ubuntu": "debian",
    "fedora": "fedora",
    "rhel": "fedora",
    "centos": "fedora",
    "arch": "arch",
    "alpine": "alpine",
    "suse": "suse",
    "opensuse": "suse",
}
"""Distribution id (or the id it says it is like) -> family."""

Facts = dict[str, Any]


def gather(
    target: Target,
    versions: Iterable[str] = (),
    hosts: Iterable[str] = (),
    wanted: Iterable[str] = (),
    without: Iterable[str] = (),
) -> Facts:
    """The facts of the machine behind a target, as JSON-able data (sizes in MiB, times in seconds).

    `versions` names programs to ask for their version, `hosts` names hosts (`name` or `name:port`) to
    try to reach; both cost time and are left out unless asked for. `wanted` names programs that a skill is to bring:
    what has their name and is none is told. `without` names facts that nobody will ask for.
    Never raises for what a machine lacks.
    """
    from skillrun.ports import Command, result_of

    result = result_of(target.run(Command(f"(\n{_script(versions, hosts, wanted, without)}\n)", id="facts", quiet_s=30)))
    facts = understand(split(_whole(result)))
    if "user" not in facts:  # no bash there: what any POSIX shell can tell
        facts = understand(split(_whole(result_of(target.run(Command(f"(\n{essentials()}\n)", id="facts", quiet_s=30))))))
    if target.here:
        _measure(facts)
    return facts


def here(
    versions: Iterable[str] = (),
    hosts: Iterable[str] = (),
    wanted: Iterable[str] = (),
    without: Iterable[str] = (),
    *,
    quick: bool = False,
) -> Facts:
    """The facts of this machine without a session of its own. `quick`: only what files tell, at once. Raises OSError."""
    import subprocess

    from skillrun.pty.environment import command_environment

    argv = ["bash", "--noprofile", "--norc", "-c", _script(versions, hosts, wanted, without, quick)]
    env = command_environment(os.environ)
    told = subprocess.run(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    )
    facts = understand(split(told.stdout.decode("utf-8", "replace")))
    _measure(facts)
    return facts


def _script(
    versions: Iterable[str], hosts: Iterable[str], wanted: Iterable[str], without: Iterable[str] = (), quick: bool = False
) -> str:
    named = (versions, wanted, without)
    asked, missed, left_out = ([name for name in dict.fromkeys(names) if re.fullmatch(r"[\w.+-]+", name)] for names in named)
    reach = [host for host in dict.fromkeys(hosts) if re.fullmatch(r"[\w.:-]+", host)]
    given = {"ASK": asked, "HOSTS": reach, "TOOLS": MANAGERS, "WANTED": missed, "WITHOUT": left_out}
    given["QUICK"] = ["yes"] if quick else []
    head = " ".join(f"{name}={shlex.quote(' '.join(words))}" for name, words in given.items())
    return f"{head}\n{Path(__file__).with_name('facts.bash').read_text(encoding='utf-8')}"


def essentials() -> str:
    """The script for any POSIX shell that prints what plans look at: system, libc, user, rights, managers, init."""
    text = Path(__file__).with_name("facts.sh").read_text(encoding="utf-8")
    return f"TOOLS={shlex.quote(' '.join((*MANAGERS, 'bash')))}\n{text}"


def split(text: str) -> dict[str, list[str]]:
    """The script's output as probe name -> its lines, without empty ones."""
    parts: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.replace("\r", "").split("\n"):
        if line.startswith(MARK):
            lines = parts.setdefault(line[len(MARK) :].strip(), [])
        elif line.strip():
            lines.append(line.rstrip())
    return parts


def understand(parts: Mapping[str, Sequence[str]]) -> Facts:
    """Probe outputs as facts; a probe that said nothing, or something unreadable, leaves no fact."""
    facts: Facts = {}
    for name in (name for name in _READERS if name in parts):
        try:
            value = _READERS[name](parts[name])
        except (ValueError, IndexError, KeyError):
            continue
        if value not in (None, {}, [], "", False):
            facts[name] = value
    user, shell = facts.get("user"), facts.get("shell")
    if user and shell:
        facts["shell"] = {**shell, **start_files(str(user["shell"]), str(user["home"]), shell.get("files", ()))}
        if told := facts.pop("terminal", None):
            facts["terminal"] = new_terminal(told, str(user["home"]))
    return facts


def can_be_root(facts: Mapping[str, Any]) -> bool:
    """True when commands can run as root without a person: root already, or sudo that asks nothing."""
    return bool(facts.get("user", {}).get("root") or facts.get("sudo", {}).get("passwordless"))


def _whole(result: Result) -> str:
    if result.output_file and result.output_bytes > len(result.output):
        try:
            return Path(result.output_file).read_text(encoding="utf-8", errors="replace")
        except OSError:
            pass
    return result.output


def _measure(facts: Facts) -> None:
    """Memory of this very machine, where the script had no /proc to read it from."""
    if "memory" in facts:
        return
    import psutil

    memory = psutil.virtual_memory()
    facts["memory"] = {"total_mb": memory.total >> 20, "available_mb": memory.available >> 20}


def _pairs(lines: Sequence[str], separator: str = "=") -> dict[str, str]:
    found = (line.partition(separator) for line in lines)
    return {key.strip(): value.strip().strip('"') for key, sep, value in found if sep}


def _os(lines: Sequence[str]) -> Facts:
    raw = _pairs(lines)
    names = [raw.get("ID", ""), *raw.get("ID_LIKE", "").split()]
    family = next((FAMILIES[name] for name in names if name in FAMILIES), "")
    system = raw["kernel"].lower()
    value = {
        "system": "macos" if system == "darwin" else system,
        "id": raw.get("ID", "macos" if system == "darwin" else ""),
        "version": raw.get("VERSION_ID", ""),
        "codename": raw.get("VERSION_CODENAME", ""),
        "name": raw.get("PRETTY_NAME", ""),
        "family": family,
        "kernel": raw.get("release", ""),
    }
    return {key: text for key, text in value.items() if text}


def _user(lines: Sequence[str]) -> Facts:
    raw = _pairs(lines)
    return {
        "name": raw["name"],
        "uid": int(raw["uid"]),
        "root": raw["uid"] == "0",
        "groups": raw.get("groups", "").split(),
        "home": raw["home"],
        "home_writable": raw.get("home_writable") == "yes",
        "shell": raw.get("shell") or "/bin/sh",
        "umask": raw.get("umask", ""),
    }


def _sudo(lines: Sequence[str]) -> Facts:
    raw = _pairs(lines)
    return {"present": raw.get("present") == "yes", "passwordless": raw.get("passwordless") == "yes"}


def _libc(lines: Sequence[str]) -> Facts:
    text = " ".join(lines)
    version = re.search(r"(\d+\.\d+(?:\.\d+)?)", text)
    name = "musl" if "musl" in text.lower() else "glibc" if text else ""
    return {"name": name, **({"version": version[1]} if version else {})} if name else {}


def _tools(lines: Sequence[str]) -> Facts:
    return _pairs(lines)


def _versions(lines: Sequence[str]) -> Facts:
    found: Facts = {}
    for name, text in _pairs(lines).items():
        number = re.search(r"\d+(?:\.\d+)+", text)
        if number:
            found[name] = number[0]
    return found


def _mounts(lines: Sequence[str]) -> list[Facts]:
    rows: list[Facts] = []
    for line in lines:
        mount, kind, options, size, free, inodes = line.split("\t")
        row: Facts = {"mount": mount, "type": kind, "size_mb": int(size) // 1024, "free_mb": int(free) // 1024}
        marks = sorted({"ro", "noexec", "nosuid", "nodev"} & set(options.split(",")))
        if marks:
            row["options"] = marks
        if inodes.isdigit():
            row["inodes_free"] = int(inodes)
        rows.append(row)
    return rows


def _memory(lines: Sequence[str]) -> Facts:
    raw = _pairs(lines, ":")
    names = {"MemTotal": "total_mb", "MemAvailable": "available_mb", "SwapFree": "swap_free_mb"}
    value: Facts = {names[key]: int(text.split()[0]) // 1024 for key, text in raw.items() if key in names}
    if raw.get("cpus", "").isdigit():
        value["cpus"] = int(raw["cpus"])
    return value


def _ports(lines: Sequence[str]) -> list[Facts]:
    rows: dict[int, Facts] = {}
    for line in lines:
        address, _, owner = line.partition("\t")
        port = int(address.rsplit(":", 1)[1])
        rows.setdefault(port, {"port": port, **({"owner": owner} if owner else {})})
    return [rows[port] for port in sorted(rows)]


_SEVERAL = ("held", "half_configured", "pins", "lock_holders", "sources", "unfetched", "of_another_release", "apt_proxy")


def _packages(lines: Sequence[str]) -> Facts:
    value: Facts = {}
    for line in dict.fromkeys(lines):
        key, _, text = line.partition("=")
        if key in _SEVERAL:
            value.setdefault(key, []).append(text)
        elif key == "lists":
            value[key] = text
        elif key == "lists_age_days":
            value[key] = int(text)
        elif key == "interrupted":
            value[key] = True
    if value.get("lists") == "empty":  # then nothing is there of any source
        value.pop("unfetched", None)
    return value


def _proxy(lines: Sequence[str]) -> Facts:
    # a proxy's address may carry a password; who reads facts needs to know only that and where it points
    return {name: re.sub(r"//[^/@]*@", "//***@", value) for name, value in _pairs(lines).items() if value}


def _python(lines: Sequence[str]) -> Facts:
    return {name: value == "yes" for name, value in _pairs(lines).items()}


def _npm(lines: Sequence[str]) -> Facts:
    raw = _pairs(lines)
    given = {"registry": raw["registry"]} if raw.get("registry") else {}
    return {"prefix": raw["prefix"], "writable": raw["writable"] == "yes", **given}


def _foreign(lines: Sequence[str]) -> Facts:
    owners: dict[str, list[str]] = {}
    for owner, _, path in (line.partition(" ") for line in lines):
        owners.setdefault(owner, []).append(path)
    return owners


def _words(lines: Sequence[str]) -> list[str]:
    return [line.strip() for line in lines]


def _first(lines: Sequence[str]) -> str:
    return lines[0].strip() if lines else ""


_READERS: dict[str, Callable[[Sequence[str]], Any]] = {
    "os": _os,
    "arch": _first,
    "libc": _libc,
    "user": _user,
    "sudo": _sudo,
    "shell": lambda lines: {"files": _words(lines)},
    "path": _words,
    "locale": _first,
    "tools": _tools,
    "versions": _versions,
    "mounts": _mounts,
    "memory": _memory,
    "init": _first,
    "container": _first,
    "wsl": lambda lines: bool(lines),
    "ci": _first,
    "proxy": _proxy,
    "proxy_check": lambda lines: {name: value == "yes" for name, value in _pairs(lines).items()},
    "ports": _ports,
    "foreign": _foreign,
    "packages": _packages,
    "python": _python,
    "services": _pairs,
    "terminal": _pairs,
    "npm": _npm,
    "pip": _pairs,
    "private_ca": _words,
    "names": _pairs,
    "lookup": _first,
    "bundle": _first,
    "in_the_way": _pairs,
    "clock": lambda lines: {"utc": lines[0].strip()},
    "reachable": lambda lines: {name: value == "yes" for name, value in _pairs(lines).items()},
}
