"""What an option list cannot say of a harmless call: a script that only prints, a listing mode that must be there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from skillrun.policy.evaluation import filters
from skillrun.policy.unknown import certain, known, plain


@dataclass(slots=True)
class Vouched:
    """What a table says of a call. `why` is empty when every argument is known to be harmless."""

    why: str = ""
    reads: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Paths of which only names and properties are shown."""
    options: list[tuple[str, str]] = field(default_factory=list)
    operands: list[str] = field(default_factory=list)
    runs: bool = False
    """It runs another command, which is judged by itself."""
    whole: bool = False
    """The argument list stands in the table as it is."""
    directory: str = ""
    """Where it goes before it looks (`git -C`)."""
    marks: frozenset[str] = frozenset()

    @property
    def harmless(self) -> bool:
        """It only looks."""
        return not (self.why or self.runs or self.acts)

    @property
    def acts(self) -> bool:
        """It is there to change something."""
        return "ACTS" in self.marks and not self.whole


def _needs(*names: str) -> Callable[[Vouched], str]:
    """Harmless only with one of these options: without, it acts."""
    return lambda call: "" if any(name in names for name, _ in call.options) else f"without {' or '.join(names[:2])} it may act"


def _first(*words: str) -> Callable[[Vouched], str]:
    """The first operand, where there is one, is one of these."""
    return lambda call: "" if not call.operands or call.operands[0] in words else f"{call.operands[0]} may change something"


def _each(pattern: str, why: str) -> Callable[[Vouched], str]:
    """Every operand has this shape."""
    shape = re.compile(pattern)
    return lambda call: next((f"{each}: {why}" for each in call.operands if not shape.fullmatch(each)), "")


def _scripts(call: Vouched, *options: str) -> list[str]:
    """The scripts of a program that takes them in an option or as its first operand; the rest are files."""
    given = [value for name, value in call.options if name in options]
    if given:
        call.reads += call.operands
        return given
    call.reads += call.operands[1:]
    return call.operands[:1]


def _sed(call: Vouched) -> str:
    scripts = _scripts(call, "-e", "--expression")
    safe = all(known(script) and filters.harmless_sed(plain(script)) for script in scripts)
    return "" if safe else "a script that may run commands, or read or write files"


def _awk(call: Vouched) -> str:
    scripts = _scripts(call)
    if any(not re.fullmatch(r"\w+=.*", value, re.DOTALL) for name, value in call.options if name in ("-v", "--assign")):
        return "an assignment that is not one"
    safe = all(known(script) and filters.harmless_awk(plain(script)) for script in scripts)
    return "" if safe else "a script that may run commands, read variables or write files"


def _jq(call: Vouched) -> str:
    scripts = _scripts(call)
    foreign = re.compile(r"\benv\b|\$ENV|\b(?:include|import|load\w*|strenv|envsubst|system|input_filename|splitDoc)\b|\bfile")
    return (
        ""
        if all(known(script) and not foreign.search(plain(script)) for script in scripts)
        else "a filter that reads elsewhere"
    )


def _yq(call: Vouched) -> str:
    if call.operands[:1] and call.operands[0] in ("eval", "e", "eval-all", "ea"):
        call.operands = call.operands[1:]
    if len(call.operands) == 1 and not re.match(r"\.(?!env)[^/]*\Z", call.operands[0]):
        call.reads += call.operands  # a file that is there is read, whatever else it could mean
    read = r"\b(?:eval|load\w*|system)\b"  # `eval` takes what it evaluates from the file
    if any(re.search(read, plain(script)) for script in call.operands[:1]):
        return "a filter that reads elsewhere"
    return _jq(call)


_FIND_ALONE = frozenset(
    [
        "-H",
        "-L",
        "-P",
        "-print",
        "-print0",
        "-ls",
        "-prune",
        "-quit",
        "-depth",
        "-d",
        "-mount",
        "-xdev",
        "-daystart",
        "-follow",
        "-noleaf",
        "-empty",
        "-executable",
        "-readable",
        "-writable",
        "-nouser",
        "-nogroup",
        "-true",
        "-false",
        "-not",
        "-a",
        "-o",
        "-and",
        "-or",
        "!",
        "(",
        ")",
        ",",
        "-ignore_readdir_race",
        "-noignore_readdir_race",
        "-nowarn",
        "-warn",
    ]
)
_FIND_TAKES = frozenset(
    [
        "-name",
        "-iname",
        "-path",
        "-ipath",
        "-wholename",
        "-iwholename",
        "-regex",
        "-iregex",
        "-regextype",
        "-lname",
        "-ilname",
        "-type",
        "-xtype",
        "-size",
        "-mtime",
        "-mmin",
        "-atime",
        "-amin",
        "-ctime",
        "-cmin",
        "-newer",
        "-anewer",
        "-cnewer",
        "-user",
        "-group",
        "-uid",
        "-gid",
        "-perm",
        "-links",
        "-inum",
        "-samefile",
        "-maxdepth",
        "-mindepth",
        "-fstype",
        "-printf",
        "-used",
    ]
)
_FIND_RUNS = frozenset(("-exec", "-execdir"))


