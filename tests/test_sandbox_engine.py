"""Machines of a container engine: the same recipes, faults, walls and verifiers as machines of our own namespaces."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from skillrun.overlay.mount.machine import CAPABILITIES
from skillrun.overlay.mount.spec import Furnishing
from skillrun.sandbox import engine as engines
from skillrun.sandbox import recipes
from skillrun.sandbox.engine import Engine, EngineError, Image, find_engine
from skillrun.sandbox.images import image_of
from skillrun.sandbox.machine import Machine
from skillrun.trials import trial

needs_podman = [
    pytest.mark.root,
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.geteuid() != 0, reason="a container's namespaces are joined as root"),
    pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed"),
]

STORAGE = """[storage]
driver = "overlay"
graphroot = "{0}/graph"
runroot = "{0}/run"
"""
CONTAINERS = """[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
[containers]
cgroups = "disabled"
log_driver = "none"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""
# crun refuses a machine with both kinds of control groups mounted, as some test machines have; Podman sees one kind.
ONE_KIND = """#!/bin/sh
exec unshare -m sh -c 'umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec {0} "$@"' podman "$@"
"""


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The real Podman with storage of its own."""
    folder = tmp_path_factory.mktemp("podman")
    program = str(shutil.which("podman"))
    with pytest.MonkeyPatch.context() as patch:
        for name, text in (("storage.conf", STORAGE.format(folder)), ("containers.conf", CONTAINERS)):
            (folder / name).write_text(text)
        patch.setenv("CONTAINERS_STORAGE_CONF", str(folder / "storage.conf"))
        patch.setenv("CONTAINERS_CONF", str(folder / "containers.conf"))
        if Path("/sys/fs/cgroup/memory").is_dir():
            (folder / "bin").mkdir()
            (folder / "bin/podman").write_text(ONE_KIND.format(program))
            (folder / "bin/podman").chmod(0o755)
            patch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
        engine = Engine("podman")
        yield engine
        subprocess.run([engine.program, "rm", "-fa"], capture_output=True, check=False)
        subprocess.run([engine.program, "rmi", "-fa"], capture_output=True, check=False)
        for mounted in (folder / "graph/overlay", folder / "graph"):
            subprocess.run(["umount", "-l", str(mounted)], capture_output=True, check=False)


@pytest.fixture(scope="module")
def image(podman: Engine) -> Image:
    """The base machine as an image."""
    return image_of(podman, "debian-12", print)


def _containers(podman: Engine) -> str:
    return podman.ask("ps", "-aq")


class TestPodman:
    """With the real program."""

    pytestmark = needs_podman

    def test_a_container_has_the_same_walls(self, image: Image) -> None:
        """Powers, users, name, network and furnishing are those of a machine of our own; the fence of hosts stands."""
        furnishing = {"tmp_options": "size=2m,noexec", "read_only": ("/opt",)}
        with Machine(image, hosts=("declared.invalid",), furnishing=furnishing) as made:
            status = made.run("sudo cat /proc/self/status").stdout
            bounding = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd")), 16)
            assert {number for number in range(64) if bounding >> number & 1} == CAPABILITIES
            assert made.run("id -un; hostname; sudo id -u").stdout.split() == ["dev", "box", "0"]
            for forbidden in ("mount -t tmpfs none /mnt", "hostname other", "ip link add dummy0 type dummy", "touch /opt/x"):
                assert made.run(forbidden, root=True).returncode != 0, forbidden
            assert "Permission denied" in made.run("cp /bin/true /tmp/t; /tmp/t").stdout
            assert made.run("curl -sS https://undeclared.invalid").returncode == 6
            told = made.run("ps axeww; env; ls -la / /dev /run /tmp; cat /proc/[0-9]*/cmdline", root=True).stdout
            assert "skillrun" not in told
        assert [contact.host for contact in made.contacts()] == ["undeclared.invalid"]

    @pytest.mark.parametrize("name", ["lists-empty", "tmp-noexec", "asks-yes-no", "lock-held", "checksum-differs"])
    def test_scenarios_are_as_sound_as_without_an_engine(self, podman: Engine, image: Image, name: str) -> None:
        """Nothing done fails, the literal commands fail for the fault's reason, the fix passes: by the same definitions."""
        assert trial.self_test(recipes.scenario(name), trial.Conditions(engine=podman)) == []
        assert _containers(podman) == ""

    def test_a_skill_is_tried_by_the_command(self, podman: Engine, image: Image, tmp_path: Path) -> None:
        """`skillrun test --engine podman` comes to the same verdict as without."""
        words = ["test", "--scenarios", "--only", "tmp-noexec", "--engine", "podman", "--json"]
        env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
        done = subprocess.run([sys.executable, "-m", "skillrun", *words], capture_output=True, text=True, env=env, check=False)
        assert done.returncode == 0, done.stderr
        (row,) = json.loads(done.stdout)["trials"]
        assert (row["ok"], row["verified"], row["commands"] > 0) == (True, True, True)

    def test_a_killed_driver_leaves_no_container(self, podman: Engine, image: Image) -> None:
        """After SIGKILL the container ends and is removed, by itself."""
        code = (
            "import sys, time; from pathlib import Path; from skillrun.sandbox.engine import Engine, Image;"
            "from skillrun.sandbox.machine import Machine;"
            f"m = Machine(Image(Engine('podman'), {image.tag!r}, Path({str(image.files)!r})));"
            "m.run('sleep 1000 > /dev/null 2>&1 &'); print('up', flush=True); time.sleep(1000)"
        )
        driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert driver.stdout
        assert driver.stdout.readline() == "up\n"
        assert _containers(podman)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        driver.stdout.close()
        end = time.monotonic() + 20
        while _containers(podman) and time.monotonic() < end:
            time.sleep(0.2)
        assert _containers(podman) == ""

    def test_dockers_command_line_is_spoken(self, podman: Engine, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
        """Docker's own program, with Podman's Docker API to talk to, makes the same machine, and removes it."""
        if not shutil.which("docker"):
            pytest.skip("docker's command line is not installed")
        with tempfile.TemporaryDirectory() as folder:
            address = f"unix://{folder}/api"
            server = subprocess.Popen([podman.program, "system", "service", "--time=0", address], stderr=subprocess.DEVNULL)
            try:
                end = time.monotonic() + 30
                while not Path(folder, "api").exists() and time.monotonic() < end:
                    time.sleep(0.1)
                monkeypatch.setenv("DOCKER_HOST", address)
                docker = Engine("docker")
                same = Image(docker, f"localhost/{image.tag}", image.files)
                assert docker.has(same.tag)
                assert not docker.has("localhost/no-such:image")
                with Machine(same, network="none", furnishing={"tmp_options": "size=2m"}) as made:
                    assert made.run("id -un; hostname; sudo id -u").stdout.split() == ["dev", "box", "0"]
                    assert made.run("df -m --output=size /tmp | tail -1").stdout.strip() == "2"
                assert docker.ask("ps", "-aq") == ""
            finally:
                server.terminate()
                server.wait()

    def test_what_an_engine_cannot_do_is_said(self, image: Image) -> None:
        """A disk of its own size is refused with the way out."""
        with pytest.raises(EngineError, match="gives no disk of 5 MB; `--engine namespaces` does"):
            Machine(image, furnishing={"disk_mb": 5})


def test_an_engine_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`--engine docker` without docker says so; `namespaces` never asks for one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="docker is not installed"):
        find_engine("docker")
    assert find_engine("namespaces") is None


def test_an_engine_that_refuses_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command, its exit code and the end of what it said."""
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 3\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    engine = Engine("docker")
    with pytest.raises(EngineError, match="docker pull ended with 3: Cannot connect to the Docker daemon"):
        engine.fetch("debian:x", "skillrun/x:1")
    assert not engine.has("skillrun/x:1")
    with pytest.raises(EngineError, match="docker run: Cannot connect"):
        engines.Container(Image(engine, "x", tmp_path), Furnishing(()))
