"""What is true where something failed: looked for with a real shell, named in whole sentences."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from skillrun.host import causes
from skillrun.ports import Command, result_of
from skillrun.targets.local import LocalTarget
from tests.test_builtin import World, drain

LOOKS = sorted({look for _, look in causes.kinds()} | {"settings", "terminal"})


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalTarget]:
    """A session on this machine."""
    target = LocalTarget(tmp_path / "outputs", cwd=str(tmp_path))
    yield target
    target.close()


def sentences(target: LocalTarget, said: str, command: str, code: int = 1) -> list[str]:
    """What a look names after such a failure."""
    return [cause.sentence for cause in causes.read(causes.look(target, causes.question(said, command, code)).output)]


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_is_sound_shell_and_says_known_words(look: str, tmp_path: Path) -> None:
    """Each look runs to its end without an error of its own, and every word it may say has a sentence."""
    script = files("skillrun.host").joinpath("causes.bash").read_text()
    head = f"PATHS='{tmp_path}/none' HOSTS='' WORDS='true' NUMBERS='1'"
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "USER": "nobody"}
    done = subprocess.run(
        ["bash", "-c", f"{head}\n{script}\n{look}"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert not [line for line in done.stderr.splitlines() if "syntax error" in line or "command not found" in line]
    assert all(cause.sentence for cause in causes.read(done.stdout)), done.stdout


def test_every_sentence_is_whole() -> None:
    """With as many fields as it wants it is one sentence, and without them it is none and no error."""
    for word in causes._data()["sentences"]:
        assert causes.Cause(word, ("a", "b", "c", "d", "e")).sentence.endswith("."), word
        assert causes.Cause("no such word", ()).sentence == ""


def test_a_program_of_another_machine(target: LocalTarget, tmp_path: Path) -> None:
    """An ELF file for a processor that this machine has not is named as such; a script of that name is not."""
    kind = 183 if os.uname().machine != "aarch64" else 62
    (tmp_path / "tool").write_bytes(b"\x7fELF" + b"\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, kind) + bytes(40))
    (tmp_path / "script").write_text("#!/bin/sh\nELF\n")
    said = sentences(target, f"{tmp_path}/tool: cannot execute binary file: Exec format error", f"{tmp_path}/tool", 126)
    assert any("tool is built for" in sentence for sentence in said)
    assert not any(
        "built for" in text for text in sentences(target, f"{tmp_path}/script: not found", f"{tmp_path}/script", 127)
    )


def test_an_interpreter_that_is_gone(target: LocalTarget, tmp_path: Path) -> None:
    """A program whose first line names an interpreter that is not there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "tool").write_text("#!/opt/gone/python3\n")
    (folder / "tool").chmod(0o755)
    result_of(target.run(Command(f'export PATH="{folder}:$PATH"')))
    assert f"{folder}/tool names the interpreter /opt/gone/python3, which is not there." in sentences(
        target, "bash: tool: cannot execute: required file not found", "tool --version", 127
    )


def test_a_program_that_is_a_link_which_leads_nowhere(target: LocalTarget, tmp_path: Path) -> None:
    """Wherever on PATH it lies, and where it is what another program's first line names; one that leads somewhere is none."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "thing3").symlink_to("thing3.9")
    (folder / "sound").symlink_to("/bin/true")
    (folder / "tool").write_text(f"#!{folder}/thing3\n")
    (folder / "tool").chmod(0o755)
    result_of(target.run(Command(f'export PATH="$PATH:{folder}"')))
    named = f"{folder}/thing3 is a link to thing3.9, which is not there."
    assert named in sentences(target, "bash: thing3: command not found", "thing3 -m venv v", 127)
    assert named in sentences(target, "bash: tool: cannot execute: required file not found", "tool --version", 127)
    assert not any("is a link" in text for text in sentences(target, "bash: other: command not found", "sound other", 127))


def test_a_link_on_the_way_that_leads_nowhere(target: LocalTarget, tmp_path: Path) -> None:
    """Of a place that is not there, the link on the way to it is named: the disk behind it may not be mounted."""
    (tmp_path / "archives").symlink_to("/mnt/none/archives")
    said = sentences(
        target, f"E: Archives directory {tmp_path}/archives/partial is missing: No such file", "apt-get install x", 100
    )
    assert f"{tmp_path}/archives is a link to /mnt/none/archives, which is not there." in said


def test_a_proxy_that_does_not_answer_and_one_that_does(target: LocalTarget) -> None:
    """A proxy is named only when nobody answers there; a password in its address is not shown."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        alive = f"http://127.0.0.1:{server.getsockname()[1]}/"
        result_of(target.run(Command(f"export https_proxy={alive} http_proxy=http://me:secret@127.0.0.1:9/")))
        said = " ".join(sentences(target, "curl: (7) Failed to connect to 127.0.0.1 port 9", "curl -O http://x.invalid/y", 7))
    assert "http_proxy is set to http://***@127.0.0.1:9/, a proxy that does not answer." in said
    assert "secret" not in said
    assert "https_proxy" not in said


