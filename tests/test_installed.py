"""`installed`, `outdated`, `upgrade`, `purge`: what a user of a package manager asks next, on a machine of its own."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillrun.rollback.installed import newer_packages
from tests.box import Box, box_or_skip

ROOT = Path(__file__).parents[1]
CODE = {"PYTHONPATH": "/code:/packages", "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
SKILL = "# mark\n\n```bash\necho {text} > ~/mark\n```\n\n## Verify\n\n```bash\ngrep -q '^{text}' ~/mark\n```\n"

pytestmark = [pytest.mark.root, pytest.mark.overlay]


@pytest.fixture(scope="module")
def machine() -> Iterator[Box]:
    """A Debian with the user `dev`, and this checkout to be read."""
    made = box_or_skip("debian-12", binds=((str(ROOT), "/code"), (sysconfig.get_paths()["purelib"], "/packages")))
    yield made
    made.close()


def skillrun(machine: Box, *words: str, code: int = 0) -> str:
    """What a verb wrote; its exit code is as expected."""
    done = machine.run(["python3", "-m", "skillrun", *words], env=CODE)
    assert done.returncode == code, done.stdout
    return done.stdout


def told(machine: Box, verb: str) -> list[dict[str, Any]]:
    """The same as data."""
    return list(json.loads(skillrun(machine, verb, "--json"))[verb])


def test_from_install_to_purge(machine: Box) -> None:
    """Installed is listed; a changed text is outdated, and upgrade carries it out; purge leaves what was installed."""
    assert "Nothing yet" in skillrun(machine, "installed")
    machine.write("/home/dev/mark.md", SKILL.format(text="one"))
    skillrun(machine, "install", "mark.md", "--approve", "all")
    assert [item["skill"] for item in told(machine, "installed")] == ["mark"]
    assert told(machine, "outdated") == []
    assert "Nothing is newer" in skillrun(machine, "upgrade")

    machine.write("/home/dev/mark.md", SKILL.format(text="two"))
    assert told(machine, "outdated") == [{"skill": "mark", "packages": [], "text_changed": True}]
    skillrun(machine, "upgrade", "mark", "--approve", "all")
    assert (machine.root / "home/dev/mark").read_text() == "two\n"
    assert told(machine, "outdated") == []
    assert "skillrun has not installed other" in skillrun(machine, "upgrade", "other", code=2)

    assert "needs a person's word" in skillrun(machine, "purge", code=4)
    skillrun(machine, "purge", "--approve", "all")
    assert "nothing to remove" in skillrun(machine, "purge")
    assert not [path for path in (machine.root / "home/dev").rglob("*") if "skillrun" in path.name]
    assert (machine.root / "home/dev/mark").exists(), "what was installed stays"


@pytest.mark.network
def test_apt_says_what_is_newer(machine: Box) -> None:
    """Of the packages of a machine whose lists are newer than it is: the version here and the newer one."""
    machine.run(["apt-get", "update", "-qq"], user="root")
    upgradable = machine.run(["sh", "-c", "apt-get -s upgrade | sed -n 's/^Inst \\([^ ]*\\).*/\\1/p'"]).stdout.split()
    if not upgradable:
        pytest.skip("nothing of this machine is older than its mirror")
    packages = {("dpkg", ""): dict.fromkeys([upgradable[0], "bash"], "")}
    found = list(newer_packages(packages, lambda text: machine.run(["sh", "-c", text]).stdout))
    assert upgradable[0] in [name for name, _, _ in found]
    assert all(old != new and new for _, old, new in found)
