"""Where credentials live, so that a view can hide them. A grant names one of the words on the left."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Mapping

from skillrun.overlay.mount.spec import Account

TREES: Mapping[str, tuple[str, ...]] = {
    "ssh": (".ssh",),
    "gpg": (".gnupg",),
    "cloud": (".aws", ".azure", ".config/gcloud", ".oci", ".config/doctl", ".config/hcloud", ".config/rclone", ".terraform.d"),
    "kube": (".kube",),
    "git": (".config/gh", ".config/glab-cli", ".config/hub"),
    "passwords": (".password-store", ".local/share/keyrings", ".config/op", ".config/Bitwarden CLI", ".local/share/kwalletd"),
    "browser": (
        ".mozilla",
        ".thunderbird",
        ".config/google-chrome",
        ".config/chromium",
        ".config/BraveSoftware",
        ".config/microsoft-edge",
        "snap/firefox",
        "snap/chromium",
    ),
    "skillrun": (".config/skillrun",),
}
FILES: Mapping[str, tuple[str, ...]] = {
    "docker": (".docker/config.json",),
    "netrc": (".netrc",),
    "git": (".git-credentials", ".config/git/credentials"),
    "packages": (".pypirc", ".cargo/credentials", ".cargo/credentials.toml", ".gem/credentials", ".config/pypoetry/auth.toml"),
    "cloud": (".vault-token", ".boto", ".s3cfg", ".databrickscfg", ".snowflake/config.toml"),
    "agents": (
        ".claude/.credentials.json",
        ".codex/auth.json",
        ".gemini/oauth_creds.json",
        ".config/anthropic/credentials.json",
    ),
    "history": (".bash_history", ".zsh_history", ".psql_history", ".python_history"),
}


def hidden(account: Account, granted: Iterable[str], everybody: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(directories, files) that exist and hold credentials not granted; of every user when the view shows all homes."""
    allowed = set(granted)
    homes = {os.path.realpath(account.home)}
    if everybody:
        homes |= {os.path.realpath(entry.pw_dir) for entry in pwd.getpwall() if entry.pw_uid == 0 or entry.pw_uid >= 1000}
    found: list[list[str]] = [[], []]
    for home in sorted(homes - {"/", "/nonexistent"}):
        for kind, (table, exists) in enumerate(((TREES, os.path.isdir), (FILES, os.path.isfile))):
            for word, names in table.items():
                if word not in allowed:
                    found[kind] += [path for name in names if exists(path := f"{home}/{name}")]
    return tuple(found[0]), tuple(found[1])
