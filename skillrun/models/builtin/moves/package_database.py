"""The package database and its sources where they are damaged, locked or unreadable."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from skillrun.events import Retry
from skillrun.host.causes import Cause
from skillrun.models.builtin.bench import Bench, Stop, Work
from skillrun.models.builtin.remedy import Cure, Failure
from skillrun.models.builtin.script import with_words


def apt_source(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """`apt-get update` with a dead source beside sound ones: their lists are there, so go on."""
    known = yield from bench.look("ls /var/lib/apt/lists/*_Packages* 2>/dev/null | grep .", "are there lists of other sources?")
    if known is None:
        return None
    rest = re.sub(r"^.*?\bupdate\b[^;&|\n]*(?:&&|;)\s*", "", failure.command, count=1, flags=re.DOTALL)
    return rest if rest != failure.command else ""


SOUND_SOURCES = """
d="SCRATCH/skillrun-apt"; rm -rf "$d/sources"; mkdir -p "$d/sources" || exit 1
printf 'Dir::Etc::SourceParts "%s";\\n' "$d/sources" >"$d/sources.conf"
read_them() { APT_CONFIG="$d/sources.conf" apt-get indextargets >/dev/null 2>&1; }
read_them || exit 1
for f in /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
  [ -e "$f" ] || continue
  cp "$f" "$d/sources/" && read_them || { rm -f "$d/sources/${f##*/}"; echo "left out $f"; }
done
"""
"""Copies the source files that apt can read together, one after the other, and names those it cannot."""


def unreadable_sources(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """Source files that apt cannot read (or not together): a copy without them is used for this run, nothing is changed."""
    script = SOUND_SOURCES.strip().replace("SCRATCH", bench.scratch)
    listing = yield from bench.look(f"({script})", "which of the package sources can be read?")
    left = re.findall(r"^left out (\S+)$", listing or "", re.MULTILINE)
    if not left:
        return None
    bench.explain(f"{' and '.join(left)} cannot be read beside the others; a person may want to look at it.")
    yield from bench.export(
        "APT_CONFIG", f"{bench.scratch}/skillrun-apt/sources.conf", "the sources that can be read, for this run"
    )
    return with_words(failure.command, bench.kept_words())


WAITS = Retry(22, 5, on="lock|locked|process")
"""How long a program that works on the package database is waited for: unattended, nobody waits longer than two minutes."""

HARDLY = Retry(6, 5, on="lock|locked|process")
"""The same where it does nothing at all."""


FREE = (
    "for f in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock; do i=$(stat -c %i $f 2>/dev/null) || continue; "
    'grep -qs ":$i " /proc/locks && { echo "$f is locked"; exit 1; }; done; true'
)
"""Whether anybody holds dpkg's locks, which everybody may see."""


def lock(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | Cure | None]:
    """A lock that a living program holds: waited for once, then named. It is never taken from whoever holds it. Raises Stop."""
    return Cure("retry", failure.command, (yield from _patience(bench, failure)))


def _patience(bench: Bench, failure: Failure) -> Work[Retry]:
    """How long whoever holds the lock is waited for, said with its name. Raises Stop when it was waited for before."""
    holders = yield from _holders(bench, failure)
    bench.tried["waited for a lock"] += 1
    if bench.tried["waited for a lock"] > 1:
        told = " ".join(dict.fromkeys(cause.sentence for cause in holders)) or failure.last_lines
        raise Stop(
            "needs_person", f"The package database stays locked: {told} It is left alone; wait for it, or end it yourself."
        )
    if holders:
        bench.explain(holders[0].sentence)
    return HARDLY if holders and all(cause.fields[-1] == "idle" for cause in holders) else WAITS


def _unlocked(bench: Bench, text: str) -> Work[None]:
    """Before apt runs: whoever works on the package database is waited for. `apt` would do so by itself, for two minutes and
    without saying whether it is worth it. Raises Stop.
    """
    free = f"({FREE})"
    if (yield from bench.look(free, "does another program work on the package database?")) is not None:
        return
    failure = Failure(text, 100, "Could not get lock /var/lib/dpkg/lock-frontend")
    if not (yield from _holders(bench, failure)):
        return
    patience = yield from _patience(bench, failure)
    if not (yield from bench.shell(free, "the other program is waited for", patience)).ok and (
        yield from _holders(bench, failure)
    ):
        yield from _patience(bench, failure)


