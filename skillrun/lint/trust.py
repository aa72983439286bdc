"""Trust rules: what a stranger's text could do to a machine or to the person who approves it.

Effects come from the policy, which reads shell as shell does. Text rules look at text only, so they complain about
combinations that real skills do not need, and stay at warnings where real skills do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from skillrun.events import Effect, EffectKind
from skillrun.ports import Place
from skillrun.skills.checks import cannot_fail
from skillrun.skills.skill import Declared
from skillrun.text.invisible import hidden_in

if TYPE_CHECKING:
    from skillrun.lint.finding import Complaints, Document

HOME = "/home/someone"
PLACE = Place(cwd=HOME, home=HOME, user="someone")

_COMMENT = re.compile(r"<!--(?P<text>.*?)(?:-->|\Z)", re.DOTALL)
_INJECTION = re.compile(
    r"ignore (?:all |any )?(?:the )?(?:previous|prior|above|earlier|other) (?:instructions|rules|prompts)"
    r"|disregard (?:all |any )?(?:previous|prior|the above|your)"
    r"|do(?: not|n'?t) (?:tell|inform|notify|mention (?:this|it) to|show (?:this|it) to|alert) (?:the |your )?(?:user"
    r"|human|operator|person)"
    r"|without (?:telling|informing|the knowledge of) (?:the )?(?:user|human|operator)|(?:keep|hide) (?:this"
    r"|it) (?:secret )?from the (?:user|human)"
    r"|(?:the )?user (?:has )?already (?:approved|consented|agreed|authori[sz]ed)"
    r"|you are (?:now )?(?:in )?(?:developer|god|admin|root|unrestricted) mode"
    r"|(?:bypass|disable|turn off|skip|override) (?:the |all |any |your )?(?:safety|approval|permission|security"
    r"|confirmation) (?:checks?|prompts?|rules?|polic(?:y|ies)|system)"
    r"|--dangerously-skip-permissions|reveal your (?:system )?prompt",
    re.IGNORECASE,
)
_AUTONOMY = re.compile(
    r"without (?:asking|confirmation|waiting for|further confirmation|prompting)|(?:do not|don'?t|never) (?:ask|stop"
    r"|wait|pause) (?:the user |me |for )?"
    r"(?:for )?(?:confirmation|permission|approval|questions|anything)|execute (?:everything |all steps "
    r"|this )?autonomously|no confirmation (?:is )?needed",
    re.IGNORECASE,
)
_REMOTE = re.compile(
    r"\b(?:fetch|read|open|load|download|curl|visit|get|see)\b[^.\n]{0,60}https?://\S+[^.\n]{0,40}\b(?:and"
    r"|then)\b[^.\n]{0,30}\b(?:follow|execute|do what|obey|carry out|run (?:the|its))\b"
    r"|\b(?:follow|execute)\b[^.\n]{0,30}\b(?:instructions|steps|guide)\b[^.\n]{0,20}\b(?:at|from|in"
    r"|on)\b[^.\n]{0,10}https?://",
    re.IGNORECASE,
)
_SECRET = re.compile(
    r"\b(?:ghp_[A-Za-z0-9]{30,}|github_pat_\w{30,}|gho_\w{30,}|glpat-[\w-]{20,}|sk-(?:ant-|proj-)?[A-Za-z0-9_-]{24,}"
    r"|AKIA[A-Z0-9]{16}|AIza[\w-]{35}"
    r"|xox[abprs]-[\w-]{20,}|npm_[A-Za-z0-9]{36}|pypi-[\w-]{40,}|hf_[A-Za-z0-9]{30,}|sk_live_\w{20,}"
    r"|SG\.[\w-]{20,}\.[\w-]{20,})|-----BEGIN (?:\w+ )?PRIVATE KEY-----"
)
_ARGUMENT = re.compile(
    r"--?(?:token|api[-_]?key|password|passwd|secret|access[-_]?token)[= ]+[\"']?(?:\$\{?[A-Z]\w*|<[^>]+>|YOUR\w*"
    r"|\{\{[^}]*\}\})|curl\b.*\s-u\s+\S+:\S+"
    r"|https?://[^/\s:@]+:[^/\s:@]+@",
    re.IGNORECASE,
)
_HTTP = re.compile(r"\bhttp://(?!localhost|127\.|0\.0\.0\.0|\[::1\]|[\w.-]+\.(?:test|local|localhost)\b)[\w.-]+")
_ODD = re.compile(
    r"https?://(?P<ip>(?:\d{1,3}\.){3}\d{1,3})(?!\d)|https?://(?:[\w.-]+\.)?(?P<puny>xn--[\w.-]+)"
    r"|https?://(?P<short>(?:bit\.ly|tinyurl\.com|t\.co|goo\.gl|is\.gd|ow\.ly|cutt\.ly|rebrand\.ly|shorturl\.at"
    r"|rentry\.co|pastebin\.com|paste\.ee|glot\.io"
    r"|hastebin\.com|transfer\.sh|0x0\.st|ngrok(?:-free)?\.(?:io|app)|webhook\.site|requestbin\.\w+|pipedream\.net"
    r"|discord(?:app)?\.com/api/webhooks))"
)
_LOOPBACK = re.compile(r"^(?:127\.|0\.0\.0\.0|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.)")
_ENCODED = re.compile(
    r"(?:base64\s+(?:-d|-D|--decode)|xxd\s+-r|openssl\s+(?:enc\s+)?-?base64\s+-d|gunzip|gzip\s+-d|uudecode)\b[^|\n]*\|\s*(?:sudo\s+)?(?:\S*/)?(?:ba|z|da)?sh\b"
    r"|(?:eval|exec)\b[^\n]*(?:base64|b64decode|fromhex|xxd)|python3?\s+-c\s+[\"'][^\"'\n]*(?:b64decode|fromhex"
    r"|decompress)|[A-Za-z0-9+/]{300,}={0,2}"
)
_ARCHIVE = re.compile(r"\bunzip\b[^\n]*\s-P\s*\S|\b7z[ar]?\s+\w\b[^\n]*\s-p\S+|\bunrar\b[^\n]*\s-p\S+")
_INDEX = re.compile(
    r"--extra-index-url\b|PIP_EXTRA_INDEX_URL=|npm\b[^\n]*--registry[= ](?!https://registry\.npmjs\.org)\S+"
    r"|--index-strategy\s+unsafe"
)
_UNPINNED = re.compile(
    r"@(?:latest|next|canary|beta)\b|/(?:raw|blob|archive)/(?:[\w./-]*/)?(?:main|master|HEAD)\b|/(?:main"
    r"|master)/[\w./-]+\.(?:sh|py|md)\b|:latest\b"
)
_TEXT_RULES = {
    "injection": _INJECTION,
    "without-asking": _AUTONOMY,
    "remote-instructions": _REMOTE,
    "secret-exposed": _SECRET,
    "plain-http": _HTTP,
}
_COMMAND_RULES = {
    "secret-in-argument": _ARGUMENT,
    "encoded-payload": _ENCODED,
    "password-archive": _ARCHIVE,
    "extra-index": _INDEX,
    "unpinned": _UNPINNED,
}
_KINDS = {
    EffectKind.RUN_FETCHED: "fetch-and-run",
    EffectKind.AGENT_CONTROL: "agent-control",
    EffectKind.PERSISTENCE: "persistence",
    EffectKind.DEFENCE_OFF: "defence-off",
}
_NAMES = {
    EffectKind.INSTALL: {"packages", "package", "install"},
    EffectKind.SERVICE: {"service", "services"},
    EffectKind.PERSISTENCE: {"service", "services", "path-edit", "persistence"},
    EffectKind.ACCOUNT: {"account", "accounts"},
    EffectKind.CONTAINER: {"container", "containers"},
}
"""Kinds of effect -> the words that declare them."""


def hidden(text: str, complaints: Complaints) -> None:
    """Characters nobody sees, at the place where they stand in the file as it is on disk."""
    for found in hidden_in(text, 50):
        complaints.add("hidden-text", f"U+{ord(found.char):04X}, a {found.kind} character", found.line, found.column)


def check(document: Document, complaints: Complaints) -> None:
    """Every trust rule on one document."""
    _comments(document, complaints)
    for number, line in _prose(document):
        _words(line, number, complaints)
    for text, number in _commands(document):
        _command_text(text, number, complaints)
    _effects(document, complaints)
    _blank_cheque(document.skill.declared, complaints)
    for declared in document.skill.checks:
        why = cannot_fail(declared.command)
        if why:
            complaints.add("check-cannot-fail", f"`{declared.command[:80]}`: {why}", declared.line or 1)


def _comments(document: Document, complaints: Complaints) -> None:
    for match in _COMMENT.finditer(document.text):
        text = " ".join(match["text"].split())
        if text and not re.match(
            r"skillrun-lint:|markdownlint|prettier-ignore|toc\b|/?all-contributors|badges?\b", text, re.IGNORECASE
        ):
            line = document.text.count("\n", 0, match.start()) + 1
            column = match.start() - document.text.rfind("\n", 0, match.start())
            complaints.add("html-comment", f"hidden from readers: {text[:80]}", line, column)


def _prose(document: Document) -> Iterator[tuple[int, str]]:
    """Every line with its number; a sentence may be broken over two lines, so each is read together with the next."""
    for number, line in enumerate(document.lines, 1):
        if line.strip():
            yield number, line[:4000]


def _words(line: str, number: int, complaints: Complaints) -> None:
    for rule, pattern in _TEXT_RULES.items():
        for match in pattern.finditer(line):
            shown = match.group()[:12] + "…" if rule == "secret-exposed" else match.group()[:100]
            complaints.add(rule, f"`{shown}`", number, match.start() + 1)
    for match in _ODD.finditer(line):
        if not (match["ip"] and _LOOPBACK.match(match["ip"])):
            kind = (
                "an address instead of a name"
                if match["ip"]
                else "a look-alike name"
                if match["puny"]
                else "a shortener or drop site"
            )
            complaints.add("odd-host", f"`{match.group()[:80]}` is {kind}", number, match.start() + 1)


def _commands(document: Document) -> Iterator[tuple[str, int]]:
    skill = document.skill
    for step in (*skill.steps, *skill.uninstall):
        for command in step.commands:
            yield command.text, command.line
    for declared in skill.checks:
        yield declared.command, declared.line or 1


def _command_text(text: str, line: int, complaints: Complaints) -> None:
    for rule, pattern in _COMMAND_RULES.items():
        match = pattern.search(text[:20_000])
        if match:
            complaints.add(rule, f"`{match.group()[:80]}`", line + text.count("\n", 0, match.start()))


def _effects(document: Document, complaints: Complaints) -> None:
    """What the policy says of each command: the floor, grave kinds of effect, and what is outside the declaration."""
    from skillrun.policy.judge import Judge, in_words

    judge = Judge(skill=document.skill)
    declared = document.skill.declared
    allowed = set(declared.effects or ())
    for text, line in _commands(document):
        decision = judge.command(text[:50_000], PLACE).decision
        if decision.rule.startswith("floor:") and decision.rule != "floor:hidden-text":
            complaints.add("floor", decision.reason, line)
        installs = any(effect.kind is EffectKind.INSTALL for effect in decision.effects)
        for effect in decision.effects:
            if installs and effect.kind in (EffectKind.WRITE, EffectKind.DELETE, EffectKind.NETWORK):
                continue  # a package manager's own places and hosts: `packages` declares them
            rule = _KINDS.get(effect.kind)
            if rule and not (rule == "persistence" and allowed & _NAMES[EffectKind.PERSISTENCE]):
                complaints.add(rule, in_words(effect), line)
            missing = "" if rule else _outside(effect, declared)
            if missing:
                complaints.add("undeclared-effect", f"{in_words(effect)}, but {missing}", line)


_EVERYWHERE = frozenset({"", "~", "/home", "/root", "/etc", "/usr"})


def _blank_cheque(declared: Declared, complaints: Complaints) -> None:
    """Declarations that cover whatever a command may do."""
    from skillrun.policy.declared import NEVER_DECLARED

    told = [f"writes {path}" for path in declared.writes or () if path.rstrip("/*") in _EVERYWHERE]
    told += [f"host {host}" for host in declared.hosts or () if host.strip("*.") == ""]
    told += [f"effect {kind}" for kind in declared.effects or () if kind in {str(each) for each in NEVER_DECLARED}]
    told += ["effect unknown"] if "unknown" in (declared.effects or ()) else []
    if told:
        complaints.add("declares-everything", f"it declares {', '.join(told)}", 1)


def _outside(effect: Effect, declared: Declared) -> str:
    """What the declaration says against an effect. A field that is absent says nothing; an approval mode is stricter."""
    if effect.kind is EffectKind.PRIVILEGE and declared.privilege == "none":
        return "the declared privilege is `none`"
    if effect.kind in _NAMES and declared.effects is not None and not set(declared.effects) & _NAMES[effect.kind]:
        return f"`skillrun-effects` does not name {' or '.join(f'`{name}`' for name in sorted(_NAMES[effect.kind]))}"
    if effect.kind is EffectKind.NETWORK and declared.hosts is not None and not _names_host(declared.hosts, effect.subject):
        return f"`skillrun-hosts` names only {' '.join(declared.hosts) or 'none'}"
    if effect.kind in (EffectKind.WRITE, EffectKind.DELETE) and declared.writes is not None and effect.subject.startswith(HOME):
        roots = [root.replace("~", HOME, 1).replace("$HOME", HOME, 1).rstrip("/") for root in declared.writes]
        if not any(effect.subject == root or effect.subject.startswith(f"{root}/") for root in roots):
            return f"`skillrun-writes` names only {' '.join(declared.writes) or 'none'}"
    return ""


def _names_host(patterns: Sequence[str], subject: str) -> bool:
    """Is the subject of a network effect among the declared hosts, or none that would have to be?"""
    host = subject.split(":")[0]
    return "." not in subject or bool(_LOOPBACK.match(host)) or any(fnmatchcase(host, pattern) for pattern in patterns)
