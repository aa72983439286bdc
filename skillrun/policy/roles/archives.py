"""tar and its odd options: what an archive command reads, writes and runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from skillrun.text.patterns import later

_LONG = {"extract": "x", "get": "x", "create": "c", "list": "t", "append": "r", "update": "u", "absolute-names": "P"}
_VALUES = frozenset(("file", "directory", "use-compress-program", "to-command", "checkpoint-action", "exclude", "rsh-command"))
_PROGRAMS = frozenset(("to-command", "use-compress-program", "rsh-command", "info-script", "new-volume-script", "I", "F"))
_COMPRESSORS = later(r"(?:zstd|xz|gzip|bzip2|lz4|pigz|pbzip2)(?: -[\w=-]+)*")


@dataclass(slots=True)
class Tar:
    """A tar command taken apart. `mode` is x, t, c, r, u or empty."""

    mode: str = ""
    archive: str = ""
    directories: list[str] = field(default_factory=list)
    members: list[str] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)
    absolute: bool = False
    removes: bool = False
    """Are the members removed once they are in the archive?"""


def read_tar(words: list[str]) -> Tar:
    """Take the words after `tar` apart; the first may be options without a dash."""
    tar = Tar()
    old_style = bool(words) and not words[0].startswith("-")
    rest = list(words)
    first = rest.pop(0) if old_style else ""
    for mark in first:
        _letter(tar, mark, rest.pop(0) if mark in "fCITFXb" and rest else "")
    while rest:
        word = rest.pop(0)
        if word == "--":
            tar.members += rest
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if not equals and name in _VALUES and rest:
                value = rest.pop(0)
            _long(tar, name, value)
        elif word.startswith("-") and len(word) > 1:
            for position, mark in enumerate(word[1:], 2):
                if mark in "fCITFXb":
                    _letter(tar, mark, word[position:] or (rest.pop(0) if rest else ""))
                    break
                _letter(tar, mark, "")
        else:
            tar.members.append(word)
    return tar


def _letter(tar: Tar, mark: str, value: str) -> None:
    if mark in "xtcruA":
        tar.mode = mark
    elif mark == "f":
        tar.archive = value
    elif mark == "C":
        tar.directories.append(value)
    elif mark == "P":
        tar.absolute = True
    elif mark in _PROGRAMS and not _COMPRESSORS.fullmatch(value):
        tar.programs.append(value)


def _long(tar: Tar, name: str, value: str) -> None:
    if name in _LONG:
        _letter(tar, _LONG[name], "")
    elif name == "remove-files":
        tar.removes = True
    elif name == "file":
        tar.archive = value
    elif name == "directory":
        tar.directories.append(value)
    elif (name in _PROGRAMS and not _COMPRESSORS.fullmatch(value)) or (name == "checkpoint-action" and "exec" in value):
        tar.programs.append(value)
