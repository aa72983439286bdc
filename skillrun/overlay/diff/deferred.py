"""What services were told inside a view, noted for after the commit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from skillrun.overlay.mount.layers import write_durably
from skillrun.overlay.mount.service_request import Refused, ServiceRequest, from_json

FILE = "deferred.jsonl"


def write_deferred(folder: Path, asked: Iterable[ServiceRequest | Refused]) -> None:
    """Note in a run's `changes/` what is to follow its commit, durably. Raises OSError."""
    lines = "".join(json.dumps(item.to_json()) + "\n" for item in asked)
    if lines or (folder / FILE).exists():
        write_durably(folder / FILE, lines.encode())


def read_deferred(folder: Path) -> tuple[ServiceRequest | Refused, ...]:
    """What is noted in a run's `changes/`, in order, each once. What is no request is left out. Raises OSError."""
    path = folder / FILE
    if not path.exists():
        return ()
    found: dict[ServiceRequest | Refused, None] = {}
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            found.setdefault(from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError):
            continue
    return tuple(found)
