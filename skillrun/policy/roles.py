"""From an argument list and a program's table to effects: options are read as the program would, then roles applied.

Roles of operands and option values: read, write, append, create, delete, delete-tree, move, metadata, format, url, send,
remote, host, install, remove, index, cwd, script, code, shell, command, words (the rest joined as shell text), plain,
note NAME, and any kind of effect (`service`, `account`, `kill`, `defence-off`, ...) with a remark after it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from skillrun.events import EffectKind
from skillrun.policy import paths
from skillrun.policy.archives import read_tar
from skillrun.policy.findings import Findings
from skillrun.policy.knowledge import Program
from skillrun.policy.unknown import ANY, STAR, plain

_KINDS = {str(kind): kind for kind in EffectKind}
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_FOLLOWED = re.compile(
    r"hookspath|command|pager|editor|proxy|helper|textconv|fsmonitor|external|difftool|mergetool|program|alias\.|askpass|filter\."
    r"|attributesfile|insteadof|include"
)
_SEPARATOR = re.compile(r"(?<=^[a-z-]):|(?<=[a-z]):")
_TAKE_SUBJECT = frozenset(("read", "write", "create", "delete", "delete-tree", "install", "remove"))
_SCP = re.compile(r"(?:[^/@:\s]+@)?([A-Za-z0-9_.-]+):(?!//)")


@dataclass(slots=True)
class Run:
    """One program about to be judged."""

    argv: list[str]
    program: Program
    findings: Findings
    cwd: str
    stdin: str = ""
    elsewhere: frozenset[str] = frozenset()
    notes: set[str] = field(default_factory=set)
    evaluate: Callable[[list[str]], str] | None = None
    """Judge a command given as an argument list (wrappers)."""
    shell: Callable[[str], str] | None = None
    """Judge shell text."""
    script: Callable[[str, str], object] | None = None
    """Judge the running of a file (path, interpreter)."""
    quiet: bool = False
    operands: list[str] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)
    index: str = ""

    @property
    def name(self) -> str:
        """The program's name as it is known."""
        return self.program.name

    def always_words(self) -> str:
        """All that the table says this program always does, as one text."""
        return "\n".join(self.program.always)

    def path(self, text: str) -> str:
        """An argument as an absolute path."""
        return paths.absolute(text, self.cwd, self.findings.place)


def judge_call(run: Run) -> None:
    """Read options and operands, follow subcommands, apply every role."""
    program, rest = run.program, run.argv[1:]
    while True:
        operands = _options(run, program, rest)
        if not program.sub or run.quiet:
            break
        if not operands:
            break
        child = program.sub.get(operands[0])
        if child is None:
            if ANY.search(operands[0]) or "*" not in program.sub:
                run.findings.add(EffectKind.UNKNOWN, f"{program.name} {operands[0]}", "not known to this policy")
                return
            child = program.sub["*"]
            rest = operands
        else:
            rest = operands[1:]
        program = run.program = child
    run.operands = operands
    if run.quiet:
        return
    for option, value in run.options:
        role = program.value.get(option, program.flag.get(option, ""))
        if role and role.split()[0] not in ("note", "index"):
            apply(run, role, value)
            if program.family == "shells" and role in ("code", "module"):
                operands = run.operands = []
    for role in program.always:
        apply(run, role, "", f"by {program.manager}" if program.manager else "")
    if not operands and program.bare and not any(program.value.get(name) in ("code", "module") for name, _ in run.options):
        apply(run, program.bare, "")
    _operands(run, program, operands)


