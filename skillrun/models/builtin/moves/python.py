"""Python: virtual environments in place of the system's packages, interpreters that fit, half-made environments."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping

from skillrun.models.builtin.bench import Bench, Work
from skillrun.models.builtin.moves import packages, paths
from skillrun.models.builtin.remedy import Failure

PIP = re.compile(
    r"(?:\bsudo\s+(?:-\S+\s+)*)?(?:\S*\bpython3?(?:\.\d+)?\s+-m\s+)?\S*\bpip3?(?:\.\d+)?\s+install\b(?P<rest>[^;&|\n]*)"
)
MICROS = 40
"""No minor version of Python had as many releases."""
FLAGS = re.compile(r"\s--(?:user|break-system-packages)\b")
SCRIPTS = """
import importlib.metadata as m, pathlib, re, sys
for name in sys.argv[1:]:
    try: dist = m.distribution(name)
    except m.PackageNotFoundError: continue
    names = {e.name for e in dist.entry_points if e.group in ("console_scripts", "gui_scripts")}
    names |= {f.name for f in dist.files or () if f.parent.name == "bin"}
    print(*sorted(names), sep="\\n")
"""
"""Prints the programs that the named distributions brought, their dependencies' left out."""


def into_venv(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """`pip install` on a Python that belongs to the system: the same into an environment of its own, programs linked."""
    match = PIP.search(failure.command)
    if not match:
        return None
    rest = FLAGS.sub("", match["rest"])
    names = requirement_names(rest)
    label = names[0] if names else (bench.cwd.rsplit("/", 1)[-1] or "env")
    root = bench.is_root
    place = f"/opt/venvs/{label}" if root else f"{bench.home}/.local/share/venvs/{label}"
    bindir = "/usr/local/bin" if root else f"{bench.home}/.local/bin"
    why = f"an environment of its own for {label}, so that the system's Python stays as it is"
    made = yield from bench.sure(f"python3 -m venv {shlex.quote(place)}", why)
    if not made.ok:
        return None
    done = yield from bench.sure(f"{shlex.quote(place)}/bin/pip install {rest.strip()}", why)
    if not done.ok:
        return None
    bench.instead.update({"python3": f"{place}/bin/python", "python": f"{place}/bin/python"})
    bench.instead.update({"pip3": f"{place}/bin/pip", "pip": f"{place}/bin/pip"})
    if names or "-r " not in rest:
        listed = yield from bench.look(
            f"{place}/bin/python -c {shlex.quote(SCRIPTS)} {' '.join(shlex.quote(name) for name in names)}"
            if names
            else f"ls {shlex.quote(place)}/bin | grep -vE '^(activate|Activate|pip|python|easy_install|wheel)'; true",
            f"which programs did {label} bring?",
        )
        programs = [name for name in (listed or "").split() if re.fullmatch(r"[\w.+-]+", name)]
        links = " && ".join(
            f'{{ [ -e "{bindir}/{name}" ] && [ ! -L "{bindir}/{name}" ] || ln -sfn "{place}/bin/{name}" "{bindir}/{name}"; }}'
            for name in programs
        )
        if (
            programs
            and not (yield from bench.sure(f'mkdir -p "{bindir}" && {links}', f"its programs, linked into {bindir}")).ok
        ):
            return None
        if programs:
            yield from paths.on_path(bench, bindir, f"programs lie in {bindir}")
    left = (failure.command[: match.start()] + "true" + failure.command[match.end() :]).strip()
    return "" if left == "true" else left


def requirement_names(text: str) -> list[str]:
    """Names of the distributions a `pip install` line asks for; options and files left out."""
    names: list[str] = []
    skip = False
    try:
        words = shlex.split(text)
    except ValueError:
        return []
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in (
                "-r",
                "-c",
                "-i",
                "-e",
                "--requirement",
                "--constraint",
                "--index-url",
                "--extra-index-url",
                "-f",
                "--find-links",
                "-t",
                "--target",
            )
        elif name := _distribution(word):
            names.append(name)
    return names


def _distribution(word: str) -> str:
    """The name in a requirement; empty for a path, a file or a link, which say none."""
    from packaging.requirements import InvalidRequirement, Requirement

    if word.endswith((".whl", ".gz", ".zip")) and "@" not in word:
        return ""
    try:
        return Requirement(word).name
    except InvalidRequirement:
        return ""


def bare_venv(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """The venv module without ensurepip, and nobody is root: an environment made bare, pip put into it from a wheel."""
    match = re.search(r"(?P<python>\S*python3?(?:\.\d+)?)\s+-m\s+venv\s+(?P<rest>[^;&|\n]+)", failure.command)
    if not match:
        return None
    place = match["rest"].split()[-1]
    why = "pip comes from its wheel, since the system's own copy is not installed"
    work = f"{bench.scratch}/skillrun-pip"
    yield from bench.sure(
        f'mkdir -p "{work}" && (cd "{work}" && apt-get download python3-pip-whl && dpkg -x python3-pip-whl_*.deb . && rm -f *.deb)',  # noqa: E501
        why,
    )
    done = yield from bench.shell(
        f'{match["python"]} -m venv --without-pip {place} && W=$(ls "{work}"/usr/share/python-wheels/pip-*.whl | head -1) && '
        f'{place}/bin/python "$W/pip" install --no-index --find-links "{work}/usr/share/python-wheels" pip',
        why,
    )
    return "" if done.ok else None


def other_python(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A package for another Python than the one at hand: one that fits, where the machine or its manager has it."""
    spec = found.get("spec", "")
    listing = yield from bench.look(
        'for p in /usr/bin/python3* /usr/local/bin/python3* /opt/*/bin/python3* "$HOME"/.pyenv/versions/*/bin/python3 "$HOME"/.local/bin/python3* '  # noqa: E501
        '"$HOME"/.local/share/uv/python/*/bin/python3; do case $p in *-config) continue ;; esac; [ -x "$p" ] && '
        '"$p" -c "import sys; print(sys.executable, *sys.version_info[:2])" 2>/dev/null; done | sort -u; '
        "apt-cache search --names-only '^python3\\.[0-9]+$' 2>/dev/null | sed 's/ .*//; s/^/apt /'",
        "which other Pythons are there?",
    )
    fitting: list[tuple[tuple[int, int], str]] = []
    for line in (listing or "").splitlines():
        if match := re.match(r"(/\S+) (\d+) (\d+)$", line):
            version = (int(match[2]), int(match[3]))
            if satisfies(version, spec):
                fitting.append((version, match[1]))
    if not fitting:
        for name in re.findall(r"^apt (python3\.(\d+))$", listing or "", re.MULTILINE):
            if satisfies((3, int(name[1])), spec) and (
                yield from packages.install(bench, f"{name[0]} {name[0]}-venv", f"a Python that is {spec}")
            ):
                fitting.append(((3, int(name[1])), f"/usr/bin/{name[0]}"))
                break
    if not fitting:
        return None
    chosen = max(fitting)[1]
    bench.explain(f"The package needs Python {spec}; {chosen} fits and is used.")
    venv = re.search(r"(\S+)/bin/(?:pip|python)\S*", failure.command)
    if venv and re.search(r"venv|env", venv[1] + " ".join(bench.done)):
        place = venv[1]
        made = yield from bench.sure(
            f"mv {place} {place}.old && {chosen} -m venv {place}", f"the environment again, with {chosen}"
        )
        return failure.command if made.ok else None
    bench.instead.update({"python3": chosen, "python": chosen})
    return paths.replace_program(paths.replace_program(failure.command, "python3", chosen), "python", chosen)


def satisfies(version: tuple[int, int], spec: str) -> bool:
    """True when some release of this major.minor meets a Requires-Python text like `>=3.8,<3.11`."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        wanted = SpecifierSet(spec)
    except InvalidSpecifier:
        return False
    major, minor = version
    return bool(wanted) and any(wanted.contains(f"{major}.{minor}.{micro}") for micro in range(MICROS))


def needs_headers(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A source distribution whose build lacks system packages that are known for it."""
    if not bench.can_root:
        return None
    wanted: list[str] = []
    table = packages.knowledge()["python-builds"]
    names = requirement_names(PIP.search(failure.command)["rest"]) if PIP.search(failure.command) else []  # type: ignore[index]
    for name, entry in table.items():
        if re.search(entry.get("error", r"(?!)"), failure.text) or name in [known.lower() for known in names]:
            wanted += packages.package_of(bench, "python-builds-packages", name).split()
    if not wanted:
        return None
    wanted += packages.package_of(bench, "programs", "python-build-base").split()
    if not (
        yield from packages.install(
            bench, " ".join(dict.fromkeys(wanted)), "it is built from source, and what it is built against is not here"
        )
    ):
        return None
    return failure.command


def missing_module(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A module that is not there: from the project's own list of requirements, else from the distribution; never by guess."""
    module = found.get("module", "").split(".")[0]
    python = re.search(r"(?P<bin>[\w~./$-]*/bin)/(?:python3?|pip3?)\b", failure.command)
    listing = yield from bench.look(
        f"grep -liE '(^|[\"'\\'' ]){re.escape(module).replace('_', '[-_]')}' requirements*.txt requirements/*.txt pyproject.toml setup.py 2>/dev/null; "  # noqa: E501
        "echo ==; grep -n 'include-system-site-packages = true' $VIRTUAL_ENV/pyvenv.cfg 2>/dev/null; true",
        f"does the project itself ask for {module}?",
    )
    asked = (
        []
        if module in ("setuptools", "pkg_resources", "wheel", "distutils")
        else [line for line in (listing or "").partition("==")[0].split() if re.fullmatch(r"[\w./-]+", line)]
    )
    if asked:
        what = f"-r {asked[0]}" if asked[0].endswith(".txt") else "."
        done = yield from bench.sure(
            f"{python['bin']}/python -m pip install {what}" if python else f"python3 -m pip install {what}",
            f"{asked[0]} asks for {module}",
        )
        command = failure.command
        for name in ("python3", "python"):
            command = paths.replace_program(command, name, bench.instead.get(name, name))
        return command if done.ok else None
    if python or not bench.tool("apt") or not re.search(r"python|Traceback", failure.command + failure.text):
        return None
    names = [f"python3-{module.lower().replace('_', '-')}", packages.package_of(bench, "modules", module)]
    for name in (name for name in names if name):
        there = yield from bench.look(f"apt-cache show --no-all-versions {name} | grep -m1 ^Package:", f"is there a {name}?")
        if there and (yield from packages.install(bench, name, f"{module}, for the system's Python, from the distribution")):
            return failure.command
    return None


PROCEDURES: dict[str, Callable[[Bench, Failure, Mapping[str, str]], Work[str | None]]] = {
    "into-venv": into_venv,
    "bare-venv": bare_venv,
    "other-python": other_python,
    "needs-headers": needs_headers,
    "missing-module": missing_module,
}
