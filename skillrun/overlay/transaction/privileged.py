"""Scan, commit, undo and recovery of a run, as whoever may: in this process, or in root's process beside it (`root`).

A root view made through sudo keeps its uppers and its records where only root writes. The deputy
takes the layers from the caller but touches nothing that others than root could have put there.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from skillrun.overlay.diff.changes import Changes, broken_packages, scan
from skillrun.overlay.diff.entries import Clash
from skillrun.overlay.diff.summary import summary
from skillrun.overlay.mount.layers import Layers
from skillrun.overlay.transaction import commit
from skillrun.overlay.transaction.commit import Conflict, Done, Edited, Unfinished
from skillrun.overlay.transaction.deferred_services import Carried
from skillrun.overlay.transaction.retention import drop, forget, kept_bytes, remove_empty
from skillrun.overlay.transaction.root import Root, RootError, RootRefused
from skillrun.overlay.transaction.wal import Phase, Plan, Progress
from skillrun.overlay.transaction.workspace import CommitError
from skillrun.text.escape import shown

_KINDS: dict[str, type[CommitError]] = {"CommitError": CommitError, "Unfinished": Unfinished}


class Work:
    """The transaction of one run. `folder` is its `changes/`; `root` does it where root made the view for somebody else."""

    def __init__(self, folder: Path, root: Root | None = None) -> None:
        self.folder, self.root = folder, root
        self._changes: Changes | None = None
        self._digest = ""
        self._gone: list[str] = []
        self.shown = ""
        """Names what the last scan found (`shown_digest`)."""

    def scan(self) -> dict[str, Any]:
        """What would change, as a Changed event tells it. Raises OSError, CommitError.

        A file system that was taken away while the view stood is left out, for good, and told as `kept_out`.
        """
        if self.root is not None:
            reply = self._ask("scan")
            self._digest, self.shown = reply["digest"], reply["shown"]
            return dict(reply["summary"])
        recorded = Layers.load(self.folder)
        layers = recorded.standing()
        if layers != recorded:
            layers.save(self.folder)  # a commit counts layers as this scan did
            self._gone += [layer.target for layer in recorded.items if layer not in layers.items]
        self._changes = scan(layers, self.folder)
        self.shown = shown_digest(self._changes)
        gone = [{"path": shown(path), "reason": "its disk was taken away meanwhile"} for path in self._gone]
        return {**summary(self._changes), "kept_out": gone}

    def commit(self, only: Sequence[str] = (), except_: Sequence[str] = (), without: Sequence[str] = ()) -> Done:
        """Commit what was scanned, or a part of it. Raises as `transaction.commit`; Conflict also when the view changed.

        `without`: requests to services, in their words, that were decided against.
        """
        if self.root is not None:
            Progress(Phase.PREPARED).save(self.folder)
            part = {"only": list(only), "except_": list(except_), "without": list(without)}
            return self._transition("commit", **part, digest=self._digest)
        changes = self._changes or scan(Layers.load(self.folder), self.folder)
        return _commit(Layers.load(self.folder), _without(changes, without), self.folder, only, except_)

    def undo(self, edited: Edited = Edited.REFUSE) -> Done:
        """Take the commit back. Raises as `transaction.undo`."""
        return self._transition("undo", edited=edited.value) if self.root is not None else commit.undo(self.folder, edited)

    def redo(self) -> Done:
        """Commit again. Raises as `transaction.redo`."""
        return self._transition("redo") if self.root is not None else commit.redo(self.folder)

    def recover(self) -> Phase:
        """Finish what a crash left unfinished. Raises as `transaction.recover`."""
        if self.root is None:
            return commit.recover(self.folder)
        phase = Phase(self._ask("recover")["phase"])
        Progress(phase).save(self.folder)
        return phase

    def edits(self) -> tuple[Clash, ...]:
        """What was edited since the commit. Raises as `transaction.edits_since`."""
        if self.root is not None:
            return tuple(Clash(*item) for item in self._ask("edits")["edits"])
        return commit.edits_since(self.folder)

    def ways_back(self) -> list[tuple[str, str]]:
        """What undo would do, as `Plan.ways_back` tells it. Raises OSError, ValueError, CommitError."""
        if self.root is not None:
            return [(word, path) for word, path in self._ask("ways")["ways"]]
        return Plan.load(self.folder).ways_back()

    def drop(self) -> int:
        """Remove all that is kept for the way back: bytes freed. Raises CommitError."""
        if self.root is None:
            return drop(self.folder)
        freed = int(self._ask("drop")["freed"])
        forget(self.folder)
        return freed

    def _transition(self, verb: str, **request: Any) -> Done:
        try:
            done = done_from_json(self._ask(verb, **request)["done"])
        finally:
            with suppress(CommitError, OSError):
                Progress(Phase(self._ask("phase")["phase"])).save(self.folder)
        return done

    def _ask(self, verb: str, **request: Any) -> dict[str, Any]:
        assert self.root is not None
        try:
            reply, _ = self.root.ask({"verb": verb, "folder": str(self.folder.absolute()), **request})
        except RootRefused as error:
            raise CommitError(f"this needs root, and sudo did not give it: {error}", "run it again, or as root") from error
        except RootError as error:
            raise Unfinished(str(error), "run any skillrun command") from error
        if "error" in reply:
            if reply["error"] == "Conflict":
                raise Conflict([Clash(*item) for item in reply["clashes"]], reply["hint"])
            raise _KINDS.get(reply["error"], CommitError)(reply["message"], reply.get("hint", ""))
        return reply


def phase_of(folder: Path) -> Phase:
    """How far the transaction in a run's `changes/` came, as its owner knows it. Raises OSError, ValueError."""
    return Progress.load(folder).phase


