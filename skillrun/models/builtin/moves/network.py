"""Networks: proxies, certificates, mirrors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from skillrun.host.causes import Cause
from skillrun.models.builtin.bench import AUTHORITIES, PROXIES, Bench, Stop, Work
from skillrun.models.builtin.moves import resources
from skillrun.models.builtin.remedy import Failure
from skillrun.models.builtin.script import with_words


def keep_proxy(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A proxy that this machine's settings name and this shell does not know of; never one that stands in a document."""
    if bench.facts.get("proxy") or any(name in bench.exports for name in PROXIES):
        return None
    listing = yield from bench.look(
        "grep -hsiE '(https?_proxy|Acquire::https?::Proxy|^ *(https-)?proxy *=)' /etc/environment /etc/profile /etc/profile.d/*.sh "  # noqa: E501
        '/etc/apt/apt.conf /etc/apt/apt.conf.d/* ~/.profile ~/.bashrc ~/.bash_profile ~/.npmrc ~/.curlrc ~/.wgetrc /etc/wgetrc | grep -v "^ *#"; true',  # noqa: E501
        "is a proxy written down on this machine?",
    )
    places = re.findall(r"https?://[\w.-]+:\d{2,5}", listing or "")
    if not places:
        return None
    proxy = places[0].rstrip("/")
    bench.explain(f"The way out of this network leads through the proxy {proxy}; it is set for this run.")
    for name in ("http_proxy", "https_proxy"):
        yield from bench.export(name, proxy, "the proxy, for this run only")
    yield from bench.export("no_proxy", "localhost,127.0.0.1", "what is on this machine needs no proxy")
    return with_words(failure.command, bench.kept_words())


TRUSTING = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
            "npm_config_cafile")  # fmt: skip
"""Variables that name a list of authorities to programs that do not use the machine's."""

TELLING = ("blocks", "inodes", "quota", "bundle", "holder", "oom", "limit", "unreachable", "hostless", "proxy", "index")
"""Causes that another try alone does not get past."""

ENDS = ("hosts", "noserver", "nonetwork", "clock")
"""Causes that only a person can mend, and that no second try gets past."""


