"""Names of packages and programs: what is left of a package's spelling, and whether two names are one program's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from skillrun.skills.parser.labels import vocabulary
from skillrun.skills.parser.understanding.acts import page

TOOLS = frozenset(page()["words"]["tools"])
"""Packages that bring what other packages are got with, where they are not what a document is about."""

_PRE = re.compile(
    r"(?:^|[-_.@#/])(?:alpha|beta|next|canary|nightly|rc\d*|dev|pre|preview|edge|insiders|latest-\w+|master|main|head|unstable|snapshot)\b|^(?:pr|pull)[-/]?\d",
    re.IGNORECASE,
)
_BLANK = re.compile(r"<[^>]*>|\{[^}]*\}|\$\{?\w|x\.y|\bX\.|\.\.\.|VERSION|\bTAG\b|#\w|\*")


NO_VERSION = "names no version of its own"
"""What is special about a package whose version the reader is to fill in."""


def base(package: str, manager: str = "") -> str:
    """The package's own name: without version, extras, repository path and tag."""
    name = package.strip("'\"")
    if name.startswith(("git+", "http:", "https:", "github:")):
        name = re.split(r"[#@?]", name.split("://", 1)[-1])[0].rstrip("/").removesuffix(".git")
        return name.rsplit("/", 1)[-1].lower()
    if manager in ("pip", "pipx", "uv tool", "uv", "conda"):
        name = name.rsplit("::", 1)[-1]
        return re.split(r"[\[=<>~!@;, ]", name)[0].lower()
    if manager in ("npm", "pnpm", "yarn", "bun", "volta", "once", "npx"):
        return (("@" + name[1:].split("@")[0]) if name.startswith("@") else name.split("@")[0]).lower()
    name = re.split(r"[@=:]", name)[0] if not name.startswith("@") else name
    if manager == "go":
        parts = [
            part for part in name.rstrip("/.").split("/") if part not in ("...", "cmd") and not re.fullmatch(r"v\d+", part)
        ]
        return parts[-1].lower() if parts else ""
    if manager == "nix":
        return re.split(r"[.#]", name)[-1].lower()
    return name.rstrip("/").rsplit("/", 1)[-1].lower()


def bare(name: str) -> str:
    """A name with what spellings of one program differ in taken off."""
    name = name.lower().rsplit("/", 1)[-1] if name.startswith("@") or "/" in name else name.lower()
    name = re.sub(r"[ _.]+", "-", name).strip("-")
    return re.sub(r"^(?:python3?-|py-|node-|the-|rust-|go-)(?=\w)|-(?:cli|js|bin|git|py|tool|rs|go)$", "", name)


def same(one: str, other: str) -> bool:
    """Whether two names are most likely one program's."""
    one, other = bare(one), bare(other)
    if not one or not other:
        return False
    short, long = sorted((one, other), key=len)
    return short == long or (len(short) > 1 and long.startswith(short + "-")) or short == long.replace("-", "")


def special(package: str, manager: str) -> str:
    """Why this spelling is not a person's first choice; empty for the ordinary package."""
    if _BLANK.search(package.removesuffix("/...")) and manager != "script":  # Go's own word for all below
        return NO_VERSION
    if package.startswith(("git+", "http:", "https:", "github:")):
        return "a development version"
    if manager in ("pip", "pipx", "uv tool") and re.search(r"[=~]=|@(?!latest\b)", package):
        return "a given version"
    version = package[1:].partition("@")[2] if manager in ("npm", "pnpm", "yarn", "bun", "brew", "go", "cargo") else ""
    if manager in ("apt", "snap") and "=" in package:
        return "a given version"
    if version and version not in ("latest", "stable", "lts"):
        return "a pre-release" if _PRE.search(f"@{version}") else "a given version"
    if version and re.fullmatch(r"lts", version):
        return ""
    return "a pre-release" if _PRE.search(package) and manager in ("brew", "snap", "docker", "choco") and "@" in package else ""


_GREETING = re.compile(
    r"^(?:how to )?(?:install(?:ing|ation)?|set(?:ting)? ?up|build(?:ing)?|welcome to|introduction to"
    r"|get(?:ting)? started with)(?: of| the)?\b"
)