def _without(changes: Changes, words: Sequence[str]) -> Changes:
    """The changes less the requests to services that were decided against."""
    return replace(changes, deferred=tuple(request for request in changes.deferred if str(request) not in words))


def _commit(layers: Layers, changes: Changes, folder: Path, only: Sequence[str], except_: Sequence[str]) -> Done:
    done = commit.commit(layers, changes, folder, only, except_)
    broken = broken_packages(changes, done.left)
    if not broken:
        return done
    warning = f"these packages are only partly committed: {', '.join(broken)}"
    return Done(**{**_fields(done), "warnings": (*done.warnings, warning)})


def _fields(done: Done) -> dict[str, Any]:
    return {name: getattr(done, name) for name in Done.__dataclass_fields__}


def done_from_json(data: Mapping[str, Any]) -> Done:
    """From `asdict(Done)`."""
    services = tuple(Carried.from_json(item) for item in data["services"])
    lists = {key: tuple(data[key]) for key in ("left", "warnings")}
    return Done(**{**data, **lists, "phase": Phase(data["phase"]), "services": services})


# --- the other side, running as root ----------------------------------------------------------------


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """What root's process says to one request: plain data; what went wrong under `error`."""
    try:
        return _answer(request)
    except Conflict as conflict:
        clashes = [[clash.path, clash.reason, clash.op] for clash in conflict.clashes]
        return {"error": "Conflict", "clashes": clashes, "message": str(conflict), "hint": conflict.hint}
    except CommitError as error:
        return {"error": type(error).__name__, "message": str(error), "hint": error.hint}
    except (OSError, ValueError, KeyError) as error:
        return {"error": "CommitError", "message": str(error)}


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    layers = Layers.load(Path(request["folder"]))
    for layer in layers.items:
        if os.path.lexists(layer.upper):  # what lay in memory is gone after a restart
            refuse_foreign(Path(layer.upper))
    records = Path(layers.items[0].upper).parents[1] / "records"
    records.mkdir(mode=0o700, exist_ok=True)
    verb = request["verb"]
    if verb == "scan":
        changes = scan(layers, Path(request["folder"]))
        return {"summary": summary(changes), "digest": digest(changes), "shown": shown_digest(changes)}
    if verb == "commit":
        changes = scan(layers, Path(request["folder"]))
        if digest(changes) != request["digest"]:
            raise Conflict(changes.clashes or [Clash("/", "is not as it was when the changes were shown")])
        layers.save(records)
        changes = _without(changes, request["without"])
        return {"done": asdict(_commit(layers, changes, records, request["only"], request["except_"]))}
    if verb == "undo":
        return {"done": asdict(commit.undo(records, Edited(request["edited"])))}
    if verb == "redo":
        return {"done": asdict(commit.redo(records))}
    if verb == "recover":
        return {"phase": commit.recover(records).value}
    if verb == "edits":
        return {"edits": [[clash.path, clash.reason, clash.op] for clash in commit.edits_since(records)]}
    if verb == "ways":
        return {"ways": Plan.load(records).ways_back()}
    if verb == "drop":
        layers.save(records)
        freed = drop(records)
        records.rmdir()
        remove_empty(records.parent, Path("/"))
        return {"freed": freed}
    if verb == "size":
        return {"bytes": kept_bytes(records)}
    return {"phase": Progress.load(records).phase.value}


def refuse_foreign(path: Path) -> None:
    """Raises CommitError when anybody but root (or this user) could have put something at or above `path`."""
    for place in (path, *path.parents):
        status = os.lstat(place)
        layer_root = place == path
        if status.st_uid not in (0, os.geteuid()) and not layer_root:
            raise CommitError(f"{place} belongs to another user: its changes cannot be trusted")
        # In a sticky directory of root's nobody else can move what is root's.
        shared = status.st_mode & 0o022 and not (status.st_mode & stat.S_ISVTX and status.st_uid == 0)
        if shared and not layer_root:
            raise CommitError(f"{place} can be written by others: its changes cannot be trusted")


def digest(changes: Changes) -> str:
    """Names what was shown: the same digest means the same operations on the same inodes, and the same words to services."""
    text = json.dumps([[op.to_json() for op in changes.ops], [request.to_json() for request in changes.deferred]])
    return hashlib.sha256(text.encode()).hexdigest()


def shown_digest(changes: Changes) -> str:
    """Names what a person was shown, every file in new directories too: what was written meanwhile has other times."""
    text = json.dumps([[entry.path, entry.change, entry.inode] for entry in changes.entries])
    return hashlib.sha256(text.encode()).hexdigest()
