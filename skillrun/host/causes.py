"""What is true of this machine where something failed: looks that depend on the kind of failure, and what they name.

A remedy helps with what it knows; a cause is told to the person either way. Each kind of failure has one look in
`causes.bash`, read-only, whose lines are `cause<TAB>word<TAB>fields...`; the sentences are made here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skillrun.events import Result
    from skillrun.ports import Target

TOOL = "diagnose"
"""The name of the call that looks: skillrun's own fixed, read-only script, so it needs nobody's approval."""

PATH = re.compile(r"(?<![\w.~:/-])(?:~|\$HOME)?/[\w.@+-]+(?:/[\w.@+-]+)*")
HOST = re.compile(r"(?:https?://|resolve (?:host:? ?)?'?|connect to |host ?: |to address |lookup )([a-z0-9][\w.-]*\.[a-z]{2,})", re.I)
SHOWN = 6
"""How many causes an account names."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of failure: how it is recognised, and the look (a function of `causes.bash`) that finds out what is true."""

    name: str
    said: re.Pattern[str]
    look: str


def _kind(name: str, said: str, look: str) -> Kind:
    return Kind(name, re.compile(said, re.IGNORECASE | re.MULTILINE), look)


KINDS: tuple[Kind, ...] = (
    _kind("room", r"no space left|enospc|disk full|quota exceeded|edquot|enough (?:free )?(?:disk )?space|file too large|temporary (?:file|directory)|cannot write", "room"),
    _kind("rights", r"permission denied|eacces|eperm|operation not permitted|read-only file system|erofs|not writable|cannot create|cannot touch|are you root|couldn't create|unwritable", "rights"),
    _kind("names", r"resolve|name or service not known|enotfound|eai_again|nodename nor servname|unknown host|getaddrinfo|no address associated", "names"),
    _kind("network", r"timed out|timeout|refused|unreachable|connection (?:reset|closed|failed)|no route|econn|failed to fetch|could not connect|no internet|proxy|bad gateway|max retries|unable to connect|operation too slow|network", "network"),
    _kind("certificates", r"certificate|\bssl\b|\btls\b|x509|issuer|handshake", "certificates"),
    _kind("lock", r"\block\b|locked|another process|already running", "lock"),
    _kind("port", r"address already in use|eaddrinuse|port .{0,20}(?:in use|taken|allocated)", "port"),
    _kind("memory", r"^killed|killed$|killed by signal|out of memory|cannot allocate|memoryerror|bad_alloc|heap|resource temporarily|too many open files|emfile|file size limit|can't fork|segmentation|mmap|failed to map", "memory"),
    _kind("packages", r"\bdpkg\b|\bapt\b|^E: |apt-get|package", "packages"),
    _kind("programs", r"not found|no such file|cannot execute|bad interpreter|exec format|shared librar|symbol lookup|not installed|syntax error|traceback", "programs"),
    _kind("locale", r"locale|unicode|codec|utf-8", "locale_set"),
)  # fmt: skip  # noqa: E501
"""How programs of any kind say what went wrong, by errno and by word, and what is then looked at."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that is true of a machine and explains a failure. `word`: a key of SENTENCES."""

    word: str
    fields: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What a person is told; empty for a word that is not known."""
        say = SENTENCES.get(self.word)
        try:
            return say(*self.fields) if say else ""
        except TypeError:
            return ""


def question(said: str, command: str, exit_code: int | None, check: bool = False) -> dict[str, Any]:
    """The input of a look for what explains a failure: which looks, and what the failure speaks of.

    `check`: it failed in a new terminal, so that is looked at as well.
    """
    code = exit_code or 0
    heard = f"{said}\nkilled by signal {code - 128 if code > 128 else code}" if code > 127 else said
    looks = [kind.look for kind in KINDS if kind.said.search(heard)]
    text = f"{said}\n{command}"
    numbers = re.findall(r"(?<![\d.])([1-9]\d{1,4})(?![\d.])", text)
    return {
        "looks": " ".join(dict.fromkeys([*looks, "settings", *(["terminal"] if check else [])])),
        "paths": " ".join(list(dict.fromkeys(path.rstrip(".") for path in PATH.findall(text)))[:12]),
        "hosts": " ".join(list(dict.fromkeys(HOST.findall(text)))[:4]),
        "words": " ".join(list(dict.fromkeys(re.findall(r"[A-Za-z][\w.+-]+", command)))[:20]),
        "numbers": " ".join(number for number in list(dict.fromkeys(numbers))[:8] if int(number) < 65536),
    }


_LOOKS = frozenset(kind.look for kind in KINDS) | {"settings", "terminal"}
_PLAIN = re.compile(r"[^\w@%+=:,./~$ -]")


@cache
def _script() -> str:
    return files("skillrun.host").joinpath("causes.bash").read_text(encoding="utf-8")


def look(target: Target, asked: Mapping[str, Any]) -> Result:
    """Carry a question's looks out. The output is for `read`. What is not a plain word of the question is left out."""
    from skillrun.ports import Command, result_of

    names = ("paths", "hosts", "words", "numbers")
    head = "\n".join(f"{name.upper()}='{_PLAIN.sub('', str(asked.get(name, '')))}'" for name in names)
    looks = [name for name in str(asked.get("looks", "")).split() if name in _LOOKS]
    return result_of(target.run(Command(f"(\n{head}\n{_script()}\n{'; '.join(looks) or ':'}\n) 2>/dev/null; true", id=TOOL, quiet_s=30)))


