"""Room on disk, ports, licences, and programs built for another machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from skillrun.models.builtin.bench import Bench, Stop, Work
from skillrun.models.builtin.remedy import Failure

ROOMS = "/var/tmp /dev/shm /run/user/$(id -u) /mnt/* /media/*/* /data /scratch /srv /tmp"


WORTH_LETTING_GO_KB = 5_000
"""A cache of less would hardly make the difference."""

Room = tuple[str, int, int]
"""A directory that can be written, its free KB, its free inodes."""


def room(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """Temporary files and caches on a file system that has room and inodes; fewer files where that is possible."""
    if (yield from _let_go(bench)):
        return failure.command
    rows = yield from _rooms(bench)
    _fits_at_all(bench, failure)
    roomy = sorted((row for row in rows if row[2] > 500 and row[1] > 20_000), key=lambda row: row[1], reverse=True)
    if not roomy:
        return None
    home = next((row for row in rows if row[0] == bench.home), ("", 0, 0))
    best = home if home in roomy and home[1] > 500_000 else roomy[0]
    place = f"{best[0]}/.skillrun-tmp-{bench.facts.get('user', {}).get('name', 'user')}"
    command = failure.command
    if not bench.tried["room moved"]:
        bench.tried["room moved"] += 1
        bench.explain(f"Temporary files and caches of this run go to {best[0]}, which has {best[1] // 1024} MB.")
        if not (yield from _moved(bench, place, small_home=home[1] < 400_000 or home[2] < 5000)):
            return None
    elif bench.tried["room thrift"]:
        return None
    if home[1] < 400_000 or bench.tried["room moved"] > 1 or re.search(r"/var/cache/apt|archives", failure.text):
        bench.tried["room thrift"] += 1
        if re.search(r"\bapt(-get)?\b.*\binstall\b", command):
            command = yield from _thrifty(bench, command, place)
    bench.tried["room moved"] += 1
    return command


def _let_go(bench: Bench) -> Work[bool]:
    """Makes room, once in a run, by what apt keeps as a cache and fetches again when it needs it: nobody's own files."""
    if bench.tried["room let go"] or not bench.can_root:
        return False
    bench.tried["room let go"] += 1
    kept = yield from bench.look("du -sk /var/cache/apt/archives 2>/dev/null || true", "how much does apt keep as a cache?")
    if not (size := re.match(r"\d+", kept or "")) or int(size[0]) < WORTH_LETTING_GO_KB:
        return False
    return (yield from bench.shell(f"{bench.root}apt-get clean", "packages that apt keeps as a cache are let go")).ok


def _rooms(bench: Bench) -> Work[list[Room]]:
    listing = yield from bench.look(
        f'for d in "$HOME" {ROOMS}; do [ -d "$d" ] && [ -w "$d" ] && printf "%s %s %s\\n" "$d" "$(df -Pk "$d" | awk "NR==2 {{print \\$4}}")" '  # noqa: E501
        '"$(df -Pi "$d" | awk "NR==2 {print \\$4}")"; done; echo "tmp ${TMPDIR:-/tmp}"',
        "which file systems have room and inodes?",
    )
    return [
        (match[1], int(match[2]), int(match[3]) if match[3].isdigit() else 10**9)
        for match in re.finditer(r"^(/\S+) (\d+) (\S+)$", listing or "", re.MULTILINE)
    ]


def _fits_at_all(bench: Bench, failure: Failure) -> None:
    """Raises Stop where apt has said that it needs more than the root file system has."""
    need = re.search(r"After this operation, ([\d.,]+) ([kMG])B of additional disk space", failure.text)
    free = next((row.get("free_mb", 10**9) for row in bench.facts.get("mounts", ()) if row.get("mount") == "/"), 10**9)
    if need and float(need[1].replace(",", "")) * {"k": 0.001, "M": 1, "G": 1000}[need[2]] > free:
        raise Stop(
            "needs_person",
            f"The installation needs {need[1]} {need[2]}B on /, which has {free} MB free: a person has to make room.",
        )


def _moved(bench: Bench, place: str, small_home: bool) -> Work[bool]:
    """Temporary files of this run below `place`, and caches too where the home directory has little room."""
    if not (yield from bench.shell(f'mkdir -p "{place}"', "room for temporary files")).ok:
        return False
    bench.cleanup.append(f'rm -rf "{place}"')
    for name in ("TMPDIR", "TMP", "TEMP"):
        yield from bench.export(name, place, "temporary files where there is room")
    if small_home:
        yield from bench.export("PIP_NO_CACHE_DIR", "1", "no copies in a cache")
        yield from bench.export("npm_config_cache", f"{place}/npm", "the cache where there is room")
        yield from bench.export("XDG_CACHE_HOME", f"{place}/cache", "caches where there is room")
    return True


def _thrifty(bench: Bench, command: str, place: str) -> Work[str]:
    """An apt command that keeps its archives below `place` and brings no more than is needed."""
    yield from bench.shell(f'mkdir -p "{place}/archives/partial"', "apt's archives where there is room")
    if bench.can_root:
        yield from bench.shell(f"{bench.root}apt-get clean", "packages that apt keeps as a cache are let go")
    options = f'-o Dir::Cache::archives="{place}/archives" -o APT::Sandbox::User=root -o APT::Install-Recommends=false'
    return re.sub(r"\b(apt-get|apt)\b", rf"\g<1> {options}", command, count=1)