def _options(run: Run, program: Program, rest: list[str]) -> list[str]:
    """Split off the options; notes and indexes are taken at once because operands depend on them."""
    operands: list[str] = []
    i, n = 0, len(rest)
    while i < n:
        argument = rest[i]
        i += 1
        if argument == "--":
            operands.extend(rest[i:])
            break
        if len(argument) < 2 or argument[0] not in "-+" or (argument[0] == "+" and argument not in program.flag):
            if program.strict and argument and ANY.match(argument[0]) and not program.sub:
                run.findings.add(EffectKind.UNKNOWN, argument, f"may be any option of {program.name}")
            operands.append(argument)
            if program.stop or program.sub:
                operands.extend(rest[i:])
                break
            continue
        if argument.startswith("--") or program.single:
            name, equals, value = argument.partition("=")
            if not equals and name in program.value and i < n:
                value = rest[i]
                i += 1
            _option(run, program, name, value)
            continue
        if argument in program.value:
            value = rest[i] if i < n else ""
            i += 1
            _option(run, program, argument, value)
            continue
        if argument in program.flag or argument in program.quiet or argument in program.plain:
            _option(run, program, argument, "")
            continue
        for position in range(1, len(argument)):
            short = argument[0] + argument[position]
            if short in program.value:
                value = argument[position + 1 :]
                if not value and i < n:
                    value = rest[i]
                    i += 1
                _option(run, program, short, value)
                break
            _option(run, program, short, "")
    return operands


def _option(run: Run, program: Program, name: str, value: str) -> None:
    if name in ("--help", "--version") or name in program.quiet:
        run.quiet = True
        return
    role = program.value.get(name, program.flag.get(name))
    if role is None:
        if program.strict and name not in program.plain:
            run.findings.add(EffectKind.UNKNOWN, f"{program.name} {name}", "an option this policy does not know")
        return
    word, _, argument = role.partition(" ")
    if word == "note":
        run.notes.add(argument)
    elif word == "cwd":
        run.cwd = run.path(value)
    elif word == "index":
        run.index = value
        apply(run, role, value)
    run.options.append((name, value))


def _operands(run: Run, program: Program, operands: list[str]) -> None:
    roles, repeat = program.operands, program.repeat
    if not roles:
        return
    if repeat < 0:
        pairs = list(zip(roles, operands, strict=False))
    else:
        after = len(roles) - repeat - 1
        middle = max(len(operands) - repeat - after, 0)
        pairs = list(zip(roles[:repeat], operands, strict=False))
        pairs += [(roles[repeat], operand) for operand in operands[repeat : repeat + middle]]
        if after:
            pairs += list(zip(roles[-after:], operands[repeat + middle :], strict=False))
    for position, (role, operand) in enumerate(pairs):
        if role in ("command", "env-command"):
            _inner_command(run, operands[position:], role)
            return
        if role == "words":
            if run.shell is not None:
                run.shell(" ".join(operands[position:]))
            return
        apply(run, role, operand)


def _inner_command(run: Run, words: list[str], role: str) -> None:
    if words[0] == "-c" and len(words) > 1:
        if run.shell is not None:
            run.shell(words[1])
    elif run.evaluate is not None:
        run.evaluate(["env", *words] if role == "env-command" else words)


def apply(run: Run, role: str, value: str, remark: str = "") -> None:
    """Turn one role into effects. `remark` says whose doing it is, where that is a package manager's."""
    word, _, argument = _SEPARATOR.sub(" ", role, count=1).partition(" ")
    handler = _ROLES.get(word)
    if handler is not None:
        if not value and argument and word in _TAKE_SUBJECT:
            value, argument = _expanded(run, argument), remark
        handler(run, value, argument)
    elif word in _KINDS:
        kind = _KINDS[word]
        subject, detail = (value, argument) if value else (argument or run.name, "")
        if kind is EffectKind.NETWORK and not detail:
            detail = "receive"
        run.findings.add(kind, subject, ", ".join(filter(None, (detail, remark))))
    elif word and word not in ("plain", "note", "cwd"):
        raise ValueError(f"{run.name}: unknown role {role!r}")


def _expanded(run: Run, subject: str) -> str:
    """A path in a table may start with `~`."""
    return run.findings.place.home.rstrip("/") + subject[1:] if subject.startswith("~/") else subject


def host_of(url: str) -> tuple[str, bool]:
    """The host of a URL or of `host/path`, and whether the connection is encrypted."""
    text = plain(url)
    if not _URL.match(text):
        text = "http://" + text
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        return url, False
    return host or url, parts.scheme in ("https", "ssh", "sftp", "ftps", "git+https", "git+ssh")


