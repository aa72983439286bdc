"""A skill of which only the front matter was read: enough to replay a proven plan, and to verify."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from skillrun.skills.frontmatter import FrontMatter
from skillrun.skills.parser.declared import declared_by, declared_checks, metadata_of
from skillrun.skills.skill import Skill

SECRET_WORDS = "TOKENS?|KEYS?|SECRETS?|PASSWORDS?|PASSWD|PASS|CREDENTIALS?|PAT|APIKEY"
"""A placeholder is one for a secret when one of these is a word of its name."""


class Unread(Skill):
    """Reads the body the first time somebody looks at a field that needs it."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], Skill] | None = None, **fields: Any) -> None:
        """`fields` are those known already; without `read`, all of them (which is how `dataclasses.replace` calls it)."""
        object.__setattr__(self, "_read", read)
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        # Python comes here only for a slot without a value.
        if name not in self.__dataclass_fields__ or self._read is None:
            raise AttributeError(name)
        whole = self._read()
        object.__setattr__(self, "_read", None)
        for field in self.__dataclass_fields__:
            object.__setattr__(self, field, getattr(whole, field))
        return getattr(self, name)


def settled(front: FrontMatter) -> Mapping[str, Any]:
    """The fields of a skill that its body cannot change any more; empty unless name and checks are among them."""
    meta = metadata_of(front)
    name, checks, description = front.text("name"), declared_checks(front), front.text("description")
    if not (front.present and name and checks):
        return {}
    fields: dict[str, Any] = {
        "name": name,
        "kind": "skill",
        "version": meta.get("version") or front.text("version"),
        "checks": checks,
        "keep": tuple(meta.get("skillrun-keep", "").split()),
        "declared": declared_by(front),
        "metadata": meta,
    }
    if description:
        fields["description"] = description
    word = rf"(?<![A-Za-z0-9])(?:{SECRET_WORDS})(?![A-Za-z0-9])"
    if "skillrun-secrets" not in meta and not re.search(word, front.body, re.IGNORECASE):
        fields["secrets"] = ()
    return fields
