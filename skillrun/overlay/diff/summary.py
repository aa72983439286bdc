"""The changes as plain data: few lines that say what matters, every name made safe to print."""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from skillrun.overlay.diff.entries import Entry
from skillrun.overlay.diff.highlights import FOLDED, PROTECTS, meaning
from skillrun.text.escape import shown

if TYPE_CHECKING:
    from skillrun.overlay.diff.changes import Changes

LISTED = 300
"""At most this many single paths are given; the groups count all of them."""
_EXAMPLES = 4
_REFUSED = 20
_LARGE = 40
"""A directory that comes or goes with more paths than this is listed as one."""
_UNIT = re.compile(
    r"(?s).*/systemd/(?:system|user)/(?:(?P<link>[^/]+\.(?:wants|requires))/)?(?P<unit>[^/]+\.(?:service|socket|timer))"
)
_INIT = re.compile(r"/etc/init\.d/(?P<unit>[^/]+)")

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def summary(changes: Changes) -> dict[str, Any]:
    """The data of a Changed event (see `events.Changed` for the keys)."""
    files = _worth_reading(changes)
    data: dict[str, Any] = {
        "counts": {
            "added": changes.count("added"),
            "changed": changes.count("changed"),
            "removed": changes.count("removed"),
            "bytes": changes.new_bytes,
        },
        "packages": [
            {
                "manager": p.manager,
                "name": shown(p.name),
                "change": p.change,
                "version": shown(p.new or p.old),
                "old": shown(p.old),
                "place": shown(p.place),
            }
            for p in changes.packages
        ],
        "services": _services(changes.entries),
        "accounts": [
            {"kind": a.kind, "name": shown(a.name), "change": a.change, "number": shown(a.number), "detail": shown(a.detail)}
            for a in changes.accounts
        ],
        "groups": _groups(changes),
        "files": files[:LISTED],
        "alerts": list(_alerts(changes)),
        "kept_out": [],
        "deferred": [shown(str(request)) for request in changes.deferred],
        "commands": commands_of(changes.entries),
    }
    if len(files) > LISTED:
        data["files_omitted"] = len(files) - LISTED
    return data


def _worth_reading(changes: Changes) -> list[dict[str, Any]]:
    """Not folded away, not a package's own new file, not only a time; those that deserve a look always."""
    noted = {item.path for item in (*changes.privileged, *changes.persistence, *changes.trust)}
    diffs = {diff.path: diff for diff in changes.diffs}
    sizes = Counter(entry.op for entry in changes.entries)
    found = []
    top = (-1, "")
    for entry in changes.entries:
        if entry.op != top[0]:
            top = (entry.op, entry.path)
        inside = entry.path != top[1] and sizes[entry.op] > _LARGE and entry.path not in diffs
        own = inside or (entry.path in changes.owners and entry.change != "changed")
        if entry.aspects == ("time",) or (entry.path not in noted and (own or meaning(FOLDED, entry.path))):
            continue
        data = _entry(entry)
        if entry.path == top[1] and sizes[entry.op] > _LARGE:
            data["detail"] = f"with {sizes[entry.op] - 1} paths below it"
        diff = diffs.get(entry.path)
        if diff is not None:
            data["diff"] = "\n".join(diff.lines)
            if diff.note:
                data["detail"] = ", ".join(part for part in (data["detail"], diff.note) if part)
        found.append(data)
    return sorted(found, key=lambda data: "diff" not in data)


def _entry(entry: Entry) -> dict[str, Any]:
    now, old = entry.inode, entry.old
    parts = [aspect for aspect in entry.aspects if aspect != "content"]
    if old is not None and entry.new is not None:
        if "mode" in entry.aspects:
            parts[parts.index("mode")] = f"mode {stat.S_IMODE(old.mode):04o} to {stat.S_IMODE(now.mode):04o}"
        if "owner" in entry.aspects:
            parts[parts.index("owner")] = f"owner {old.uid}:{old.gid} to {now.uid}:{now.gid}"
    return {
        "path": shown(entry.path),
        "change": entry.change,
        "kind": KINDS.get(stat.S_IFMT(now.mode), "other"),
        "bytes": now.size,
        "mode": f"{stat.S_IMODE(now.mode):04o}",
        "owner": f"{now.uid}:{now.gid}",
        "detail": ", ".join(parts),
    }


