"""The changes as plain text, from the same data every report gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skillrun.visible import size

_SIGN = {"added": "+", "changed": "~", "removed": "-"}


def render(data: Mapping[str, Any], paths: int = 40, diffs: bool = True) -> str:
    """The text of `Changes.to_dict()`; at most `paths` single paths. Names in `data` are safe to print already."""
    return "\n".join(_lines(data, paths, diffs)) + "\n"


def headline(data: Mapping[str, Any]) -> str:
    """One line: how much changes."""
    counts = ", ".join(f"{data[key]} {key}" for key in ("added", "changed", "removed") if data[key])
    return f"{counts or 'nothing changes'}" + (f" ({size(data['new_bytes'])})" if data["new_bytes"] else "")


def _lines(data: Mapping[str, Any], paths: int, diffs: bool) -> Iterator[str]:
    yield headline(data)
    for clash in data["conflicts"]:
        yield f"! CONFLICT {clash['path']} {clash['reason']}"
    yield from _weighty(data)
    yield from _packages(data["packages"])
    for key in ("users", "groups"):
        for item in data[key]:
            detail = f" ({item['detail']})" if item["detail"] else ""
            yield f"{_SIGN[item['change']]} {key[:-1]} {item['name']}{detail}"
    for item in data["services"]:
        yield f"  after the commit: {' '.join(item['argv'])}"
    if data["commands"]:
        yield f"+ commands: {_some(data['commands'], 12)}"
    if diffs:
        yield from _diffs(data["diffs"])
    yield from _paths(data["paths"], paths, data["paths_omitted"])
    for what, item in data["folded"].items():
        yield f"  {what}: {item['paths']} paths, {size(item['bytes'])}"


def _weighty(data: Mapping[str, Any]) -> Iterator[str]:
    for item in data["privileged"]:
        yield f"! {item['path']} {item['what']}"
    for key, words in (("persistence", "runs by itself"), ("trust", "trust")):
        for item in data[key]:
            yield f"! {_SIGN[item['change']]} {item['path']} ({words}: {item['what']})"


def _packages(packages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    places: dict[tuple[str, str], list[str]] = {}
    for item in packages:
        if not item["old"]:
            text = f"+{item['name']} {item['new']}"
        elif not item["new"]:
            text = f"-{item['name']} {item['old']}"
        else:
            text = f"{item['name']} {item['old']} -> {item['new']}"
        places.setdefault((item["manager"], item["place"]), []).append(text)
    for (manager, place), texts in places.items():
        where = f" in {place}" if place else ""
        yield f"  {manager}{where}: {_some(texts, 20)}"


def _diffs(diffs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for diff in diffs:
        yield f"  {diff['path']}" + (f" ({diff['note']})" if diff["note"] else "")
        for line in diff["lines"]:
            yield f"      {line}"


def _paths(entries: Sequence[Mapping[str, Any]], limit: int, omitted: int) -> Iterator[str]:
    for entry in entries[:limit]:
        aspects = f" [{', '.join(entry['aspects'])}]" if entry.get("aspects") else ""
        amount = f" {size(entry['size'])}" if entry["kind"] == "file" and entry["change"] != "removed" else ""
        mode = f" {entry['old_mode']} -> {entry['mode']}" if "old_mode" in entry else ""
        slash = "/" if entry["kind"] == "directory" else ""
        yield f"{_SIGN[entry['change']]} {entry['path']}{slash}{amount}{mode}{aspects}"
    more = max(0, len(entries) - limit)
    if more:
        yield f"  and {more} more paths"
    if omitted:
        yield f"  and {omitted} paths of packages, caches and the like"


def _some(items: Sequence[str], limit: int) -> str:
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more
