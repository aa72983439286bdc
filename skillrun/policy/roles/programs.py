"""Roles of what is run, now or later: scripts, code, commands, hooks; and of what is ended."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from skillrun.events import EffectKind
from skillrun.policy.invocation import Invocation, Role
from skillrun.policy.unknown import ANY, plain
from skillrun.text.patterns import later

_FOLLOWED = later(
    r"hookspath|command|pager|editor|proxy|helper|textconv|fsmonitor|external|difftool|mergetool|program|alias\.|askpass|filter\."
    r"|attributesfile|insteadof|include"
)


def _script(call: Invocation, value: str, _argument: str) -> None:
    if call.script is not None:
        call.script(value, call.argv[0])


def _code(call: Invocation, value: str, _argument: str) -> None:
    source = call.findings.unknowns.fetched(value)
    if source is not None:
        call.findings.add(EffectKind.RUN_FETCHED, source, f"run by {call.name}")
    else:
        shown = " ".join(call.findings.unknowns.show(value).split())
        call.findings.add(EffectKind.RUN_CODE, call.name, shown if len(shown) <= 80 else shown[:79] + "…")


def _shell(call: Invocation, value: str, _argument: str) -> None:
    if call.shell is not None:
        call.shell(value)


def _command(call: Invocation, value: str, _argument: str) -> None:
    if call.evaluate is not None:
        call.evaluate(value.split() if value else [])


def _write_or_pipe(call: Invocation, value: str, argument: str) -> None:
    """A file, or behind `|` or `!` a command that is given the output."""
    if value.startswith(("|", "!")):
        _code(call, value, argument)
    else:
        call.writes(value, argument)


def _ssh_option(call: Invocation, value: str, _argument: str) -> None:
    name = re.split(r"[\s=]", value.strip(), maxsplit=1)[0].lower()
    if "command" in name or name in ("include", "knownhostscommand", "pkcs11provider", "securitykeyprovider"):
        _code(call, value, "")
    elif name in ("stricthostkeychecking", "userknownhostsfile", "globalknownhostsfile", "checkhostip"):
        call.findings.add(EffectKind.DEFENCE_OFF, plain(value), "whose machine answers is not checked")


def _pager_command(call: Invocation, value: str, _argument: str) -> None:
    """`less +G` moves; anything else may be `!command`."""
    if not re.fullmatch(r"\+?(?:[GFgNn]|\d+|/.*|\?.*)", value):
        _code(call, value, "")


def _module(call: Invocation, value: str, _argument: str) -> None:
    """`python -m NAME ...`: some modules are programs that are known by themselves."""
    position = call.argv.index(value) if value in call.argv else len(call.argv)
    rest = call.argv[position + 1 :]
    if value in ("pip", "pipx", "uv", "virtualenv", "poetry", "ensurepip") and call.evaluate is not None:
        call.evaluate([value, *rest])
    elif value == "venv":
        for operand in rest:
            if not operand.startswith("-"):
                call.findings.write(call.path(operand), "a directory")
    elif value in ("json.tool", "site", "sysconfig", "platform", "calendar", "this"):
        for operand in [each for each in rest if not each.startswith("-")][:1]:
            call.findings.read(call.path(operand))
        for operand in [each for each in rest if not each.startswith("-")][1:2]:
            call.findings.write(call.path(operand))
    else:
        call.findings.add(EffectKind.RUN_CODE, call.name, f"the module {plain(value)}")


def _git_setting(call: Invocation, value: str, _argument: str) -> None:
    """`-c name=value`: settings that name programs are code, settings that switch TLS off are that."""
    name, _, setting = value.partition("=")
    _judge_setting(call, name, setting)


def _git_setting_name(call: Invocation, value: str, _argument: str) -> None:
    if "query" in call.notes or len(call.operands) < 2:
        return
    call.findings.write(call.path("~/.gitconfig") if "global" not in call.notes else _home(call) + "/.gitconfig")
    _judge_setting(call, value, call.operands[1] if len(call.operands) > 1 else "")


def _home(call: Invocation) -> str:
    return call.findings.place.home.rstrip("/")


def _judge_setting(call: Invocation, name: str, setting: str) -> None:
    low = name.lower()
    if low in ("http.sslverify", "http.sslcainfo") or low.endswith(".sslverify"):
        call.findings.add(EffectKind.DEFENCE_OFF, name, "TLS certificates are not checked")
    elif _FOLLOWED.search(low):
        call.findings.add(EffectKind.RUN_CODE, name, f"git runs or follows what it names: {plain(setting)[:80]}")
    elif ANY.search(name):
        call.findings.add(EffectKind.UNKNOWN, name, "which setting of git is not known")


def _crontab(call: Invocation, _value: str, _argument: str) -> None:
    words = call.argv[1:]
    if "-l" not in words:
        call.findings.add(EffectKind.PERSISTENCE, "the user's cron table", "")


def _kill(call: Invocation, _value: str, _argument: str) -> None:
    """kill, pkill, killall: whom; ending skillrun itself, or everything, is the floor."""
    words = call.argv[1:]
    if call.name != "kill":
        _kill_by_name(call, words)
    for position, word in enumerate(words):
        text = plain(word)
        shown = call.findings.unknowns.show(word)
        everything = text == "-1" and (position > 0 or len(words) == 1)
        if "skillrun" in shown or shown == "$PPID" or everything or (text == "1" and call.name == "kill" and position > 0):
            call.findings.floor("protection", f"{call.name} {shown} would end the protection that is asking, or everything")
        if not text.startswith("-") or text == "-1":
            call.findings.add(EffectKind.KILL, word)
    if all(plain(word).startswith("-") for word in words):
        call.findings.add(EffectKind.KILL, "whatever its options pick")


def _daemon(call: Invocation, value: str, _argument: str) -> None:
    """start-stop-daemon(8): a program and what stands behind `--`, in the root directory unless it says where."""
    if not any(option in ("-d", "--chdir") for option, _ in call.options):
        call.cwd = "/"
    if call.evaluate is not None:
        call.evaluate([value, *call.operands])


_NEEDED = ("skillrun", "python3", "python", "systemd", "init", "bash", "sshd", "login", "launchd", "python3 -m skillrun")
"""Names of programs that a pattern may not hit: the one that asks, its shell, and what keeps a person logged in."""


def _kill_by_name(call: Invocation, words: list[str]) -> None:
    """pkill, killall: everything of a user, or a pattern that fits what must go on."""
    whose = [value for name, value in call.options if name in ("-u", "--user", "-U", "--uid", "-g", "-G", "-t", "-s")]
    patterns = [word for word in call.operands if not word.startswith("-")]
    if whose and not patterns and "-l" not in words:
        call.findings.floor("protection", f"{call.argv[0]} would end everything of {', '.join(map(plain, whose))}")
    for pattern in patterns:
        try:
            shape = re.compile(plain(pattern) if call.argv[0] == "pkill" else re.escape(plain(pattern)) + r"\Z")
        except re.error:
            continue
        hit = next((name for name in _NEEDED if (shape.search if call.argv[0] == "pkill" else shape.match)(name)), "")
        if hit and not ("-f" in words and hit == "python" and " " in pattern):
            call.findings.floor(
                "protection", f"{call.argv[0]} {plain(pattern)} would end {hit}, on which this run or the person stands"
            )


_ENDING = (
    *(
        "reboot",
        "poweroff",
        "halt",
        "kexec",
        "soft-reboot",
        "exit",
        "shutdown",
        "rescue",
        "emergency",
        "ctrl-alt-del",
        "umount",
    ),
    *(
        "suspend",
        "hibernate",
        "hybrid-sleep",
        "suspend-then-hibernate",
        "sleep",
        "final",
        "runlevel0",
        "runlevel1",
        "runlevel6",
    ),
)
"""Units that end the machine's work when they are started (systemd.special(7))."""
_GUARDING = (
    *("ufw", "firewalld", "nftables", "iptables", "ip6tables", "netfilter-persistent", "apparmor", "selinux-autorelabel"),
    *("auditd", "audit-rules", "fail2ban", "crowdsec", "clamav-daemon", "clamav-freshclam", "osqueryd", "wazuh-agent", "snort"),
    *("suricata", "usbguard", "aide", "falcon-sensor", "mdatp", "unattended-upgrades", "apt-daily", "apt-daily-upgrade"),
    *("systemd-journald", "rsyslog", "syslog-ng", "sysmon"),
)
"""Services that keep others out, or tell what happened."""
_STARTS = frozenset(
    ("start", "restart", "isolate", "enable", "reenable", "set-default", "try-restart", "reload-or-restart", "add")
)
_STOPS = frozenset(
    (
        "stop",
        "disable",
        "mask",
        "kill",
        "freeze",
        "clean",
        "revert",
        "del",
        "delete",
        "remove",
        "off",
        "unload",
        "bootout",
        "pause",
    )
)


