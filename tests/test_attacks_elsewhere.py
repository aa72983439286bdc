"""The attacks that docs/security.md names, in whole throw-away machines of other systems: as root there, and as its user."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.box import Box, box_or_skip
from tests.lab import on_a_machine
from tests.places import clone

ROOT = Path(__file__).resolve().parents[1]
CODE = "/srv/skillrun"
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
ATTACKS = sorted({f"tests/{name}" for name in re.findall(r"`(test_\w+\.py)::", PAGE)} - {"tests/test_walls_elsewhere.py"})
"""All of their files; the walls of views and machines are besieged there in `test_walls_elsewhere.py`."""

READY = f"""
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -yq --no-install-recommends python3-venv git sudo curl xxd bsdextrautils e2fsprogs make unzip strace procps
cd {CODE}
python3 -m venv .venv
.venv/bin/pip install -q -e '.[dev]'
"""
CARRY_OUT = f"""
cd {CODE}
exec .venv/bin/python -m pytest -q -rsfE -p no:cacheprovider -m 'not slow' {" ".join(ATTACKS)}
"""
LONGEST_S = 1900

pytestmark = [*on_a_machine, pytest.mark.slow, pytest.mark.timeout(4000)]


@pytest.fixture(scope="module", params=["debian-12", "debian-13"])
def machine(request: pytest.FixtureRequest) -> Iterator[Box]:
    """A Debian with this checkout (what is committed of it) and its own Python's environment, belonging to root."""
    box = box_or_skip(request.param, place="/var/tmp")
    try:
        clone(box.root / CODE.lstrip("/"))
        ready = box.run(["sh", "-c", READY], user="root", timeout_s=LONGEST_S)
        assert ready.returncode == 0, ready.stdout[-3000:]
        yield box
    finally:
        box.close()


@pytest.mark.parametrize("user", ["root", "dev"])
def test_every_attack_that_is_named_holds(machine: Box, user: str, record_property: Any) -> None:
    """None fails. As root none is left out either, the attackers being root and others; as a user what needs no root runs."""
    environment = {"PYTHONDONTWRITEBYTECODE": "1", "HYPOTHESIS_STORAGE_DIRECTORY": f"/tmp/hypothesis-{user}"}
    done = machine.run(["sh", "-c", CARRY_OUT], user=user, env=environment, timeout_s=LONGEST_S)
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout[-300:])}
    print(done.stdout[-6000:])
    record_property(f"attacks carried out as {user}", counts)
    assert done.returncode == 0, counts
    assert counts["passed"] >= (250 if user == "root" else 150)
    left_out = re.findall(r"^SKIPPED .*$", done.stdout, re.MULTILINE)
    assert [line for line in left_out if user == "root" or "root" not in line] == []