def _groups(changes: Changes) -> list[dict[str, Any]]:
    """All paths by what they are, the rarest kinds first."""
    found: dict[str, dict[str, Any]] = {}
    for entry in changes.entries:
        if entry.aspects == ("time",):
            continue
        group = found.setdefault(_kind(entry, changes), {"added": 0, "changed": 0, "removed": 0, "bytes": 0, "examples": []})
        group[entry.change] += 1
        if entry.new is not None and not entry.new.is_directory:
            group["bytes"] += entry.new.blocks * 512
        if len(group["examples"]) < _EXAMPLES and not entry.inode.is_directory:
            group["examples"].append(shown(entry.path))
    rows = [{"name": shown(name), **group} for name, group in found.items()]
    return sorted(rows, key=lambda row: (int(row["added"]) + int(row["changed"]) + int(row["removed"]), str(row["name"])))


def _kind(entry: Entry, changes: Changes) -> str:
    owner = changes.owners.get(entry.path)
    if owner is not None:
        return f"package {owner}"
    folded = meaning(FOLDED, entry.path)
    if folded:
        return folded
    parts = entry.path.split("/")
    if parts[1] == "home" or parts[1] == "root":
        depth = 4 if parts[1] == "home" else 3
        return "below " + "/".join(parts[:depth]) if len(parts) > depth else "in a home directory"
    return "below " + "/".join(parts[: 4 if parts[1:3] == ["usr", "local"] else 3][: len(parts) - 1] or ["/"])


def _services(entries: tuple[Entry, ...]) -> list[dict[str, str]]:
    """Units and scripts that come, go or change, each once; a link in a `.wants` directory means it starts by itself."""
    found: dict[str, str] = {}
    for entry in entries:
        match = _UNIT.fullmatch(entry.path) or _INIT.fullmatch(entry.path)
        if match is None or entry.inode.is_directory or entry.aspects == ("time",):
            continue
        words = {"added": "enabled", "removed": "disabled", "changed": "enabled"}
        if match.groupdict().get("link"):
            found[match["unit"]] = words[entry.change]
        else:
            found.setdefault(match["unit"], entry.change)
    # A package brings the init script of a service beside its unit: one service to a person.
    return [{"name": shown(name), "change": change} for name, change in found.items() if f"{name}.service" not in found]


def _alerts(changes: Changes) -> Iterator[dict[str, str]]:
    for clash in changes.clashes:
        light = clash.op >= 0 and changes.ops[clash.op].light
        text = "the machine's own later version stays" if light else clash.reason
        yield {"level": "info" if light else "error", "text": text, "path": shown(clash.path)}
    for item in changes.privileged:
        yield {"level": "warning", "text": item.what, "path": shown(item.path)}
    for item in changes.persistence:
        level = "info" if item.path in changes.owners else "warning"
        yield {"level": level, "text": f"runs by itself ({item.what}), {item.change}", "path": shown(item.path)}
    for item in changes.trust:
        level = "info" if item.what == PROTECTS and item.path in changes.owners else "warning"
        yield {"level": level, "text": f"decides {item.what}, {item.change}", "path": shown(item.path)}
    for refused in changes.refused[:_REFUSED]:
        yield {
            "level": "warning",
            "text": f"not done after the commit: `{shown(refused.words)}` ({refused.reason})",
            "path": "",
        }
    for account in changes.accounts:
        if account.kind == "user" and account.number == "0" and account.change != "removed":
            yield {"level": "error", "text": f"user {shown(account.name)} has all rights", "path": "/etc/passwd"}


def commands_of(entries: tuple[Entry, ...]) -> list[str]:
    """Names a shell can newly run: executables and links added to a directory of programs."""
    found = set()
    for entry in entries:
        folder, _, name = entry.path.rpartition("/")
        if entry.change == "added" and folder.endswith(("/bin", "/sbin")) and entry.new is not None:
            program = stat.S_ISREG(entry.new.mode) and entry.new.mode & 0o111
            if program or stat.S_ISLNK(entry.new.mode):
                found.add(shown(name))
    return sorted(found)
