"""The root view: the whole machine, changed for real inside and not at all outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skillrun.overlay.kernel.mountinfo import read_mounts
from skillrun.overlay.mount.layers import Layers
from tests.lab import apart
from tests.viewing import root_view, run_in

pytestmark = [pytest.mark.root, pytest.mark.overlay, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def test_what_is_changed_inside_stays_inside(tmp_path: Path) -> None:
    """Writes, deletions and permissions happen for the commands inside and for nobody else."""
    before = os.stat("/etc/passwd").st_mtime_ns
    with root_view(tmp_path / "changes") as view:
        status, output = run_in(view, "echo x >/etc/skillrun-test; rm /etc/hostname; chmod 600 /etc/passwd; ls /etc/hostname")
        assert status == 2
        assert "No such file" in output
        assert run_in(view, "cat /etc/skillrun-test; stat -c %a /etc/passwd") == (0, "x\n600\n")
    assert not Path("/etc/skillrun-test").exists()
    assert Path("/etc/hostname").exists()
    assert os.stat("/etc/passwd").st_mode & 0o777 == 0o644
    assert os.stat("/etc/passwd").st_mtime_ns == before


def test_the_layers_are_recorded_and_hold_the_changes(tmp_path: Path) -> None:
    """layers.json names the upper directories, and these hold what was written, with the real numbers."""
    with root_view(tmp_path / "changes") as view:
        run_in(view, "echo x >/etc/skillrun-test; chown daemon /etc/skillrun-test")
    layers = Layers.load(tmp_path / "changes")
    root = next(item for item in layers.items if item.target == "/")
    written = Path(root.upper) / "etc/skillrun-test"
    assert written.read_text() == "x\n"
    assert written.stat().st_uid == 1
    assert layers.tier == "R"
    assert layers.user_map == "identity"
    assert Path(root.upper).parent.stat().st_mode & 0o077 == 0


def test_the_bookkeeping_cannot_be_seen_inside(tmp_path: Path) -> None:
    """A command inside can neither list nor change the directories that hold its own changes."""
    with root_view(tmp_path / "changes") as view:
        assert run_in(view, f"ls -A {tmp_path}/changes") == (0, "")
        assert run_in(view, f"touch {tmp_path}/changes/x")[0] == 1


def test_a_view_leaves_no_mount_and_no_process(tmp_path: Path) -> None:
    """After close the mount table is what it was and everything started inside is gone, daemons included."""

    def work() -> None:
        before = read_mounts()
        with root_view(tmp_path / "changes") as view:
            run_in(view, "setsid -f sleep 1000 </dev/null >/dev/null 2>&1; (sleep 1000 >/dev/null 2>&1 &) ; true")
            pid = view.spawn(["sleep", "1000"], {"PATH": os.environ["PATH"]}, "/").pid
            assert Path(f"/proc/{pid}").exists()
        assert not Path(f"/proc/{pid}").exists()
        assert read_mounts() == before
        assert not (tmp_path / "changes" / "stage").exists()

    assert apart(work) == 0


def test_two_views_at_once_do_not_meet(tmp_path: Path) -> None:
    """Each view has its own files, its own processes and its own terminals."""
    with root_view(tmp_path / "one") as one, root_view(tmp_path / "two") as two:
        run_in(one, "echo one >/etc/skillrun-test")
        run_in(two, "echo two >/etc/skillrun-test")
        assert run_in(one, "cat /etc/skillrun-test") == (0, "one\n")
        assert run_in(two, "cat /etc/skillrun-test") == (0, "two\n")


def test_a_terminal_inside_is_one_of_the_views_own(tmp_path: Path) -> None:
    """Programs inside can name their terminal, know its size and open it again."""
    with root_view(tmp_path / "changes") as view:
        command = "tty; stty size; echo again >/dev/tty; test -O $(tty) && echo mine"
        spawned = view.spawn(["bash", "-c", command], {"PATH": os.environ["PATH"]}, "/", size=(40, 132))
        assert spawned.master is not None
        text = b""
        try:
            while part := os.read(spawned.master, 4096):
                text += part
        except OSError:
            pass  # EIO: the last program has closed the terminal
        assert text.decode().split("\r\n") == ["/dev/pts/0", "40 132", "again", "mine", ""]


@pytest.mark.network
def test_a_package_installs_for_real_inside(tmp_path: Path) -> None:
    """apt-get installs a package with all its scripts in the view; the machine does not have it."""
    package = next(name for name in ("tree", "hello", "sl", "cowsay") if os.system(f"dpkg -s {name} >/dev/null 2>&1"))
    with root_view(tmp_path / "changes") as view:
        run_in(view, "apt-get update")
        status, output = run_in(view, f"apt-get install -y {package} && dpkg -L {package} && dpkg -s {package} | grep Status")
        assert status == 0, output
        assert "install ok installed" in output
        (documents,) = {line for line in output.splitlines() if line == f"/usr/share/doc/{package}"}
    assert not Path(documents).exists()
    assert f"Package: {package}\n" not in Path("/var/lib/dpkg/status").read_text()