def network(run: Run, url: str, direction: str) -> None:
    """A connection, with what is odd about it."""
    findings = run.findings
    host, encrypted = host_of(url)
    unknown = findings.unknowns.of(url)
    if direction == "receive" and any(item.kind == "output" or item.secret for item in unknown):
        direction = "send"
    if url.startswith("file://"):
        findings.read(run.path(url[7:]))
        return
    remarks = [direction]
    if not encrypted and host not in ("localhost", "127.0.0.1", "::1"):
        remarks.append("not encrypted")
    if re.fullmatch(r"[\d.]+|[0-9a-fA-F:]+:[0-9a-fA-F:]+|0x[0-9a-fA-F]+", host) and host not in ("127.0.0.1", "::1"):
        remarks.append("a bare address")
    if host.startswith("xn--") or ".xn--" in host or (not host.isascii() and not ANY.search(host)):
        remarks.append("a name in another alphabet")
    if any(item.kind == "variable" for item in unknown) and ANY.search(host):
        remarks.append("host not known")
    findings.add(EffectKind.NETWORK, host, ", ".join(remarks))


def _read(run: Run, value: str, argument: str) -> None:
    if value and value != "-":
        run.findings.read(run.path(value), argument)


def _write(run: Run, value: str, argument: str) -> None:
    if " " in value and "/" not in value and value in run.always_words():
        run.findings.add(EffectKind.WRITE, value, argument)
    elif value and value != "-":
        run.findings.write(run.path(value), argument)


def _create(run: Run, value: str, _argument: str) -> None:
    run.findings.write(run.path(value), "a directory")


def _delete(run: Run, value: str, _argument: str) -> None:
    if not value:
        return
    recursive = "recursive" in run.notes
    run.findings.delete(run.path(value), recursive)
    if recursive and not value.startswith("/"):
        for directory in run.elsewhere:
            run.findings.tree(paths.absolute(value, directory, run.findings.place), "; the cd before it may fail")


def _delete_tree(run: Run, value: str, argument: str) -> None:
    run.findings.delete(run.path(value), True, argument)


def _move(run: Run, value: str, _argument: str) -> None:
    if "stdout" in run.notes:
        run.findings.read(run.path(value))
        return
    run.findings.read(run.path(value))
    run.findings.delete(run.path(value), True, "moved away")


def _compress(run: Run, value: str, _argument: str) -> None:
    """gzip and its kind replace a file by one with another ending, unless they print."""
    _move(run, value, "")
    if "stdout" not in run.notes:
        ending = {"gzip": ".gz", "bzip2": ".bz2", "xz": ".xz", "zstd": ".zst"}.get(run.argv[0], "")
        run.findings.write(run.path(value) + ending if ending else re.sub(r"\.\w+\Z", "", run.path(value)))


def _prefix(run: Run, value: str, _argument: str) -> None:
    run.findings.write(run.path(value) + STAR)


def _metadata(run: Run, value: str, _argument: str) -> None:
    path = run.path(value)
    if "recursive" in run.notes:
        run.findings.change_tree(path, run.name)
    else:
        run.findings.write(path, run.name)


def _chmod(run: Run, _value: str, _argument: str) -> None:
    """chmod and chattr: a mode may look like an option (`-x`), and set-user-id is a privilege."""
    words = [
        word for word in run.argv[1:] if word not in ("--", "-v", "-f", "-c", "--verbose", "--changes", "--quiet", "--silent")
    ]
    if any(re.fullmatch(r"-\w*R\w*|--recursive", word) for word in words):
        run.notes.add("recursive")
    words = [word for word in words if not re.fullmatch(r"-\w*R\w*|--recursive|--(?:no-)?preserve-root", word)]
    mode = words.pop(0) if words and not any(word.startswith("--reference") for word in words) else ""
    for word in words:
        if word.startswith("--"):
            continue
        _metadata(run, word, "")
        if run.name == "chmod" and (re.fullmatch(r"0*[2467]\d{3}", mode) or re.search(r"[+=]\w*s", mode)):
            run.findings.add(EffectKind.PRIVILEGE, run.path(word), "runs as its owner, whoever starts it")


