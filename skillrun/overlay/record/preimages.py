"""What files were before a run that happened for real: saved the moment before each change, put back by undo.

Format of `preimages.jsonl`, one record a line, in the order of the calls; undo walks it backwards.
`kind`: absent (was not there) | file (its bytes were copied) | name (the file itself was kept by a hard link) |
content (of a kept file) | attributes | symlink | directory | special | moved (a directory was renamed).
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

FILE, FINISHED = "preimages.jsonl", "preimages.json"
NEVER = ("/dev/", "/proc/", "/sys/")
_FICLONE = 0x40049409


class Preimages:
    """The growing record of one run. Not for several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "before").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = open(folder / FILE, "a", encoding="utf-8")  # noqa: SIM115 - lives as long as the record
        self._own = os.path.realpath(folder) + "/"
        self._whole: set[str] = set()
        self._attributes: set[str] = set()
        self._absent: set[str] = set()
        self._moved: set[str] = set()
        self._inode_of: dict[str, tuple[int, int]] = {}
        self._kept: dict[tuple[int, int], str] = {}
        self._count = len(os.listdir(folder / "before"))  # a resumed run goes on where it stopped
        self.copied_bytes = 0

    def will_create(self, path: str) -> None:
        """A name will appear, where there may be something already."""
        if not self._skip(path) and path not in self._whole:
            self._save(path, leaving=False)

    def will_write(self, path: str) -> None:
        """The content of a file will change in place (or the file will appear)."""
        path = os.path.realpath(path)
        self._save_content_of_kept(path)
        if not self._skip(path) and path not in self._whole:
            self._save(path, leaving=False)

    def will_leave(self, path: str) -> None:
        """A name will be removed or replaced; its content stays as it is, so a hard link keeps it."""
        if self._skip(path):
            return
        if path not in self._whole:
            self._save(path, leaving=True)
        elif path in self._inode_of:
            # Changed before, and now going: the copy has its bytes, the link keeps it one with its other names.
            with contextlib.suppress(OSError):
                status = os.lstat(path)
                if (status.st_dev, status.st_ino) == self._inode_of.pop(path):
                    self._write({"path": path, "kind": "name", "before": self._link(path, status), **_attributes(path, status)})

    def will_change_attributes(self, path: str, follow: bool) -> None:
        """Mode, owner, times or extended attributes will change."""
        path = os.path.realpath(path) if follow else path
        if self._skip(path) or path in self._whole or path in self._attributes:
            return
        self._attributes.add(path)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._write({"kind": "attributes", "path": path, **_attributes(path, os.lstat(path))})

    def will_move(self, source: str, target: str) -> None:
        """A name will become another one."""
        try:
            is_directory = stat.S_ISDIR(os.lstat(source).st_mode)
        except OSError:
            return  # the call will fail as well
        self.will_leave(target)
        if is_directory:
            if not self._skip(source) and source not in self._absent:
                self._moved.add(target)
            self._write({"kind": "moved", "path": source, "target": target})
            self._forget_below(source)
            self._forget_below(target)
        else:
            self.will_leave(source)

    def finish(self, heard: int, unread: int, examples: list[str]) -> None:
        """Note how things stand now, so that undo can tell later edits from the run's own. Raises OSError."""
        self._file.flush()
        os.fsync(self._file.fileno())
        paths = {record["path"] for record in _records(self.folder)}
        record = {
            "schema": 1,
            "heard": heard,
            "unread": unread,
            "unread_examples": examples,
            "copied_bytes": self.copied_bytes,
            "after": {path: _mark(path) for path in sorted(paths)},
        }
        (self.folder / FINISHED).write_text(json.dumps(record))
        self._file.close()

    def _forget_below(self, top: str) -> None:
        """After a directory moved, the names in it mean other files."""
        prefix = top + "/"
        for known in (self._whole, self._attributes, self._absent, self._moved):
            known.difference_update([path for path in known if path.startswith(prefix)])

    def _skip(self, path: str) -> bool:
        inside = path + "/"
        if inside.startswith(NEVER) or inside.startswith(self._own):
            return True
        # What lies in a directory that was not there before goes when the directory goes;
        # not so what was moved into it.
        parent = os.path.dirname(path)
        while parent != "/":
            if parent in self._moved:
                return False
            if parent in self._absent:
                return True
            parent = os.path.dirname(parent)
        return False

    def _save(self, path: str, leaving: bool) -> None:
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            self._whole.add(path)
            self._absent.add(path)
            self._write({"kind": "absent", "path": path})
            return
        self._whole.add(path)
        record: dict[str, Any] = {"path": path, **_attributes(path, status)}
        if stat.S_ISREG(status.st_mode):
            record |= self._keep(path, status, leaving)
        elif stat.S_ISLNK(status.st_mode):
            record |= {"kind": "symlink", "target": os.readlink(path)}
        elif stat.S_ISDIR(status.st_mode):
            record["kind"] = "directory"
        else:
            record |= {"kind": "special", "device": status.st_rdev}
        self._write(record)

    def _keep(self, path: str, status: os.stat_result, leaving: bool) -> dict[str, str]:
        if leaving:
            with contextlib.suppress(OSError):  # another file system: a copy then
                return {"kind": "name", "before": self._link(path, status)}
        self._inode_of[path] = (status.st_dev, status.st_ino)
        place = self._place()
        self.copied_bytes += copy_file(path, place)
        return {"kind": "file", "before": place.name}

    def _place(self) -> Path:
        self._count += 1
        return self.folder / "before" / str(self._count)

    def _link(self, path: str, status: os.stat_result) -> str:
        place = self._place()
        os.link(path, place, follow_symlinks=False)
        self._kept[status.st_dev, status.st_ino] = place.name
        return place.name

    def _save_content_of_kept(self, path: str) -> None:
        """A file that was renamed, or has other names, and is now written to under one of them."""
        if not self._kept:
            return
        try:
            status = os.stat(path)
        except OSError:
            return
        kept = self._kept.pop((status.st_dev, status.st_ino), None)
        if kept is not None:
            place = self._place()
            self.copied_bytes += copy_file(path, place)
            record = {"kind": "content", "path": path, "kept": kept, "before": place.name}
            self._write({**record, **_attributes(path, status)})

    def _write(self, record: Mapping[str, Any]) -> None:
        # Flushed, not synced: the machine may lose the tail in a power cut, skillrun's own death loses nothing.
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()


