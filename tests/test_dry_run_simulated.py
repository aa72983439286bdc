"""A dry run where no view can be made: in a throw-away machine, by a root that may not mount anything, as in a container.

Each package manager really rehearses, from a repository of its own where the machine's are for another; afterwards the
machine is byte for byte what it was. apk and brew cannot be had on this kind of machine: how they are asked is tested in
test_simulated.py, that they answer is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from skillrun.overlay.process.probe import probe
from skillrun.sandbox.base import BuildError, layer, layers_of
from skillrun.sandbox.machine import Machine
from tests.lab import Manifest, difference, manifest

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.overlay, pytest.mark.network, pytest.mark.timeout(900)]

MANAGERS = """
apt-get update -qq
apt-get install -y -qq --no-install-recommends dnf zypper pacman-package-manager makepkg rpm createrepo-c \\
  libarchive-tools zstd >/dev/null
python3 -m venv /opt/uv && /opt/uv/bin/pip install -q uv && ln -s /opt/uv/bin/uv /usr/local/bin/uv
mkdir -p /srv/rpm /srv/pacman/files /etc/yum.repos.d /etc/zypp/repos.d && cd /srv
printf '%s\n' 'Name: greet' 'Version: 1' 'Release: 1' 'Summary: Says hello' 'License: MIT' 'BuildArch: noarch' \
  '%description' 'Says hello.' '%files' > greet.spec
rpmbuild --quiet -bb --define '_rpmdir /srv/rpm' greet.spec && createrepo_c -q /srv/rpm
printf '%s\n' '[greet]' 'name=greet' 'baseurl=file:///srv/rpm' 'enabled=1' 'gpgcheck=0' > /etc/yum.repos.d/greet.repo
cp /etc/yum.repos.d/greet.repo /etc/zypp/repos.d/
echo 'releasever=1' >> /etc/dnf/dnf.conf
printf '%s\n' 'pkgname = greet' 'pkgver = 1-1' 'arch = any' 'size = 0' > pacman/files/.PKGINFO
cd pacman/files && bsdtar --zstd -cf ../greet-1-1-any.pkg.tar.zst .PKGINFO && cd .. && repo-add -q greet.db.tar.gz ./*.zst
printf '%s\n' '[options]' 'Architecture = auto' 'SigLevel = Never' '[greet]' 'Server = file:///srv/pacman' > /etc/pacman.conf
pacman -Sy >/dev/null
echo export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt > /etc/profile.d/authorities.sh
"""
SKILL = """\
---
name: greet
description: Installs greet. Use it when someone wants greet.
metadata:
  skillrun-verify: "greet --version"
---
# Install greet

## Install

```bash
{commands}
```
"""


CONTAINED = "python3 /code/tests/contained.py"
"""Without the right to mount and to make namespaces, as in a container."""


ELSEWHERE_WRITTEN = ("proc", "sys", "dev", "run", "code", "packages", "root/state")
"""The kernel's own, what is in memory, the project itself, and the run's own record."""
BY_READERS = ("tmp/node-compile-cache",)
"""What only looking leaves: node's cache of `npm config get`."""


class Told(NamedTuple):
    """A dry run: its exit code, its report, and what it said."""

    code: int
    report: dict[str, Any]
    text: str

    def call(self, part: str) -> dict[str, Any]:
        """The result of the first command of a step that has this in it."""
        calls = [moment for moment in self.report["timeline"] if moment["kind"] == "entry"]
        found = [call for call in calls if part in str(call["call"]["input"].get("command", "")) and call["call"]["step"]]
        assert found, [call["call"] for call in calls]
        result: dict[str, Any] = found[0]["result"]
        return result


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine with every manager there is a Debian package of, and the project beside it, read-only."""
    if probe().tier != "R":
        pytest.skip(f"throw-away machines need root and overlayfs: {'; '.join(probe().reasons)}")
    import click

    packages = Path(click.__file__).parents[1]
    try:
        base = layers_of("debian-12-node")
        lowers = [layer(base, MANAGERS), *base]
    except BuildError as error:
        pytest.skip(f"the machine cannot be built: {error}")
    binds = ((str(ROOT), "/code"), (str(packages), "/packages"))
    with Machine(lowers, user="root", furnishing={"binds": binds}) as made:
        made.run("mkdir -p /root/skill /root/state; ldconfig; rpm -qa", root=True)
        yield made


def whole(machine: Machine) -> Manifest:
    """Everything on its disk apart from the run's own record; temporary files may have come and gone."""
    root = Path(f"/proc/{machine.view.builder}/root/usr/..")  # not `root` itself, which is a link
    assert (root / "srv/rpm").is_dir()
    found = manifest(root, skip=(*ELSEWHERE_WRITTEN, *BY_READERS))
    return {path: facts if path not in ("tmp", "root") else (facts[0], *facts[5:]) for path, facts in found.items()}


def dry_run(machine: Machine, commands: str, system: str = "") -> Told:
    """`install --dry-run` of a skill with these commands, and what its report says; on what calls itself `system`."""
    if system:
        machine.run(f"cp -p /usr/lib/os-release /run/; sed -i 's/^ID=.*/ID={system}/' /usr/lib/os-release", root=True)
    env = {"PYTHONPATH": "/code:/packages", "PYTHONDONTWRITEBYTECODE": "1", "XDG_STATE_HOME": "/root/state"}
    install = f"{CONTAINED} python3 -m skillrun install - --dry-run --approve all --no-input --model builtin"
    done = machine.run(f"cd; {install}", root=True, env=env, stdin=SKILL.format(commands=commands))
    if system:
        machine.run("cp -p /run/os-release /usr/lib/", root=True)
    told = machine.run("cd; python3 -m skillrun report last --json", root=True, env=env)
    return Told(done.returncode, json.loads(told.stdout), done.stdout)


