"""The attacks on a view on other systems than this one, and on a throw-away machine: each carried out there, whole."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from skillrun.overlay.kernel import syscalls as ns
from skillrun.sandbox.base import layer, layers_of
from skillrun.sandbox.machine import Machine
from tests.besieged import besiege
from tests.lab import apart, real_installs

ROOT = Path(__file__).parents[1]
SYSTEMS = ("debian-12", "debian-13")

pytestmark = real_installs

PYTHON = "apt-get update -q && apt-get install -yq --no-install-recommends python3"
ENTER = """
set -e
mount -o loop "$IMAGE" "$AT"
mkdir -p "$AT/code" "$AT/old"
mount --bind "$CODE" "$AT/code"; mount -o remount,bind,ro "$AT/code"
mount -t proc proc "$AT/proc"; mount -t sysfs sysfs "$AT/sys"; mount --rbind /dev "$AT/dev"; mount -t tmpfs tmpfs "$AT/run"
cd "$AT"; pivot_root . old; cd /; umount -l /old; rmdir /old
export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/code
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /; HOME=/root python3 -m tests.besieged R /root/siege >/run/R
chmod 755 /run
exec 3>/run/U; su dev -s /bin/sh -c 'cd; exec python3 -m tests.besieged U "$HOME/siege" >&3'
cat /run/R /run/U >&4
"""


def held(report: dict[str, Any], who: str, tell: Any, open_here: frozenset[str] = frozenset()) -> None:
    """No way is open that is not named, none was left out, nothing outside is other than before; how many were tried."""
    tell(f"ways tried {who}", report["tried"])
    print(f"{report['tried']} ways tried {who}: {len(report['open'])} open, {len(report['changed'])} things changed outside")
    assert report["tried"] >= 500
    assert {name: why for name, why in report["open"].items() if name not in open_here} == {}
    assert report["changed"] == {}


@pytest.fixture(params=SYSTEMS)
def ground(request: pytest.FixtureRequest) -> list[Path]:
    """The layers of a system with Python in it."""
    lowers = layers_of(request.param)
    return [layer(lowers, PYTHON), *lowers]


def test_a_view_of_another_system_holds(ground: list[Path], tmp_path: Path, record_property: Any) -> None:
    """On a disk of its own: a root view as root, a user view as an ordinary user, by that system's own Python."""
    image, at, said = tmp_path / "image", tmp_path / "at", tmp_path / "said"
    for folder in (at, tmp_path / "all"):
        folder.mkdir()
    with image.open("wb") as file:
        file.truncate(1600 << 20)
    environment = {**os.environ, "IMAGE": str(image), "AT": str(at), "CODE": str(ROOT)}

    def inside() -> None:
        everything = str(tmp_path / "all")
        ns.mount("overlay", everything, "overlay", ns.MS_RDONLY, f"lowerdir={':'.join(map(str, ground))}")
        subprocess.run(["mkfs.ext4", "-q", "-F", "-d", everything, str(image)], check=True)
        with said.open("wb") as out:
            os.dup2(out.fileno(), 4)
            subprocess.run(["sh", "-c", ENTER], env=environment, pass_fds=(4,), check=True)

    assert apart(inside) == 0
    root, user = (json.loads(line) for line in said.read_text().splitlines())
    held(root, "out of a root view", record_property)
    held(user, "out of a user view", record_property)


@pytest.mark.parametrize("as_root", [True, False], ids=["root", "user"])
def test_a_throw_away_machine_holds(ground: list[Path], as_root: bool, tmp_path: Path, record_property: Any) -> None:
    """The same attacks by whoever is root, or an ordinary user, in a machine of its own, with its own network."""
    with Machine(ground) as machine:
        report = besiege("M", tmp_path / "siege", machine, as_root)
    held(report, f"out of a machine as {'root' if as_root else 'a user'}", record_property)
