"""Bait where credentials would be: whoever opens it inside a view is after credentials.

The bait is worthless and names a host that cannot exist (RFC 2606). It is watched with inotify, whose
descriptor is made inside and read outside; constants are those of inotify(7).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skillrun.overlay.kernel import syscalls as ns

IN_ACCESS, IN_OPEN = 0x1, 0x20
_EVENT = struct.Struct("=iIII")

CONTENT: Mapping[str, Mapping[str, str]] = {
    ".ssh": {
        "id_ed25519": "-----BEGIN OPENSSH PRIVATE KEY-----\nY2FuYXJ5LW5vLWtleQ==\n-----END OPENSSH PRIVATE KEY-----\n",
        "config": "Host canary.invalid\n  User canary\n",
    },
    ".aws": {"credentials": "[default]\naws_access_key_id = AKIACANARYCANARY0000\naws_secret_access_key = canary.invalid\n"},
    ".kube": {"config": "apiVersion: v1\nclusters: [{name: canary, cluster: {server: https://canary.invalid}}]\n"},
    ".gnupg": {"secring.gpg": "canary\n"},
    ".password-store": {"canary.gpg": "canary\n"},
    ".config/gcloud": {"application_default_credentials.json": '{"type": "canary", "host": "canary.invalid"}\n'},
    ".config/gh": {"hosts.yml": "canary.invalid:\n  oauth_token: gho_canarycanarycanary\n"},
}
"""Directory in a home -> file -> content."""


@dataclass(frozen=True, slots=True)
class Bait:
    """A piece of bait that was opened: its path inside."""

    path: str

    def __str__(self) -> str:
        return self.path


def plant(folder: str, name: str, owner: tuple[int, int]) -> list[str]:
    """Fill the empty directory `folder`, which hides `name` of some home, with bait; the paths of the bait."""
    planted: list[str] = []
    for kind, files in CONTENT.items():
        if name.endswith("/" + kind):
            for file, text in files.items():
                path = f"{folder}/{file}"
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                os.write(descriptor, text.encode())
                os.fchown(descriptor, *owner)
                os.close(descriptor)
                planted.append(path)
    return planted


def watch(paths: Sequence[str]) -> tuple[int, dict[int, str]]:
    """An inotify descriptor on the bait, and which watch is which path. Raises OSError."""
    descriptor = ns.call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
    watches = {ns.call("inotify_add_watch", descriptor, os.fsencode(path), IN_OPEN | IN_ACCESS): path for path in paths}
    return descriptor, watches


def read_touched(descriptor: int, watches: Mapping[int, str]) -> tuple[Bait, ...]:
    """The bait opened since the last look, each once."""
    found: dict[str, None] = {}
    try:
        while data := os.read(descriptor, 65536):
            at = 0
            while at < len(data):
                number, _, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size + length
                if number in watches:
                    found[watches[number]] = None
    except BlockingIOError:
        pass
    return tuple(Bait(path) for path in found)
