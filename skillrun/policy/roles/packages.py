"""Roles of package names, and the settings of those who install them."""

from __future__ import annotations

import re

from skillrun.events import EffectKind
from skillrun.policy.invocation import Invocation, Role
from skillrun.policy.roles.hosts import URL, network
from skillrun.policy.unknown import ANY, plain


def _install(call: Invocation, value: str, argument: str) -> None:
    name, manager = plain(value), call.program.manager
    argument = "" if argument.startswith("by ") else argument
    remark = f"with {manager}" if manager else ""
    if call.index:
        remark += f", from {plain(call.index)}"
    if argument:
        remark += f", {argument}"
    if URL.search(name):
        url = name[URL.search(name).start() :] if not name.startswith("git+") else name  # type: ignore[union-attr]
        network(call, url, "receive")
        remark += ", from a URL"
    elif name.startswith((".", "/", "~")) or name.endswith((".deb", ".rpm", ".apk", ".whl", ".tgz", ".tar.gz")):
        call.findings.read(call.path(value))
        remark += ", from a file"
    elif not name.isascii() and not ANY.search(value):
        call.findings.add(EffectKind.UNKNOWN, name, "a package name in another alphabet")
    call.findings.add(EffectKind.INSTALL, name, remark)


def _requirements(call: Invocation, value: str, _argument: str) -> None:
    call.findings.read(call.path(value))
    call.findings.add(EffectKind.INSTALL, f"what {plain(value)} lists", f"with {call.program.manager}")


def _remove(call: Invocation, value: str, _argument: str) -> None:
    call.findings.add(EffectKind.REMOVE, value, f"with {call.program.manager}" if call.program.manager else "")


def _index(call: Invocation, value: str, _argument: str) -> None:
    if URL.match(value):
        network(call, value, "receive")
    elif value:
        call.findings.read(call.path(value))
    call.findings.add(EffectKind.UNKNOWN, value, "packages come from somewhere else")


def _packaged(call: Invocation, value: str, _argument: str) -> None:
    if "query" in call.notes or {"install", "search"} <= call.notes:
        return
    if "install" in call.notes:
        _install(call, value, "")
    elif "remove" in call.notes:
        _remove(call, value, "")


def _npm_setting(call: Invocation, value: str, _argument: str) -> None:
    if URL.match(value):
        network(call, value, "receive")
        call.findings.add(EffectKind.UNKNOWN, value, "packages come from somewhere else")
    if "strict-ssl" in value or "cafile" in value:
        call.findings.add(EffectKind.DEFENCE_OFF, "TLS of the package registry", plain(value))
    if re.match(r"(?:script-shell|shell|git|init[.-]module|node-options|editor|viewer|browser|globalconfig)", value):
        call.findings.add(EffectKind.RUN_CODE, "npm", f"the setting {plain(value)}")


def _pip_setting(call: Invocation, value: str, _argument: str) -> None:
    low = plain(value).lower()
    if "trusted-host" in low or low.endswith("cert"):
        call.findings.add(EffectKind.DEFENCE_OFF, low, "TLS certificates are not checked")
    elif "index" in low or "find-links" in low or "proxy" in low:
        call.findings.add(EffectKind.UNKNOWN, low, "packages come from somewhere else")


def _npm_target(call: Invocation, _value: str, _argument: str) -> None:
    remark = f"by {call.program.manager}"
    if "global" in call.notes:
        call.findings.add(EffectKind.WRITE, "the global node_modules", remark)
    else:
        call.findings.write(call.path("node_modules"), remark)


def _apt_option(call: Invocation, value: str, _argument: str) -> None:
    low = value.lower()
    if re.search(r"allowunauthenticated|allowinsecure|verify|trusted|checkvaliduntil|allowweak|allowdowngradetoinsecure", low):
        call.findings.add(EffectKind.DEFENCE_OFF, plain(value), "signatures of packages are not checked")
    elif "invoke" in low or "::pre-" in low or "::post-" in low or "proxy" in low or "solver" in low or "dir::" in low:
        call.findings.add(EffectKind.RUN_CODE, "apt", f"the option {plain(value)}")


ROLES: dict[str, Role] = {
    "install": _install,
    "requirements": _requirements,
    "remove": _remove,
    "index": _index,
    "packaged": _packaged,
    "npm-setting": _npm_setting,
    "apt-option": _apt_option,
    "pip-setting": _pip_setting,
    "npm-target": _npm_target,
}
