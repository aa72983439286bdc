"""Programs that are there but not found, directories that cannot be written, files the documentation misnames."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Mapping

from skillrun.models.builtin.bench import Bench, Stop, Work, quote_home
from skillrun.models.builtin.remedy import Failure

PLACES = (
    "$HOME/.local/bin $HOME/bin $HOME/.[a-z]*/bin $HOME/go/bin $HOME/.cargo/bin /usr/local/bin /usr/local/sbin "
    "/usr/sbin /sbin /opt/*/bin /opt/bin /snap/bin $HOME/.npm-global/bin $HOME/.npm-packages/bin /usr/games /usr/local/games"
)
"""Where programs are put that a shell may not look into."""


OF_MANAGERS = (
    (r"\bnpm\b", "$(npm prefix -g 2>/dev/null)/bin"),
    (r"\bpip3?\b", "$(python3 -m site --user-base 2>/dev/null)/bin"),
    (r"\bgo\s+install\b", "$(go env GOPATH 2>/dev/null)/bin"),
    (r"\bgem\b", "$(gem environment gemdir 2>/dev/null)/bin"),
    (r"\bcargo\b", "${CARGO_HOME:-$HOME/.cargo}/bin"),
)
"""What in a command that went well says that a manager put programs somewhere, and how the manager says where."""

SYSTEM = ("/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/games", "/usr/local/games")
"""The system's own directories, which go after the others on a user's PATH."""


def of_managers(bench: Bench) -> list[str]:
    """Where the managers that were used put programs, as shell text."""
    return [told for mark, told in OF_MANAGERS if any(re.search(mark, command) for command in bench.done)]


def find_program(bench: Bench, name: str) -> Work[str]:
    """The path of a program that is installed somewhere PATH does not lead to, or empty."""
    named = re.findall(r"(?:\$HOME|~|\$\{HOME\}|/)[\w$~./{}+-]*/s?bin\b", bench.brief.skill.text + bench.heard)
    places = [re.sub(r"^~(?=/)|\$\{HOME\}", "$HOME", place) for place in dict.fromkeys([*bench.bins, *named])]
    places += of_managers(bench)
    places = [place for place in places if place.startswith("$(") or re.fullmatch(r"(\$HOME)?[\w./+-]*", place)]
    found = yield from bench.look(
        f'for d in {" ".join(places)} {PLACES}; do [ -f "$d/{name}" ] && [ -x "$d/{name}" ] || continue; '
        f'if [ -e "$d/../pyvenv.cfg" ]; then late="$late $d/{name}"; else echo "$d/{name}"; fi; done; '
        'for p in $late; do echo "$p"; done; true',
        f"is {name} installed somewhere the shell does not look?",
    )
    return next(
        (line.strip() for line in (found or "").splitlines() if re.fullmatch(r"/[\w./+@-]+/[\w.+@-]+", line.strip())), ""
    )


def here(bench: Bench, folder: str, first: str = "") -> str:
    """Shell text that puts a directory on PATH of this run's shell."""
    where = quote_home(folder, bench.home)
    if folder not in bench.bins:
        bench.bins.append(folder)
    new = f"$PATH:{where}" if folder in SYSTEM and not first else f"{where}:$PATH"
    return f'case ":$PATH:" in *":{where}:"*) ;; *) export PATH="{new}" ;; esac'


def on_path(bench: Bench, folder: str, why: str, first: str = "") -> Work[None]:
    """Put a directory on PATH: of this run's shell now, and of the user's new shells where they do not have it.

    `first` names a program that new shells must find in this directory rather than in another.
    """
    yield from bench.shell(here(bench, folder, first), why)
    yield from in_new_shells(bench, folder, first)


def in_new_shells(bench: Bench, folder: str, first: str = "") -> Work[None]:
    """The user's new shells have a directory on PATH, one that is on this run's already."""
    where = quote_home(folder, bench.home)
    there = (
        f'[ "$(command -v {first})" = "{folder}/{first}" ]'
        if first
        else f'case ":$PATH:" in *":{folder}:"*) ;; *) exit 1 ;; esac'
    )
    if (yield from bench.fresh(there, f"does a new login shell already have {folder} on PATH?")).ok:
        return
    if not (yield from bench.fresh("true", "does a new login shell come up at all?")).ok:
        return  # a line more in its files would not help: what keeps it from coming up is named with the check
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