def read(output: str) -> list[Cause]:
    """The causes that a look has named, each once, in order."""
    rows = (line.split("\t") for line in output.splitlines() if line.startswith("cause\t"))
    return list(dict.fromkeys(Cause(row[1], tuple(row[2:])) for row in rows if len(row) > 1))


def told(causes: Iterable[Cause]) -> list[str]:
    """The first few causes as sentences."""
    return [cause.sentence for cause in causes if cause.sentence][:SHOWN]


SENTENCES: dict[str, Callable[..., str]] = {
    "blocks": lambda mount, free, total: f"The file system at {mount} is full: {free} of {total} KB of space are free.",
    "inodes": lambda mount, free, total: f"The file system at {mount} has no inodes left ({free} of {total}): no file can be made there, however much space is free.",  # noqa: E501
    "quota": lambda line: f"The quota of this user is used up: {line}.",
    "owner": lambda path, owner, mode: f"{path} belongs to {owner} (mode {mode}), and this user cannot write it.",
    "readonly": lambda path, mount: f"{path} lies on {mount}, which is mounted read-only.",
    "noexec": lambda path, mount: f"{path} lies on {mount}, which is mounted so that nothing on it may be executed (noexec).",
    "immutable": lambda path: f"{path} is marked immutable (chattr +i).",
    "closed": lambda path, parent, mode: f"{path} cannot be reached: {parent} is closed to this user (mode {mode}).",
    "proxy": lambda name, value, state: f"{name} is set to {value}, a proxy that {state}.",
    "aptproxy": lambda file, value, state: f"{file} tells apt to use the proxy {value}, which {state}.",
    "fileproxy": lambda file, value, state: f"{file} names the proxy {value}, which {state}.",
    "noserver": lambda what: f"No name server answers: {what}.",
    "nonetwork": lambda what: f"The network cannot be reached: {what}.",
    "hosts": lambda host, address: f"/etc/hosts sends {host} to {address}.",
    "hostless": lambda host: f"No name server knows {host}, though others are known: the name is wrong, or only known elsewhere.",
    "unreachable": lambda host, port: f"{host} does not answer on port {port}.",
    "bundle": lambda path, what: f"The list of certificate authorities {path} {what}.",
    "clock": lambda here, newest: f"The clock of this machine says {here}, and there are files here of {newest}: it is wrong, so certificates and package lists seem invalid.",  # noqa: E501
    "holder": lambda path, pid, name, age: f"{path} is locked: it is held by process {pid} ({name}), running for {age}.",
    "listener": lambda port, who: f"Port {port} is taken: {who} listens on it.",
    "oom": lambda what: f"A process was killed for lack of memory: {what}.",
    "limit": lambda what, value: f"This shell has a low limit: {what} is {value}.",
    "memory": lambda free, total: f"Of {total} MB of memory {free} MB are available.",
    "halfway": lambda names: f"These packages are not completely installed: {names}.",
    "holds": lambda names: f"These packages are held back (apt-mark hold): {names}.",
    "pins": lambda file, note: f"{file} pins packages{': ' + note if note else ''}.",
    "sourceless": lambda what: f"apt has no package sources: {what}.",
    "badsource": lambda file: f"The package source {file} cannot be read.",
    "gonesource": lambda line: f"A package source does not have what it names (the release may be gone): {line}.",
    "status": lambda path, what: f"The package database {path} {what}.",
    "override": lambda account: f"/var/lib/dpkg/statoverride names the account {account}, which does not exist.",
    "option": lambda file, line: f"dpkg does not know the option in {file}: {line}.",
    "folder": lambda path: f"The directory {path} is not there.",
    "key": lambda path, what: f"The keys of the package sources in {path} {what}.",
    "architecture": lambda name: f"dpkg has the foreign architecture {name} added, which the package sources may not have.",
    "dangling": lambda path, target: f"{path} is a link to {target}, which is not there.",
    "taken": lambda path: f"{path} is a directory and stands in the way of a program of that name; whoever made it decides.",
    "broken": lambda path: f"{path} comes first on PATH and does not run.",
    "interpreter": lambda path, program: f"{path} names the interpreter {program}, which is not there.",
    "absent": lambda name: f"{name} is not installed (no program of that name on PATH).",
    "crlf": lambda path: f"{path} has Windows line endings.",
    "elsewhere": lambda path, folder: f"{path} is there, but {folder} is not on the PATH of a new terminal.",
    "variable": lambda name, value: f"{name} is set to {value}, which is not there.",
    "setting": lambda file, line: f"{file} says: {line}.",
    "locale": lambda name, value: f"{name} is {value}, a locale that is not installed here.",
    "profile": lambda file, what: f"The login shell reads {file}, which {what}: a new terminal does not work as it should.",
}
"""Words of the looks -> the sentence for a person."""