def later_edits(folder: Path) -> tuple[str, ...]:
    """Paths that are no longer as the run left them. Raises OSError or ValueError without a finished record."""
    finished = folder / FINISHED
    after = json.loads(finished.read_text())["after"]
    found = [path for path, mark in after.items() if _mark(path) != mark]
    new = [record["path"] for record in _records(folder) if record["kind"] == "absent"]
    for path in dict.fromkeys(new):
        found += [inner for inner in _newer(path, finished.stat().st_mtime_ns) if inner not in after]
    return tuple(found)


def _newer(top: str, moment_ns: int) -> Iterator[str]:
    """Files below a directory of the run's own that were written since; what Python compiled on its own is no edit."""
    if os.path.islink(top):
        return
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in files:
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                if os.lstat(path).st_ctime_ns > moment_ns:
                    yield path


def changed_paths(folder: Path) -> tuple[tuple[str, str], ...]:
    """(what undo does, path), each path once, in the order of the first change. Raises OSError, ValueError."""
    found: dict[str, str] = {}
    for record in _records(folder):
        found.setdefault(record["path"], "take away" if record["kind"] == "absent" else "put back")
    return tuple((word, path) for path, word in found.items())


def put_back(folder: Path, leave: Collection[str] = (), keep_in: Preimages | None = None) -> tuple[str, ...]:
    """Restore everything that was saved, latest first; what could not be restored, with the reason.

    `leave`: paths that stay as they are, and with them the directories they lie in. `keep_in` saves what is
    there now before it goes, so that nothing is lost and this can itself be put back.
    """
    failed: list[str] = []
    for record in reversed(list(_records(folder))):
        path = record["path"]
        if any(left == path or left.startswith(path + "/") for left in leave):
            continue
        try:
            if keep_in is not None:
                _keep_present(keep_in, record)
            _restore(folder, record)
        except OSError as error:
            failed.append(f"{path}: {error.strerror}")
    return tuple(failed)


def _keep_present(keep_in: Preimages, record: Mapping[str, Any]) -> None:
    path = record["path"]
    match record["kind"]:
        case "moved":
            keep_in.will_move(record["target"], path)
        case "file":
            keep_in.will_write(path)
        case "content":
            if os.path.isfile(path):
                keep_in.will_write(path)
        case "attributes":
            keep_in.will_change_attributes(path, follow=False)
        case "directory" if os.path.isdir(path) and not os.path.islink(path):
            keep_in.will_change_attributes(path, follow=False)
        case _:
            if os.path.isdir(path) and not os.path.islink(path):
                for top, folders, files in os.walk(path, topdown=False):
                    for name in (*files, *folders):
                        keep_in.will_leave(os.path.join(top, name))
            keep_in.will_leave(path)


