"""Taking back a run that was carried out on another machine; itself a run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from skillrun.errors import Problem
from skillrun.events import Event
from skillrun.fleet import files
from skillrun.fleet.preview.record import CARRYING, COMMITTED, UNDOING, UNDONE, NotCommitted, Record, name_of
from skillrun.fleet.preview.rights import Rights
from skillrun.fleet.reach import Host
from skillrun.fleet.removal import Came, remove
from skillrun.fleet.there import AFTER, BEFORE, run_as_root
from skillrun.fleet.unreachable import Unreachable
from skillrun.overlay.transaction.deferred_services import take_back as take_services_back
from skillrun.record.journal import RunFolder
from skillrun.rollback import inventory
from skillrun.rollback.as_run import SHOWN, UNDO_OF, Consent, Undone, as_run
from skillrun.rollback.recorded import NEVER
from skillrun.text.escape import shown

_STATUS = "/var/lib/dpkg/status"


def undo_there(
    folder: RunFolder, host: Host, edited: str | None, ask: Consent, password: Callable[[], str | None]
) -> tuple[str, Undone]:
    """Take back what a run changed on this connected machine: the id of the run that did it, and what came of it.

    `edited`: leave | replace, for what was changed after the run; None asks where there is such a thing. Raises Problem,
    Unreachable.
    """
    record = Record.load(folder.changes)
    assert record is not None
    rights = Rights(host, password)
    try:
        phase = record.phase(rights)
        if phase == CARRYING:  # cut in mid-commit: whole first, so that what is taken back is known
            record.carry(rights)
            phase = COMMITTED
        if phase == UNDONE and (folder.changes / UNDO_OF).exists():
            return _bring_back(folder, record, rights, ask)
        if phase == UNDONE:
            raise Problem(
                f"{folder.id} is undone already", "`skillrun runs` lists the run that did it: undoing that brings it back"
            )
        if phase in (COMMITTED, UNDOING):
            return _undo_commit(folder, record, rights, edited, ask)
        return _undo_live(folder, host, rights, edited, ask)
    except NotCommitted as error:
        raise Problem(f"{folder.id} cannot be taken back on {host.name}: {error}", "see the machine itself", code=3) from None


def _undo_commit(folder: RunFolder, record: Record, rights: Rights, edited: str | None, ask: Consent) -> tuple[str, Undone]:
    edits = record.edited(rights)
    if _STATUS in edits and edited != "replace":
        raise Problem(
            f"other packages were installed or removed on {record.machine} since, which {folder.id} knows nothing of",
            "undo the later changes first; or --edited replace puts dpkg's former records back, without what came later",
            code=3,
        )
    ask.show(
        [f"{folder.id}: puts {record.machine} back as it was before this run"]
        + [f"  changed since: {shown(path)}" for path in edits[:SHOWN]]
    )
    choice = edited or (ask.about_edits(edits) if edits else "leave")
    ask.confirm("Undo this run?")
    keep = edits if choice == "leave" else []

    def carry(write: Callable[[Event], None], run: Path) -> Undone:
        outcome = Undone(cannot=list(NEVER), left=list(keep))
        done = take_services_back(record.services, lambda argv, cwd: run_as_root(rights, argv))
        outcome.services = [item.to_json() for item in done]
        outcome.left += record.undo(rights, keep)
        outcome.paths = 1
        dataclasses.replace(record, services=()).save(run / "changes")
        (run / "changes" / UNDO_OF).write_text(json.dumps({"run": folder.id, "changes": str(folder.changes)}))
        return outcome

    return as_run(folder, "undone", Undone, live=carry, target=record.machine)


def _bring_back(folder: RunFolder, record: Record, rights: Rights, ask: Consent) -> tuple[str, Undone]:
    ask.confirm(f"Bring the undone changes back on {record.machine}?")
    first = RunFolder(Path(json.loads((folder.changes / UNDO_OF).read_bytes())["changes"]).parent)

    def carry(write: Callable[[Event], None], run: Path) -> Undone:
        record.carry(rights)
        record.save(run / "changes")
        return Undone(1, cannot=["services are not started again"])

    told = as_run(folder, "committed", Undone, live=carry, target=record.machine)
    (folder.changes / UNDO_OF).unlink(missing_ok=True)
    (first.path / "undone-by").unlink(missing_ok=True)
    return told


def _undo_live(folder: RunFolder, host: Host, rights: Rights, edited: str | None, ask: Consent) -> tuple[str, Undone]:
    """Packages by the manager there, files that tools wrote from what was kept of them; all else is said to stay."""
    before, after = inventory.load(folder.changes, BEFORE), inventory.load(folder.changes, AFTER)
    changed = inventory.difference(before, after) if before and after else {"packages": [], "files": [], "accounts": []}
    came = [row["name"] for row in changed["packages"] if row["manager"] == "dpkg" and row["change"] == "installed"]
    kept = inventory.read_kept(folder.changes)
    made = [path for path, item in kept.items() if not item["existed"]]
    former = {path: item for path, item in kept.items() if item["existed"]}
    edits = [path for path, item in kept.items() if item["after"] and _differs(host, path, item["after"])]
    if not came and not kept:
        why = "nothing was recorded that could be taken back" if before and after else "it ended before it recorded what came"
        raise Problem(f"{folder.id} on {host.name}: {why}", "see `skillrun report`", code=3)
    lines = [f"{folder.id} ran directly on {host.name}; what it recorded is taken back:"]
    lines += [f"  remove {' '.join(came)}"] if came else []
    lines += [f"  delete {shown(path)}" for path in made] + [f"  put back {shown(path)}" for path in former]
    ask.show([*lines, *(f"  changed since: {shown(path)}" for path in edits)])
    choice = edited or (ask.about_edits(edits) if edits else "replace")
    ask.confirm("Undo this run?")
    stay = set(edits) if choice == "leave" else set()

    def carry(write: Callable[[Event], None], run: Path) -> Undone:
        outcome = Undone(cannot=[*_stays(changed), *NEVER], left=sorted(stay))
        Record(host.name, name_of(folder)).save(run / "changes")
        done = remove(host, Came(tuple(came), tuple(path for path in made if path not in stay)), rights.run)
        outcome.packages, outcome.paths = len(done.packages), len(done.paths)
        outcome.failed += done.failed
        for path, item in former.items():
            if path not in stay:
                try:
                    files.write(host, path, (folder.changes / inventory.PRE / item["name"]).read_bytes())
                    outcome.paths += 1
                except OSError as error:
                    outcome.failed.append(f"{path}: {error.strerror}")
        return outcome

    return as_run(folder, "undone", Undone, live=carry, target=host.name)


def _differs(host: Host, path: str, digest: str) -> bool:
    try:
        return hashlib.sha256(files.read(host, path)).hexdigest() != digest
    except FileNotFoundError:
        return False  # gone is as good as taken back
    except (OSError, Unreachable):
        return True


def _stays(changed: dict[str, list[dict[str, str]]]) -> list[str]:
    """What is known to have changed and is not taken back."""
    told = [
        f"{row['manager']} package {row['name']} was {row['change']}"
        for row in changed["packages"]
        if row["manager"] != "dpkg" or row["change"] != "installed"
    ]
    told += [f"{row['path']} was {row['change']}" for row in changed["files"]]
    return told + [f"user {row['name']} was added" for row in changed["accounts"]]
