"""What a command does, as far as an installation is concerned: which packages it gets, with which manager, for whom."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from skillrun.bash.nodes import AndOr, Group, If, Lit, Node, Pipe, Redirected, Seq, Simple, Sub, Var, Word
from skillrun.bash.syntax import parse


@dataclass(frozen=True, slots=True)
class Act:
    """What one simple command does.

    `kind`: install | script | fetch | source | container | refresh | repository | once | service | shell | update | uninstall
    | write | login | publish | use.
    """

    kind: str
    manager: str = ""
    packages: tuple[str, ...] = ()
    scope: str = ""
    program: str = ""
    """The program that is called."""
    root: bool = False


@dataclass(frozen=True, slots=True)
class _Grammar:
    """How a manager is told to install: its verbs, options that take a value, options that mean a scope."""

    verbs: tuple[str, ...]
    others: tuple[str, ...] = ()
    """Verbs that take away."""
    updates: tuple[str, ...] = ()
    valued: frozenset[str] = frozenset()


@cache
def page() -> Mapping[str, Any]:
    """The page `managers.toml`."""
    found: dict[str, Any] = tomllib.loads((Path(__file__).parent / "managers.toml").read_text(encoding="utf-8"))
    return found


def _grammar(row: Mapping[str, Sequence[str]]) -> _Grammar:
    verbs, others, updates = (tuple(row.get(key, ())) for key in ("verbs", "others", "updates"))
    return _Grammar(verbs, others, updates, frozenset(row.get("valued", ())))


GRAMMARS: dict[str, _Grammar] = {name: _grammar(row) for name, row in page()["managers"].items()}
FOREIGN = frozenset(page()["words"]["foreign"])
"""Managers of systems (or kept beside them): none of them is brought onto a machine that has another."""
_NAMES: Mapping[str, str] = page()["called"]
_MOVES, _WRITES, _BUILDS = (frozenset(page()["words"][kind]) for kind in ("moves", "writes", "builds"))
_FETCH = frozenset(("curl", "wget", "aria2c", "fetch", "http"))
_SHELLS = frozenset(("sh", "bash", "zsh", "dash", "fish", "python", "python3", "perl", "node", "iex", "ksh"))
_SHELL = frozenset(("export", "eval", "source", ".", "alias", "set", "unset", "exec", "rehash"))
_WRAPPERS = frozenset(("sudo", "doas", "env", "command", "time", "nice", "nohup", "exec", "builtin", "su"))
_MAKING = re.compile(
    r"(?:re)?(?:build|make|install|compile|setup|bootstrap|configure)(?:[._-]\w+)*(?:\s|$)"
    r"|\S+ (?:build|make|compile|install|package)$"
)
"""What builds, where a program of the document's own repository is called for it."""
_SCRIPTS = re.compile(r"(?:setup\.py|Makefile\.PL|Build\.PL|setup\.rb|extconf\.rb)$")
_TOOLS = frozenset(("pip", "setuptools", "wheel", "virtualenv", "npm", "npm@latest", "build"))
_OPTION_VALUES = frozenset(("-u", "--user", "-g", "-E", "-n"))
_LOGIN = re.compile(r"(?<![\w/])(?:log-?in|auth|signin|sign-in|adduser|whoami|register)(?![\w/-])")
_PUBLISH = re.compile(r"(?<![\w/])(?:publish|deploy|push|upload|release|tunnel)(?![\w-])")


def acts(text: str) -> tuple[Act, ...]:
    """What the simple commands of a text do, in order; empty when the text cannot be read as Bash."""
    script = parse(text)
    if script.error:
        return ()
    return tuple(_of(script.body, False))


def _of(node: Node | None, piped: bool) -> Iterator[Act]:
    if isinstance(node, Seq):
        for item in node.items:
            yield from _of(item, piped)
    elif isinstance(node, AndOr):
        yield from _of(node.left, piped)
        yield from _of(node.right, piped)
    elif isinstance(node, Pipe):
        yield from _piped(node)
    elif isinstance(node, Group | Redirected):
        yield from _of(node.body, piped)
    elif isinstance(node, If):
        for _, body in node.branches:
            yield from _of(body, piped)
    elif isinstance(node, Simple):
        yield from _simple(node)
    elif node is not None:
        yield Act("write")


