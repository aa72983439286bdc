"""Python and Node programs for one user: what `pip install X` and `npm install -g X` mean in a document.

By the tool that is there (uv, pipx, npm), else one the distribution has; never into the system's own Python. What comes of
it is a program in a directory that new login shells look into.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

from skillrun.events import Result, State
from skillrun.models.builtin import choosing, registry
from skillrun.models.builtin.bench import Bench, Work
from skillrun.models.builtin.moves import network, node, packages, paths, python
from skillrun.skills.skill import Way

_PROGRAM = re.compile(r"^\s*-\s+(?P<name>[\w.+-]+)\s*$", re.MULTILINE)
_UV_PROGRAMS = re.compile(r"^Installed \d+ executables?: (?P<names>.+)$", re.MULTILINE)
NO_PROGRAM = re.compile(r"No apps associated with|No executables are provided", re.IGNORECASE)
"""How pipx and uv say that a package is a library."""


@dataclass(slots=True)
class Got:
    """What came of an installation: its last command and that one's result; the programs it brought, where that was said."""

    command: str
    result: Result
    programs: list[str] = field(default_factory=list)
    folder: str = ""


def _for_all(bench: Bench) -> bool:
    """Whether programs go where every user finds them: for root, and where root's places can be written and the home cannot."""
    return bench.is_root or (bench.can_root and not bench.facts.get("user", {}).get("home_writable", True))


def _folder(bench: Bench) -> str:
    return "/usr/local/bin" if _for_all(bench) else f"{bench.home}/.local/bin"


def _named(way: Way) -> str:
    return " ".join(shlex.quote(package) for package in way.packages)


def _required(package: str) -> str:
    """A Python package as pip and pipx spell it: `tool@latest` and `tool@1.2` are uv's own spellings."""
    return re.sub(r"(?<=[\w\]])@(?=\d)", "==", package.removesuffix("@latest"))


def foreseen(bench: Bench, way: Way) -> list[str]:
    """The commands that getting a Python or Node program will most likely take, in order; none for other ways."""
    asked = [text for text in (registry.question(bench, way),) if text and text not in bench.answers]
    if way.manager in choosing.NODE:
        return asked + _foreseen_node(bench, way)
    return asked + _foreseen_python(bench, way) if way.manager in choosing.PYTHON else []


def _foreseen_python(bench: Bench, way: Way) -> list[str]:
    if bench.tool("uv") and (way.manager.startswith("uv") or not bench.tool("pipx")):
        return [_uv_command(bench, way)]
    if bench.tool("pipx"):
        return [_pipx_command(bench, way)]
    before = packages.install_command(bench, "pipx")
    return [before, _pipx_command(bench, way)] if before else []


def _foreseen_node(bench: Bench, way: Way) -> list[str]:
    before = [] if bench.tool("npm") else [packages.install_command(bench, "npm")]
    return [text for text in (*before, _npm_command(bench, way, "" if bench.is_root else IN_HOME)) if text]


def _npm_command(bench: Bench, way: Way, prefix: str) -> str:
    if prefix and _for_all(bench):
        return f'{bench.root}env PATH="$PATH" npm install -g --prefix /usr/local {_named(way)}'
    return f"npm install -g {prefix}{_named(way)}"


def get_python(bench: Bench, way: Way) -> Work[Got]:
    """A Python program with uv, pipx or an environment of its own."""
    if not bench.tool("uv") and not bench.tool("pipx"):
        why = "pipx gives a Python program an environment of its own"
        if bench.can_root and packages.manager(bench) != "brew" and (yield from packages.install(bench, "pipx", why)):
            return (yield from _with_pipx(bench, way))
        return (yield from _with_venv(bench, way))
    if bench.tool("uv") and (way.manager.startswith("uv") or not bench.tool("pipx")):
        return (yield from _with_uv(bench, way))
    return (yield from _with_pipx(bench, way))


def _pipx(bench: Bench) -> str:
    return f"{bench.root}env PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx" if _for_all(bench) else "pipx"


def _pipx_command(bench: Bench, way: Way) -> str:
    return f"{_pipx(bench)} install {shlex.quote(_required(way.packages[0]))}"


def _uv_command(bench: Bench, way: Way) -> str:
    place = f"{bench.root}env UV_TOOL_DIR=/opt/uv-tools UV_TOOL_BIN_DIR=/usr/local/bin " if _for_all(bench) else ""
    first, *more = way.packages
    extra = "".join(f" --with {shlex.quote(package)}" for package in more)
    return f"{place}uv tool install {shlex.quote(first)}{extra}"


