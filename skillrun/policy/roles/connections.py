"""Roles of URLs, hosts and what is sent to them."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import urlsplit

from skillrun.events import EffectKind
from skillrun.policy.invocation import Invocation, Role
from skillrun.policy.roles.hosts import SCP, URL, network
from skillrun.policy.unknown import plain


def _url(call: Invocation, value: str, _argument: str) -> None:
    if value.isalpha() and value.isupper() and call.name not in ("curl", "wget"):
        return  # httpie's method
    network(call, value, "send" if "send" in call.notes else "receive")


def _send(call: Invocation, value: str, _argument: str) -> None:
    network(call, value, "send")


def _remote(call: Invocation, value: str, argument: str) -> None:
    """`host:path`, a URL or a local path (scp, rsync, git)."""
    match = SCP.match(value)
    if URL.match(value):
        network(call, value, argument or "receive")
    elif match and "/" not in value[: match.end()]:
        call.findings.add(EffectKind.NETWORK, match[1], argument or "receive")
    elif argument == "send":
        call.writes(value)
        if "deletes" in call.notes:
            call.findings.delete(call.path(value), True, "whatever the source lacks")
    else:
        call.reads(value)
        if "moves" in call.notes:
            call.findings.delete(call.path(value), True, "once it is copied")


def _host(call: Invocation, value: str, argument: str) -> None:
    if value.startswith("+"):
        return
    host = plain(value).rsplit("@", 1)[-1]
    unknown = call.findings.unknowns.of(value)
    direction = "send" if any(item.kind in ("output", "any") for item in unknown) else "receive"
    call.findings.add(EffectKind.NETWORK, host, argument or direction)


def _payload(call: Invocation, value: str, _argument: str) -> None:
    """Data that curl or wget sends; `@file` and `name=@file` send a file."""
    call.notes.add("send")
    text = plain(value)
    match = re.match(r"(?:[^@=]*=)?[@<](.+)", text)
    if match and match[1] != "-":
        call.findings.read(call.path(match[1].split(";", 1)[0]), "sent")


def _upload(call: Invocation, value: str, _argument: str) -> None:
    call.notes.add("send")
    if value not in ("-", "."):
        call.findings.read(call.path(value), "sent")


def _secretish(call: Invocation, value: str, _argument: str) -> None:
    if "=" not in value and value:
        call.findings.read(call.path(value), "sent")


def _sends(call: Invocation, value: str, argument: str) -> None:
    call.findings.add(EffectKind.NETWORK, value or argument, "send")


def _basename(call: Invocation, _value: str, _argument: str) -> None:
    for operand in call.argv[1:]:
        if URL.match(operand):
            name = posixpath.basename(urlsplit(plain(operand)).path) or "index.html"
            call.findings.write(call.path(name))


def _git_url(call: Invocation, value: str, _argument: str) -> None:
    if value.startswith("ext::"):
        call.findings.add(EffectKind.RUN_CODE, "git", plain(value)[:80])
    else:
        _remote(call, value, "receive")


ROLES: dict[str, Role] = {
    "url": _url,
    "send": _send,
    "git-url": _git_url,
    "remote": _remote,
    "remote-send": lambda call, value, _argument: _remote(call, value, "send"),
    "host": _host,
    "basename": _basename,
    "payload": _payload,
    "upload": _upload,
    "upload-file": _upload,
    "secretish": _secretish,
    "sends": _sends,
}