def _format(run: Run, value: str, _argument: str) -> None:
    path = run.path(value)
    if path.startswith("/dev/"):
        run.findings.device(path, run.name)
    else:
        run.findings.write(path, run.name)


def _url(run: Run, value: str, _argument: str) -> None:
    if value.isalpha() and value.isupper():
        return  # httpie's method
    network(run, value, "send" if "send" in run.notes else "receive")


def _send(run: Run, value: str, _argument: str) -> None:
    network(run, value, "send")


def _remote(run: Run, value: str, argument: str) -> None:
    """`host:path`, a URL or a local path (scp, rsync, git)."""
    match = _SCP.match(value)
    if _URL.match(value):
        network(run, value, argument or "receive")
    elif match and "/" not in value[: match.end()]:
        run.findings.add(EffectKind.NETWORK, match[1], argument or "receive")
    elif argument == "send":
        _write(run, value, "")
        if "deletes" in run.notes:
            run.findings.delete(run.path(value), True, "whatever the source lacks")
    else:
        _read(run, value, "")


def _install(run: Run, value: str, argument: str) -> None:
    name, manager = plain(value), run.program.manager
    argument = "" if argument.startswith("by ") else argument
    remark = f"with {manager}" if manager else ""
    if run.index:
        remark += f", from {plain(run.index)}"
    if argument:
        remark += f", {argument}"
    if _URL.search(name):
        url = name[_URL.search(name).start() :] if not name.startswith("git+") else name  # type: ignore[union-attr]
        network(run, url, "receive")
        remark += ", from a URL"
    elif name.startswith((".", "/", "~")) or name.endswith((".deb", ".rpm", ".apk", ".whl", ".tgz", ".tar.gz")):
        run.findings.read(run.path(value))
        remark += ", from a file"
    elif not name.isascii() and not ANY.search(value):
        run.findings.add(EffectKind.UNKNOWN, name, "a package name in another alphabet")
    run.findings.add(EffectKind.INSTALL, name, remark)


def _requirements(run: Run, value: str, _argument: str) -> None:
    run.findings.read(run.path(value))
    run.findings.add(EffectKind.INSTALL, f"what {plain(value)} lists", f"with {run.program.manager}")


def _remove(run: Run, value: str, _argument: str) -> None:
    run.findings.add(EffectKind.REMOVE, value, f"with {run.program.manager}" if run.program.manager else "")


def _index(run: Run, value: str, _argument: str) -> None:
    if _URL.match(value):
        network(run, value, "receive")
    elif value:
        run.findings.read(run.path(value))
    run.findings.add(EffectKind.UNKNOWN, value, "packages come from somewhere else")


def _script(run: Run, value: str, _argument: str) -> None:
    if run.script is not None:
        run.script(value, run.argv[0])


def _code(run: Run, value: str, _argument: str) -> None:
    source = run.findings.unknowns.fetched(value)
    if source is not None:
        run.findings.add(EffectKind.RUN_FETCHED, source, f"run by {run.name}")
    else:
        shown = " ".join(run.findings.unknowns.show(value).split())
        run.findings.add(EffectKind.RUN_CODE, run.name, shown if len(shown) <= 80 else shown[:79] + "…")


def _shell(run: Run, value: str, _argument: str) -> None:
    if run.shell is not None:
        run.shell(value)


def _command(run: Run, value: str, _argument: str) -> None:
    if run.evaluate is not None:
        run.evaluate(value.split() if value else [])


def _host(run: Run, value: str, argument: str) -> None:
    if value.startswith("+"):
        return
    host = plain(value).rsplit("@", 1)[-1]
    unknown = run.findings.unknowns.of(value)
    direction = "send" if any(item.kind in ("output", "any") for item in unknown) else "receive"
    run.findings.add(EffectKind.NETWORK, host, argument or direction)


