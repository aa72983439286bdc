"""Programs that are there but not found, directories that cannot be written, files the documentation misnames."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Mapping

from skillrun.models.builtin.bench import Bench, Work, quote_home
from skillrun.models.builtin.remedy import Failure

PLACES = (
    "$HOME/.local/bin $HOME/bin $HOME/.[a-z]*/bin $HOME/go/bin $HOME/.cargo/bin /usr/local/bin /usr/local/sbin "
    "/usr/sbin /sbin /opt/*/bin /opt/bin /snap/bin $HOME/.npm-global/bin $HOME/.npm-packages/bin /usr/games /usr/local/games"
)
"""Where programs are put that a shell may not look into."""


SYSTEM = ("/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/games", "/usr/local/games")
"""The system's own directories, which go after the others on a user's PATH."""


def find_program(bench: Bench, name: str) -> Work[str]:
    """The path of a program that is installed somewhere PATH does not lead to, or empty."""
    named = re.findall(r"(?:\$HOME|~|\$\{HOME\}|/)[\w$~./{}+-]*/s?bin\b", bench.brief.skill.text + bench.heard)
    places = [re.sub(r"^~(?=/)|\$\{HOME\}", "$HOME", place) for place in dict.fromkeys([*bench.bins, *named])]
    places = [place for place in places if re.fullmatch(r"(\$HOME)?[\w./+-]*", place)]
    found = yield from bench.look(
        f'for d in {" ".join(places)} {PLACES}; do [ -f "$d/{name}" ] && [ -x "$d/{name}" ] && echo "$d/{name}"; done; true',
        f"is {name} installed somewhere the shell does not look?",
    )
    return (found or "").split("\n")[0].strip()


def on_path(bench: Bench, folder: str, why: str, first: str = "") -> Work[None]:
    """Put a directory on PATH: of this run's shell now, and of the user's new shells where they do not have it.

    `first` names a program that new shells must find in this directory rather than in another.
    """
    where = quote_home(folder, bench.home)
    if folder not in bench.bins:
        bench.bins.append(folder)
    yield from bench.shell(f'case ":$PATH:" in *":{where}:"*) ;; *) export PATH="{where}:$PATH" ;; esac', why)
    there = (
        f'[ "$(command -v {first})" = "{folder}/{first}" ]'
        if first
        else f'case ":$PATH:" in *":{folder}:"*) ;; *) exit 1 ;; esac'
    )
    test = bench.login(there)
    if (yield from bench.look(test, f"does a new login shell already have {folder} on PATH?")) is not None:
        return
    shell = bench.facts.get("shell", {})
    login = str(shell.get("path_file") or f"{bench.home}/.profile")
    line = f'export PATH="{where}:$PATH"'
    if folder in SYSTEM and not first:
        line = f'export PATH="$PATH:{where}"'
    if login.endswith("config.fish"):
        line = f'fish_add_path "{where}"'
    bench.explain(
        f"{folder} is not {'first ' if first else ''}on PATH in a new terminal: {login} is what the login shell really reads, so it goes there."  # noqa: E501
    )
    also = [path for path in shell.get("interactive_files", ()) if path != login]
    for path in [login, *also]:
        target = f'"{quote_home(path, bench.home)}"'
        yield from bench.shell(f"printf '\\n%s\\n' {shlex.quote(line)} >>{target}", f"PATH for new shells, in {path}")


def path_program(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A program that is installed but not on PATH."""
    name = found.get("program", "")
    if not re.fullmatch(r"[\w.+-]+", name):
        return None
    path = yield from find_program(bench, name)
    if not path:
        return None
    folder = path.rsplit("/", 1)[0]
    again = f"tried-path {folder}"
    if bench.tried[again] > 1:
        return None
    bench.tried[again] += 1
    if re.search(rf"\bsudo\s+(-\S+\s+)*{re.escape(name)}\b", failure.command):
        return re.sub(rf"(\bsudo\s+(?:-\S+\s+)*){re.escape(name)}\b", rf"\g<1>{path}", failure.command)
    yield from on_path(bench, folder, f"{name} lies in {folder}, which is not on PATH")
    return failure.command