def _unit(call: Invocation, value: str, _argument: str) -> None:
    """systemctl, service, update-rc.d: a unit, and what it means to start this one or to stop that."""
    call.findings.add(EffectKind.SERVICE, value)
    words = {plain(word) for word in call.argv[1:]}
    for word in (value, *call.operands):
        shape = re.sub(r"\.(?:service|target|socket|timer)\Z", "", plain(word)).removeprefix("systemd-")
        if _STARTS & words and any(fnmatchcase(name, shape) for name in _ENDING):
            call.findings.add(EffectKind.KILL, "the whole machine", word)
        if _STARTS & words and shape == "debug-shell":
            call.findings.add(EffectKind.DEFENCE_OFF, word, "a shell of root's without a password")
        if _STOPS & words and any(fnmatchcase(name.removeprefix("systemd-"), shape) for name in _GUARDING):
            call.findings.add(EffectKind.DEFENCE_OFF, word, "what keeps others out, or tells what happened")


def _session(call: Invocation, value: str, _argument: str) -> None:
    """loginctl: ending a session ends everything of a person in it."""
    call.findings.floor("protection", f"{call.argv[0]} {plain(value)} would end a person's whole session")


def _removed_account(call: Invocation, value: str, _argument: str) -> None:
    """userdel, deluser: the account, and with the option its home."""
    place = call.findings.place
    call.findings.add(EffectKind.ACCOUNT, value)
    if plain(value) in (place.user, "root"):
        call.findings.floor("whole-tree", f"{plain(value)} is the account this machine is used with")
    elif "removes-home" in call.notes:
        call.findings.delete(f"/home/{value}", True, "the home of the account")


def _mounted(call: Invocation, value: str, _argument: str) -> None:
    """mount, umount: a device or a directory; the whole system made read-only or taken away is the floor."""
    options = " ".join(value for name, value in call.options if name in ("-o", "--options"))
    path = call.path(value) if value.startswith(("/", ".", "~")) else value
    if (("remount" in options and re.search(r"\bro\b", options)) or call.argv[0] == "umount") and call.findings.vital(path):
        call.findings.floor("whole-tree", f"{call.argv[0]} would take {plain(path)} from the running machine")
    call.findings.add(EffectKind.DEVICE, value)


ROLES: dict[str, Role] = {
    "daemon": _daemon,
    "script": _script,
    "code": _code,
    "shell": _shell,
    "command": _command,
    "killing": _kill,
    "session": _session,
    "unit": _unit,
    "removed-account": _removed_account,
    "mounted": _mounted,
    "module": _module,
    "pager-command": _pager_command,
    "ssh-option": _ssh_option,
    "write-or-pipe": _write_or_pipe,
    "git-setting": _git_setting,
    "git-setting-name": _git_setting_name,
    "crontab": _crontab,
}
