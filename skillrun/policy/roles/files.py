"""Roles of paths: read, written, deleted, moved, packed."""

from __future__ import annotations

import re

from skillrun.events import EffectKind
from skillrun.policy import paths
from skillrun.policy.invocation import Invocation, Role
from skillrun.policy.roles.archives import read_tar
from skillrun.policy.unknown import STAR, certain, plain


def _names(call: Invocation, value: str, _argument: str) -> None:
    """Only names and properties are shown, not what is in it."""
    call.findings.add(EffectKind.READ, call.path(value))


def _read(call: Invocation, value: str, argument: str) -> None:
    call.reads(value, argument)


def _link(call: Invocation, value: str, _argument: str) -> None:
    """A link to a secret is another way to read it."""
    if paths.is_kind(call.path(value), "secret", call.findings.place.home):
        call.reads(value, "linked")


def _write(call: Invocation, value: str, argument: str) -> None:
    call.writes(value, argument)


def _create(call: Invocation, value: str, _argument: str) -> None:
    call.findings.write(call.path(value), "a directory")


def _changes(call: Invocation, _value: str, argument: str) -> None:
    """An operand that makes or changes something, unless the call only asks."""
    if "query" not in call.notes:
        call.findings.write(call.path(argument))


def _setting(call: Invocation, value: str, _argument: str) -> None:
    """`name=value` changes the kernel's settings, a name alone shows one."""
    if "=" in value or not certain(value):
        call.findings.add(EffectKind.DEVICE, value)


def _delete(call: Invocation, value: str, _argument: str) -> None:
    if not value:
        return
    recursive = "recursive" in call.notes
    if recursive and value.startswith("/proc/"):
        call.findings.floor("whole-tree", f"{plain(value)} is another way to say a directory nobody sees named here")
    call.findings.delete(call.path(value), recursive, slash=value.endswith("/"))
    if recursive and not value.startswith("/"):
        for directory in call.elsewhere:
            call.findings.tree(paths.absolute(value, directory, call.findings.place), "; the cd before it may fail")


def _delete_tree(call: Invocation, value: str, argument: str) -> None:
    call.findings.delete(call.path(value), True, argument)


def _move(call: Invocation, value: str, _argument: str) -> None:
    if "stdout" in call.notes:
        call.findings.read(call.path(value))
        return
    call.findings.read(call.path(value))
    call.findings.delete(call.path(value), True, "moved away")


def _compress(call: Invocation, value: str, _argument: str) -> None:
    """gzip and its kind replace a file by one with another ending, unless they print."""
    _move(call, value, "")
    if "stdout" not in call.notes:
        ending = {"gzip": ".gz", "bzip2": ".bz2", "xz": ".xz", "zstd": ".zst"}.get(call.argv[0], "")
        call.findings.write(call.path(value) + ending if ending else re.sub(r"\.\w+\Z", "", call.path(value)))


def _prefix(call: Invocation, value: str, _argument: str) -> None:
    call.findings.write(call.path(value) + STAR)


def _metadata(call: Invocation, value: str, _argument: str) -> None:
    path = call.path(value)
    if "recursive" in call.notes:
        call.findings.change_tree(path, call.name)
    else:
        call.findings.write(path, call.name)


def _chmod(call: Invocation, _value: str, _argument: str) -> None:
    """chmod and chattr: a mode may look like an option (`-x`), and set-user-id is a privilege."""
    words = [
        word for word in call.argv[1:] if word not in ("--", "-v", "-f", "-c", "--verbose", "--changes", "--quiet", "--silent")
    ]
    if any(re.fullmatch(r"-\w*R\w*|--rec\w*", word) for word in words):
        call.notes.add("recursive")
    words = [word for word in words if not re.fullmatch(r"-\w*R\w*|--rec\w*|--(?:no-)?preserve-root", word)]
    mode = words.pop(0) if words and not any(word.startswith("--reference") for word in words) else ""
    for word in words:
        if word.startswith("--"):
            continue
        _metadata(call, word, "")
        if call.name == "chmod" and (re.fullmatch(r"0*[2467]\d{3}", mode) or re.search(r"[+=]\w*s", mode)):
            call.findings.add(EffectKind.PRIVILEGE, call.path(word), "runs as its owner, whoever starts it")


def _raw(call: Invocation, value: str, argument: str) -> None:
    """A device that is only used, unless an option says that what is on it goes."""
    if "destroys" in call.notes:
        _format(call, value, argument)
    else:
        call.findings.add(EffectKind.DEVICE, value)


def _format(call: Invocation, value: str, _argument: str) -> None:
    key, equals, rest = value.partition("=")
    if equals and key.isalnum():  # as dd takes its operands
        if key == "if":
            call.reads(rest)
            return
        value = rest
    path = call.path(value)
    if path.startswith("/dev/"):
        call.findings.device(path, call.name)
    else:
        call.findings.write(path, call.name)


def _archive(call: Invocation, _value: str, _argument: str) -> None:
    tar = read_tar(call.argv[1:])
    findings = call.findings
    for program in tar.programs:
        findings.add(EffectKind.RUN_CODE, "tar", plain(program)[:80])
    if tar.absolute and tar.mode == "x":
        findings.add(EffectKind.UNKNOWN, "tar", "the archive says where its files go")
    if tar.archive and tar.archive != "-":
        (findings.read if tar.mode in "xt" else findings.write)(call.path(tar.archive))
    directory = call.cwd
    for each in tar.directories:
        directory = paths.absolute(each, directory, findings.place)
    if tar.mode == "x":
        findings.write(directory, "unpacked into it")
    elif tar.mode not in ("", "t"):
        for member in tar.members:
            path = paths.absolute(member, directory, findings.place)
            findings.read_tree(path)
            if tar.removes:
                findings.delete(path, True, "moved into the archive")


def _unpack(call: Invocation, _value: str, _argument: str) -> None:
    if "query" not in call.notes and not any(option == "-d" for option, _ in call.options):
        call.findings.write(call.cwd, "unpacked into it")


ROLES: dict[str, Role] = {
    "read": _read,
    "names": _names,
    "write": _write,
    "link": _link,
    "append": _write,
    "create": _create,
    "changes": _changes,
    "setting": _setting,
    "delete": _delete,
    "delete-tree": _delete_tree,
    "move": _move,
    "metadata": _metadata,
    "compress": _compress,
    "prefix": _prefix,
    "chmod": _chmod,
    "format": _format,
    "raw": _raw,
    "archive": _archive,
    "unpack": _unpack,
}