def free_port(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """Another port where the skill leaves the choice; a running program is never ended for it."""
    taken = {row.get("port") for row in bench.facts.get("ports", ())}
    text = bench.brief.skill.text
    numbers = [
        int(number)
        for number in re.findall(r"(?<![\d.])([1-9]\d{2,4})(?![\d.])", failure.text + " " + failure.command)
        if int(number) < 65536
    ]
    busy = next(
        (number for number in numbers if number in taken), next((number for number in numbers if str(number) in text), 0)
    )
    if not busy:
        return None
    owner = next(
        (row.get("owner") for row in bench.facts.get("ports", ()) if row.get("port") == busy and row.get("owner")),
        "another program",
    )
    choice = re.search(
        r"(any|another|other|different|free|unused|next)\W+(\w+\W+)?port|port\W+(is|may be|can be)\W+(free|changed|chosen|any)|\w*PORT\w*=",  # noqa: E501
        text,
        re.IGNORECASE,
    )
    if not choice:
        raise Stop("needs_person", f"Port {busy} is taken by {owner}, and the skill does not say that another port would do.")
    new = next(number for number in range(busy + 1, 65536) if number not in taken)
    bench.explain(f"Port {busy} is taken by {owner}, which is left alone; {new} is free and used instead.")
    bench.moved[str(busy)] = str(new)
    variable = re.search(r"\b([A-Z][A-Z0-9_]*PORT)\b", text + failure.text)
    if str(busy) not in failure.command and variable:
        yield from bench.export(variable[1], str(new), f"a free port in place of {busy}")
        return failure.command
    return re.sub(rf"(?<!\d){busy}(?!\d)", str(new), failure.command)


def licence(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A licence is accepted by a person who is asked, never on the engine's own account."""
    flag = re.search(r"(?<![\w-])(--(?:accept|agree|i-accept|yes-i)[\w-]*(?:=\w+)?)", failure.text)
    variable = re.search(r"\b([A-Z_]*(?:ACCEPT|AGREE)[A-Z_]*)(?:=(['\"]?[\w]+['\"]?))?", failure.text)
    answer = yield from bench.ask(
        "The program wants its licence to be accepted before it installs. Do you accept it?", ("yes", "no")
    )
    if answer is None or not answer.lower().startswith("y"):
        raise Stop("needs_person", f"The program's licence has to be accepted by a person first:\n{failure.last_lines}")
    if flag:
        return f"{failure.command} {flag[1]}"
    if variable:
        return f"{variable[1]}={variable[2] or 'yes'} {failure.command}"
    return None


LESS_DEMANDING = (
    ("linux-gnu", "linux-musl"),
    ("gnu", "musl"),
    ("glibc", "musl"),
    ("glibc", "static"),
    ("dynamic", "static"),
    ("linux", "linux-static"),
    ("linux", "linux-musl"),
)
"""Words in the name of a build that needs a newer C library, and what the build that does without has there."""

ARCHITECTURES = (
    ("aarch64", "arm64"), ("armv7l",), ("armhf",), ("i386",), ("i686",), ("riscv64",), ("s390x",), ("ppc64le",),
    ("x86_64", "amd64", "x64"),
)  # fmt: skip
"""The names that builds have for an architecture; the first is the kernel's."""


def other_build(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """The same program built for this machine, where the skill names one; else this machine is not supported."""
    arch = str(bench.facts.get("arch", ""))
    mine = next((names for names in ARCHITECTURES if names[0] == arch), (arch,))
    swaps: Sequence[tuple[str, str]] = LESS_DEMANDING
    if not re.search("GLIBC|CXXABI", failure.text):
        swaps = [(other, own) for names in ARCHITECTURES if names != mine for other in names for own in mine]
    fetches = [command for command in bench.done if re.search(r"\b(curl|wget|npm|cp|install|tar)\b", command)]
    for other, own in swaps:
        again = [command for command in [*fetches, failure.command] if other in command]
        if not again or not (yield from _is_there(bench, again, other, own)):
            continue
        bench.explain(f"What was fetched is built for {other}; this machine needs {own}, and there is such a build.")
        bench.moved[other] = own
        start = next((index for index, command in enumerate(bench.done) if other in command), len(bench.done))
        for command in list(bench.done[start:]):
            if not (yield from bench.sure(command.replace(other, own), f"the same for {own}")).ok:
                return None
        return failure.command.replace(other, own)
    libc = bench.facts.get("libc", {})
    need = (
        f"needs C library {found['need']}, here is {libc.get('name', '')} {libc.get('version', '')}"
        if found.get("need")
        else f"is not built for {arch}"
    )
    raise Stop("unsupported", f"The program {need}, and the skill names no other build:\n{failure.last_lines}")


def _is_there(bench: Bench, commands: Sequence[str], other: str, own: str) -> Work[bool]:
    """Does the skill, or else the server, know a file that is called the same but for `own` in place of `other`?"""
    text = bench.brief.skill.text
    names = [word for command in commands for word in re.findall(r"[\w.:/+-]+", command) if other in word]
    renamed = [name.replace(other, own) for name in names]
    if any(name in text or name.rsplit("/", 1)[-1] in text for name in renamed):
        return True
    addresses = [name for name in renamed if re.match(r"https?://", name)]
    if not addresses:
        return False
    look = f"curl -fsIL {addresses[0]} >/dev/null && echo there"
    return (yield from bench.look(look, "is there a build for this machine?")) is not None


PROCEDURES: dict[str, Callable[[Bench, Failure, Mapping[str, str]], Work[str | None]]] = {
    "room": room,
    "free-port": free_port,
    "licence": licence,
    "other-build": other_build,
}