def _piped(node: Pipe) -> Iterator[Act]:
    """`curl ... | sh` runs what it fetches; any other pipe is what its parts are."""
    parts = [list(_of(part, True)) for part in node.parts]
    flat = [act for part in parts for act in part]
    first, last = flat[:1], flat[-1:]
    if first and first[0].kind == "fetch" and last and last[0].program in _SHELLS:
        yield Act("script", "script", first[0].packages, program=last[0].program, root=last[0].root)
    elif first and first[0].kind == "fetch":
        yield Act(
            "repository" if any(act.program in ("gpg", "apt-key", "tee") for act in flat) else "fetch",
            packages=first[0].packages,
        )
    else:
        yield from flat


def word_text(word: Word) -> str:
    """A word as it is written, without its quotes."""
    out = []
    for part in word:
        if isinstance(part, Lit):
            out.append(part.text)
        elif isinstance(part, Var):
            out.append(f"${part.name}")
        else:
            out.append("$(...)")
    return "".join(out)


def _simple(node: Simple) -> Iterator[Act]:
    words = [word_text(word) for word in node.words]
    inner = [part for word in node.words for part in word if isinstance(part, Sub)]
    if not words:
        yield Act("shell" if node.assigns or node.declares else "use")
        return
    root = False
    while words and (words[0] in _WRAPPERS or re.fullmatch(r"[A-Za-z_]\w*=.*", words[0])):
        root = root or words[0] in ("sudo", "doas")
        words = words[1:]
        while words and words[0].startswith("-") and len(words) > 1:
            words = words[2:] if words[0] in _OPTION_VALUES and root else words[1:]
    if not words:
        yield Act("shell")
        return
    fetched = [act for sub in inner for act in _of(sub.body, True) if act.kind == "fetch"]
    name = words[0].rsplit("/", 1)[-1]
    if fetched and (name in _SHELLS or name == "eval"):
        yield Act("script", "script", fetched[0].packages, program=name, root=root)
        return
    writes = any(
        redirect.op in (">", ">>", ">|", "&>") and not word_text(redirect.target).startswith("/dev/")
        for redirect in node.redirects
    )
    if (writes and name not in _FETCH) or (name in ("echo", "printf") and writes):
        yield Act("write", program=name, root=root)
        return
    yield _act(name, words, root)


def _act(name: str, words: Sequence[str], root: bool) -> Act:
    """The act of one command without wrappers; `words[0]` is the program."""
    rest = list(words[1:])
    if "/" in words[0] and re.fullmatch(r"(?:pip|python)[\d.]*", name):
        return Act("source", "source", program=name, root=root)  # an environment of the document's own making
    if re.fullmatch(r"(?:python[\d.]*|py|pypy[\d.]*)", name) and "-m" in rest[:3]:
        at = rest.index("-m")
        module = rest[at + 1 : at + 2]
        if module and module[0] in ("pip", "pipx", "uv"):
            name, rest = module[0], rest[at + 2 :]
        elif module and module[0] in ("venv", "virtualenv"):
            return Act("shell", program=name, root=root)
        elif module and module[0] in ("build", "pytest", "unittest", "tox"):
            return Act("source", "source", program=name, root=root)
    if re.fullmatch(r"pip3?\.\d+", name):
        name = "pip"
    manager = _NAMES.get(name, name)
    if manager == "uv" and rest[:1] == ["tool"]:
        manager, rest = "uv tool", rest[1:]
    elif manager == "uv" and rest[:1] == ["pip"]:
        manager, rest = "pip", rest[1:]
    elif manager == "uv" and rest[:1] == ["add"]:
        return Act("install", "uv", tuple(_named(rest[1:], GRAMMARS["pip"].valued)), "project", "uv", root)
    elif name in ("npx", "uvx", "bunx", "pnpx") or (
        rest[:1] in (["dlx"], ["exec"], ["x"]) and manager in ("npm", "pnpm", "yarn", "bun")
    ):
        return Act(
            "once", name, tuple(_named(rest, frozenset(("-p", "--package", "--from", "--with"))))[:1], program=name, root=root
        )
    elif name == "pipx" and rest[:1] == ["run"]:
        return Act("once", name, tuple(rest[1:2]), program=name, root=root)
    if manager in ("docker", "podman", "docker-compose", "nerdctl"):
        return Act("container", "container", tuple(_image(rest)), program=name, root=root)
    if manager in GRAMMARS or manager in FOREIGN:
        return _managed(manager, rest, root, name)
    if name in _FETCH:
        return Act(
            "fetch",
            packages=tuple(word for word in rest if "://" in word or re.match(r"[\w-]+\.[\w.-]+/", word)),
            program=name,
            root=root,
        )
    return _other(name, words, root)