def _find(words: list[str]) -> str:
    i = 0
    starts = True
    while i < len(words):
        word = words[i]
        i += 1
        if word in _FIND_TAKES:
            i += 1
        elif word in _FIND_RUNS:
            while i < len(words) and words[i] != ";" and not (words[i] == "+" and words[i - 1] == "{}"):
                i += 1
            i += 1
        elif word not in _FIND_ALONE and (not starts or not certain(word[:1]) or word[:1] == "-"):
            return f"find {word}"
        starts = starts and not word.startswith(("-", "(", "!"))
    return ""


def _tar(words: list[str]) -> str:
    if words and re.fullmatch(r"-?[xzjJvpfk]*x[zjJvpfk]*f", words[0]):
        plain = ("-C", "--strip-components", "--no-same-owner", "-o", "--overwrite", "--directory")
        other = next((word for word in words[2:] if word.startswith("-") and word.partition("=")[0] not in plain), "")
        return f"tar {other}" if other or ":" in " ".join(words[1:2]) else ""
    if not words or not re.fullmatch(r"-?[tzjJvfa]*t[zjJvfa]*f", words[0]) or len(words) < 2:
        return "tar but for `tar -tf FILE`"
    odd = any(word.startswith("-") or not certain(word[:1]) for word in words[1:]) or ":" in words[1]
    return "tar with more options" if odd else ""


def _ps(call: Vouched) -> str:
    return (
        "`e` shows the environment of programs"
        if any(re.fullmatch(r"[a-zA-Z]*e[a-zA-Z]*", each) for each in call.operands)
        else ""
    )


_SOCKETS = (
    r"(?:(?:state|exclude|sport|dport|src|dst|and|or|not|all|connected|synchronized|bucket|big|established|syn-\w+|fin-wait-[12]"
    r"|time-wait|close-wait|closed?|closing|last-ack|listen(?:ing)?|n?eq|[lg][et])\b|[\s=<>!()&|]|\*?:\d+|\d+(?:\.\d+){3}(?:/\d+)?(?::\d+)?)+"
)
"""ss(8), FILTER and STATE-FILTER, with ports and addresses as numbers."""

CONDITIONS: dict[str, Callable[[Vouched], str]] = {
    "LISTING": _needs("-l", "-t", "--list", "--test"),
    "GITLIST": lambda call: _needs("-l", "--list", "--contains", "--merged", "--no-merged")(call) if call.operands else "",
    "IPTABLES": _needs("-L", "-S", "--list", "--list-rules"),
    "RPM": lambda call: (
        _needs("-q", "-K", "--query", "--checksig")(call) or _each(r"(?!\w+:).*", "it is fetched from there")(call)
    ),
    "PACMAN": _needs("-Q", "--query"),
    "SSHKEYGEN": _needs("-l", "-F"),
    "UNZIP": _needs("-l", "-v", "-t", "-Z"),
    "IPSHOW": _first("show", "list", "ls", "get"),
    "SEVEN": _first("l", "t", "i"),
    "MANPAGE": lambda call: (
        _needs("-w", "-k", "-f", "--where", "--path", "--whatis", "--apropos")(call)
        or _each(r"[\w.+:-]+", "a file may be shown as a page")(call)
    ),
    "NOFILE": _each(r"[^@].*", "more options may stand in that file"),
    "PROGRAM": _each(r"[\w.+/-]+", "not the name of a program"),
    "SSFILTER": _each(_SOCKETS, "the name of a host may be looked up"),
    "SYSCTL": _each(r"[^=]+", "it would be set"),
    "GOENV": _each(r"[A-Z0-9_]+", "not the name of a setting"),
    "GITCONFIG": _each(r"[\w-]+\.[\w.-]+", "not the name of a setting"),
    "NUMERIC": lambda call: _needs("-n", "--numeric", "-S", "--list-rules")(call) and "names of addresses may be looked up",
    "TEMPORARY": lambda call: "" if ("-t", "") in call.options else _each(r"/.*", "it is made where the command stands")(call),
    "TPUT": _each(r"(?!init|reset|[ir][sf]\d?\Z|iprog).*", "it runs or writes what the terminal's description says"),
    "STATUS": lambda call: "" if len(call.operands) == 2 and call.operands[1] == "status" else "only `status` looks",
    "SED": _sed,
    "AWK": _awk,
    "JQ": _jq,
    "YQ": _yq,
    "PS": _ps,
}
"""Marks of `calls.txt` -> why a call does not keep to them; empty when it does."""

AS_WHOLE: dict[str, Callable[[list[str]], str]] = {
    "find": _find,
    "gfind": _find,
    "tar": _tar,
    "gtar": _tar,
    "bsdtar": _tar,
}
"""Programs whose argument lists are a language of their own."""