def spoken(titles: Iterable[str]) -> list[str]:
    """The names a title may hold, likeliest first: all of it, then its first word."""
    found: list[str] = []
    for title in titles:
        words = _GREETING.sub("", title.strip().lower())
        head = re.split(r"\s+[-–—:|=(]\s*|[:,(]\s|\s*[!?]", words.strip(" :-–—"))[0].strip()
        for name in (head, head.split(" ")[0] if head else "", *re.findall(r"[a-z][\w.-]+", words)[:6]):
            name = re.sub(r"[^\w@/.+-]+", "-", name).strip("-.")
            if name and len(name) < 40 and name not in found and name not in _NO_NAMES:
                found.append(name)
    return found


_NO_NAMES = frozenset(
    [
        "install",
        "installation",
        "installing",
        "readme",
        "introduction",
        "overview",
        "about",
        "usage",
        "documentation",
        "welcome",
        "quickstart",
        "setup",
        "guide",
        "instructions",
        "download",
        "the",
        "a",
        "an",
        "for",
        "of",
        "and",
        "with",
        "your",
        "in",
        "on",
        "to",
        "is",
        "tool",
        "page",
        "this",
        "how",
        "getting-started",
        "get",
        "started",
        "start",
    ]
)

_NO_HOSTS = frozenset(
    ["www", "get", "sh", "raw", "install", "dl", "download", "downloads", "api", "cdn", "files", "static", "app", "go", "run"]
)


def host_name(address: str) -> str:
    """The name an address speaks of: a repository's, else the first telling part of its host."""
    parts = address.split("://", 1)[-1].split("/")
    if parts[0] in ("raw.githubusercontent.com", "github.com", "gitlab.com") and len(parts) > 2:
        return parts[2].lower()
    labels = [label for label in parts[0].split(":")[0].lower().split(".")[:-1] if label not in _NO_HOSTS]
    return labels[0] if labels else ""


_REPOSITORY = re.compile(r"(?<!gist\.)github\.com[/:](?P<owner>[\w.-]+)/(?P<name>[\w.-]+)")
_BADGE = re.compile(
    r"(?:pypi\.(?:org|python\.org)/(?:project|pypi|p)/|shields\.io/(?:pypi|npm|crates|homebrew)/\w+/|npmjs\.(?:com|org)/package/|badge\.fury\.io/(?:py|js)/|crates\.io/crates/|npm-badge\.com/|nodei\.co/npm/|formulae\.brew\.sh/formula/|pepy\.tech/(?:project|badge)/)(?P<name>@?[\w.-]+(?:/[\w.-]+)?)"
)


def repository(text: str) -> str:
    """The name of the repository a text links to most, where one stands out."""
    found = Counter(match["name"].removesuffix(".git").rstrip(".").lower() for match in _REPOSITORY.finditer(text[:300_000]))
    top = found.most_common(2)
    if not top or (len(top) > 1 and top[0][1] == top[1][1]):
        return ""
    return top[0][0]


_CLONED = re.compile(r"\bgit\s+clone\s[^;&|\n]*?(?P<url>(?:[a-z+]+://|git@)[\w.@:/~+-]+)")


def cloned(texts: Iterable[str]) -> list[str]:
    """The names of the repositories that commands clone, each once."""
    urls = [match["url"] for text in texts for match in _CLONED.finditer(text)]
    return list(dict.fromkeys(url.rstrip("/").removesuffix(".git").rsplit("/", 1)[-1].lower() for url in urls))


_MENTION = re.compile(r"^\[(?P<name>[\w@./-]+)\]:\s*<?(?:https?://)?[\w./-]*$", re.MULTILINE)
"""How a reference begins that a sentence links a name with: another program's as often as the document's own."""


def badges(text: str) -> list[str]:
    """Package names in the badges and registry links at a document's beginning."""
    names = [
        re.sub(r"(?:\.(?:svg|png)|/.*)$", "", m["name"]) if not m["name"].startswith("@") else m["name"].removesuffix(".svg")
        for m in _BADGE.finditer(text[:12_000])
        if not ((mention := _MENTION.search(text[max(0, m.start() - 100) : m.start()])) and same(mention["name"], m["name"]))
    ]
    return list(dict.fromkeys(name.lower() for name in names))


def program_of(package: str) -> str:
    """The program a package is known to bring, else its own name."""
    name = package.lower()
    return vocabulary().binaries.get(name, bare_program(name))


def bare_program(name: str) -> str:
    """A package's name as a program's: without a scope."""
    return name.rsplit("/", 1)[-1]