REHEARSED = {
    "apt-get install -y bc": ("apt-get -s ", "Inst bc "),
    "apt-get remove -y less": ("apt-get -s ", "Remv less "),
    "pip install --break-system-packages httpie": ("pip install --break-system-packages httpie --dry-run", "Would install"),
    "npm install -g cowsay": ("npm install -g cowsay --dry-run", "added"),
    "uv pip install --system --break-system-packages httpie": ("httpie --dry-run", "Would install"),
}
"""Command -> part of what is run instead, and what the manager says."""
ELSEWHERE = {
    "fedora": ("dnf install -y greet", "dnf --assumeno ", "Operation aborted"),
    "opensuse": ("zypper --non-interactive install greet", " --dry-run greet", "greet"),
    "arch": ("pacman -Syu --noconfirm greet", "pacman -Su greet --print", "greet-1-1"),
}
"""The same where the machine says that it is another distribution: a skill's commands for others are not tried."""
REAL = ["cat /etc/debian_version", "ls /opt"]
LISTED = [
    "mkdir -p /opt/greet",
    "touch /opt/greet/made",
    "bash -c 'touch /root/a'",
    "env touch /root/b",
    'python3 -c \'open("/root/c", "w")\'',
    "true > /root/d",
]


class All(NamedTuple):
    """Every dry run by what the machine called itself, and what was different on it after the one as what it is.

    As another system its manifest says nothing: rpm makes its database where there is none, which that system has.
    """

    told: dict[str, Told]
    left: dict[str, object]


@pytest.fixture(scope="module")
def runs(machine: Machine) -> All:
    """One dry run with all steps, one on each of the other systems."""
    before = whole(machine)
    told = {"debian": dry_run(machine, "\n".join([REAL[0], *REHEARSED, *LISTED, REAL[1]]))}
    left = difference(before, whole(machine))
    told |= {system: dry_run(machine, command, system) for system, (command, _, _) in ELSEWHERE.items()}
    return All(told, left)


ANYWHERE = [("debian", command, *facts) for command, facts in REHEARSED.items()]


@pytest.mark.parametrize(
    ("system", "command", "rehearsed", "says"), [*ANYWHERE, *((key, *ELSEWHERE[key]) for key in ELSEWHERE)]
)
def test_each_manager_rehearses(runs: All, system: str, command: str, rehearsed: str, says: str) -> None:
    """The manager itself says what it would do, and the report says what was run instead."""
    result = runs.told[system].call(command)
    assert (result["fidelity"], result["exit_code"]) == ("simulated", 0), result
    assert rehearsed in result["note"]
    assert says in result["output"]


def test_what_reads_is_run_and_all_else_is_listed(runs: All) -> None:
    """The report states of each step how real it was; a wrapped command is no way around."""
    assert {runs.told["debian"].call(command)["fidelity"] for command in REAL} == {"real"}
    assert {runs.told["debian"].call(command)["fidelity"] for command in LISTED} == {"would-run"}
    assert "1" in runs.told["debian"].call(REAL[0])["output"]


def test_it_never_claims_that_it_works(runs: All) -> None:
    """Exit code 3 and the outcome `unverified`, with the reason."""
    done = runs.told["debian"]
    assert (done.code, done.report["outcome"], done.report["run"]["tier"]) == (3, "unverified", "S"), done.text
    assert "only simulated, so the checks could not be verified" in done.text


def test_the_machine_is_byte_for_byte_what_it_was(runs: All) -> None:
    """Caches, logs and databases included: a full manifest of the disk before and after."""
    assert runs.left == {}


def test_a_package_that_does_not_exist_fails(machine: Machine) -> None:
    """A rehearsal that fails is a failure, told with the manager's own words."""
    done = dry_run(machine, "apt-get install -y no-such-package-anywhere")
    result = done.call("no-such-package-anywhere")
    assert (result["fidelity"], result["exit_code"]) == ("simulated", 100)
    assert "Unable to locate package no-such-package-anywhere" in result["output"]
    assert done.code == 3
