"""The facts of a machine as a model reads them: those that matter for one skill, a short line each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

ABSENT = "Facts; what is not listed was looked for and not found, or does not matter for this skill."
"""What it means that a fact is not there."""

_UNSEEN = ("clock", "locale", "ci")
"""Facts that change from minute to minute or matter to nobody; they would only spoil the cache."""

_ORDER = (
    "os",
    "arch",
    "libc",
    "user",
    "sudo",
    "shell",
    "terminal",
    "path",
    "init",
    "container",
    "wsl",
    "tools",
    "versions",
    "packages",
    "python",
    "pip",
    "npm",
    "services",
)

_LABELS = {
    "path": "PATH of your shell",
    "pip": "pip settings",
    "proxy_check": "that proxy",
    "names": "sent elsewhere by /etc/hosts",
    "lookup": "no name can be looked up",
    "bundle": "list of authorities",
    "in_the_way": "in the way",
}

_PYTHON = r"\b(python\d?|pip\d?|pipx|venv|virtualenv|uv)\b"
_NODE = r"\b(node(js)?|node\.js|npm|npx|yarn|pnpm)\b"
_OWN_AUTHORITIES = r"\b(npm|npx|pnpm|yarn|node|pip3?|pipx|uv)\b"
"""Programs that do not read the machine's list of authorities, by their manuals (Node: `--use-openssl-ca`; pip: `--cert`)."""

_SERVICE = r"\b(ports?|serv(e|es|er|ers|ice|ices)|listen\w*|daemons?)\b"
_RUNS = rf"{_SERVICE}|\b((re)?start\w*|run(s|ning)|enabled?|databases?|queues?|answers?|connect\w*|systemctl|init)\b"
_ABOUT = {"python": _PYTHON, "pip": _PYTHON, "npm": _NODE, "ports": _SERVICE, "services": _RUNS}
"""Facts that matter only to a skill that speaks of these. All but ports are for models alone: the built-in rules find out."""

_OF_A_LANGUAGE = {r"PYTHON|PIP|UV_": _PYTHON, r"NODE_|npm_|NPM_": _NODE}


def unspoken(text: str) -> list[str]:
    """The facts that matter to a model alone, and not where it is about a skill with this text."""
    return [name for name, about in _ABOUT.items() if name != "ports" and not _speaks(text, about)]


def fact_lines(facts: Mapping[str, Any], text: str) -> list[str]:
    """The facts worth a model's attention for a skill with this text, in a fixed order; empty values are left out."""
    names = [name for name in _ORDER if name in facts] + sorted(name for name in facts if name not in _ORDER)
    lines = []
    for name in names:
        if name in _UNSEEN or (name in _ABOUT and not _speaks(text, _ABOUT[name])):
            continue
        told = _of_terminals(facts[name], facts.get("path", ()), text) if name == "terminal" else _told(name, facts[name], text)
        for label, value in told:
            if shown := _short(value):
                lines.append(f"{label}: {shown}")
    return lines


def hints(facts: Mapping[str, Any], text: str) -> Iterator[str]:
    """What to heed on this machine, in words of our own."""
    if facts.get("init") == "none" and _speaks(text, _SERVICE):
        yield (
            "There is no init here: start a service so that it outlives this run (its own daemon mode, or setsid with its "
            "output in a file), not as a background job."
        )
    if facts.get("private_ca") and _speaks(text, _OWN_AUTHORITIES):
        yield (
            "This machine trusts an authority of its own (private_ca). Node and pip bring their own list: for them set "
            "NODE_EXTRA_CA_CERTS and PIP_CERT to the machine's (on Debian /etc/ssl/certs/ca-certificates.crt), where that is "
            "gone to these files joined."
        )


def _speaks(text: str, pattern: str) -> bool:
    return re.search(pattern, text, re.IGNORECASE) is not None


