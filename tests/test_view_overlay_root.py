"""A machine whose root is an overlay itself, as in a container: the view keeps its changes elsewhere, and says so."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.checkout import PYTHON, PYTHONPATH, interpreter_shown, shown
from tests.lab import needs_overlay

pytestmark = [needs_overlay, pytest.mark.root, pytest.mark.overlay]

ENTER = (
    """
set -e
mount -t tmpfs tmpfs "$AT"; mkdir "$AT/up" "$AT/wk" "$AT/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$AT/up,workdir=$AT/wk" "$AT/root"
cd "$AT/root"
"""
    + shown("$AT/root")
    + interpreter_shown("$AT/root")
    + """
mount -t proc proc proc; mount -t tmpfs tmpfs tmp; mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs dev; mkdir dev/shm dev/pts; mount -t tmpfs -o mode=1777,size=64m tmpfs dev/shm
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts; ln -s pts/ptmx dev/ptmx
mkdir -p old; pivot_root . old; cd /; umount -l /old; rmdir /old
exec bash -c "$1"
"""
)

VIEW = """
import os, sys
from pathlib import Path
from skillrun.ports import Command
from skillrun.targets.preview import PreviewTarget
from skillrun.overlay.transaction.privileged import Work
from skillrun.overlay.process.probe import explain
folder = Path("/var/lib/one"); folder.mkdir()
print("doctor", explain("/var/lib")[0][1:3])
there = {str(path) for path in Path("/").glob(".skillrun*")}
times = [os.stat(place).st_mtime_ns for place in ("/", "/var/lib", "/dev/shm", "/run")]
target = PreviewTarget.open(folder, tier="R")
stream = target.run(Command("echo new >/etc/new-file; rm /etc/hostname; useradd -m somebody; ls -A /etc/new-file"))
try:
    while True: next(stream)
except StopIteration as stop: print(stop.value.output)
print("notes", target.notes)
target.close()
print("real before", os.path.exists("/etc/new-file"), os.path.exists("/etc/hostname"))
work = Work(folder / "changes")
print("scan", work.scan()["counts"])
if sys.argv[1] == "commit":
    print("commit", work.commit().phase)
    known = "somebody" in Path("/etc/passwd").read_text()
    print("real after", os.path.exists("/etc/new-file"), os.path.exists("/etc/hostname"), known)
    print("undo", work.undo().phase)
print("real at the end", os.path.exists("/etc/new-file"), os.path.exists("/etc/hostname"))
work.drop()
print("times kept", times == [os.stat(place).st_mtime_ns for place in ("/", "/var/lib", "/dev/shm", "/run")])
views = Path("/var/lib/skillrun/views")
left = [str(path) for place in ("/", "/dev/shm", "/tmp", "/run") for path in Path(place).glob(".skillrun*")]
mine = views / target.view.spec.id
print("left", [path for path in left if path not in there] + [str(path) for path in [mine] if path.exists()])
"""


def inside(tmp_path: Path, how: str) -> str:
    """What the script says in a machine whose `/` is an overlay; nothing but `how` differs."""
    at = tmp_path / "at"
    at.mkdir()
    (tmp_path / "view.py").write_text(VIEW)
    script = f"cd / && PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={PYTHONPATH} '{PYTHON}' - {how} <<'END'\n{VIEW}\nEND"
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    env = {**os.environ, "AT": str(at)}
    done = subprocess.run([*apart, "bash", "-c", ENTER, "enter", script], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_dry_run_works_there_and_leaves_nothing(tmp_path: Path) -> None:
    """The probe says what opening does; the changes are listed and dropped, and their place is named."""
    said = inside(tmp_path, "dry-run")
    assert "doctor (True, '')" in said, said
    assert "changes of / are kept in " in said
    assert "real before False True" in said
    assert "real at the end False True" in said
    assert "times kept True" in said
    assert said.rstrip().endswith("left []"), said


def test_commit_copies_and_undo_takes_back(tmp_path: Path) -> None:
    """Changes that cannot be renamed into place are copied, and taken back."""
    said = inside(tmp_path, "commit")
    assert "real after True False True" in said, said
    assert "real at the end False True" in said
    assert said.rstrip().endswith("left []"), said