def way_out(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """What stands between this machine and the other side: dead proxies and settings that lead nowhere are left out of
    this run; what a person has to mend is named at once. Raises Stop.
    """
    known = yield from bench.diagnose(failure)
    names = _leading_nowhere(known)
    command = failure.command
    for cause in known:
        if cause.word in ("proxy", "aptproxy", "fileproxy", "index") or (cause.word == "variable" and cause.fields[0] in names):
            bench.explain(f"{cause.sentence} This run goes without it.")
    if names:
        yield from bench.unset(names, "what leads nowhere is left out of this run")
        command = with_words(command, bench.kept_words())
    words = {cause.word for cause in known}
    if "aptproxy" in words:
        direct = "apt-get -o Acquire::http::Proxy=DIRECT -o Acquire::https::Proxy=DIRECT"
        command = re.sub(r"\bapt(-get)?(?=\s)(?! -o Acquire)", direct, command)
    files = [cause.fields[0] for cause in known if cause.word in ("fileproxy", "index") and "/" in cause.fields[0]]
    for path in dict.fromkeys(files):
        if (yield from _without(bench, path)):
            names.append(path)
    if "bundle" in words and (yield from _authorities(bench)):
        return with_words(command, bench.kept_words())
    if command != failure.command or names:
        return command
    ends = [cause.sentence for cause in known if cause.word in ENDS]
    if ends:
        raise Stop("needs_person", " ".join(ends))
    return None


def _leading_nowhere(known: Sequence[Cause]) -> list[str]:
    """The variables among the causes: proxies and indexes that do not answer, lists of authorities that are not there."""
    names = [cause.fields[0] for cause in known if cause.word == "proxy"]
    names += [cause.fields[0] for cause in known if cause.word == "index" and "/" not in cause.fields[0]]
    return names + [cause.fields[0] for cause in known if cause.word == "variable" and cause.fields[0] in AUTHORITIES]


BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_NODE = re.compile(r"\b(npm|npx|node|yarn|pnpm)\b")


def trusted_by_node(bench: Bench, text: str) -> Work[None]:
    """Node brings its own list of authorities and npm tries for a minute before it says so: where this machine has one of
    its own, both are given the machine's list beforehand.
    """
    if not bench.facts.get("private_ca") or not _NODE.search(text) or bench.tried["authorities of node"]:
        return
    bench.tried["authorities of node"] += 1
    names = ("NODE_EXTRA_CA_CERTS", "npm_config_cafile")
    given = " ".join(f'{name}="{BUNDLE}"' for name in names)
    why = "authorities that this machine trusts, for Node too"
    if (yield from bench.shell(f"[ -r {BUNDLE} ] && export {given}", why)).ok:
        bench.exports.update(dict.fromkeys(names, BUNDLE))
        bench.explain("Node keeps a list of certificate authorities of its own: it is told to use the machine's.")


def _authorities(bench: Bench) -> Work[bool]:
    """The machine's list of certificate authorities made anew from those it has; for this run alone where nobody is root."""
    bundle, why = BUNDLE, "the list of certificate authorities is made anew from those that are installed here"
    whole = f"grep -q 'BEGIN CERT' {BUNDLE}"
    if bench.can_root:
        yield from bench.shell(f"{bench.root}update-ca-certificates --fresh", why)
        yield from bench.shell(f"{bench.root}chmod go+r {BUNDLE}", why)
    if (yield from bench.look(whole, "is the list whole now?")) is None:
        bundle = f"{bench.scratch}/skillrun-ca.pem"
        own = "/usr/share/ca-certificates/mozilla/*.crt /usr/local/share/ca-certificates/*.crt"
        made = yield from bench.shell(
            f'mkdir -p "{bench.scratch}" && cat {own} >"{bundle}" 2>/dev/null; grep -q "BEGIN CERT" "{bundle}"', why
        )
        if not made.ok:
            return False
    bench.explain(f"{why[0].upper()}{why[1:]}.")
    for name in TRUSTING:
        yield from bench.export(name, bundle, why)
    return True


def stuck_once(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """What got nowhere is tried once more where a look at the machine names nothing that would keep it there."""
    known = yield from bench.diagnose(failure)
    if any(cause.word in ("owner", "readonly", "blocks", "inodes") and cause.fields[0].startswith("/tmp") for cause in known):
        return (yield from resources.room(bench, failure, found))
    return None if any(cause.word in TELLING for cause in known) else failure.command


def _without(bench: Bench, path: str) -> Work[bool]:
    """A settings file of npm or pip without the proxies and indexes it names, as a copy for this run."""
    variable = "npm_config_userconfig" if path.endswith("npmrc") else "PIP_CONFIG_FILE" if path.endswith("pip.conf") else ""
    if not variable:
        return False
    copy = f"{bench.scratch}/skillrun-{path.rsplit('/', 1)[-1].lstrip('.')}"
    why = f"{path} without what does not answer, for this run"
    lines = r"^[[:space:]]*(https?[-_])?(proxy|registry|index-url|extra-index-url)[[:space:]]*="
    made = yield from bench.shell(
        f'mkdir -p "{bench.scratch}" && (umask 077; grep -viE \'{lines}\' {path} >"{copy}"; true)', why
    )
    return made.ok and (yield from bench.export(variable, copy, why)).ok


def authority(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A certificate that the machine's trust store does not vouch for: an authority the administrator put here, never no check."""  # noqa: E501
    named = re.findall(r"[~/][\w./-]+\.(?:crt|pem|cer)\b", bench.brief.skill.text)
    listing = yield from bench.look(
        f'for f in {" ".join(named)} /usr/local/share/ca-certificates/*.crt /etc/pki/ca-trust/source/anchors/*; do [ -r "$f" ] && '  # noqa: E501
        'grep -q "BEGIN CERTIFICATE" "$f" && echo "$f"; done; true',
        "is there a certificate authority of this network that is not in use yet?",
    )
    files = list(dict.fromkeys(line for line in (listing or "").splitlines() if line.startswith("/")))
    if not files:
        return None
    bundle = f"{bench.scratch}/skillrun-ca.pem"
    sentence = (
        "The certificate is vouched for by an authority an administrator put on this machine; it is used beside the usual ones."
    )
    local = [path for path in files if path.startswith("/usr/local/share/ca-certificates/")]
    if (
        local
        and local == files
        and bench.can_root
        and (yield from bench.shell(bench.root + "update-ca-certificates", sentence)).ok
    ):
        bundle = "/etc/ssl/certs/ca-certificates.crt"
    else:
        joined = " ".join(f'"{path}"' for path in files)
        yield from bench.shell(
            f'mkdir -p "{bench.scratch}" && cat /etc/ssl/certs/ca-certificates.crt {joined} >"{bundle}" 2>/dev/null; [ -s "{bundle}" ]',  # noqa: E501
            sentence,
        )
    for name in TRUSTING:
        yield from bench.export(name, bundle, sentence)
    return failure.command


def other_mirror(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A download whose checksum does not match: another mirror the skill itself names, else refuse. Never without the check."""
    urls = re.findall(r"https?://[\w.-]+(?::\d+)?", bench.brief.skill.text)
    commands = "\n".join(command.text for step in bench.brief.skill.steps for command in step.commands)
    used = next((url for url in urls if url in commands), "")
    current = bench.instead.get("mirror", used)
    others = [url for url in mirrors(bench.brief.skill.text) if url != current and not bench.tried[f"mirror {url}"]]
    if not used or not others:
        raise Stop(
            "refused",
            f"The checksum does not match and the skill names no other source: what was fetched is not installed.\n{failure.last_lines}",  # noqa: E501
        )
    new = others[0]
    bench.tried[f"mirror {current}"] += 1
    bench.tried[f"mirror {new}"] += 1
    bench.explain(f"What {current} delivers does not match its checksum; {new} is the skill's other source.")
    again = [command for command in bench.done if current in command or used in command]
    bench.instead["mirror"] = new
    for command in again:
        fresh = command.replace(current, new).replace(used, new)
        if not (yield from bench.sure(fresh, f"the same from {new}")).ok:
            return None
    return failure.command.replace(current, new).replace(used, new)


def next_mirror(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A download that one source does not have: the next of the sources that the skill itself names, for what follows too."""
    yield from ()
    current = next(iter(re.findall(r"https?://[\w.-]+(?::\d+)?", failure.command)), "")
    listed = mirrors(bench.brief.skill.text)
    bench.tried[f"mirror {current}"] += 1
    others = [url for url in listed if not bench.tried[f"mirror {url}"]]
    if current not in listed or not others:
        return None
    bench.explain(f"{current} does not deliver; {others[0]} is the skill's other source.")
    bench.moved[current] = others[0]
    return failure.command.replace(current, others[0])


def mirrors(text: str) -> list[str]:
    """The origins that a document's lines about mirrors name, in order."""
    lines = [line for line in text.splitlines() if re.search(r"mirror|alternativ|fallback|spiegel|backup", line, re.IGNORECASE)]
    return list(dict.fromkeys(url for line in lines for url in re.findall(r"https?://[\w.-]+(?::\d+)?", line)))


PAGE = "head -c 600 {file} 2>/dev/null | grep -qiE '<(!doctype html|html|head)[ >]' && echo page"
"""Says whether a file is a web page."""


def page_instead(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A web page was saved in place of the file: fetched again, with redirections followed and errors taken for errors."""
    for word in re.findall(r"(?<![\w<>|])[\w~./$+-]*[\w]\b", failure.command):
        fetch = next(
            (c for c in reversed(bench.done) if re.search(r"\b(?:curl|wget)\b", c) and word.rsplit("/", 1)[-1] in c), ""
        )
        if len(word) < 3 or not fetch or (yield from bench.look(PAGE.format(file=word), f"is {word} a web page?")) is None:
            continue
        again = yield from bench.sure(re.sub(r"\bcurl\b", "curl -fL", fetch), "the same, followed to where it has moved")
        if again.ok and (yield from bench.look(PAGE.format(file=word), f"is {word} still a web page?")) is None:
            return failure.command
        raise Stop("stuck", f"`{fetch}` brings a web page and not the file: the address is out of date or wants a login.")
    return None


PROCEDURES: dict[str, Callable[[Bench, Failure, Mapping[str, str]], Work[str | None]]] = {
    "keep-proxy": keep_proxy,
    "way-out": way_out,
    "stuck-once": stuck_once,
    "authority": authority,
    "other-mirror": other_mirror,
    "next-mirror": next_mirror,
    "page-instead": page_instead,
}
