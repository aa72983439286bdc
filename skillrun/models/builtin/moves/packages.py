"""The distribution's packages: which one holds what, and getting it with or without root."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from skillrun.models.builtin.bench import Bench, Stop, Work
from skillrun.models.builtin.moves import paths
from skillrun.models.builtin.remedy import Failure
from skillrun.models.builtin.script import without_sudo

INSTALL = {
    "apt": "env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {names}",
    "dnf": "dnf install -y {names}",
    "yum": "yum install -y {names}",
    "pacman": "pacman -S --needed --noconfirm {names}",
    "apk": "apk add {names}",
    "zypper": "zypper --non-interactive install {names}",
}
"""Package manager -> how packages are installed without a question."""


@cache
def knowledge() -> dict[str, Any]:
    """What stands in which package, by manager (`remedies/knowledge/packages.toml`)."""
    path = files("skillrun.models").joinpath("remedies", "knowledge", "packages.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def manager(bench: Bench) -> str:
    """The distribution's package manager, or brew, or empty."""
    return next((name for name in (*INSTALL, "brew") if bench.tool(name)), "")


def package_of(bench: Bench, kind: str, name: str) -> str:
    """The package(s) that hold a program, header, library, module or pkg-config file; empty when unknown."""
    row = knowledge().get(kind, {}).get(name)
    if row is None:
        return ""
    if isinstance(row, str):
        return row
    which = manager(bench)
    return str(row.get(which) or (row.get("dnf") if which in ("yum", "zypper") else "") or row.get("apt", "") if which else "")


def install_command(bench: Bench, names: str) -> str:
    """How packages of the distribution are installed with root rights; empty where that cannot be."""
    which = manager(bench)
    if which == "brew":
        return f"brew install {names}"
    return bench.root + INSTALL[which].format(names=names) if which and bench.can_root else ""


def install(bench: Bench, names: str, why: str) -> Work[bool]:
    """Install packages of the distribution; without root rights into the home directory where that can be done."""
    which = manager(bench)
    if not names or not which:
        return False
    if command := install_command(bench, names):
        done = yield from bench.sure(command, why)
        if done.ok:
            bench.brought.update(names.split())
        return done.ok
    if which == "apt":
        return (yield from unpack(bench, names.split(), why))
    return False


def unpack(bench: Bench, names: list[str], why: str) -> Work[bool]:
    """Debian packages unpacked into ~/.local/opt with their programs linked into ~/.local/bin: no root rights needed."""
    first, lists = names[0], f"{bench.scratch}/skillrun-apt"
    options = ""
    if (
        bench.facts.get("packages", {}).get("lists") == "empty"
        or (yield from bench.look(f"apt-cache show {first}", why)) is None
    ):
        options = f'-o Dir::State="{lists}" -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="{lists}"'
        yield from bench.sure(f'mkdir -p "{lists}/lists/partial" "{lists}/archives/partial" && apt-get {options} update', why)
    place = f"$HOME/.local/opt/{first}"
    plan = yield from bench.look(
        f"apt-get {options} -s -o Debug::NoLocking=1 install --no-install-recommends {' '.join(names)} 2>/dev/null | sed -n 's/^Inst \\([^ ]*\\).*/\\1/p'",  # noqa: E501
        f"what would belong to {first}?",
    )
    wanted = [name for name in (plan or "").split() if re.fullmatch(r"[\w.+:-]+", name)] or names
    fetch = yield from bench.sure(
        f'mkdir -p "{place}" && (cd "{place}" && apt-get {options} download {" ".join(wanted)} && '
        'for deb in *.deb; do dpkg -x "$deb" . && rm "$deb" || exit 1; done)',
        why,
    )
    if not fetch.ok:
        return False
    return (yield from link_programs(bench, place, why))


def link_programs(bench: Bench, place: str, why: str) -> Work[bool]:
    """Make the programs of an unpacked tree known in ~/.local/bin: a link, or a starter where it has libraries of its own."""
    listing = yield from bench.look(
        f'find "{place}/usr/bin" "{place}/bin" "{place}/usr/games" -maxdepth 1 ! -type d 2>/dev/null; find "{place}" -name "lib*.so.*" -printf "lib %h\\n" | sort -u',  # noqa: E501
        "which programs and libraries did that bring?",
    )
    lines = (listing or "").splitlines()
    libraries = ":".join(dict.fromkeys(line[4:] for line in lines if line.startswith("lib ")))
    programs = [line for line in lines if re.fullmatch(r"/[\w./+-]+", line)][:80]
    if not programs:
        return False
    bindir = f"{bench.home}/.local/bin"
    if not (yield from bench.shell('mkdir -p "$HOME/.local/bin"', "programs of this user go here")).ok:
        return False
    for path in programs:
        target = f"{bindir}/{path.rsplit('/', 1)[-1]}"
        if (yield from bench.look(f'[ ! -L "{target}" ] && [ -e "{target}" ] && echo taken', f"is there a {target} already?")):
            continue
        if libraries:
            body = f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}" exec "{path}" "$@"\n'
            yield bench.call("write_file", {"path": target, "content": body, "mode": "755", "why": why})
        elif not (yield from bench.shell(f'ln -sfn "{path}" "{target}"', why)).ok:
            return False
    yield from paths.on_path(bench, bindir, "the programs lie in ~/.local/bin")
    return True


