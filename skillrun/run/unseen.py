"""Events without secrets in them, whatever field they got into: a file's name, a fact, an effect, a model's words.

This is the one place: what passes here goes to the journal, and journal, screen, JSON, reports and plans are made of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from skillrun.events import Output
from skillrun.secrets import Vault

Masked = TypeVar("Masked")


def without_secrets(value: Masked, vault: Vault) -> Masked:
    """The same value with every text in it masked; the very same object where nothing had to be."""
    # What a command prints is masked where it is read already.
    found: Masked = value if isinstance(value, Output) else _masked(value, vault)
    return found


def _masked(value: Any, vault: Vault) -> Any:
    if isinstance(value, str):
        masked = value if isinstance(value, Enum) else vault.mask(value)
        return value if masked == value else masked
    if isinstance(value, Mapping):
        rows = {_masked(key, vault): _masked(item, vault) for key, item in value.items()}
        return value if rows == value else rows
    if isinstance(value, list | tuple | frozenset | set):
        items = [_masked(item, vault) for item in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else type(value)(items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        changed = {name: new for name, old in fields.items() if (new := _masked(old, vault)) is not old}
        return dataclasses.replace(value, **changed) if changed else value
    return value