def _image(rest: Sequence[str]) -> Iterator[str]:
    verbs = [word for word in rest if not word.startswith("-")]
    if verbs[:1] in (["run"], ["pull"]) and len(verbs) > 1:
        yield (
            verbs[-1]
            if verbs[0] == "pull"
            else next(
                (word for word in verbs[1:] if "/" in word and ":/" not in word and not word.startswith(("/", "$", "."))),
                verbs[1],
            )
        )


def _managed(manager: str, rest: list[str], root: bool, name: str) -> Act:
    grammar = GRAMMARS.get(manager, _Grammar(("install", "add", "build")))
    flags = [word for word in rest if word.startswith("-")]
    words = list(_named(rest, grammar.valued))
    verb = words[0] if words else ""
    scope = "global" if {"-g", "--global", "global", "--location=global"} & set(rest) else "user" if "--user" in rest else ""
    if manager == "yarn" and verb == "global":
        words, scope = words[1:], "global"
        verb = words[0] if words else ""
    if manager in ("pacman", "aur"):
        sync = any(re.match(r"-S[a-z]*$", flag) for flag in flags) and "-R" not in flags
        return (
            Act("install" if sync and words else "refresh", manager, tuple(words), root=root, program=name)
            if not any(f.startswith("-R") for f in flags)
            else Act("uninstall", manager)
        )
    if manager in ("emerge", "xbps", "pkg_add", "eix", "cave", "crew", "kiss"):
        gone = words[1:] if words and words[0] in ("install", "add", "resolve", "build", "i", "b") else words
        return Act("install", manager, tuple(gone), program=name, root=root)
    if manager == "nix":
        if name == "nix-env":
            return Act("install", "nix", tuple(words), program=name, root=root)
        return Act("install" if "install" in words else "once", "nix", tuple(words[-1:]), program=name, root=root)
    if verb in grammar.verbs and verb:
        return _installed(manager, words[1:], rest, scope, root, name)
    if verb in grammar.others:
        return Act("uninstall", manager, tuple(words[1:]), program=name, root=root)
    if verb in grammar.updates and manager not in ("apt", "brew"):
        return Act("update", manager, tuple(words[1:]), program=name, root=root)
    if verb in ("update", "upgrade", "makecache", "ensurepath", "refresh", "self-update"):
        return Act("refresh" if len(words) == 1 else "update", manager, tuple(words[1:]), program=name, root=root)
    if verb in ("tap", "config-manager", "copr", "addrepo", "ar", "bucket", "remote-add", "plugin", "plugins", "edit-sources"):
        return Act("repository", manager, tuple(words[1:]), program=name, root=root)
    text = " ".join(words)
    if _LOGIN.search(text):
        return Act("login", manager, program=name, root=root)
    if _PUBLISH.search(text):
        return Act("publish", manager, program=name, root=root)
    if manager in ("npm", "pnpm", "yarn", "bun", "cargo", "go", "stack", "cabal") or verb in ("wheel", "link", "ci", "run"):
        return Act("source", "source", program=name, root=root)
    return Act("use", manager, program=name, root=root)