def shadowed(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A program on PATH that cannot run, with a sound one of the same name further on."""
    words = re.findall(
        r"(?<![\w./-])(python3?|pip3?|node|npm|ruby|perl|java|make|gcc|cc|git|curl|wget|tar|unzip|go|cargo)(?![\w./-])",
        failure.command,
    )
    for name in dict.fromkeys(words):
        listing = yield from bench.look(
            f'for p in $(hash -r; type -aP {name}); do if "$p" --version >/dev/null 2>&1; then echo "good $p"; else echo "bad $p"; fi; done',  # noqa: E501
            f"which {name} is found, and does it run?",
        )
        rows = [line.split(" ", 1) for line in (listing or "").splitlines() if " " in line]
        if not rows or rows[0][0] == "good":
            continue
        good = next((path for state, path in rows if state == "good"), "")
        if not good:
            continue
        bench.instead[name] = good
        bench.explain(f"{rows[0][1]} does not run (a leftover); {good} does and is used instead, nothing is removed.")
        return replace_program(failure.command, name, good)
    return None


def replace_program(command: str, name: str, path: str) -> str:
    """The command with a program's name replaced where it stands as a word of its own at a command's place."""
    return re.sub(
        rf"(^|[;&|(]\s*|\bsudo\s+(?:-\S+\s+)*|\benv\s+(?:\S+=\S*\s+)*|\n\s*|\bexec\s+){re.escape(name)}(?=\s|$)",
        rf"\g<1>{path}",
        command,
    )


def no_such_path(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A path the documentation names that does not exist, where exactly one like it does."""
    path = (found.get("path") or found.get("path2") or "").strip("'\"")
    if not path or (path not in failure.command and path.removeprefix(bench.home + "/") not in failure.command):
        return None
    written = path if path in failure.command else path.removeprefix(bench.home + "/")
    parent, _, name = path.rstrip("/").rpartition("/")
    listing = yield from bench.look(
        f"ls -1Ap {shlex.quote(parent) if parent else '.'} 2>/dev/null; echo ==; find . -maxdepth 4 -name {shlex.quote(name)} "
        "-not -path '*/.git/*' -not -path '*/node_modules/*' 2>/dev/null | head -5",
        f"{path} does not exist: what is there?",
    )
    if listing is None:
        return None
    there, _, elsewhere = listing.partition("==")
    hits = [line.strip().removeprefix("./") for line in elsewhere.split("\n") if line.strip()]
    hits = [hit for hit in hits if f"/{hit}/" not in f"/{path}"]  # a directory that the path itself leads through
    if len(hits) == 1 and hits[0] != written:
        return failure.command.replace(written, hits[0])
    names = [line.rstrip("/") for line in there.split("\n") if line.strip()]
    close = closest(name, names)
    if not close:
        return None
    chosen = f"{written.rstrip('/').rpartition('/')[0]}/{close}" if "/" in written.rstrip("/") else close
    bench.explain(f"{path} does not exist; {close} does and is surely meant.")
    return failure.command.replace(written, chosen)


def closest(name: str, names: list[str]) -> str:
    """The one name that is surely meant by another, or empty when none or several could be."""

    def plain(text: str) -> str:
        return re.sub(r"[^a-z0-9]", "", text.lower())

    same = [other for other in names if plain(other) == plain(name)]
    if len(same) == 1:
        return same[0]

    def kind(text: str) -> str:  # a version is no ending
        return match[0] if (match := re.search(r"\.[A-Za-z]\w{0,4}$", text)) else ""

    stem = plain(re.sub(r"[-_.v]?\d[\w.]*$", "", name.rsplit(".", 1)[0] if re.search(r"\.[a-z]{1,4}$", name) else name))
    like = [other for other in names if stem and plain(other).startswith(stem) and kind(other) == kind(name)]
    if len(like) == 1:
        return like[0]
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.75)
    return near[0] if len(near) == 1 or (len(near) > 1 and difflib.SequenceMatcher(None, name, near[0]).ratio() > 0.9) else ""


def dangling_link(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A link that leads nowhere stands where a command writes: it is moved aside, so that nothing is written behind it."""
    words = re.findall(r"(?:~|\$HOME)?/[\w./@+-]*[\w-]|(?<=[\s>])[\w.@+-]+", failure.command)
    named = [word for word in dict.fromkeys([*re.findall(r"'(/[^'\s]+)'", failure.text), *words]) if word]
    if not named:
        return None
    listing = yield from bench.look(
        f'for f in {" ".join(named[:15])}; do [ -L "$f" ] && [ ! -e "$f" ] && echo "$f -> $(readlink "$f")"; done; true',
        "does a link there lead nowhere?",
    )
    rows = re.findall(r"^(\S+) -> (\S+)$", listing or "", re.MULTILINE)
    if not rows:
        return None
    path, target = rows[0]
    bench.explain(f"{path} is a link to {target}, which is not there; the link is kept as {path}.dangling.")
    prefix = bench.root if bench.can_root and not path.startswith(bench.home + "/") else ""
    moved = yield from bench.shell(f"{prefix}mv -T {path} {path}.dangling", f"{path} leads nowhere")
    return failure.command if moved.ok else None


def example_settings(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A settings file that is not there, with exactly one example of it beside: copied, never over anything."""
    path = found.get("path", "").strip("'\"")
    name = path.rsplit("/", 1)[-1]
    if not re.fullmatch(r"[\w.+-]*[A-Za-z][\w.+-]*", name) or (name in failure.command and "/" not in path):
        return None
    stem, dot, ending = name.rpartition(".")
    words = [word for word in re.findall(r"[\w~./$-]*/", f"{path} {failure.command}") if word not in ("/", "//")]
    folders = " ".join(dict.fromkeys([*words, "./"]))
    marks = ("example", "sample", "dist", "template", "default", "tmpl")
    named = [f"{name}{sep}{mark}" for mark in marks for sep in (".", "-")] + [f"{mark}.{name.lstrip('.')}" for mark in marks]
    named += [f"{stem}{sep}{mark}.{ending}" for mark in marks for sep in (".", "-", "_") if stem and dot]
    listing = yield from bench.look(
        f"for d in {folders}; do for n in {' '.join(named)}; do [ -f $d$n ] && [ ! -e ${{d}}{name} ] && echo $d$n ${{d}}{name}; done; done | sort -u",  # noqa: E501
        f"is there an example of {name}?",
    )
    rows = [line.split() for line in (listing or "").splitlines() if len(line.split()) == 2]
    if len(rows) != 1:
        return None
    bench.explain(f"{name} was not there; it begins as a copy of {rows[0][0]}.")
    return failure.command if (yield from bench.shell(f"cp {rows[0][0]} {rows[0][1]}", f"{name} from its example")).ok else None


PROCEDURES: dict[str, Callable[[Bench, Failure, Mapping[str, str]], Work[str | None]]] = {
    "path-program": path_program,
    "shadowed": shadowed,
    "no-such-path": no_such_path,
    "dangling-link": dangling_link,
    "example-settings": example_settings,
}
