"""Runs inside a throw-away machine: carries a script out directly, or in a view with commit and undo. JSON on stdout."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from skillrun.overlay.kernel.dirfd import libc
from skillrun.overlay.transaction.privileged import Work
from skillrun.ports import Command, result_of
from skillrun.targets.preview import PreviewTarget
from tests.lab import Manifest, manifest

PR_SET_DUMPABLE = 4
SKIP = ("proc", "sys", "dev", "run", "tmp", "code", "packages", "lost+found", "var/lib/skillrun",
        "root/.local/state", "home/dev/.local/state")  # fmt: skip


def machine() -> Manifest:
    """Everything of this machine but kernel state, temporary files and skillrun's own."""
    return manifest(Path("/"), skip=SKIP)


def as_user(user: pwd.struct_passwd, work: Callable[[], Any]) -> Any:
    """Do something in a child that is this user; what it returned. The child's errors end this program."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
        libc().prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # as after an exec: /proc/self belongs to the user again
        os.environ |= {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
        os.chdir(user.pw_dir)
        with os.fdopen(writer, "w") as file:
            json.dump(work(), file, default=repr)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    if os.waitpid(child, 0)[1] != 0 or not text:
        sys.exit("the child failed")
    return json.loads(text)


def main() -> None:
    """`direct|view USER SCRIPT`."""
    os.environ.pop("PYTHONPATH")
    how, user, script = sys.argv[1], pwd.getpwnam(sys.argv[2]), sys.argv[3]
    folder = Path(user.pw_dir) / ".local/state/skillrun/runs/one"
    as_user(user, lambda: folder.mkdir(parents=True))
    report: dict[str, Any] = {"before": machine()}
    if how == "direct":
        report["status"] = as_user(user, lambda: subprocess.run(["bash", script], stdout=sys.stderr, check=False).returncode)
        report["after"] = machine()
    else:
        view_and_commit(user, folder, script, report)
    json.dump(report, sys.stdout, default=repr)


def view_and_commit(user: pwd.struct_passwd, folder: Path, script: str, report: dict[str, Any]) -> None:
    """Preview, list, commit, undo, redo; what the machine was at each stage."""
    report["status"], report["output"] = as_user(user, lambda: preview(folder, Path(script).read_text(), user.pw_uid))
    report["previewed"] = machine()
    report["changes"], report["done"], report["list"] = as_user(user, lambda: scan_and_commit(folder))
    report["committed"] = machine()
    report["dpkg"] = subprocess.run("dpkg --audit && dpkg --verify redis-server", shell=True, stdout=sys.stderr).returncode
    report["undo"] = as_user(user, lambda: timed(Work(folder / "changes").undo))
    report["undone"] = machine()
    as_user(user, lambda: timed(Work(folder / "changes").redo))
    report["redone"] = machine()


def preview(folder: Path, script: str, uid: int) -> tuple[int | None, str]:
    """Run the script in a view: exit code and the end of its output."""
    target = PreviewTarget.open(folder, tier="R" if uid == 0 else "U")
    try:
        result = result_of(target.run(Command(script, quiet_s=300)))
        return result.exit_code, result.output[-3000:]
    finally:
        target.close()


def scan_and_commit(folder: Path) -> tuple[dict[str, Any], dict[str, Any], float]:
    """What would change, what the commit did, and how long listing took (seconds)."""
    work = Work(folder / "changes")
    began = time.perf_counter()
    changes = work.scan()
    listed = time.perf_counter() - began
    return changes, asdict(work.commit()), listed


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


main()