def _with_uv(bench: Bench, way: Way) -> Work[Got]:
    command = _uv_command(bench, way)
    result = yield from bench.shell(command, f"{way.packages[0]} for this user, in an environment of its own")
    found = _UV_PROGRAMS.search(result.output)
    names = re.split(r",\s*", found["names"].strip()) if found else []
    return Got(command, result, names, _folder(bench))


def _with_pipx(bench: Bench, way: Way) -> Work[Got]:
    first, *more = map(_required, way.packages)
    command = _pipx_command(bench, way)
    result = yield from bench.shell(command, f"{first} for this user, in an environment of its own")
    if result.ok and more:
        command = f"{_pipx(bench)} inject {shlex.quote(first)} {' '.join(shlex.quote(package) for package in more)}"
        result = yield from bench.shell(command, "what goes with it, into the same environment")
    return Got(command, result, _PROGRAM.findall(result.output), _folder(bench))


def _with_venv(bench: Bench, way: Way) -> Work[Got]:
    """Without uv and pipx and without the rights to get them: a virtual environment, its programs linked."""
    wanted = [_required(package) for package in way.packages]
    names = python.requirement_names(" ".join(wanted)) or ["env"]
    place = f"/opt/venvs/{names[0]}" if _for_all(bench) else f"{bench.home}/.local/share/venvs/{names[0]}"
    folder, root = _folder(bench), bench.root if _for_all(bench) else ""
    why = f"an environment of its own for {names[0]}, so that the system's Python stays as it is"
    command = f"{root}python3 -m venv {shlex.quote(place)}"
    result = yield from bench.sure(command, why)
    if not result.ok:
        return Got(command, result)
    command = f"{root}{shlex.quote(place)}/bin/pip install {' '.join(map(shlex.quote, wanted))}"
    result = yield from bench.sure(command, why)
    if not result.ok:
        return Got(command, result)
    listed = yield from bench.look(
        f"{place}/bin/python -c {shlex.quote(python.SCRIPTS)} {' '.join(map(shlex.quote, names))}",
        f"which programs did {names[0]} bring?",
    )
    programs = [name for name in (listed or "").split() if re.fullmatch(r"[\w.+-]+", name)]
    if programs:
        links = " ".join(f'"{place}/bin/{name}"' for name in programs)
        command = f'{root}mkdir -p "{folder}" && {root}ln -s {links} "{folder}/"'
        result = yield from bench.shell(command, f"its programs, linked into {folder}")
    return Got(command, result, programs, folder)


IN_HOME = '--prefix "$HOME/.local" '
"""npm's option that puts what is global into the home directory."""
WRITABLE = (
    'p=$(npm prefix -g) && echo "$p" && [ -w "$p/lib" ] && '
    '{ [ ! -e "$p/lib/node_modules" ] || [ -w "$p/lib/node_modules" ]; } && echo writable; true'
)
"""Prints npm's global prefix, and whether the user may write there."""


_TOO_OLD = re.compile(
    r"EBADENGINE\s+package: '(?P<name>@?[^'@]+)@[^']*',?\s*\n[^\n]*required: \{[^}\n]*\bnode: '(?P<range>[^'\n]*)'"
)
"""How npm 7 to 11 warn that a package wants another Node."""


def get_node(bench: Bench, way: Way) -> Work[Got]:
    """A Node program into npm's global directory where that is the user's, else into `~/.local`."""
    if not bench.tool("npm") and not (yield from packages.install(bench, "npm", "npm gets Node programs")):
        return Got("npm install", Result(State.EXITED, 127, "npm is not here and could not be got"))
    yield from network.trusted_by_node(bench, "npm")
    prefix, folder = "", ""
    if not bench.is_root and "npm" in bench.brought:
        prefix, folder = IN_HOME, _folder(bench)  # as the distribution has it: for root alone
    elif not bench.is_root:
        there = yield from bench.look(WRITABLE, "may this user add to npm's global directory?")
        lines = (there or "").splitlines()
        folder = f"{lines[0]}/bin" if lines else ""
        if "writable" not in lines:
            prefix, folder = IN_HOME, _folder(bench)
    command = _npm_command(bench, way, prefix)
    result = yield from bench.shell(command, f"{_named(way)} for this user")
    if result.ok and (needs := _needed(result.output)):
        # npm only warns; the program would fail with a syntax error. What is for one of its parts alone may never matter.
        bench.wants_node = max(needs.values())
        name = next((name for name in needs if way.packages[0].startswith(name)), "")
        listing = (yield from bench.look(_of_node(bench, command, way), _OF_NODE)) or "" if name else ""
        if (yield from node.beside(bench, listing, bench.wants_node)):
            bench.explain(f"{name} needs Node {bench.wants_node}, which is put into the home directory beside the system's.")
            if folder != f"{bench.home}/.local/bin":  # where it is, new shells are asked for the program anyway
                yield from paths.in_new_shells(bench, f"{bench.home}/.local/bin")
            if _NATIVE.search(listing):
                command, folder = paths.replace_program(command, "sudo npm", "npm"), f"{bench.home}/.local/bin"
                result = yield from bench.shell(command, f"{_named(way)} again, with a Node that fits")
    return Got(command, result, [], folder)