def _told(name: str, value: Any, text: str) -> Iterable[tuple[str, Any]]:
    """A fact as labelled values: what a model acts upon, in words it cannot misread."""
    if not isinstance(value, Mapping):
        if name == "mounts" and isinstance(value, list):
            return _of_mounts([row for row in value if isinstance(row, Mapping) and _matters(row)])
        return [(_LABELS.get(name, name), value)]
    match name:
        case "os" if value.get("name"):
            own = ("codename",) if str(value.get("codename")) not in str(value["name"]) else ()
            return [(name, {key: value.get(key) for key in ("name", *own, "family", "kernel")})]
        case "shell":
            return [(name, _without(value, "files"))]
        case "foreign":
            return [(f"not yours ({one_line(owner)})", paths) for owner, paths in value.items()]
        case "services":
            return [(name, {service: state for service, state in value.items() if _named(service, text)})]
        case "memory":
            return [(name, _without(value, "available_mb"))]
    return [(_LABELS.get(name, name), value)]


def _without(fact: Mapping[str, Any], left_out: str) -> dict[str, Any]:
    return {key: item for key, item in fact.items() if key != left_out}


def _of_mounts(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Where there is room, and, by themselves, the places that nobody can write to."""
    closed = [row for row in rows if "ro" in row.get("options", ())]
    yield "mounts", [row for row in rows if row not in closed]
    yield "read-only places", [row.get("mount") for row in closed]


def _of_terminals(kinds: Mapping[str, Any], path: Sequence[str], text: str) -> Iterator[tuple[str, Any]]:
    """A login and an interactive shell that agree are told as one."""
    rows = {f"{kind} shell": row for kind, row in kinds.items() if isinstance(row, Mapping)}
    for label, key in (("~/.local/bin on PATH", "local_bin"), ("PATH", "path")):
        told = {kind: _apart(row[key], path) if key == "path" else row[key] for kind, row in rows.items() if row.get(key)}
        if len(told) == len(rows) and len(set(told.values())) == 1:
            told = {"new terminal": next(iter(told.values()))}
        for kind, said in told.items():
            yield f"{label}, {kind}", said
    for kind, row in rows.items():
        if row.get("comes_up") is False:
            why = "did not come up in 3 s: a start-up file ends it or waits"
            yield f"a new {kind}", f"cannot begin: {row['no_shell']} is not there" if "no_shell" in row else why
        variables = row.get("variables")
        if isinstance(variables, Mapping):
            kept = {name: value for name, value in variables.items() if _counts(name, text)}
            yield f"set in a new {kind}, not in yours (try with bash -{kind[0]}c)", kept


def _apart(places: Sequence[str], mine: Sequence[str]) -> str:
    """How a PATH differs from the one of the run's shell."""
    without = [place for place in dict.fromkeys(mine) if place not in places]
    besides = [place for place in places if place not in mine]
    if not without and not besides:
        return (
            "as in your shell"
            if list(dict.fromkeys(mine)) == list(places)
            else f"as in your shell, in another order: {' '.join(places)}"
        )
    parts = [f"without {' '.join(without)}" if without else "", f"with {' '.join(besides)}" if besides else ""]
    return "as in your shell, " + ", ".join(filter(None, parts))


def _counts(variable: str, text: str) -> bool:
    about = next((words for names, words in _OF_A_LANGUAGE.items() if re.match(names, variable)), "")
    return _speaks(text, about)


def _named(service: str, text: str) -> bool:
    """Does the skill speak of this service, be it by the first part of its name (`redis-server`, `postgresql@15-main`)?"""
    return service != "sudo" and _speaks(text, rf"\b{re.escape(re.split(r'[-@.]', service)[0])}")


def _matters(mount: Mapping[str, Any]) -> bool:
    """Is this a place where an install puts things?"""
    return bool(mount.get("size_mb")) and not str(mount.get("mount")).startswith(("/dev", "/proc", "/sys", "/run"))


def _short(value: Any) -> str:
    """One line: facts come from the machine, and a machine's strings may hold anything."""
    if isinstance(value, Mapping):
        pairs = ((key, _short(item)) for key, item in value.items())
        return ", ".join(f"{one_line(key)}={text}" for key, text in pairs if text)
    if isinstance(value, list | tuple):
        return ("; " if any(isinstance(item, Mapping) for item in value) else " ").join(_short(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else one_line(value)


def one_line(value: Any) -> str:
    """Anything as text without a line break."""
    return " ".join(str(value).split())
