"""The whole path in throw-away machines: a document in, installed and verified software out, and taken away again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from skillrun.sandbox.base import layer, layers_of
from skillrun.sandbox.machine import Machine
from tests.lab import Manifest, manifest, real_installs

ROOT = Path(__file__).parents[1]
CASES = Path(__file__).parent / "cases/end_to_end"
TOOLS = "apt-get update -qq; apt-get install -y -qq --no-install-recommends python3-venv git"
OWN = (
    "home/dev/.local/state",
    "home/dev/.cache",
    "root/.local/state",
    "root/.cache",
    "tmp",
    "run",
    "var/tmp",
    "etc/resolv.conf",
)
"""What skillrun itself writes, and what lives no longer than a machine."""
START = (
    "#!/usr/bin/python3 -B",
    "import sys",
    "sys.path[:0] = ['/opt/checkout', '/opt/packages']",
    "from skillrun.cli import main",
    "sys.exit(main())",
)

pytestmark = [
    *real_installs,
    pytest.mark.skipif(not shutil.which("slirp4netns"), reason="a machine's network needs slirp4netns"),
]
same_python = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the machine's Python is 3.11, and the packages are those of the Python that tests"
)


@dataclass
class Fresh:
    """A machine on which this checkout is the command skillrun, and who uses it."""

    machine: Machine
    root: bool

    def run(self, text: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Shell text as the user."""
        return self.machine.run(text, root=self.root, timeout=timeout)

    def skillrun(self, words: str, input_text: str = "") -> tuple[int, list[dict[str, Any]]]:
        """Exit code and standard output, which is JSON lines."""
        done = self.machine.run(f"skillrun {words} --json 2> /tmp/said", root=self.root, stdin=input_text)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def written(self) -> Manifest:
        """What differs from the base machine, without skillrun's own records."""
        found = manifest(self.machine.upper, skip=OWN)
        return {name: row for name, row in found.items() if row[0] != oct(0o40755)}


@pytest.fixture
def fresh() -> Iterator[Callable[..., Fresh]]:
    """Makes machines; all are gone afterwards."""
    lowers = layers_of("debian-12")
    lowers = [layer(lowers, TOOLS), *lowers]
    with ExitStack() as stack:

        def make(root: bool = False) -> Fresh:
            binds = ((str(ROOT), "/opt/checkout"), (sysconfig.get_paths()["purelib"], "/opt/packages"))
            machine = stack.enter_context(Machine(lowers, user="dev", furnishing={"binds": binds}))
            program = "\n".join(START)
            machine.run("cat > /usr/local/bin/skillrun; chmod 755 /usr/local/bin/skillrun", root=True, stdin=program + "\n")
            return Fresh(machine, root)

        yield make


@same_python
@pytest.mark.parametrize("root", [True, False], ids=["root", "dev"])
def test_ripgrep_is_installed_through_apt_and_removed(root: bool, fresh: Callable[..., Fresh]) -> None:
    """Installed: exit 0 and it works. Again: already there and nothing changes. Uninstalled: gone, and verify exits 3."""
    box = fresh(root)
    code, events = box.skillrun("install /opt/checkout/skills/ripgrep --approve all")
    assert (code, events[-1]["outcome"]) == (0, "verified"), box.run("cat /tmp/said").stdout
    assert box.run("dpkg -s ripgrep > /dev/null && echo needle | rg needle").stdout == "needle\n"
    before = box.written()
    code, events = box.skillrun("install /opt/checkout/skills/ripgrep --approve all")
    assert (code, events[-1]["outcome"]) == (0, "already-installed")
    assert box.written() == before
    code, events = box.skillrun("uninstall /opt/checkout/skills/ripgrep --approve all")
    assert (code, events[-1]["outcome"]) == (0, "removed")
    assert box.run("command -v rg").returncode == 1
    code, (answer,) = box.skillrun("verify /opt/checkout/skills/ripgrep --approve all")
    assert code == 3
    assert [check["ok"] for check in answer["checks"]] == [False]


@same_python
def test_an_install_md_is_carried_out_by_an_ordinary_user(fresh: Callable[..., Fresh]) -> None:
    """A document in the style of install.md, for a package of PyPI: installed for the user, nothing of it as root."""
    box = fresh()
    text = (CASES / "cowsay.install.md").read_text()
    box.machine.run("cat > ~/install.md", stdin=text)
    code, events = box.skillrun("install ./install.md --approve all")
    assert (code, events[-1]["outcome"]) == (0, "verified"), box.run("cat /tmp/said").stdout
    assert [check["origin"] for check in events[-1]["checks"]] == ["stated"]
    assert "hello" in box.run("~/.local/bin/cowsay -t hello").stdout
    assert not [name for name in box.written() if name.startswith(("usr/bin", "usr/lib", "var/lib/dpkg"))]


FAILING = """---
name: hopeless
description: Says it installs something and does not.
metadata:
  skillrun-verify: "test -e ~/.hopeless"
---
# Hopeless

## Install

```bash
echo working > ~/.other
```
"""
ENDS = [
    ("install ./s.md --approve all", FAILING, 3),
    ("install ./s.md", FAILING, 4),
    ("install ./s.md --approve safe", FAILING, 4),
    ("install ./s.md --approve all", "---\nname: [unclosed\n---\n# Broken\n", 2),
    ("install ./s.md --approve all", FAILING.replace("metadata:\n", 'metadata:\n  skillrun-platforms: "macos"\n'), 7),
]


@same_python
@pytest.mark.parametrize("root", [True, False], ids=["root", "dev"])
def test_how_it_ends_otherwise(root: bool, fresh: Callable[..., Fresh]) -> None:
    """A failed check exits 3 and says which and why; a declined command 4; an unreadable skill 2 with its line; 7 elsewhere."""
    box = fresh(root)
    for words, text, expected in ENDS:
        box.machine.run("cat > ~/s.md", root=root, stdin=text)
        code, events = box.skillrun(words)
        said = box.run("cat /tmp/said").stdout
        assert code == expected, f"{words}: {events[-1:]} {said}"
        if expected == 2:
            assert "s.md:3: " in events[-1]["error"]["message"]
            continue
        assert events[-1]["exit_code"] == expected
        if expected == 3:
            assert "test -e ~/.hopeless" in events[-1]["summary"]
            assert "exit code 1" in events[-1]["summary"]
        if expected == 4:
            assert "echo working > ~/.other" in said
        wrote = box.run("rm ~/.other").returncode == 0
        assert wrote is (expected == 3)


@pytest.mark.parametrize("root", [True, False], ids=["root", "dev"])
def test_the_first_command_of_the_readme_in_a_fresh_clone(root: bool, fresh: Callable[..., Fresh]) -> None:
    """With nothing but Python and git: the README's command installs and verifies a real program."""
    (command,) = (
        line for line in (ROOT / "README.md").read_text().splitlines() if line == "python3 bootstrap.py install ripgrep"
    )
    box = fresh(root)
    copied = (
        "mkdir ~/clone && cd ~/clone && tar -C /opt/checkout --exclude=.git --exclude=.venv --exclude=__pycache__ -c . | tar x"
    )
    assert box.run(copied).returncode == 0
    done = box.run(f"cd ~/clone && {command} --approve all", timeout=600)
    assert done.returncode == 0, done.stdout
    assert "Verified" in done.stdout
    assert box.run("echo needle | rg needle").stdout == "needle\n"
    assert box.run("cd ~/clone && .venv/bin/skillrun verify ripgrep --approve all").returncode == 0
