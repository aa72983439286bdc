"""Where credentials are on this machine, so that a view can hide them: the one list is `secret` in `policy/places.toml`.

Hidden are the secret places of homes, secret files in and below the working directory, and what lies in /etc that no
package manager needs. A file that is mostly settings (`.npmrc`, `pip.conf`), and a key that may be a public one, is hidden
when it holds a credential.
"""

from __future__ import annotations

import glob
import os
import pwd
import re
from collections.abc import Iterator

from skillrun.overlay.mount.spec import Account
from skillrun.policy.paths import is_kind, listed

MOST_ENTRIES, DEEPEST, MOST_HIDDEN = 5_000, 4, 2_000
"""How much of a directory is looked through, and how many single files are hidden."""

_NEEDED = re.compile(r"/etc/(?:g?shadow-?\Z|sudoers|mysql|postfix|exim4|bind|rndc|samba)")
"""Secret places that package managers of a view write; of the first a view shows what `kept_passwords` leaves."""
_SETTINGS = re.compile(
    r"(?:\.npmrc|\.yarnrc\.yml|\.curlrc|\.wgetrc|pip\.conf|gradle\.properties|\.xml|NuGet\.Config|config|\.env(?:\.\w+)?|\.mailrc"
    r"|\.rhosts|\.ya?ml|\.toml|\.json|\.pem|\.key|_history|\.ovpn)\Z"
)
_CREDENTIAL = re.compile(
    rb"(?i)(?:token|passw|secret|_auth|api_?key|private_?key|credential|bearer)[\w.-]*[\"']?\s*[=:>]\s*\S|://[^/\s:@]+:[^/\s@]+@"
    rb"|PRIVATE KEY|\"auth\""
)
_LIKELY = re.compile(r"\.|id_|shadow")
_SKIPPED = frozenset({".git", "node_modules", "__pycache__", "site-packages"})
_LOOKED_AT = 64 * 1024


def hidden(account: Account, cwd: str, everybody: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(directories, files) that exist and hold credentials; of every user when the view shows all homes."""
    homes = {os.path.realpath(account.home)}
    if everybody:
        homes |= {os.path.realpath(entry.pw_dir) for entry in pwd.getpwall() if entry.pw_uid == 0 or entry.pw_uid >= 1000}
    trees: list[str] = []
    files: dict[str, None] = {}
    for home in sorted(homes - {"/", "/nonexistent"}):
        trees += [path for tree in listed("secret", "whole") if _is_folder(path := home + tree[1:])]
        for place in listed("secret"):
            if place.startswith("~/"):
                files.update(dict.fromkeys(_matching(home, place[1:], home)))
    for place in listed("secret"):
        if place.startswith(("/etc/", "/run/", "/var/", "/tmp/")):
            files.update(dict.fromkeys(_matching("", place, account.home)))
    files.update(dict.fromkeys(_below(os.path.realpath(cwd), account.home)))
    alone = [path for path in files if not any(path.startswith(f"{tree}/") for tree in trees) and _holds_one(path)]
    return tuple(trees), tuple(alone[:MOST_HIDDEN])


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _matching(base: str, place: str, home: str) -> Iterator[str]:
    """The files that are there of one entry of the list: `*`, `{a,b}`, and `**` at its end for all below."""
    group = re.search(r"\{([^{}]*)\}", place)
    if group is not None:
        for word in group[1].split(","):
            yield from _matching(base, place[: group.start()] + word + place[group.end() :], home)
        return
    for path in glob.glob(glob.escape(base) + re.sub(r"/?\*\*", "*", place.removesuffix("/**"))):
        if os.path.isfile(path):
            if is_kind(path, "secret", home):
                yield path
        elif _is_folder(path):
            yield from _below(path, home, listed_whole=True)


def _below(top: str, home: str, listed_whole: bool = False) -> Iterator[str]:
    """Secret files below a directory: keys, `.env` files, credentials that lie about in a project.

    `listed_whole`: all of it is on the list, so that any name may be one's.
    """
    waiting, seen = [(top, 0)], 0
    while waiting:
        folder, depth = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if seen > MOST_ENTRIES:
                return
            if entry.is_dir(follow_symlinks=False):
                if depth < DEEPEST and entry.name not in _SKIPPED:
                    waiting.append((entry.path, depth + 1))
            elif (
                (listed_whole or _LIKELY.search(entry.name))
                and entry.is_file(follow_symlinks=False)
                and is_kind(entry.path, "secret", home)
            ):
                yield entry.path


def _holds_one(path: str) -> bool:
    """Is there anything to hide in it? What is mostly settings, or may be a public key, says so by its content."""
    if os.path.islink(path) or _NEEDED.match(path):
        return False
    if not _SETTINGS.search(path) or "credential" in os.path.basename(path):
        return True
    try:
        with open(path, "rb") as file:
            return _CREDENTIAL.search(file.read(_LOOKED_AT)) is not None
    except OSError:
        return True
