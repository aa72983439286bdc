"""Hosts that are talked to, and what is odd about a connection."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from skillrun.events import EffectKind
from skillrun.policy.invocation import Invocation
from skillrun.policy.unknown import ANY, plain
from skillrun.text.patterns import later

URL = later(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
SCP = later(r"(?:[^/@:\s]+@)?([A-Za-z0-9_.-]+):(?!//)")
"""`host:path`, as scp and rsync take it."""


def host_of(url: str) -> tuple[str, bool]:
    """The host of a URL or of `host/path`, and whether the connection is encrypted."""
    text = plain(url)
    if not URL.match(text):
        text = "http://" + text
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        return url, False
    return host or url, parts.scheme in ("https", "ssh", "sftp", "ftps", "git+https", "git+ssh")


def network(call: Invocation, url: str, direction: str) -> None:
    """A connection, with what is odd about it."""
    findings = call.findings
    host, encrypted = host_of(url)
    unknown = findings.unknowns.of(url)
    if direction == "receive" and any(item.kind == "output" or item.secret for item in unknown):
        direction = "send"
    if url.startswith("file://"):
        findings.read(call.path(url[7:]))
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
