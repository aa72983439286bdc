"""A real installation through a real view on a throw-away machine: commit equals doing it directly, undo equals before."""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from skillrun.overlay.kernel import syscalls as ns
from skillrun.sandbox.base import layers_of
from tests.lab import apart, real_installs

ROOT = Path(__file__).parents[1]

pytestmark = real_installs

ENTER = """
set -e
mount -o loop "$IMAGE" "$AT"
mkdir -p "$AT/code" "$AT/packages" "$AT/old"
mount --bind "$CODE" "$AT/code"; mount -o remount,bind,ro "$AT/code"
mount --bind "$PACKAGES" "$AT/packages"; mount -o remount,bind,ro "$AT/packages"
mount -t proc proc "$AT/proc"; mount -t sysfs sysfs "$AT/sys"; mount --rbind /dev "$AT/dev"; mount -t tmpfs tmpfs "$AT/run"
cp /etc/resolv.conf "$AT/etc/resolv.conf"
cd "$AT"; pivot_root . old; cd /; umount -l /old; rmdir /old
export HOME=/root LC_ALL=C PYTHONDONTWRITEBYTECODE=1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH=/code:/packages
cd /root; exec python3 /code/tests/inside_machine.py "$@"
"""

VARIES = (
    "var/log/*",
    "var/cache/*",
    "var/lib/apt/*",
    "var/lib/systemd/*",
    "*.pyc",
    "*/__pycache__*",
    "etc/ld.so.cache",
    "etc/.pwd.lock",
    "opt/tool/lib/*/RECORD",
    "root/.cache*",
    "root/.npm*",
)
"""What differs between two installations a minute apart: logs, caches, compiled files that carry a time."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base of the throw-away machines as a file system in a file."""
    path = tmp_path_factory.mktemp("machine") / "image"
    with path.open("wb") as file:
        file.truncate(1600 << 20)

    def fill() -> None:
        at = path.with_name("at")
        at.mkdir()
        lowers = ":".join(map(str, layers_of("debian-12")))
        ns.mount("overlay", str(at), "overlay", ns.MS_RDONLY, f"lowerdir={lowers}")
        subprocess.run(["mkfs.ext4", "-q", "-F", "-d", str(at), str(path)], check=True)

    assert apart(fill) == 0
    return path


def run_on(image: Path, place: Path, how: str, user: str = "root", script: str = "install.sh") -> dict[str, Any]:
    """Carry the installation out on a copy of the machine: what `inside_machine.py` reports."""
    place.mkdir()
    copy, at = place / "image", place / "at"
    at.mkdir()
    subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
    environment = {
        **os.environ,
        "IMAGE": str(copy),
        "AT": str(at),
        "CODE": str(ROOT),
        "PACKAGES": sysconfig.get_paths()["purelib"],
    }
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    command = [*apart, "bash", "-c", ENTER, "enter", how, user, f"/code/tests/cases/commit/{script}"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    shutil.rmtree(place)
    assert done.returncode == 0, f"{how}: exit code {done.returncode}"
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["status"] == 0, report.get("output")
    return report


def differences(one: dict[str, Any], other: dict[str, Any], times: bool = True, varies: tuple[str, ...] = ()) -> dict[str, Any]:
    """Paths that differ, and how."""

    def facts(found: dict[str, Any], path: str) -> Any:
        return [fact for number, fact in enumerate(found.get(path) or ()) if times or number != 4]

    paths = (path for path in one.keys() | other.keys() if not any(fnmatch.fnmatch(path, pattern) for pattern in varies))
    return {path: (one.get(path), other.get(path)) for path in sorted(paths) if facts(one, path) != facts(other, path)}


def test_preview_commit_undo_of_a_real_installation(image: Path, tmp_path: Path) -> None:
    """The preview leaves the machine alone, the commit equals the direct installation, undo equals the machine before."""
    direct = run_on(image, tmp_path / "direct", "direct")
    view = run_on(image, tmp_path / "view", "view")
    assert differences(view["before"], view["previewed"]) == {}
    assert view["done"]["left"] == []
    assert view["dpkg"] == 0
    assert differences(direct["after"], view["committed"], times=False, varies=VARIES) == {}
    assert differences(view["before"], view["undone"]) == {}
    assert differences(view["committed"], view["redone"]) == {}
    changes = view["changes"]
    assert {"redis-server", "redis-tools", "python3-venv"} <= {item["name"] for item in changes["packages"]}
    assert "semver" in {item["name"] for item in changes["packages"] if item["manager"] == "npm"}
    assert {"packaging", "pip"} <= {item["name"] for item in changes["packages"] if item["manager"] == "pip"}
    assert {("user", "redis"), ("user", "made")} <= {(item["kind"], item["name"]) for item in changes["accounts"]}
    assert any(item["name"] == "redis-server.service" for item in changes["services"])
    assert any("PATH=$PATH:/opt/tool/bin" in item.get("diff", "") for item in changes["files"])
    assert "made" in changes["commands"]
    print(view["list"], view["done"]["times"], "undo", view["undo"], file=sys.stderr)


def test_the_same_for_an_ordinary_user_below_the_home_directory(image: Path, tmp_path: Path) -> None:
    """Without any rights outside: the user's own view, committed and undone by the user."""
    direct = run_on(image, tmp_path / "direct", "direct", "dev", "install_user.sh")
    view = run_on(image, tmp_path / "view", "view", "dev", "install_user.sh")
    assert differences(view["before"], view["previewed"]) == {}
    assert differences(direct["after"], view["committed"], times=False, varies=VARIES) == {}
    assert differences(view["before"], view["undone"]) == {}
    assert differences(view["committed"], view["redone"]) == {}
    assert view["changes"]["commands"] == ["tool"]
    assert any(item["path"] == "/home/dev/.bashrc" and "shell start-up" in item["text"] for item in view["changes"]["alerts"])


@pytest.mark.network
@pytest.mark.parametrize("skill", ["nginx", "redis", "postgresql"])
@pytest.mark.slow
def test_a_dry_run_of_a_service_has_an_outcome_of_its_own(skill: str, tmp_path: Path) -> None:
    """What only its service keeps from being checked is said, exit code 9, no failure in JUnit, nothing changed."""
    junit = tmp_path / "report.xml"
    words = ["install", skill, "--dry-run", "--approve", "all", "--model", "builtin", "--junit", str(junit), "--json"]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, "-m", "skillrun", *words], capture_output=True, text=True, env=environment, timeout=280, check=False
    )
    end = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, end["outcome"]) == (9, "dry-run-pending"), done.stderr
    starts = end["summary"].partition("only a commit leads to")[2].partition(": ")[0].split(", ")
    assert starts == list(dict.fromkeys(starts)) != [""]
    assert "No remedy" not in done.stdout
    assert 'failures="0"' in junit.read_text()
