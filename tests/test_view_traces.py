"""What is left of a view: nothing but its layers, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.kernel.mountinfo import read_mounts
from skillrun.overlay.process.probe import probe
from skillrun.overlay.transaction.retention import drop
from skillrun.ports import Command, result_of
from skillrun.targets.preview import PreviewTarget
from tests.checkout import PYTHON, SEEN_HERE
from tests.lab import apart
from tests.own_root import SHARED, in_own_root
from tests.viewing import manifest, root_view, run_in

pytestmark = [
    pytest.mark.root,
    pytest.mark.overlay,
    pytest.mark.skipif(probe().tier != "R", reason=f"no root view here: {'; '.join(probe().reasons)}"),
]


def holders(namespaces: set[str]) -> set[tuple[int, str]]:
    """Every process in one of these mount namespaces, with the time it was started: numbers are used again, of both."""
    found = set()
    for process in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if os.readlink(f"/proc/{process}/ns/mnt") in namespaces:
                began = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
                found.add((int(process), began))
    return found


def children_of(pid: int) -> list[int]:
    """Every descendant of a process."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *children_of(int(child))]
    return found


SUPERVISOR = """
import sys, time
from pathlib import Path
from skillrun.ports import Command
from skillrun.targets.preview import PreviewTarget
target = PreviewTarget.open(Path(sys.argv[1]), cwd="/")
stream = target.run(Command("setsid -f sleep 1000 </dev/null >/dev/null 2>&1; trap '' HUP INT TERM; echo up; sleep 1000"))
print(next(stream).text, flush=True)
for event in stream: pass
"""


def test_a_killed_supervisor_takes_everything_along(tmp_path: Path) -> None:
    """After SIGKILL of skillrun no process, mount or namespace of the view is left; the layers can be dropped."""

    def work() -> None:
        mounts = read_mounts()
        supervisor = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
        )
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == "up\n"
        end = time.monotonic() + 10
        inside, names = children_of(supervisor.pid), [""]
        while names.count("sleep") < 2 and time.monotonic() < end:
            time.sleep(0.05)
            inside = children_of(supervisor.pid)
            names = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in inside]
        assert names.count("sleep") == 2, names
        own = {os.readlink(f"/proc/{pid}/ns/mnt") for pid in inside} - {os.readlink("/proc/self/ns/mnt")}
        held = holders(own)
        assert {pid for pid, _ in held} <= {*inside}
        supervisor.send_signal(signal.SIGKILL)
        supervisor.wait()
        supervisor.stdout.close()
        end = time.monotonic() + 5
        while held & holders(own) and time.monotonic() < end:
            time.sleep(0.01)
        assert held & holders(own) == set()
        assert read_mounts() == mounts
        drop(tmp_path / "run/changes")
        left = [path for path in (tmp_path / "run").rglob("*") if path.is_file() and "outputs" not in path.parts]
        assert left == []

    assert apart(work) == 0


def test_a_dry_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """A run that installs, adds a user, edits and deletes, then is discarded: the machine is what it was, file by file."""

    def work() -> None:
        run = Path("/root/run")
        run.mkdir(0o700)
        before = manifest(["/"], [*SHARED, str(run)])
        assert {"/etc/passwd", "/srv/file", "/var/lib/dpkg/info/own.list"} <= before.keys()
        target = PreviewTarget.open(run, cwd="/")
        for command in (
            "mkdir -p /etc/sudoers.d /etc/cron.d && useradd -m newcomer && echo newcomer ALL=ALL >/etc/sudoers.d/newcomer",
            "rm -r /etc/skel; sed -i s/root/toor/ /etc/group; chmod 600 /etc/hosts; ln -s x /usr/local/bin/skillrun-test",
            "mkdir -p /opt/new/deep && cp /bin/true /opt/new/deep/ && chown daemon /opt/new; ln /etc/hostname /etc/hostname2",
            "echo '* * * * * root true' >/etc/cron.d/x; touch /srv/y /boot/z; rm -rf /var/lib/dpkg/info",
        ):
            done = result_of(target.run(Command(command)))
            assert (done.state.value, done.exit_code) == ("exited", 0), done.output
        target.close()
        drop(run / "changes")
        assert manifest(["/"], [*SHARED, str(run)]) == before
        assert not os.path.lexists("/usr/local/bin/skillrun-test")
        left = [path for path in run.rglob("*") if path.is_file() and "outputs" not in path.parts]
        assert left == []

    in_own_root(tmp_path, work)


INNER = """
import os
from pathlib import Path
from tests.viewing import root_view, run_in
from skillrun.overlay.transaction.retention import drop
with root_view(Path("/var/lib/inner")) as view:
    print(run_in(view, "cd /kept; cat outer; rm outer; echo inner > inner; ls"), view.notes)
print(sorted(os.listdir("/kept")))
drop(Path("/var/lib/inner"))
"""


def test_a_view_inside_a_view_is_a_view_of_it(tmp_path: Path) -> None:
    """The inner one starts from the outer one's files and changes nothing of them."""

    def work() -> None:
        with root_view(Path("/root/changes")) as view:
            assert run_in(view, "rm /kept/file; echo outer > /kept/outer")[0] == 0
            environment = {"PYTHONPATH": SEEN_HERE, "PYTHONDONTWRITEBYTECODE": "1"}
            status, output = run_in(view, [PYTHON, "-c", INNER], environment)
        assert status == 0, output
        said, names = output.splitlines()
        assert said.startswith("(0, 'outer\\ninner\\n')"), output
        assert "hard links" in said
        assert names == "['outer']"
        assert os.listdir("/kept") == ["file"]

    in_own_root(tmp_path, work)


def test_nobody_owns_what_a_view_keeps_where_everybody_may_write(tmp_path: Path) -> None:
    """Another user who was there first with the name that could be guessed can neither move nor add to what is committed."""

    def attacked() -> None:
        ns.mount("tmpfs", "/mnt", "tmpfs", 0, "mode=1777")
        for name in (f".skillrun-{os.geteuid()}", ".skillrun-1000"):
            os.mkdir(f"/mnt/{name}")
            os.chown(f"/mnt/{name}", 65534, 65534)
        with root_view(tmp_path / "changes") as view:
            assert run_in(view, "echo mine >/mnt/file")[0] == 0
            (upper,) = (Path(layer.upper) for layer in view.layers.items if layer.target == "/mnt")
            mine = [folder for folder in upper.parents if Path("/mnt") in folder.parents]
            assert [os.lstat(folder).st_uid for folder in mine] == [0] * 3
            for folder in mine:
                move = [
                    "setpriv",
                    "--reuid",
                    "65534",
                    "--regid",
                    "65534",
                    "--clear-groups",
                    "mv",
                    str(folder),
                    f"{folder}-moved",
                ]
                assert subprocess.run(move, capture_output=True, check=False).returncode != 0, folder

    assert apart(attacked) == 0
