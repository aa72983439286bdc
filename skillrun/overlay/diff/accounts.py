"""Users and groups that come, go or change, from passwd(5) and group(5)."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from skillrun.overlay.diff.both_sides import Sides


@dataclass(frozen=True, slots=True)
class AccountChange:
    """A user or a group. `change`: added | changed | removed; `detail`: what a person wants to know of it."""

    kind: str
    name: str
    number: str
    change: str
    detail: str = ""


def explain_accounts(paths: Container[str], both: Sides) -> tuple[AccountChange, ...]:
    """Accounts that differ between the two sides. Password hashes are never looked at."""
    found: list[AccountChange] = []
    for kind, path in (("user", "/etc/passwd"), ("group", "/etc/group")):
        if path in paths:
            old, new = _lines(both.old(path)), _lines(both.new(path))
            names = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
            found += [_account(kind, name, old.get(name), new.get(name)) for name in names]
    return tuple(found)


def _lines(data: bytes | None) -> dict[str, list[str]]:
    lines = (data or b"").decode("utf-8", "surrogateescape").splitlines()
    return {line.partition(":")[0]: line.split(":") for line in lines if ":" in line}


def _account(kind: str, name: str, old: list[str] | None, new: list[str] | None) -> AccountChange:
    fields = new or old or []
    number = fields[2] if len(fields) > 2 else ""
    change = "added" if old is None else "removed" if new is None else "changed"
    if kind == "user" and len(fields) >= 7:
        detail = f"home {fields[5]}, shell {fields[6]}"
        if number == "0":
            detail += ", ALL RIGHTS (number 0)"
    elif kind == "group" and old is not None and new is not None:
        before, after = set(old[-1].split(",")) - {""}, set(new[-1].split(",")) - {""}
        parts = [f"with {', '.join(sorted(after - before))}"] if after - before else []
        parts += [f"without {', '.join(sorted(before - after))}"] if before - after else []
        detail = "; ".join(parts)
    else:
        detail = f"members {fields[-1]}" if fields and fields[-1] and kind == "group" else ""
    return AccountChange(kind, name, number, change, detail)