def _needed(said: str) -> dict[str, int]:
    """Packages that npm warned are for a newer Node, with the least major version that each is for."""
    least = {
        match["name"]: min(map(int, re.findall(r"(?<![\d.])\d+", match["range"])), default=0)
        for match in _TOO_OLD.finditer(said)
    }
    here = re.search(r"EBADENGINE\s+current: \{ node: 'v(\d+)", said)
    return {name: major for name, major in least.items() if major >= (int(here[1]) if here else 1)}


_OF_NODE = "which versions of Node are to be had, and is anything built for the one that installed it?"
_NATIVE = re.compile(r"^\S+\.node$", re.MULTILINE)


def _of_node(bench: Bench, command: str, way: Way) -> str:
    """Two questions in one look: what a package has that was built for the Node that installed it; the versions of Node."""
    name = re.sub(r"(?<=.)@[^/]*$", "", way.packages[0])
    root = '"$HOME/.local/lib/node_modules"' if IN_HOME in command else '"$(npm root -g)"'
    built = f"find {root}/{shlex.quote(name)} -name '*.node' -print -quit"
    return "; ".join(filter(None, [built, node.versions_of(bench)]))


_GLOBAL = re.compile(r"\bnpm\s+(?:install|i|add)\b(?=.*\s(?:-g|--global)\b)")


def take_back_half(bench: Bench) -> Work[None]:
    """Before giving up: global packages that npm could not write whole, and called installed, are taken away by npm."""
    for command in bench.half_made:
        if _GLOBAL.search(command):
            undo = _GLOBAL.sub("npm uninstall", command)
            yield from bench.shell(undo, "it could not be written whole: what there is of it might pass for it")


def node_programs(bench: Bench, way: Way, got: Got) -> Work[list[str]]:
    """The programs the way's first package brought: what npm has linked to it."""
    name = re.sub(r"(?<=.)@[^/]*$", "", way.packages[0])
    folder = got.folder if "--prefix" in got.command else '"$(npm prefix -g)/bin"'
    listed = yield from bench.look(
        f"find {folder} -maxdepth 1 -lname {shlex.quote(f'*/node_modules/{name}/*')} -printf '%f\\n'",
        f"which programs did {name} bring?",
    )
    return [word for word in (listed or "").split() if re.fullmatch(r"[\w.+-]+", word)]


def link_directory(bench: Bench, way: Way, got: Got) -> Work[list[str]]:
    """The programs of a package that names a directory of them, not each by name: npm 9 and 11 link none of those."""
    name = re.sub(r"(?<=.)@[^/]*$", "", way.packages[0])
    prefix = '"$HOME/.local"' if IN_HOME in got.command else '"$(npm prefix -g)"'
    own = f"{prefix}/lib/node_modules/{shlex.quote(name)}"
    told = "require('./package.json').directories?.bin ?? ''"
    listed = yield from bench.look(
        f'cd {own} && d=$(node -p "{told}") && [ "$d" ] && find "$PWD/$d" -maxdepth 1 -type f',
        f"does {name} have a directory of programs?",
    )
    inside = re.compile(rf"/\S*/node_modules/{re.escape(name)}/(?!\S*\.\./)\S+")
    files = [line for line in (listed or "").splitlines() if inside.fullmatch(line)]
    if not files:
        return []
    root, words = bench.root if got.command.startswith("sudo ") else "", " ".join(map(shlex.quote, files))
    made = yield from bench.shell(
        f"{root}chmod +x {words} && {root}mkdir -p {prefix}/bin && {root}ln -s {words} {prefix}/bin/",
        f"the programs of {name}, which npm has not linked",
    )
    return [file.rsplit("/", 1)[-1] for file in files] if made.ok else []


def in_new_shells(bench: Bench, program: str) -> Work[bool]:
    """Whether a new login shell of the user finds a program."""
    return (yield from bench.fresh(f"command -v {program}", f"is {program} there in a new terminal?")).ok


def on_login_path(bench: Bench, got: Got) -> Work[None]:
    """New login shells find what was got: one line on PATH at most, and only where it is missing."""
    if got.folder:
        yield from paths.on_path(bench, got.folder, f"programs lie in {got.folder}")