def _kill(run: Run, _value: str, _argument: str) -> None:
    """kill, pkill, killall: whom; ending skillrun itself, or everything, is the floor."""
    words = run.argv[1:]
    for position, word in enumerate(words):
        text = plain(word)
        shown = run.findings.unknowns.show(word)
        if "skillrun" in text or shown == "$PPID" or (text == "-1" and position > 0):
            run.findings.floor("protection", f"{run.name} {shown} would end the protection that is asking, or everything")
        if not text.startswith("-") or text == "-1":
            run.findings.add(EffectKind.KILL, word)


def _packaged(run: Run, value: str, _argument: str) -> None:
    if "query" in run.notes or {"install", "search"} <= run.notes:
        return
    if "install" in run.notes:
        _install(run, value, "")
    elif "remove" in run.notes:
        _remove(run, value, "")


def _payload(run: Run, value: str, _argument: str) -> None:
    """Data that curl or wget sends; `@file` and `name=@file` send a file."""
    run.notes.add("send")
    text = plain(value)
    match = re.match(r"(?:[^@=]*=)?[@<](.+)", text)
    if match and match[1] != "-":
        run.findings.read(run.path(match[1].split(";", 1)[0]), "sent")


def _upload(run: Run, value: str, _argument: str) -> None:
    run.notes.add("send")
    if value not in ("-", "."):
        run.findings.read(run.path(value), "sent")


def _secretish(run: Run, value: str, _argument: str) -> None:
    if "=" not in value and value:
        run.findings.read(run.path(value), "sent")


def _sends(run: Run, value: str, argument: str) -> None:
    run.findings.add(EffectKind.NETWORK, value or argument, "send")


def _module(run: Run, value: str, _argument: str) -> None:
    """`python -m NAME ...`: some modules are programs that are known by themselves."""
    position = run.argv.index(value) if value in run.argv else len(run.argv)
    rest = run.argv[position + 1 :]
    if value in ("pip", "pipx", "uv", "virtualenv", "poetry", "ensurepip") and run.evaluate is not None:
        run.evaluate([value, *rest])
    elif value == "venv":
        for operand in rest:
            if not operand.startswith("-"):
                run.findings.write(run.path(operand), "a directory")
    elif value in ("json.tool", "site", "sysconfig", "platform", "calendar", "this"):
        for operand in [each for each in rest if not each.startswith("-")][:1]:
            run.findings.read(run.path(operand))
        for operand in [each for each in rest if not each.startswith("-")][1:2]:
            run.findings.write(run.path(operand))
    else:
        run.findings.add(EffectKind.RUN_CODE, run.name, f"the module {plain(value)}")


def _git_setting(run: Run, value: str, _argument: str) -> None:
    """`-c name=value`: settings that name programs are code, settings that switch TLS off are that."""
    name, _, setting = value.partition("=")
    _judge_setting(run, name, setting)


def _git_setting_name(run: Run, value: str, _argument: str) -> None:
    if "query" in run.notes or len(run.operands) < 2:
        return
    run.findings.write(run.path("~/.gitconfig") if "global" not in run.notes else _home(run) + "/.gitconfig")
    _judge_setting(run, value, run.operands[1] if len(run.operands) > 1 else "")


def _home(run: Run) -> str:
    return run.findings.place.home.rstrip("/")


def _judge_setting(run: Run, name: str, setting: str) -> None:
    low = name.lower()
    if low in ("http.sslverify", "http.sslcainfo") or low.endswith(".sslverify"):
        run.findings.add(EffectKind.DEFENCE_OFF, name, "TLS certificates are not checked")
    elif _FOLLOWED.search(low):
        run.findings.add(EffectKind.RUN_CODE, name, f"git runs or follows what it names: {plain(setting)[:80]}")
    elif ANY.search(name):
        run.findings.add(EffectKind.UNKNOWN, name, "which setting of git is not known")


def _git_url(run: Run, value: str, _argument: str) -> None:
    if value.startswith("ext::"):
        run.findings.add(EffectKind.RUN_CODE, "git", plain(value)[:80])
    else:
        _remote(run, value, "receive")


