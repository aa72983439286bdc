"""What of an inventory's data about a machine is secret, by its name: kept off the disk, and masked in all that is said."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skillrun.text.patterns import later

_NAMED = later(r"pass|pwd|secret|token|credential|api_?key", re.IGNORECASE)
_KEPT = ("ssh_", "skillrun_", "docker_", "podman_", "chroot_", "local_")
"""How the data begins that ways to a machine need, in pyinfra's words and ours."""
HANDLES = "skillrun_secrets"
"""Names of secrets, and which variable of the environment holds each: no values."""


def secret_values(data: Mapping[str, Any]) -> dict[str, str]:
    """Name -> value, those inside of tables and lists as well."""
    return dict(_walked(data))


def _walked(data: Mapping[str, Any], inside: bool = False) -> Iterator[tuple[str, str]]:
    for name, value in data.items():
        secret = inside or bool(_NAMED.search(str(name)))
        if name == HANDLES:
            continue
        if isinstance(value, Mapping):
            yield from _walked(value, secret)
        elif isinstance(value, str) and secret and value:
            yield str(name), value
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            for number, item in enumerate(value):
                yield from _walked(item if isinstance(item, Mapping) else {f"{name}.{number}": item}, secret)


def to_keep(data: Mapping[str, Any]) -> dict[str, Any]:
    """What may lie on disk: the way to the machine, without what is secret or JSON has no words for."""
    plain = {name: value for name, value in data.items() if isinstance(value, str | int | float | bool | list | dict | None)}
    return {name: value for name, value in plain.items()
            if name.startswith(_KEPT) and (name == HANDLES or not secret_values({name: value}))}  # fmt: skip