def _installed(manager: str, named: list[str], rest: Sequence[str], scope: str, root: bool, name: str) -> Act:
    """An install command with its words: of packages, of a project at hand, or of tools that only help."""
    if manager == "pip":
        named = [word for word in named if not word.startswith(("git+", "http:", "https:"))] or named
    local = [
        word
        for word in named
        if re.match(r"(?:\.{1,2}(?:/|\[|$)|/|~/|git\+|https?://|file:|\$\()", word)
        or word.endswith((".whl", ".gz", ".zip", ".deb", ".rpm"))
    ]
    packages = tuple(word for word in named if word not in local)
    if manager in ("go", "apt", "dnf", "brew", "snap") and not packages and local:
        return Act("source" if manager == "go" else "fetch", "source", tuple(local), program=name, root=root)
    if not packages and (manager != "go" or not named):
        if any(word.startswith(("git+", "http")) for word in local):
            return Act("install", manager, tuple(local), scope, name, root)
        return Act("source", "source", program=name, root=root)
    if manager == "pip" and {"-e", "--editable", "-r", "--requirement"} & set(rest):
        return Act("source", "source", packages, program=name, root=root)
    if manager == "cargo" and {"--path", "--git"} & set(rest):
        return Act("source", "source", packages, program=name, root=root)
    if (
        manager == "pip"
        and all(re.split(r"[=<>~]", word)[0] in _TOOLS for word in packages)
        and {"-U", "--upgrade"} & set(rest)
    ):
        return Act("refresh", manager, packages, program=name, root=root)
    if manager in ("npm", "pnpm", "yarn", "bun") and not scope:
        scope = "project"
    return Act("install", manager, packages, scope, name, root)


def _named(rest: Sequence[str], valued: frozenset[str]) -> Iterator[str]:
    """The words of a command line that are no options and no options' values."""
    skip = False
    for word in rest:
        if skip:
            skip = False
        elif word in valued:
            skip = True
        elif not word.startswith("-") and word:
            yield word.strip("'\"")


def _other(name: str, words: Sequence[str], root: bool) -> Act:
    text = " ".join(words)
    if name in ("systemctl", "service", "launchctl", "rc-service", "rc-update"):
        return Act("service", program=name, root=root)
    if name in ("add-apt-repository", "apt-key", "gpg", "apt-add-repository"):
        return Act("repository", program=name, root=root)
    if (name == "dpkg" and words[1:2] == ["-i"]) or name in ("rpm", "installer", "msiexec"):
        return Act("fetch", program=name, root=root)
    if name == "git":
        return Act(
            "source" if words[1:2] in (["clone"], ["checkout"], ["submodule"], ["pull"]) else "use",
            "source",
            program=name,
            root=root,
        )
    if (
        name in _BUILDS
        or words[0].startswith("./configure")
        or name in ("setup.py", "autogen.sh", "install.sh", "bootstrap.sh")
    ):
        return Act("source", "source", program=name, root=root)
    if re.match(r"(?:\./)?[\w.-]+/|\./", words[0]) and re.match(_MAKING, " ".join((name, *words[1:2]))):
        return Act("source", "source", program=name, root=root)  # a program of the repository itself
    if name in ("python", "python3", "perl", "ruby") and any(_SCRIPTS.search(word) for word in words[1:2]):
        return Act("source", "source", program=name, root=root)
    if name in _SHELL:
        return Act("shell", program=name, root=root)
    if name in ("poetry", "pdm", "hatch", "tox", "nox", "pytest", "rye") and len(words) > 1:
        return Act("source" if words[1] in ("install", "run", "sync", "shell", "build") else "use", program=name, root=root)
    if name in _WRITES:
        return Act("write", program=name, root=root)
    if name in ("bash", "sh", "zsh") and len(words) > 1:
        return Act("source", "source", program=name, root=root)
    if _LOGIN.search(text):
        return Act("login", program=name, root=root)
    if _PUBLISH.search(text):
        return Act("publish", program=name, root=root)
    return Act("look" if name in _MOVES else "use", program=name, root=root)
