"""Rights: things at home that belong to others, places that cannot be written, scripts that cannot be executed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping

from skillrun.models.builtin.bench import Bench, Work
from skillrun.models.builtin.moves import paths
from skillrun.models.builtin.remedy import Failure
from skillrun.models.builtin.script import without_sudo


def foreign_home(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A directory at home that belongs to root (a forgotten sudo): give it back, when sudo is there to do it."""
    named = [path for path in re.findall(r"/[\w./@+-]+", failure.text) if path.startswith(bench.home + "/")]
    foreign = [str(path) for paths in bench.facts.get("foreign", {}).values() for path in paths]
    wanted = [path for path in foreign if any(name == path or name.startswith(path + "/") for name in named)]
    if not wanted:
        return None
    user = bench.facts.get("user", {}).get("name", "")
    for path in dict.fromkeys(wanted):
        if bench.can_root:
            bench.explain(
                f"{path} lies in the home directory and belongs to someone else, surely by mistake: it is given back."
            )
            done = yield from bench.shell(
                f"{bench.root}chown -R {user}: {shlex.quote(path)}", f"{path} belongs to its user again"
            )
        else:
            aside = shlex.quote(f"{path}.of-someone-else")
            bench.explain(
                f"{path} belongs to someone else and nobody here is root: it is moved aside whole, a copy takes its place."
            )
            done = yield from bench.shell(
                f"mv {shlex.quote(path)} {aside} && mkdir {shlex.quote(path)} && {{ cp -R {aside}/. {shlex.quote(path)}/ 2>/dev/null || true; }}",  # noqa: E501
                f"{path} moved aside, its contents copied",
            )
        if not done.ok:
            return None
    return failure.command