def _npm_setting(run: Run, value: str, _argument: str) -> None:
    if _URL.match(value):
        network(run, value, "receive")
        run.findings.add(EffectKind.UNKNOWN, value, "packages come from somewhere else")
    if "strict-ssl" in value or "cafile" in value:
        run.findings.add(EffectKind.DEFENCE_OFF, "TLS of the package registry", plain(value))
    if "script-shell" in value or "git" in value:
        run.findings.add(EffectKind.RUN_CODE, "npm", f"the setting {plain(value)}")


def _npm_target(run: Run, _value: str, _argument: str) -> None:
    remark = f"by {run.program.manager}"
    if "global" in run.notes:
        run.findings.add(EffectKind.WRITE, "the global node_modules", remark)
    else:
        run.findings.write(run.path("node_modules"), remark)


def _apt_option(run: Run, value: str, _argument: str) -> None:
    low = value.lower()
    if re.search(r"allowunauthenticated|allowinsecure|verify|trusted|checkvaliduntil|allowweak|allowdowngradetoinsecure", low):
        run.findings.add(EffectKind.DEFENCE_OFF, plain(value), "signatures of packages are not checked")
    elif "invoke" in low or "::pre-" in low or "::post-" in low or "proxy" in low or "solver" in low or "dir::" in low:
        run.findings.add(EffectKind.RUN_CODE, "apt", f"the option {plain(value)}")


def _crontab(run: Run, _value: str, _argument: str) -> None:
    words = run.argv[1:]
    if "-l" not in words:
        run.findings.add(EffectKind.PERSISTENCE, "the user's cron table", "")


def _archive(run: Run, _value: str, _argument: str) -> None:
    tar = read_tar(run.argv[1:])
    findings = run.findings
    for program in tar.programs:
        findings.add(EffectKind.RUN_CODE, "tar", plain(program)[:80])
    if tar.absolute and tar.mode == "x":
        findings.add(EffectKind.UNKNOWN, "tar", "the archive says where its files go")
    if tar.archive and tar.archive != "-":
        (findings.read if tar.mode in "xt" else findings.write)(run.path(tar.archive))
    directory = run.cwd
    for each in tar.directories:
        directory = paths.absolute(each, directory, findings.place)
    if tar.mode == "x":
        findings.write(directory, "unpacked into it")
    elif tar.mode not in ("", "t"):
        for member in tar.members:
            findings.read(paths.absolute(member, directory, findings.place))


def _unpack(run: Run, _value: str, _argument: str) -> None:
    if "query" not in run.notes and not any(option == "-d" for option, _ in run.options):
        run.findings.write(run.cwd, "unpacked into it")


def _basename(run: Run, _value: str, _argument: str) -> None:
    for operand in run.argv[1:]:
        if _URL.match(operand):
            name = posixpath.basename(urlsplit(plain(operand)).path) or "index.html"
            run.findings.write(run.path(name))


_ROLES: dict[str, Callable[[Run, str, str], None]] = {
    "read": _read,
    "write": _write,
    "append": _write,
    "create": _create,
    "delete": _delete,
    "delete-tree": _delete_tree,
    "move": _move,
    "metadata": _metadata,
    "compress": _compress,
    "prefix": _prefix,
    "chmod": _chmod,
    "format": _format,
    "url": _url,
    "send": _send,
    "remote": _remote,
    "remote-send": lambda run, value, _argument: _remote(run, value, "send"),
    "host": _host,
    "install": _install,
    "requirements": _requirements,
    "remove": _remove,
    "index": _index,
    "script": _script,
    "code": _code,
    "shell": _shell,
    "command": _command,
    "basename": _basename,
    "packaged": _packaged,
    "killing": _kill,
    "payload": _payload,
    "upload": _upload,
    "upload-file": _upload,
    "secretish": _secretish,
    "sends": _sends,
    "module": _module,
    "git-setting": _git_setting,
    "git-setting-name": _git_setting_name,
    "git-url": _git_url,
    "npm-setting": _npm_setting,
    "apt-option": _apt_option,
    "npm-target": _npm_target,
    "crontab": _crontab,
    "archive": _archive,
    "unpack": _unpack,
}
