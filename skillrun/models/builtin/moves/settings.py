"""Settings of the user's own that stand in the way: variables that name what is not there, files in the home directory."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from skillrun.models.builtin.bench import Bench, Work
from skillrun.models.builtin.remedy import Failure

NAMING = """
for n in $(compgen -e); do
  case $n in PATH|HOME|PWD|OLDPWD|SHELL|USER|LOGNAME|MAIL|_) continue ;; esac
  for p in PATHS; do
    IFS=': =,' read -ra parts <<<"${!n}"
    for part in "${parts[@]}"; do
      case $part in /?*) ;; *) continue ;; esac
      [ -e "$part" ] || case $p/ in "$part"/*|"$part".*) echo "names $n $part" ;; esac
    done
  done
done; true
"""
"""Prints the exported variables whose value is, or holds, a place that does not exist and that an error speaks of."""


@cache
def families() -> Mapping[str, Mapping[str, Any]]:
    """Programs by family with the variables and files that change what they do (`remedies/knowledge/settings.toml`)."""
    path = files("skillrun.models").joinpath("remedies", "knowledge", "settings.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def names_nothing(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A variable that names a place that is not there, where the error is about that place: left out of this run."""
    named = [path for path in re.findall(r"(?<![\w.~])/[\w.@+-]+(?:/[\w.@+-]+)*", failure.text) if len(path) > 3]
    paths = " ".join(list(dict.fromkeys(named))[:12])
    if not paths:
        return None
    listing = yield from bench.look(NAMING.replace("PATHS", paths).strip(), "does a variable name a place that is not there?")
    rows = [row for row in re.findall(r"^names (\w+) (\S+)$", listing or "", re.MULTILINE) if not _wanted(bench, row[0])]
    if not rows:
        return None
    for name, place in dict.fromkeys(rows):
        bench.explain(f"{name} names {place}, which is not there: it is left out of this run, and stays set elsewhere.")
    yield from bench.shell(f"unset {' '.join(dict.fromkeys(name for name, _ in rows))}", "settings that name nothing, left out")
    return failure.command


def plain(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """The last thing to try before giving up: the same without the settings of this user's that change what programs do."""
    text = failure.command + "\n" + failure.text
    for family, row in families().items():
        if bench.tried[f"plain {family}"] or not re.search(row["programs"], text, re.MULTILINE):
            continue
        bench.tried[f"plain {family}"] += 1
        names, here = " ".join(row["variables"]), " ".join(file["path"] for file in row.get("files", ()))
        listing = yield from bench.look(
            f'for n in {names}; do [ -n "${{!n}}" ] && echo "set $n"; done; for f in {here or "/dev/null"}; do [ -s "$f" ] && echo "file $f"; done; true',  # noqa: E501
            "which settings of this user's change what it does?",
        )
        said = (listing or "").splitlines()
        variables = [line[4:] for line in said if line.startswith("set ") and not _wanted(bench, line[4:])]
        kept = [file for file in row.get("files", ()) if f"file {file['path'].replace('~', bench.home, 1)}" in said]
        if kept:
            kept = yield from _harmless(bench, kept)
        if not variables and not kept:
            continue
        told = " and ".join([*variables, *(file["path"] for file in kept)])
        bench.explain(f"{told} may be why: it is tried once more without, for this run only.")
        if variables:
            yield from bench.shell(f"unset {' '.join(variables)}", "without these settings, in this run")
        command = failure.command
        for file in kept:
            if "variable" in file:
                yield from bench.export(file["variable"], file["value"], f"{file['path']} is not read in this run")
            else:
                command = re.sub(rf"(?<![\w./-]){file['program']}(?=\s)", f"{file['program']} {file['option']}", command)
        return command
    return None


def _wanted(bench: Bench, name: str) -> bool:
    """True when the skill or a remedy of this run speaks of this variable: then it is no leftover."""
    sets = rf"\b{re.escape(name)}=[^\s;]|\bexport\s+{re.escape(name)}\b"
    return name in bench.exports or bool(re.search(sets, bench.brief.skill.text))


def _harmless(bench: Bench, kept: list[Any]) -> Work[list[Any]]:
    """Those files that say nothing about whom to trust and where to fetch from, which is not to be passed over."""
    result = []
    for file in kept:
        holds = (
            yield from bench.look(
                f"grep -ciE '{file['keeps']}' {file['path']}", f"does {file['path']} say where to fetch from, or whom to trust?"
            )
            if file.get("keeps")
            else _none()
        )
        if not holds or holds == "0":
            result.append(file)
    return result


def _none() -> Work[str | None]:
    yield from ()
    return None


PROCEDURES: dict[str, Callable[[Bench, Failure, Mapping[str, str]], Work[str | None]]] = {
    "names-nothing": names_nothing,
    "plain-settings": plain,
}