def user_prefix(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """What cannot go into /usr/local goes into ~/.local, for this command and those after it."""
    if bench.is_root and not re.search(r"Read-only", failure.text):
        return None
    if bench.can_root and "sudo" not in failure.command and not re.search(r"Read-only|EROFS", failure.text):
        test = yield from bench.look(
            "[ -w /usr/local/bin ] || sudo -n test -w /usr/local/bin && echo writable", "could sudo write there?"
        )
        if test and not re.search(r"no root|without (?:root|sudo)|not use sudo|no sudo", bench.brief.skill.text, re.IGNORECASE):
            return f"sudo {failure.command}" if re.match(r"[\w./]+", failure.command) and "\n" not in failure.command else None
    plain = without_sudo(failure.command)
    if not (yield from bench.shell('mkdir -p "$HOME/.local/bin"', "programs of this user go here")).ok:
        return None
    bench.moved["/usr/local"] = "$HOME/.local"
    if re.search(r"\bmake\b[^;&|\n]*\sinstall\b", plain):
        command = yield from _make_install(bench, plain)
    else:
        command = plain.replace("/usr/local", "$HOME/.local")
        if "$HOME" in command:
            command = re.sub(r"'([^']*\$HOME[^']*)'", r'"\1"', command)
    if command == failure.command:
        return None
    yield from paths.on_path(bench, f"{bench.home}/.local/bin", "the program goes to ~/.local/bin")
    return command


def _make_install(bench: Bench, plain: str) -> Work[str]:
    """`make install` with its usual prefix variable; where the Makefile has none, its own commands with another place."""
    command = f'{plain} PREFIX="$HOME/.local" prefix="$HOME/.local"'
    dry = yield from bench.look(re.sub(r"\bmake\b(?! -n)", "make -n", command), "what would be installed where?")
    if dry and "/usr/local" in dry:
        lines = [line for line in dry.splitlines() if line.strip() and not line.startswith("make")]
        return " && ".join(line.replace("/usr/local", "$HOME/.local") for line in lines)
    return command


def by_interpreter(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A script that may not be executed is handed to the interpreter it names; a program is run from where it may."""
    script = found.get("script", "")
    match = re.search(rf"(?:^|[\s;&|]){re.escape(script)}(?=\s|$)", failure.command)
    if not match:
        script = next(
            (
                word
                for word in re.findall(r"[^\s;&|'\"]+", failure.command)
                if word.rstrip("/").endswith(script.rsplit("/", 1)[-1])
            ),
            "",
        )
    if not script or not re.fullmatch(r"[\w~./$+-]+", script):
        return None
    head = yield from bench.look(
        f"head -c 120 {script} | head -1; [ -x {script} ] && echo executable; ls -ld {script}",
        f"what kind of file is {script}?",
    )
    first = (head or "").split("\n")[0]
    if shebang := re.match(r"#!\s*(?:/usr/bin/env\s+(?:-S\s+)?)?(\S+)(.*)", first):
        interpreter = shebang[1].rsplit("/", 1)[-1]
        return failure.command.replace(script, f"{interpreter} {script}", 1)
    if first.startswith("\x7fELF") or "ELF" in first[:8]:
        copy = f"{bench.scratch}/skillrun-run/{script.rsplit('/', 1)[-1]}"
        made = yield from bench.shell(
            f'mkdir -p "{bench.scratch}/skillrun-run" && cp {script} "{copy}" && chmod u+x "{copy}"',
            "a copy where programs may be executed",
        )
        return failure.command.replace(script, f'"{copy}"', 1) if made.ok else None
    return failure.command.replace(script, f"sh {script}", 1) if head and script.endswith(".sh") else None


def line_endings(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A copy of the script without carriage returns is run; the file itself stays."""
    for word in re.findall(r"[^\s;&|'\"<>]+", failure.command):
        if not re.fullmatch(r"[\w~./$+-]+", word) or ("." not in word and "/" not in word):
            continue
        marked = yield from bench.look(f"grep -lI $'\\r' {word}", f"does {word} have Windows line endings?")
        if not marked:
            continue
        copy = f"{bench.scratch}/skillrun-run/{word.rsplit('/', 1)[-1]}"
        made = yield from bench.shell(
            f'mkdir -p "{bench.scratch}/skillrun-run" && tr -d \'\\r\' <{word} >"{copy}" && chmod u+x "{copy}"',
            f"a copy of {word} with plain line endings",
        )
        return failure.command.replace(word, f'"{copy}"', 1) if made.ok else None
    return None


def open_up(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """What this run installed for everyone and a strict umask closed: opened for reading, nothing else."""
    named = [
        path
        for path in re.findall(r"/[\w./@+-]+", failure.text)
        if not path.startswith((bench.home + "/", "/proc", "/dev", "/tmp"))
    ]
    word = failure.command.split()[0] if failure.command.split() else ""
    if re.fullmatch(r"[\w.+-]+", word):
        listed = yield from bench.look(
            f"for d in {' '.join(paths.of_managers(bench))} /usr/local/bin /usr/local/sbin /opt/*/bin; "
            f"do sudo -n test -e $d/{word} && sudo -n readlink -f $d/{word}; done; true"
            if not bench.is_root
            else f"hash -r; type -aP {word}; true",
            f"where is {word}?",
        )
        named += [line for line in (listed or "").splitlines() if line.startswith("/")]
    opened = False
    for path in dict.fromkeys(named):
        if not bench.can_root or path.count("/") < 2:
            continue
        top = "/".join(path.split("/")[:3]) if path.startswith("/opt/") else path
        closed = yield from bench.look(
            f"{bench.root}find {shlex.quote(top)} -mmin -60 ! -type l ! -perm -o=r 2>/dev/null | head -5",
            f"did this run leave {top} closed to its users?",
        )
        if closed:
            done = yield from bench.shell(
                f"{bench.root}find {shlex.quote(top)} -mmin -60 ! -type l ! -perm -o=r -exec chmod go+rX {{}} +",
                f"{top} was made just now and is meant for everybody: readable",
            )
            opened = opened or done.ok
    return failure.command if opened else None


def newest_first(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """An older program of the same name stands before the new one: the new one's directory goes first."""
    words = re.findall(r"(?:^|[|;&(]\s*|\$\()\s*([\w.+-]+)", failure.command)
    for word in dict.fromkeys(words):
        if word in ("echo", "test", "grep", "head", "printf", "cat", "sh", "bash", "true", "cd", "env"):
            continue
        listed = yield from bench.fresh(f"type -aP {word}", f"which {word} does a new terminal find?")
        rows = list(dict.fromkeys(line for line in listed.output.splitlines() if line.startswith("/")))
        ours = [path for path in rows[1:] if path.rsplit("/", 1)[0] in bench.bins]
        if rows and not ours:
            # root's login shells, for one, do not look into ~/.local/bin at all
            elsewhere = yield from paths.find_program(bench, word)
            others = [*rows[1:], *([elsewhere] if elsewhere not in ("", *rows) else [])]
            fresh = yield from bench.look(f"find /dev/null {' '.join(others)} -cmin -30 2>/dev/null", "which of them is new?")
            ours = [line for line in (fresh or "").splitlines() if line in others]
        if ours and ours[0].startswith(("/usr/bin/", "/bin/")):
            # the system's whole directory does not go first for one program: a link in the user's own does
            link = f"$HOME/.local/bin/{word}"
            made = yield from bench.shell(
                f'mkdir -p "$HOME/.local/bin" && [ ! -e "{link}" ] && ln -s {ours[0]} "{link}"',
                f"{rows[0]} is another {word} and stays; {ours[0]} is found first",
            )
            if not made.ok:
                continue
            yield from paths.on_path(bench, f"{bench.home}/.local/bin", f"{word} is found there first", first=word)
            return failure.command
        if ours and (yield from paths.reach(bench, ours[0], f"{ours[0]} is the new one, {rows[0]} the old", first=word)):
            return failure.command
    return None


PROCEDURES: dict[str, Callable[[Bench, Failure, Mapping[str, str]], Work[str | None]]] = {
    "foreign-home": foreign_home,
    "user-prefix": user_prefix,
    "by-interpreter": by_interpreter,
    "line-endings": line_endings,
    "open-up": open_up,
    "newest-first": newest_first,
}