SHADOWS = """
d={folder}; [ -e "$d/../pyvenv.cfg" ] && echo environment
for f in "$d"/*; do
  n=${{f##*/}}; [ "$n" != {name} ] && [ -f "$f" ] && [ -x "$f" ] && type -aP "$n" | grep -qvxF "$f" && echo "$n"
done | head -3
"""
"""Says what else of a directory would be found in place of what is found now, if the directory were on PATH."""


def reach(bench: Bench, path: str, why: str, first: str = "") -> Work[bool]:
    """Make one program known to this run and to new shells: its directory on PATH, or, where that directory holds other
    programs that are known elsewhere (an environment does), one link to the one program. False when neither can be.
    """
    folder, name = path.rsplit("/", 1)
    look = SHADOWS.format(folder=shlex.quote(folder), name=shlex.quote(name)).strip()
    own = {*SYSTEM, f"{bench.home}/.local/bin", f"{bench.home}/bin"}  # the user's own go first by custom
    others = "" if folder in own else (yield from bench.look(look, f"what else would come with {folder} on PATH?"))
    if not others:
        yield from on_path(bench, folder, why, first)
        return True
    bench.explain(f"{folder} holds programs of other names too ({', '.join(others.split())}): only {name} is linked.")
    for bindir in (*(["/usr/local/bin"] if bench.is_root else []), f"{bench.home}/.local/bin"):
        link = shlex.quote(f"{bindir}/{name}")
        made = yield from bench.shell(
            f"mkdir -p {shlex.quote(bindir)} && {{ [ ! -e {link} ] || [ -L {link} ]; }} && ln -sfn {shlex.quote(path)} {link}",
            why,
        )
        if made.ok:
            yield from on_path(bench, bindir, f"{name} lies in {bindir}", first)
            return True
    return False


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
    return failure.command if (yield from reach(bench, path, f"{name} lies in {folder}, which is not on PATH")) else None


SOUND = {"go": "version", "java": "-version", "python": "-c 'import ssl, zlib, venv'", "python3": "-c 'import ssl, zlib, venv'"}
"""What a sound program of that name can do, besides telling its version."""


def shadowed(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A program on PATH that cannot run, with a sound one of the same name further on."""
    words = re.findall(
        r"(?<![\w./-])(python3?|pip3?|node|npm|ruby|perl|java|make|gcc|cc|git|curl|wget|tar|unzip|go|cargo)(?![\w./-])",
        failure.command,
    )
    for name in dict.fromkeys(words):
        listing = yield from bench.look(
            f'for p in $(hash -r; type -aP {name}); do if "$p" {SOUND.get(name, "--version")} >/dev/null 2>&1; then echo "good $p"; else echo "bad $p"; fi; done',  # noqa: E501
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


COPIES = re.compile(
    r"^\s*(?P<sudo>sudo\s+)?(?:cp|mv|install|ln)\s+(?:-\S+\s+)*(?P<source>[^\s;&|-]\S*)\s+(?P<target>[^\s;&|]+)\s*$"
)


def already_there(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """What is to be put somewhere is there, as an earlier run leaves it: the same goes on, other content is a person's."""
    match = COPIES.match(failure.command)
    if not match:
        return None
    source, target = match["source"], match["target"]
    listing = yield from bench.look(
        f's={source}; t={target}; [ -d "$t" ] && [ ! -d "$s" ] && t="${{t%/}}/${{s##*/}}"; [ -e "$t" ] || exit 1; '
        'if diff -rq "$s" "$t" >/dev/null 2>&1; then echo same "$t"; else echo other "$t"; fi',
        f"is what goes to {target} there already?",
    )
    state, _, path = (listing or "").partition(" ")
    if state == "same":
        bench.explain(f"{path} is there already with the very same content, as an earlier run leaves it.")
        return ""
    if state == "other":
        raise Stop(
            "needs_person",
            f"{path} exists already and differs from what the instructions put there (an earlier run, or a person, left it). "
            f"It stays as it is; move it away if it may go.\n{failure.last_lines}",
        )
    return None


PROCEDURES: dict[str, Callable[[Bench, Failure, Mapping[str, str]], Work[str | None]]] = {
    "path-program": path_program,
    "shadowed": shadowed,
    "no-such-path": no_such_path,
    "dangling-link": dangling_link,
    "example-settings": example_settings,
    "already-there": already_there,
}