@pytest.mark.parametrize(
    ("line", "word", "field"),
    [
        ('read -p "Which project? " project', "profile", "{home}/.profile"),
        ("echo Welcome; exit 1", "profile", "{home}/.profile"),
        ("while true; do sleep 1; done", "profile", "{home}/.profile"),
        ("ulimit -S -n 9", "limit", "the number of open files"),
        ("export EDITOR=vi", "", ""),
    ],
)
def test_what_keeps_new_terminals_from_working_is_named(tmp_path: Path, line: str, word: str, field: str) -> None:
    """A start-up file that asks, ends or hangs is named with its place, a limit that it sets with its name; nothing stays."""
    (tmp_path / ".profile").write_text(f"{line}\n")
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "USER": "dev", "MARK": str(tmp_path)}
    script = files("skillrun.host").joinpath("causes.bash").read_text()
    done = subprocess.run(
        ["bash", "-c", f"PATHS= HOSTS= WORDS= NUMBERS=\n{script}\nterminal"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = causes.read(done.stdout)
    assert [cause.word for cause in found] == ([word] if word else [])
    assert [cause.fields[0] for cause in found] == ([field.format(home=tmp_path)] if word else [])
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if f"MARK={tmp_path}".encode() in _readable(path)]
    assert left == []


def _readable(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


@pytest.mark.parametrize(("code", "asked"), [(137, True), (139, True), (143, False), (1, False)])
def test_a_process_that_was_killed_has_its_memory_looked_into(code: int, asked: bool) -> None:
    """Exit code 137 says without a word that something killed it: memory is looked into, and the kernel asked."""
    assert ("memory" in causes.question("", "make", code)["looks"].split()) is asked


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A control group whose processes may have 96 MB, of whichever version rules memory here."""
    group = Path(tempfile.mkdtemp(prefix="skillrun-test-", dir=_memory_groups()))  # its files go with it, and only so
    try:
        (group / ("memory.max" if (group / "memory.max").exists() else "memory.limit_in_bytes")).write_text(str(96 << 20))
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (group.parent / "cgroup.procs").write_text(pid)
        group.rmdir()


def _memory_groups() -> Path:
    """Where groups with a limit can be made."""
    for place in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")):
        control = place / "cgroup.subtree_control"
        rules = (place / "memory.limit_in_bytes").exists() or (control.exists() and "memory" in control.read_text().split())
        if rules and os.access(place, os.W_OK):
            return place
    pytest.skip("no control groups for memory can be made here")


GREEDY = "python3 -c 'bytearray(400 << 20)'"


@pytest.mark.root
@pytest.mark.parametrize(("command", "named"), [(GREEDY, True), (f"exec {GREEDY}", True), ("sh -c 'kill -9 $$'", False)])
def test_a_kill_for_lack_of_memory_is_told_from_any_other(
    little_memory: Path, tmp_path: Path, command: str, named: bool
) -> None:
    """The kernel ends what has more than its group may: exit 137, named with the limit. Who is killed by somebody is not."""
    (tmp_path / "i.sh").write_text(f"{command}\n")
    world = World(tmp_path)
    try:
        assert drain(world.target.run(Command(f"echo $$ > {little_memory}/cgroup.procs"))).ok
        outcome = world.install("# x\n```\nsh ~/i.sh\n```\nCheck: `test -e ~/never`.\n")
    finally:
        world.target.close()
    assert outcome == "stuck", world.ended
    assert [call.command for call in world.calls if call.name == "shell" and "i.sh" in call.command]
    told = "A process was killed for lack of memory: its control group may have 96 MB." in world.ended["summary"]
    assert told is named, world.ended["summary"]
    assert "ends with 137" in world.ended["summary"]


BOUND = """
mkdir {at}/closed {at}/open && mount --make-rprivate / && for d in closed open; do mount --bind {at}/$d {at}/$d; done &&
mount -o remount,bind,ro {at}/closed && df -Pk {at}/closed >&2 && exec {python} -c '
import json; from pathlib import Path; from skillrun.host import causes, facts; from skillrun.targets.local import LocalTarget
target = LocalTarget(Path("{at}/outputs"), cwd="{at}")
said = "cannot touch {at}/closed/x: Read-only file system; cannot touch {at}/open/x: Permission denied"
asked = causes.question(said, "./install", 1)
told = [cause.sentence for cause in causes.read(causes.look(target, asked).output)]
target.close()
print(json.dumps([facts.here(quick=True)["mounts"], told]))'
"""


@pytest.mark.root
def test_a_read_only_bind_mount_is_read_from_the_mount_table(tmp_path: Path) -> None:
    """Of a directory mounted again, read-only, df tells nothing: facts and looks name it, and not the one that is writable."""
    text = BOUND.format(at=tmp_path, python=shlex.quote(sys.executable))
    done = subprocess.run(["unshare", "--mount", "bash", "-c", text], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    mounts, told = json.loads(done.stdout.splitlines()[-1])
    closed = [row["mount"] for row in mounts if "ro" in row.get("options", ())]
    assert f"{tmp_path}/closed" in closed
    assert f"{tmp_path}/open" not in closed
    assert f"{tmp_path}/closed/x lies on {tmp_path}/closed, which is mounted read-only." in told
    assert not [sentence for sentence in told if "/open" in sentence]


def test_each_sentence_makes_sense_alone() -> None:
    """Only a few of the causes are told, in whatever order they were found: none leans on the one before it."""
    leaning = re.compile(r"\b(?:the same|also|too|as well|again|above|before)\b", re.IGNORECASE)
    for sentence in causes._data()["sentences"].values():
        opening = re.split(r"[:,;(]", sentence.format("/a", "/b", "/c", "/d", "/e"))[0]
        assert not leaning.search(opening), sentence


CARGO = """error: failed to fetch `https://github.com/rust-lang/crates.io-index`

Caused by:
  if a proxy or similar is necessary `net.git-fetch-with-cli` may help here
  https://doc.rust-lang.org/cargo/reference/config.html#netgit-fetch-with-cli
"""
NPM = """npm error request to https://registry.tern.invalid/x failed, reason: connect ECONNREFUSED
npm error If you are behind a proxy, see https://docs.tern.invalid/proxy
"""


@pytest.mark.parametrize(
    ("said", "hosts"),
    [
        (CARGO, "github.com"),
        (NPM, "registry.tern.invalid"),
        ("cannot clone\nhttps://only.tern.invalid/x", "only.tern.invalid"),
        ("fatal: unable to access 'https://seen.tern.invalid/x'", "seen.tern.invalid"),
    ],
)
def test_a_page_to_read_is_no_host_that_was_wanted(said: str, hosts: str) -> None:
    """Where a program sends its reader is not asked for, unless nothing else is named."""
    assert causes.question(said, "x", 1)["hosts"] == hosts


@pytest.mark.parametrize(
    ("sizes", "named"),
    [("0 0 0 - /proc", False), ("800 800 0 100% /boot", True), ("80000 100 79900 1% /boot", False)],
)
def test_what_has_no_size_is_not_full(tmp_path: Path, sizes: str, named: bool) -> None:
    """Of a place without blocks (/proc/pressure in a container) nothing is said; of a small one that is full it is."""
    df = tmp_path / "df"
    df.write_text(f"#!/bin/sh\ncase $1 in -Pk) echo h; echo d {sizes};; esac\n")
    df.chmod(0o755)
    script = files("skillrun.host").joinpath("causes.bash").read_text()
    env = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", f"{script}\nroom"], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert bool([cause for cause in causes.read(done.stdout) if cause.word == "blocks"]) is named