def _holders(bench: Bench, failure: Failure) -> Work[list[Cause]]:
    return [cause for cause in (yield from bench.diagnose(failure)) if cause.word == "holder"]


OWN_KEYS = "ls /usr/share/keyrings/{debian,ubuntu}-archive-keyring.gpg 2>/dev/null | head -1"


def keys(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """The keys of the distribution's own sources are gone or closed: those its keyring package has are used for this command.
    What is signed with others stays refused.
    """
    known = [cause for cause in (yield from bench.diagnose(failure)) if cause.word == "key"]
    keyring = yield from bench.look(OWN_KEYS, "where are the distribution's own keys?")
    if not known or not keyring or not bench.can_root:
        return None
    bench.explain(f"{known[0].sentence} {keyring} holds the distribution's own, and is used for this command.")
    options = f"-o Dir::Etc::Trusted={keyring} -o APT::Sandbox::User=root"
    return re.sub(r"\bapt(-get)?(?=\s)", f"apt-get {options}", failure.command)


def database(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """dpkg's list of packages is damaged or gone: dpkg's copy of it takes its place, the damaged one stays beside it."""
    known = [cause for cause in (yield from bench.diagnose(failure)) if cause.word == "status"]
    copies = yield from bench.look(
        "for f in /var/lib/dpkg/status-old /var/backups/dpkg.status.0; "
        "do [ -s $f ] && echo $(grep -c ^Package: $f) $f; done; true",
        "which copies of the list of packages are there?",
    )
    good = [row for row in re.findall(r"^(\d+) (/\S+)$", copies or "", re.MULTILINE) if int(row[0]) > 20]
    if not known or not good or not bench.can_root:
        return None
    count, copy = good[0]
    bench.explain(f"{known[0].sentence} {copy} lists {count} packages and takes its place; what was there is kept beside it.")
    why = "dpkg's own copy of the list of packages takes its place"
    place = "/var/lib/dpkg/status"
    kept = yield from bench.shell(f"{bench.root}sh -c '[ ! -e {place} ] || cp -a {place} {place}.damaged'", why)
    done = yield from bench.shell(f"{bench.root}cp {copy} {place}", why)
    return failure.command if kept.ok and done.ok else None


def sound(bench: Bench, text: str) -> Work[None]:
    """Before packages are first touched: who else works on them is waited for. And a list of packages that is empty makes apt
    take this machine for a bare one, and put everything in place again without a word: dpkg's own copy takes its place.
    """
    if not re.search(r"\b(?:apt|apt-get|dpkg)\b[^;&|]*\binstall\b", text) or bench.tried["list of packages"]:
        return
    bench.tried["list of packages"] += 1
    yield from _unlocked(bench, text)
    if (yield from bench.look("[ -s /var/lib/dpkg/status ]", "is the list of packages there?")) is None and bench.tool("apt"):
        yield from database(bench, Failure(text, 100, "dpkg: /var/lib/dpkg/status"), {})


def override(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """An override of rights for an account that is gone keeps dpkg from working: the entry goes, the file as it was is kept."""
    account = found.get("account", "")
    rows = yield from bench.look("cat /var/lib/dpkg/statoverride", "which override is it?")
    entries = [line.split() for line in (rows or "").splitlines() if account in line.split()[:2]]
    if not entries or not bench.can_root:
        return None
    why = f"the account {account} does not exist, so what is overridden for it cannot be"
    bench.explain(f"{why}: the entry is taken out; the file as it was is /var/lib/dpkg/statoverride.before.")
    yield from bench.shell(f"{bench.root}cp -a /var/lib/dpkg/statoverride /var/lib/dpkg/statoverride.before", why)
    done = yield from bench.shell(f"{bench.root}sed -i -E '/^({account} |[^ ]+ {account} )/d' /var/lib/dpkg/statoverride", why)
    return failure.command if done.ok else None


PROCEDURES: dict[str, Callable[[Bench, Failure, Mapping[str, str]], Work[str | Cure | None]]] = {
    "apt-source": apt_source,
    "unreadable-sources": unreadable_sources,
    "lock": lock,
    "keys": keys,
    "database": database,
    "override": override,
}
