"""Undoing a committed run after other packages came and went: by the package manager, since its records are shared.

Putting the former records back would make it forget the later packages, and leaving them would make it believe in
packages whose files are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skillrun.events import Changed, Event
from skillrun.rollback.as_run import SHOWN, Consent, Undone, as_run, copy_beside
from skillrun.rollback.live import inventory_now, packages_gone, record, run_commands

if TYPE_CHECKING:
    from skillrun.overlay.diff.entries import Clash
    from skillrun.overlay.transaction.privileged import Work
    from skillrun.record.journal import RunFolder

RECORDS = "/var/lib/dpkg/status"
SHARED = ("/var/lib/dpkg/", "/var/lib/apt/", "/var/lib/systemd/deb-systemd-helper-", "/etc/rc")
"""What installing and removing other packages changes too."""
SHARED_FILES = frozenset(
    ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid", "/etc/ld.so.cache")
)


def packages_way(folder: RunFolder, paths: Sequence[str], edited: str | None) -> tuple[str, ...]:
    """The packages to remove where dpkg's records are among the `paths` changed since the commit; () where that is not the way.

    Raises UndoError when this run did more to packages than install them, which dpkg cannot take back by itself; then
    only `edited` = replace, a person's word, goes on.
    """
    from skillrun.record.journal import read_events
    from skillrun.rollback.recorded import UndoError, dpkg_packages_of_others

    if RECORDS not in paths:
        return ()
    found: list[dict[str, str]] = []
    for event in read_events(folder.journal):
        if isinstance(event, Changed) and event.state == "committed":
            found = [item for item in event.changes.get("packages", ()) if item["manager"] == "dpkg"]
    other = [item["name"] for item in found if item["change"] != "installed"]
    if other and edited == "replace":
        return ()
    if other:
        raise UndoError(
            f"other packages were installed or removed since, and this run also replaced or removed {', '.join(other[:5])}",
            "undo the later changes first; or --edited replace puts dpkg's former records back, without what came later",
        )
    others = dpkg_packages_of_others(folder.changes)
    return tuple(item["name"] for item in found if item["name"] not in others)


def undo_by_packages(
    folder: RunFolder, work: Work, names: Sequence[str], edits: Sequence[Clash], edited: str | None, ask: Consent
) -> tuple[str, Undone]:
    """Remove exactly the packages this run added, then put back whatever else it changed that nobody changed since."""
    from skillrun.overlay.transaction.commit import Edited
    from skillrun.rollback.recorded import NEVER, edited_settings, removal
    from skillrun.text.escape import shown

    command = removal("dpkg", "", names)
    settings = edited_settings([command])
    own = [path for clash in edits if not _is_shared(path := clash.path) and path not in settings]
    lines = [f"{folder.id}: other packages were installed or removed since, so dpkg takes these back itself:", f"  {command}"]
    lines.append("  then every other path of this run that nobody changed since is put back")
    lines += [f"  changed since, and left as it is: {shown(path)}" for path in own[:SHOWN]]
    ask.show([*lines, *(f"  changed since: {shown(path)}" for path in settings[:SHOWN])])
    choice = edited or (ask.about_edits(settings) if settings else "leave")
    ask.confirm("Undo this run?")

    def carry(write: Callable[[Event], None], name: Path) -> Undone:
        outcome = Undone(cannot=list(NEVER))
        text = command.replace("dpkg --purge", "dpkg --remove") if settings and choice == "leave" else command
        if choice == "replace":
            kept = [path for path in settings if Path(path).is_file()]
            outcome.kept = {path: copy_beside(Path(path), name / "changes" / "later") for path in kept}
        before = inventory_now()
        run_commands([text], outcome, write)
        outcome.packages = packages_gone(before, record(name / "changes", before, inventory_now()))
        if not outcome.ok:
            outcome.failed.append(f"nothing else was put back: dpkg refused ({outcome.commands[-1]['output'].strip()[-200:]})")
            return outcome
        done = work.undo(Edited.LEAVE)
        outcome.paths, outcome.services = done.operations, [item.to_json() for item in done.services]
        outcome.left = [path for path in done.left if not _is_shared(path)]
        outcome.cannot += done.warnings
        return outcome

    return as_run(folder, "undone", Undone, live=carry)


def _is_shared(path: str) -> bool:
    return path.startswith(SHARED) or path.rstrip("-") in SHARED_FILES
