"""Inputs and secrets: what a skill declares it needs, and the placeholders a person would have to fill in."""

from __future__ import annotations

import re
from collections.abc import Iterable

from skillrun.skills.parser.lazy import SECRET_WORDS
from skillrun.skills.skill import Input, Secret, SkillCommand

_SECRET_NAME = re.compile(rf"(?:^|_)(?:{SECRET_WORDS})(?:$|_)", re.IGNORECASE)
_NOT_SECRET = re.compile(
    r"PUBLIC_KEY|KEY_?(?:FILE|PATH|ID|NAME|RING|SERVER|URL)|PASS_?FILE|PASSTHROUGH|TOKEN_URL|(?:FILE|PATH|DIR|URL|NAME|ID)$",
    re.IGNORECASE,
)
_ANGLE = re.compile(r"<(?P<name>[A-Za-z][A-Za-z0-9 _-]{1,40})>")
_CURLY = re.compile(r"\{\{\s*(?P<name>[A-Za-z_][\w.-]{0,40})\s*\}\}")
_YOUR = re.compile(
    r"(?<![\w$/-])(?P<name>(?:YOUR|MY|REPLACE|ENTER|INSERT)[_-][A-Za-z0-9_-]{2,60}|your[_-](?:api[_-])?(?:key|token"
    r"|secret|password|email|name"
                   r"|domain|username)[\w-]{0,20})(?![\w/])")  # fmt: skip
_VARIABLE = re.compile(
    r"\$\{(?P<name>[A-Z][A-Z0-9_]{1,40})(?::?-(?P<default>[^{}$`\n]{0,100}))?\}|\$(?P<bare>[A-Z][A-Z0-9_]{1,40})\b"
)
_ASSIGNED = re.compile(
    r"(?:^|[\s;&])(?:export\s+|read\s+(?:-\w+\s+)*)?([A-Z_][A-Z0-9_]*)(?==|\s*$)|\bfor\s+([A-Z_]\w*)\s+in\b", re.MULTILINE
)
_EXPORTED = re.compile(
    r"^\s*export\s+(?P<name>[A-Z][A-Z0-9_]*)=[\"']?(?:<[^>]*>|\.{3}|…|sk-\S*|xxx+\S*|YOUR\S*|your\S*)[\"']?\s*$", re.MULTILINE
)
_MACHINE = frozenset(
    [
        "HOME",
        "USER",
        "PATH",
        "PWD",
        "SHELL",
        "OLDPWD",
        "LANG",
        "TERM",
        "UID",
        "EUID",
        "HOSTNAME",
        "HOSTTYPE",
        "OSTYPE",
        "MACHTYPE",
        "TMPDIR",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_CACHE_HOME",
        "XDG_STATE_HOME",
        "XDG_BIN_HOME",
        "XDG_RUNTIME_DIR",
        "NVM_DIR",
        "PREFIX",
        "RANDOM",
        "SECONDS",
        "EDITOR",
        "VISUAL",
        "LOGNAME",
        "SUDO_USER",
        "VERSION_CODENAME",
        "UBUNTU_CODENAME",
        "DEBIAN_FRONTEND",
        "VIRTUAL_ENV",
        "PYTHONPATH",
        "LD_LIBRARY_PATH",
        "IFS",
        "BASH_VERSION",
        "BASH_SOURCE",
        "ZSH_VERSION",
        "GOPATH",
        "GOBIN",
        "CARGO_HOME",
        "DISPLAY",
    ]
)
"""Variables a machine sets itself."""


def is_secret(name: str) -> bool:
    """Whether a name is that of a secret."""
    return bool(_SECRET_NAME.search(name.replace("-", "_").replace(" ", "_"))) and not _NOT_SECRET.search(name)


def declared_inputs(text: str, line: int) -> tuple[Input, ...]:
    """`PORT=8080 CHANNEL=stable|beta NAME`: a default, choices (the first is the default), or a value that must be given."""
    found = []
    for word in text.split():
        name, equals, value = word.partition("=")
        choices = tuple(value.split("|")) if "|" in value else ()
        default = None if not equals else choices[0] if choices else value
        found.append(Input(name, default, choices, line))
    return tuple(found)


def declared_secrets(text: str, line: int) -> tuple[Secret, ...]:
    """`OPENAI_API_KEY ANTHROPIC_API_KEY?`: names only, `?` means optional."""
    return tuple(Secret(word.rstrip("?"), word.endswith("?"), line) for word in text.split() if word.rstrip("?"))


def _clean(name: str) -> str:
    name = re.sub(
        r"^(?:your|my|the|enter|insert|replace(?:_with)?)[\s_-]+(?:own[\s_-]+|with[\s_-]+)?",
        "",
        name.strip(),
        flags=re.IGNORECASE,
    )
    return re.sub(r"\W+", "_", name).strip("_").upper()


def placeholders(commands: Iterable[SkillCommand], known: Iterable[str]) -> tuple[tuple[Input, ...], tuple[Secret, ...]]:
    """What the commands leave to be filled in, beyond the names already `known`.

    `text` of an input is the placeholder as it is written in the command.
    """
    taken = {name.upper() for name in known}
    inputs: dict[str, Input] = {}
    secrets: dict[str, Secret] = {}
    assigned: set[str] = set()
    for command in commands:
        for name, written, default in _found(command.text, assigned):
            if not name or name in taken or name in inputs or name in secrets:
                continue
            if is_secret(name):
                secrets[name] = Secret(name, False, command.line)
            else:
                inputs[name] = Input(name, default, (), command.line, written)
        assigned |= {a or b for a, b in _ASSIGNED.findall(command.text)}
    return tuple(inputs.values()), tuple(secrets.values())


def _found(text: str, assigned: set[str]) -> Iterable[tuple[str, str, str | None]]:
    """(name, placeholder as written, default) of each placeholder in a command."""
    for match in _EXPORTED.finditer(text):
        yield match["name"], match.group().strip(), None
    exported = {match["name"] for match in _EXPORTED.finditer(text)}
    if exported:
        return
    for pattern in (_ANGLE, _CURLY, _YOUR):
        for match in pattern.finditer(text):
            if pattern is not _ANGLE or not re.search(r"<[A-Za-z][\w-]*>.*</", text):
                yield _clean(match["name"]), match.group(), None
    for match in _VARIABLE.finditer(text):
        name = match["name"] or match["bare"]
        if name not in _MACHINE and name not in assigned and match["name"] and not re.search(rf"\b{name}=", text):
            yield name, match.group(), match["default"]
