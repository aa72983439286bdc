"""Does a command install something that every user of the machine is to read and run?"""

from __future__ import annotations

from collections.abc import Iterable

from skillrun.events import Effect, EffectKind
from skillrun.ports import Place

SHARED = ("/usr/", "/opt/", "/etc/apt/", "/etc/yum.repos.d/", "/etc/zypp/", "/etc/pki/", "/etc/profile.d/")
"""Where what root writes is everybody's. The rest of /etc is not: root's own umask stays for what may be a secret."""

_CODE = frozenset({EffectKind.RUN_CODE, EffectKind.RUN_FETCHED, EffectKind.INSTALL})


def is_for_all_users(effects: Iterable[Effect], place: Place) -> bool:
    """Root installs (a package manager, an installer, `make install`) or writes where all may read, and nothing in a home."""
    found = tuple(effects)
    kinds = {effect.kind for effect in found}
    root = place.home == "/root" or place.user == "root" or EffectKind.PRIVILEGE in kinds
    # A build may write anywhere below the directory it is started in; that is where it is built, not where it goes.
    written = [effect.subject for effect in found if effect.kind is EffectKind.WRITE and effect.subject != place.cwd]
    if not root or any(path.startswith((place.home.rstrip("/") + "/", "/home/", "~")) for path in written):
        return False
    return any(path.startswith(SHARED) for path in written) or bool(kinds & _CODE)