def missing_program(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A program that is not installed: another name of it, else the package it comes in."""
    name = found.get("program", "")
    if not re.fullmatch(r"[A-Za-z][\w.+-]*", name):
        return None
    other = knowledge()["aliases"].get(name, "")
    for alias in other.split("|"):
        if alias and (yield from bench.look(f"command -v {alias.split()[0]}", f"is {name} there under its other name?")):
            if failure.kind == "check":
                return (yield from _alias(bench, name, alias, failure))
            return paths.replace_program(failure.command, name, alias)
    package = package_of(bench, "programs", name)
    if (
        not package
        and not _own(bench, name)
        and (yield from bench.look(_candidate(bench, name), f"is there a package named {name}?"))
    ):
        package = name
    if not package:
        return None
    if not (yield from install(bench, package, f"{name} is needed and not installed")):
        return None
    return failure.command


def _alias(bench: Bench, name: str, alias: str, failure: Failure) -> Work[str | None]:
    """Give a program that the distribution named otherwise its usual name, in ~/.local/bin."""
    folder = "/usr/local/bin" if bench.is_root else f"{bench.home}/.local/bin"
    done = yield from bench.shell(
        f'mkdir -p "{folder}" && [ ! -e "{folder}/{name}" ] && ln -s "$(command -v {alias})" "{folder}/{name}"',
        f"the distribution calls {name} {alias}",
    )
    if not done.ok:
        return None
    yield from paths.on_path(bench, folder, f"{name} lies in {folder}")
    return failure.command


def _own(bench: Bench, name: str) -> bool:
    """True when the skill itself is to bring this program: a package that merely has its name would be another one."""
    skill = bench.brief.skill
    commands = "\n".join(command.text for step in skill.steps for command in step.commands)
    checked = any(re.match(rf"\s*{re.escape(name)}\b", check) for check in bench.brief.checks)
    return (
        checked
        or name in re.findall(r"[\w.+-]+", (skill.title + " " + skill.name).lower())
        or bool(re.search(rf"/{re.escape(name)}\b", commands))
    )


def _candidate(bench: Bench, name: str) -> str:
    which = manager(bench)
    return {
        "apt": f"apt-cache show --no-all-versions {name} 2>/dev/null | grep -m1 ^Package:",
        "dnf": f"dnf -q list {name}",
        "apk": f"apk search -e {name} | grep .",
        "pacman": f"pacman -Si {name}",
        "brew": f"brew info {name}",
    }.get(which, "false")


def missing_part(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A header, library, pkg-config file or build tool that a build looks for."""
    kinds = {
        "header": "headers",
        "library": "libraries",
        "pc": "pkgconfig",
        "shared": "shared",
        "cmake": "cmake",
        "tool": "programs",
    }
    for key, kind in kinds.items():
        name = found.get(key)
        if not name:
            continue
        package = package_of(bench, kind, name) or (yield from _guess(bench, key, name))
        if package and (yield from install(bench, package, f"{name} is needed to build and not installed")):
            return failure.command
    return None


def _guess(bench: Bench, key: str, name: str) -> Work[str]:
    """A development package by its usual name, when the manager knows exactly such a one."""
    if manager(bench) != "apt" or not re.fullmatch(r"[\w./+-]+", name):
        return ""
    stem = re.sub(r"^lib|\.(h|hpp|pc|so.*)$", "", name.rsplit("/", 1)[-1]).lower()
    guesses = [f"lib{stem}-dev", f"{stem}-dev", f"lib{stem.replace('_', '-')}-dev"]
    if key == "shared" and (match := re.match(r"lib([\w+-]+?)\.so\.(\d+)", name)):
        base = match[1].replace("_", "-").lower()
        guesses = [f"lib{base}{match[2]}", f"lib{base}-{match[2]}", f"lib{base}{match[2]}t64"]
    text = " ".join(dict.fromkeys(guesses))
    found = yield from bench.look(
        f"for p in {text}; do apt-cache show --no-all-versions $p >/dev/null 2>&1 && echo $p; done; true",
        f"which package holds {name}?",
    )
    return (found or "").split("\n")[0].strip()


def without_root(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A command that wants root rights nobody has here: the same at the user's level."""
    if re.search(r"\bapt(-get)?\b.*\bupdate\b", failure.command) and "install" not in failure.command:
        return ""
    match = re.search(r"\bapt(?:-get)?\b(?:\s+-\S+)*\s+install\b(?P<rest>[^;&|\n]*)", failure.command)
    if match:
        names = [word for word in match["rest"].split() if re.fullmatch(r"[a-z0-9][\w.+=:-]*", word)]
        if names and (yield from unpack(bench, names, "no root rights: the package goes into the home directory")):
            return ""
        return None
    plain = without_sudo(failure.command)
    return plain if plain != failure.command else None


def no_candidate(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A package that apt does not offer: pinned away, renamed, or in a part of the archive that is off."""
    name = found.get("package", "").strip("'")
    if not re.fullmatch(r"[\w.+:-]+", name):
        return None
    policy = yield from bench.look(
        f"apt-cache policy {name}; grep -rn -B4 -A4 -F {name} /etc/apt/preferences /etc/apt/preferences.d 2>/dev/null; true",
        f"why is there no candidate for {name}?",
    )
    text = policy or ""
    if re.search(r"Candidate: \(none\)", text) and (version := re.search(r"^\s+(\d\S*) -?\d+\s*$", text, re.MULTILINE)):
        raise _pinned(name, version[1], text)
    new = re.search(r"the following packages replace it:\s*\n\s*(?P<new>[\w.+-]+)", failure.text)
    replacement = new["new"] if new else knowledge()["renamed"].get(name, "")
    if not replacement:
        search = yield from bench.look(
            f"apt-cache search --names-only '^{re.escape(name)}[0-9.-]*$' | cut -d' ' -f1",
            f"is {name} there under a like name?",
        )
        rows = (search or "").split()
        replacement = rows[0] if len(rows) == 1 else ""
    if not replacement or not (yield from bench.look(_candidate(bench, replacement), f"does {replacement} exist?")):
        return None
    bench.explain(f"{name} is called {replacement} here.")
    return re.sub(rf"(?<![\w.+-]){re.escape(name)}(?![\w.+-])", replacement, failure.command)


def _pinned(name: str, version: str, text: str) -> Stop:
    """A package an administrator pinned away: whoever set the pin decides, whatever is written beside it."""
    notes = " ".join(re.sub(r"^\S+?[-:]\d+[-:]", "", line).strip("# ") for line in text.splitlines() if "#" in line)
    told = f"{name} {version} exists, but a pin in /etc/apt/preferences keeps it away" + (f" ({notes})" if notes else "")
    return Stop(
        "needs_person", f"{told}. Whoever set the pin decides; `apt-get install {name}={version}` would go past it once."
    )


def held(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """Packages an administrator holds: a version of the wanted one that goes with them; the hold itself stays."""
    match = re.search(r"\bapt(?:-get)?\b(?:\s+-\S+)*\s+install\b(?P<rest>[^;&|\n]*)", failure.command)
    holds = yield from bench.look(
        "apt-mark showhold; grep -rhs -B3 '^Pin' /etc/apt/preferences /etc/apt/preferences.d; true",
        "what is held back, and why?",
    )
    for name in re.findall(r"(?<!\S)([a-z0-9][\w.+-]+)(?!\S)", match["rest"] if match else ""):
        versions = yield from bench.look(
            f"apt-cache madison {name} | awk -F'|' '{{print $2}}'", f"which versions of {name} are there?"
        )
        for version in (versions or "").split():
            if not re.fullmatch(r"[\w.+:~-]+", version):
                continue
            plan = yield from bench.look(
                f"apt-get -s install -y {name}={version}", f"would {name} {version} go with what is held?"
            )
            if plan is not None and not re.search(r"^Remv ", plan, re.MULTILINE):
                bench.explain(f"{name} {version} goes with the packages that are held back, which stay as they are.")
                return re.sub(rf"(?<!\S){re.escape(name)}(?!\S)", f"{name}={version}", failure.command)
    raise Stop(
        "needs_person",
        f"This would change packages that an administrator holds back ({(holds or '').strip()[:300]}). Whoever set the hold decides.\n{failure.last_lines}",  # noqa: E501
    )


PROCEDURES: dict[str, Callable[[Bench, Failure, Mapping[str, str]], Work[str | None]]] = {
    "missing-program": missing_program,
    "missing-part": missing_part,
    "without-root": without_root,
    "no-candidate": no_candidate,
    "held": held,
}