def forget_preimages(folder: Path) -> int:
    """Give up the way back: bytes freed. Raises OSError."""
    before = folder / "before"
    freed = sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(before)) if before.is_dir() else 0
    shutil.rmtree(before, ignore_errors=True)
    for name in (FILE, FINISHED):
        (folder / name).unlink(missing_ok=True)
    return freed


def copy_file(source: str, target: Path) -> int:
    """Copy content, as a reflink where the file system can; bytes really copied. Raises OSError."""
    with open(source, "rb") as reading, open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as writing:
        try:
            fcntl.ioctl(writing.fileno(), _FICLONE, reading.fileno())
            return 0
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS):
                raise
        shutil.copyfileobj(reading, writing, 1 << 20)
        return writing.tell()


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    for line in (folder / FILE).read_bytes().split(b"\n")[:-1]:
        yield json.loads(line)


def _attributes(path: str, status: os.stat_result) -> dict[str, Any]:
    names = [] if stat.S_ISLNK(status.st_mode) else os.listxattr(path, follow_symlinks=False)
    return {
        "mode": status.st_mode,
        "owner": [status.st_uid, status.st_gid],
        "times": [status.st_atime_ns, status.st_mtime_ns],
        "xattrs": {name: base64.b64encode(os.getxattr(path, name, follow_symlinks=False)).decode() for name in names},
    }


def _mark(path: str) -> list[int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    if stat.S_ISDIR(status.st_mode):
        return [status.st_mode, status.st_ino]
    return [status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns]


def _restore(folder: Path, record: Mapping[str, Any]) -> None:
    path = record["path"]
    match record["kind"]:
        case "absent":
            _clear(path)
        case "moved":
            if os.path.isdir(record["target"]) and not os.path.lexists(path):
                os.rename(record["target"], path)
        case "file":
            _restore_bytes(path, folder / "before" / record["before"])
            _set_attributes(path, record)
        case "name":
            _restore_name(path, folder / "before" / record["before"])
            _set_attributes(path, record)
        case "content":
            kept = folder / "before" / record["kept"]
            shutil.copyfile(folder / "before" / record["before"], kept)
            _set_attributes(str(kept), record)
        case "symlink":
            _clear(path)
            os.symlink(record["target"], path)
            os.chown(path, *record["owner"], follow_symlinks=False)
        case "directory":
            if not os.path.isdir(path) or os.path.islink(path):
                _clear(path)
                os.makedirs(path)
            _set_attributes(path, record)
        case "special":
            if not os.path.lexists(path):
                os.mknod(path, record["mode"], record["device"])
            _set_attributes(path, record)
        case "attributes":
            if os.path.lexists(path) and not stat.S_ISLNK(record["mode"]):
                _set_attributes(path, record)


def _restore_bytes(path: str, before: Path) -> None:
    """In place where a file is still there, so that its other names keep sharing it."""
    if not os.path.isfile(path) or os.path.islink(path):
        _clear(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
    shutil.copyfile(before, path)


def _restore_name(path: str, kept: Path) -> None:
    """Give the kept file its name back, atomically where another file has it now."""
    if os.path.isdir(path) and not os.path.islink(path):
        _clear(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path) and not os.path.islink(path) and os.path.samefile(path, kept):
        return
    beside = f"{path}.skillrun-undo"
    os.link(kept, beside)
    os.rename(beside, path)


def _clear(path: str) -> None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _set_attributes(path: str, record: Mapping[str, Any]) -> None:
    status = os.lstat(path)
    if [status.st_uid, status.st_gid] != record["owner"]:
        os.chown(path, *record["owner"])
    wanted = {name: base64.b64decode(value) for name, value in record["xattrs"].items()}
    for name in os.listxattr(path):
        if name not in wanted:
            os.removexattr(path, name)
    for name, value in wanted.items():
        if name not in os.listxattr(path) or os.getxattr(path, name) != value:
            os.setxattr(path, name, value)
    if stat.S_IMODE(status.st_mode) != stat.S_IMODE(record["mode"]):
        os.chmod(path, stat.S_IMODE(record["mode"]))
    others = stat.S_ISDIR(status.st_mode) and os.geteuid() not in (0, status.st_uid)
    with contextlib.suppress(*(PermissionError,) * others):  # `mkdir -p` tries /home too, whose time is not ours to set
        os.utime(path, ns=(record["times"][0], record["times"][1]))
