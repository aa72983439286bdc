"""The changes as plain text, from the same data every report gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skillrun.visible import size

_SIGN = {"added": "+", "changed": "~", "removed": "-", "installed": "+", "upgraded": "~", "enabled": "+", "disabled": "-"}


def render(data: Mapping[str, Any], files: int = 40, diffs: bool = True) -> str:
    """The text of `Changes.to_dict()`; at most `files` single paths. Names in `data` are safe to print already."""
    return "\n".join(_lines(data, files, diffs)) + "\n"


def headline(data: Mapping[str, Any]) -> str:
    """One line: how much changes."""
    counts = data["counts"]
    told = ", ".join(f"{counts[key]} {key}" for key in ("added", "changed", "removed") if counts[key])
    return f"{told or 'nothing changes'}" + (f" ({size(counts['bytes'])})" if counts["bytes"] else "")


def _lines(data: Mapping[str, Any], limit: int, diffs: bool) -> Iterator[str]:
    yield headline(data)
    marks = {"error": "!!", "warning": "! ", "info": "  "}
    for alert in data["alerts"]:
        yield f"{marks[alert['level']]} {alert['path']}: {alert['text']}"
    yield from _packages(data["packages"])
    for item in data["accounts"]:
        detail = f" ({item['detail']})" if item["detail"] else ""
        yield f"{_SIGN[item['change']]} {item['kind']} {item['name']}{detail}"
    for item in data["services"]:
        yield f"{_SIGN[item['change']]} service {item['name']} {item['change']}"
    for text in data["deferred"]:
        yield f"  after the commit: {text}"
    if data["commands"]:
        yield f"+ commands: {_some(data['commands'], 12)}"
    for item in data["files"][:limit]:
        yield from _file(item, diffs)
    more = max(0, len(data["files"]) - limit) + data.get("files_omitted", 0)
    if more:
        yield f"  and {more} more paths"
    for group in data["groups"]:
        told = ", ".join(f"{group[key]} {key}" for key in ("added", "changed", "removed") if group[key])
        yield f"  {group['name']}: {told}, {size(group['bytes'])}"


def _packages(packages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    places: dict[tuple[str, str], list[str]] = {}
    for item in packages:
        version = f"{item['old']} -> {item['version']}" if item["change"] == "upgraded" else item["version"]
        text = f"{_SIGN[item['change']]}{item['name']} {version}"
        places.setdefault((item["manager"], item["place"]), []).append(text)
    for (manager, place), texts in places.items():
        where = f" in {place}" if place else ""
        yield f"  {manager}{where}: {_some(texts, 20)}"


def _file(item: Mapping[str, Any], diffs: bool) -> Iterator[str]:
    amount = f" {size(item['bytes'])}" if item["kind"] == "file" and item["change"] != "removed" else ""
    detail = f" [{item['detail']}]" if item["detail"] else ""
    slash = "/" if item["kind"] == "directory" else ""
    yield f"{_SIGN[item['change']]} {item['path']}{slash}{amount}{detail}"
    if diffs and item.get("diff"):
        for line in item["diff"].split("\n"):
            yield f"      {line}"


def _some(items: Sequence[str], limit: int) -> str:
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more
