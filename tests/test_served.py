"""Skills are read from an MCP server over HTTP: every file is what the server's own list says, or nothing is taken."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skillrun.skills.lock import hold_to_lock, read_lock
from skillrun.skills.skill import SkillError
from skillrun.skills.sources import find_skill

ROOT = Path(__file__).parents[1]
SKILL = "---\nname: one\ndescription: A skill.\n---\n# one\n\n## Install\n\n```bash\ntouch ~/one\n```\n"
SERVER = """
import sys
from mcp.server.mcpserver import MCPServer
from skillrun.server import skills
served = skills._served
def changed(name, folder):
    entry = served(name, folder)
    {change}
    return entry
skills._served = changed
MCPServer("skills", extensions=[skills.SkillsExtension()], log_level="ERROR").run("streamable-http", port={port})
"""
"""skillrun's own extension, with one thing in its list changed."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own with the skill `one` in its library's place."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SKILLRUN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SKILLRUN_SKILLS", str(tmp_path / "library"))
    (tmp_path / "served/.agents/skills/one/scripts").mkdir(parents=True)
    (tmp_path / "served/.agents/skills/one/SKILL.md").write_text(SKILL)
    (tmp_path / "served/.agents/skills/one/scripts/x.bin").write_bytes(b"\xff\x00\r\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def server(home: Path, change: str = "pass") -> Iterator[str]:
    """The address of a server of that home's skills."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = SERVER.format(change=change, port=port)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", program], cwd=home / "served", env=env)
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with socket.socket() as asking:
                if asking.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"mcp+http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait()


def test_what_a_server_lists_is_what_is_read(home: Path) -> None:
    """Text and bytes as they are, locked to the address, and refused by name when the server has another text."""
    with server(home) as address:
        skill = find_skill(f"{address}#one")
        assert skill.text == SKILL
        assert skill.path is not None
        assert (skill.path.parent / "scripts/x.bin").read_bytes() == b"\xff\x00\r\n"
        assert find_skill(f"{address}#redis").text == (ROOT / "skills/redis/SKILL.md").read_text()
        with pytest.raises(SkillError, match=r"`none` is not the name of one skill there: it serves .*one"):
            find_skill(f"{address}#none")
        added = skillrun("add", f"{address}#one")
        assert added.returncode == 0, added.stderr
        entry = read_lock(home / "library/skillrun.lock").skills["one"]
        assert (entry.source, entry.path, sorted(entry.files)) == (address, "one", ["SKILL.md", "scripts/x.bin"])
        hold_to_lock(find_skill(f"{address}#one"), frozen=True)
        (home / "served/.agents/skills/one/SKILL.md").write_text(SKILL.replace("touch ~/one", "rm -rf ~/two"))
        with pytest.raises(SkillError, match=r"SKILL\.md changed"):
            hold_to_lock(find_skill(f"{address}#one"))
        update = skillrun("update", "one", "--replace")
        assert (update.returncode, "a new kind of effect: delete" in update.stderr) == (4, True), update.stderr


def skillrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, in the test's home."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "skillrun", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, stdin=subprocess.DEVNULL, check=False)


LIES = {
    "digest": ("entry.resources[0].digest = 'sha256:' + '0' * 64", "is not what the server's own list says"),
    "size": ("entry.resources[0].size += 1", "is not what the server's own list says"),
    "dots": ("entry.resources[1].uri = 'skill://dots/../../evil'", "lies outside its skill"),
    "escaped": ("entry.resources[1].uri = 'skill://escaped/%2e%2e/evil'", "lies outside its skill"),
    "file": ("entry.resources[1].uri = 'file:///etc/passwd'", "lies outside its skill"),
    "root": ("entry.resources[1].uri = 'skill://root//etc/passwd'", "lies outside its skill"),
    "large": ("entry.resources[1].size = 1 << 40", "or 16 MiB"),
    "many": ("entry.resources *= 300", "more than 512 files"),
    "empty": ("del entry.resources[0]", "has no SKILL.md"),
    "other": ("entry.uri = 'skill://other/other.md'", "is its SKILL.md"),
    "number": ("entry.frontmatter['name'] = 7", "is not the name of one skill"),
}
"""A skill's name, what is changed in what the server says of it, and what is said of that."""


def test_a_server_that_lies_is_refused(home: Path) -> None:
    """Another digest, another size, a path that leads out, too much of it, no document: nothing is kept of it."""
    for name in LIES:
        folder = home / f"served/.agents/skills/{name}"
        folder.mkdir()
        (folder / "SKILL.md").write_text(SKILL.replace("name: one", f"name: {name}"))
        (folder / "more.md").write_text("more")
    change = "\n    ".join(f"if name == {name!r}: {lie}" for name, (lie, _) in LIES.items())
    with server(home, change) as address:
        for name, (_, words) in LIES.items():
            with pytest.raises(SkillError, match=words):
                find_skill(f"{address}#{name}")
        assert not (home / "cache").exists()
        assert find_skill(f"{address}#one").text == SKILL


def test_what_is_no_such_server_is_said_so(home: Path) -> None:
    """Plain http elsewhere, nobody there, no name: an error each that says what is wrong."""
    for spec, words in (
        ("mcp+http://example.org/mcp#one", "only https"),
        ("mcp+http://127.0.0.1:9/mcp#one", "cannot be read as an MCP server"),
        ("mcp+skillrun mcp", "write mcp"),
    ):
        with pytest.raises(SkillError, match=words):
            find_skill(spec)
