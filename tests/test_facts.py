import json
import os
import platform
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillrun.host.facts import can_be_root, gather, here, split, start_files, understand
from skillrun.ports import Command, result_of
from tests.bash_target import BashTarget
from tests.lab import apart
from tests.own_root import in_own_root


@pytest.fixture
def target() -> Iterator[BashTarget]:
    """A bash of its own."""
    machine = BashTarget()
    yield machine
    machine.close()


def test_the_facts_of_this_machine_are_true(target: BashTarget) -> None:
    """What is said of user, kernel, architecture, PATH and shell is what the system itself says."""
    facts = gather(target)
    assert facts["user"]["uid"] == os.getuid()
    assert facts["user"]["root"] == (os.getuid() == 0)
    assert facts["arch"] == platform.machine()
    assert facts["os"]["kernel"] == platform.release()
    assert facts["path"] == os.environ["PATH"].split(":")
    assert json.loads(json.dumps(facts)) == facts


def test_gathering_leaves_the_shell_as_it_was(target: BashTarget) -> None:
    """Directory, variables, functions and file descriptors of the run's shell are untouched."""
    picture = "pwd; set | grep -vE '^(_|BASH_|LINENO|PIPESTATUS|FUNCNAME|RANDOM|SRANDOM|EPOCH)'; ls /proc/$$/fd"

    def state() -> str:
        return result_of(target.run(Command(picture))).output

    before = state()
    gather(target, versions=("bash",), hosts=("127.0.0.1:9",))
    assert state() == before


def test_versions_and_hosts_are_asked_only_on_demand(target: BashTarget) -> None:
    """Without names there are no versions and no network; with names they are the real ones."""
    plain = gather(target)
    assert "versions" not in plain
    assert "reachable" not in plain
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        named = gather(target, versions=("bash", "no-such-program"), hosts=(f"127.0.0.1:{port}", "127.0.0.1:1"))
        assert named["reachable"] == {f"127.0.0.1:{port}": True, "127.0.0.1:1": False}
        assert port in [row["port"] for row in named["ports"]]
    assert set(named["versions"]) == {"bash"}


def test_slow_programs_are_asked_at_the_same_time(tmp_path: Path) -> None:
    """Of six programs that take their time for their version, the last is asked before the first has answered."""
    for number in range(6):
        program = tmp_path / f"slow{number}"
        program.write_text(
            f"#!/bin/sh\necho start >> {tmp_path}/log\n"
            f"for _ in $(seq 600); do [ $(wc -l < {tmp_path}/log) -ge 6 ] && break; sleep 0.05; done\n"
            f"[ $(wc -l < {tmp_path}/log) -ge 6 ] && echo slow {number}.5\n"
        )
        program.chmod(0o755)
    machine = BashTarget(env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    try:
        facts = gather(machine, versions=[f"slow{number}" for number in range(6)])
    finally:
        machine.close()
    assert facts["versions"] == {f"slow{number}": f"{number}.5" for number in range(6)}


def test_a_proxy_password_is_no_fact(tmp_path: Path) -> None:
    """A proxy is named, the password in its address is not."""
    machine = BashTarget(env={**os.environ, "https_proxy": "http://me:hunter2@proxy.invalid:3128"})
    try:
        facts = gather(machine)
    finally:
        machine.close()
    assert facts["proxy"]["https_proxy"] == "http://***@proxy.invalid:3128"
    assert "hunter2" not in json.dumps(facts)


def test_a_name_cannot_smuggle_a_command(target: BashTarget, tmp_path: Path) -> None:
    """Names of programs and hosts come from a skill: anything but a plain name is dropped."""
    mark = tmp_path / "mark"
    gather(target, versions=(f"x$(touch {mark})", f"y;touch {mark}"), hosts=(f"h`touch {mark}`",))
    assert not mark.exists()


def test_what_cannot_be_read_is_absent() -> None:
    """Broken or missing probe output means a missing fact, never an error."""
    assert understand(split("==fact== user\nuid=abc\n==fact== mounts\nnonsense\n==fact== arch\nx86_64\n")) == {"arch": "x86_64"}
    assert understand({}) == {}
    assert not can_be_root({})


@pytest.mark.parametrize(
    ("shell", "present", "path_file"),
    [
        ("/bin/bash", [".profile", ".bashrc"], ".profile"),
        ("/bin/bash", [".bash_profile", ".profile", ".bashrc"], ".bash_profile"),
        ("/bin/bash", [".bash_login", ".profile"], ".bash_login"),
        ("/bin/bash", [".bashrc"], ".profile"),
        ("/bin/sh", [".bash_profile", ".profile"], ".profile"),
        ("/usr/bin/zsh", [".profile", ".zshrc"], ".zprofile"),
        ("/usr/bin/fish", [], ".config/fish/config.fish"),
    ],
)
def test_the_path_file_is_one_the_login_shell_reads(shell: str, present: list[str], path_file: str) -> None:
    """PATH goes into the file this very user's login shell reads, not into the usual one."""
    assert start_files(shell, "/home/u", present)["path_file"] == f"/home/u/{path_file}"


def test_bash_agrees_on_what_it_reads(tmp_path: Path) -> None:
    """For every set of start-up files a real login bash reads exactly the files that are named."""
    names = [".bash_profile", ".bash_login", ".profile", ".bashrc"]
    for bits in range(16):
        home = tmp_path / str(bits)
        home.mkdir()
        present = [name for index, name in enumerate(names) if bits >> index & 1]
        for name in present:
            (home / name).write_text(f"echo READ {name}\n")
        machine = BashTarget(env={**os.environ, "HOME": str(home)})
        try:
            output = result_of(machine.run(Command("true", login=True))).output
        finally:
            machine.close()
        read = [line.split()[1] for line in output.splitlines() if line.startswith("READ")]
        assert start_files("/bin/bash", str(home), present)["login_files"] == [f"{home}/{name}" for name in read]


def test_looking_writes_nothing(tmp_path: Path) -> None:
    """A link of rustup that was never set up is not asked, as it would write its settings; npm's package tells its version."""
    programs, package = tmp_path / "bin", tmp_path / "lib/npm"
    for folder in (programs, package / "bin", tmp_path / "home"):
        folder.mkdir(parents=True)
    (programs / "rustup").write_text(
        '#!/bin/sh\nmkdir -p "$HOME/.rustup"; echo cargo 1.2.3; : > "$HOME/.rustup/settings.toml"\n'
    )
    (package / "bin/npm-cli.js").write_text('#!/bin/sh\ntouch "$HOME/was-started"; echo 9.9.9\n')
    (package / "package.json").write_text('{\n  "name": "npm",\n  "version": "11.2.3"\n}\n')
    for program in (programs / "rustup", package / "bin/npm-cli.js"):
        program.chmod(0o755)
    os.link(programs / "rustup", programs / "cargo")
    (programs / "npm").symlink_to(package / "bin/npm-cli.js")
    env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path / "home")}
    machine = BashTarget(env={name: value for name, value in env.items() if name != "RUSTUP_HOME"})
    try:
        assert gather(machine, versions=("cargo", "npm"))["versions"] == {"npm": "11.2.3"}
        assert list((tmp_path / "home").iterdir()) == []
        (tmp_path / "home/.rustup").mkdir()
        (tmp_path / "home/.rustup/settings.toml").touch()
        assert gather(machine, versions=("cargo",))["versions"] == {"cargo": "1.2.3"}
    finally:
        machine.close()


def test_a_quick_look_says_the_same_and_less() -> None:
    """What is told at once is what is told in the end, without what programs have to be asked for."""
    quick, whole = here(quick=True), here()
    same = ("os", "arch", "user", "path", "tools")
    assert {name: quick[name] for name in same} == {name: whole[name] for name in same}
    assert not {"sudo", "ports", "services", "terminal", "npm", "versions"} & set(quick)


def test_what_nobody_will_ask_for_is_left_out_and_nothing_else() -> None:
    """Each fact is a program or more started: those that are not wanted are not found out, the others are the same."""
    whole, less = here(), here(without=["services", "python", "no-fact", "npm; touch /"])
    assert set(whole) - set(less) == {"services", "python"} & set(whole)
    assert less["packages"] == whole["packages"]
    assert less["tools"] == whole["tools"]


def test_the_command_prints_one_object() -> None:
    """`skillrun facts --json` is one object of the envelope, with the versions that were asked for."""
    done = subprocess.run(
        [sys.executable, "-m", "skillrun", "facts", "--json", "--version-of", "bash"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["schema"] == 1
    assert told["facts"]["user"]["uid"] == os.getuid()
    assert told["facts"]["versions"]["bash"]


def test_a_proxy_is_told_with_whether_it_answers(tmp_path: Path) -> None:
    """Somebody listening where the variable points, or nobody; without a proxy there is nothing to tell."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = f"http://me:pw@127.0.0.1:{server.getsockname()[1]}"
        assert _at_home(tmp_path, {}, https_proxy=there)["proxy_check"]["answers"] is True
        assert "pw" not in json.dumps(_at_home(tmp_path, {}, https_proxy=there))
    assert _at_home(tmp_path, {}, http_proxy="http://127.0.0.1:1/")["proxy_check"]["answers"] is False
    assert "proxy_check" not in _at_home(tmp_path, {})


NAMED = 'if [ -d "$HOME/.local/bin" ]; then PATH="$HOME/.local/bin:$PATH"; fi'
ALWAYS = 'export PATH="$HOME/.local/bin:$PATH"'


@pytest.mark.parametrize(
    ("files", "there", "login", "interactive"),
    [
        ({".bash_profile": ALWAYS}, True, "yes", None),
        ({".bash_profile": f"{ALWAYS}\nPATH=/usr/bin:/bin"}, True, "no", None),
        ({".profile": NAMED}, False, "once it exists", None),
        ({".bash_profile": "true", ".profile": NAMED}, False, "no", None),
        ({".bash_profile": ". ~/.profile", ".profile": NAMED}, False, "once it exists", None),
        ({".profile": ALWAYS, ".bashrc": "case $- in *i*) ;; *) return ;; esac"}, True, "yes", "no"),
        ({".profile": "", ".bashrc": f"case $- in *i*) ;; *) return ;; esac\n{ALWAYS}"}, True, "no", "yes"),
        ({".bashrc": NAMED}, False, "no", "once it exists"),
        ({}, True, "no", None),
    ],
)
def test_local_bin_is_asked_of_the_shells_themselves(
    tmp_path: Path, files: dict[str, str], there: bool, login: str, interactive: str | None
) -> None:
    """Whether ~/.local/bin is found in a new terminal is what the shell says; a file it does not read does not count."""
    if not _account_has_bash():
        pytest.skip("the account's shell is not bash")
    (tmp_path / ".local/bin" if there else tmp_path).mkdir(parents=True, exist_ok=True)
    facts = _at_home(tmp_path, files)
    told = facts["terminal"]
    assert told["login"]["local_bin"] == login
    assert told.get("interactive", {}).get("local_bin") == interactive
    assert not (tmp_path / ".bash_history").exists()


@pytest.mark.parametrize("line", ["set -e; false", "exit 1", "exec /bin/no-such-shell -l"])
def test_a_shell_that_does_not_come_up_is_told(tmp_path: Path, line: str) -> None:
    """A start-up file that ends the login shell is told of that shell alone; the interactive one reads another file."""
    if not _account_has_bash():
        pytest.skip("the account's shell is not bash")
    told = _at_home(tmp_path, {".bash_profile": line, ".bashrc": "true"})["terminal"]
    assert told["login"] == {"comes_up": False}
    assert told["interactive"]["path"]
    assert "comes_up" not in _at_home(tmp_path, {".bash_profile": "false"})["terminal"]["login"]


def test_variables_of_start_up_files_are_told(tmp_path: Path) -> None:
    """What changes tools in a new terminal and is not here: named with its value, passwords and tokens left out."""
    if not _account_has_bash():
        pytest.skip("the account's shell is not bash")
    files = {
        ".profile": "echo hello; export PYTHONPATH=/opt/old PYTHONUTF8=0 "
        "PIP_INDEX_URL=http://me:hunter2@pypi.invalid/simple EDITOR=vi LC_ALL=xx_YY.UTF-8",
        ".bashrc": "export PYTHONPATH=/opt/old NODE_OPTIONS=--no-warnings NPM_CONFIG__AUTH=hunter2",
    }
    told = _at_home(tmp_path, files)["terminal"]
    assert told["login"]["variables"] == {
        "PYTHONPATH": "/opt/old",
        "PYTHONUTF8": "0",
        "PIP_INDEX_URL": "http://***@pypi.invalid/simple",
        "LC_ALL": "xx_YY.UTF-8",
    }
    assert told["interactive"]["variables"] == {"NODE_OPTIONS": "--no-warnings", "NPM_CONFIG__AUTH": "***"}
    (tmp_path / ".profile").write_text(". ~/.bashrc\n")
    assert "variables" not in _at_home(tmp_path, {})["terminal"]["interactive"], "a login shell has them too"


def test_settings_of_npm_and_pip_are_read_from_their_files(tmp_path: Path) -> None:
    """npm's prefix, whether it can be written, its registry; what pip's settings change. No program is started for it."""
    programs = tmp_path / "node/bin"
    for folder in (programs, tmp_path / "node/lib/node_modules/npm/bin", tmp_path / ".config/pip"):
        folder.mkdir(parents=True)
    (tmp_path / "node/lib/node_modules/npm/bin/npm-cli.js").touch(0o755)
    (programs / "npm").symlink_to("../lib/node_modules/npm/bin/npm-cli.js")
    (programs / "node").touch(0o755)
    (tmp_path / ".config/pip/pip.conf").write_text("[global]\nindex-url = https://me:pw@pypi.invalid/simple\ntimeout = 9\n")
    path = f"{programs}:{os.environ['PATH']}"
    facts = _at_home(tmp_path, {}, PATH=path)
    assert facts["npm"] == {"prefix": str(tmp_path / "node"), "writable": True}
    assert facts["pip"]["index-url"] == "https://***@pypi.invalid/simple"
    assert "timeout" not in facts["pip"]
    (tmp_path / ".npmrc").write_text("prefix = ${HOME}/.npm-global\nregistry=http://127.0.0.1:9/\n")
    facts = _at_home(tmp_path, {}, PATH=path)
    assert facts["npm"] == {"prefix": f"{tmp_path}/.npm-global", "writable": True, "registry": "http://127.0.0.1:9/"}
    (tmp_path / ".npmrc").write_text("prefix=/etc/passwd/below-a-file\n")
    assert _at_home(tmp_path, {}, PATH=path)["npm"]["writable"] is False


def test_npm_behind_a_script_is_asked_where_it_looks_from(tmp_path: Path) -> None:
    """A script in node's place starts another node, and npm's prefix is that one's; node itself is not started for it."""
    programs, real = tmp_path / "bin", tmp_path / "lib/wheel/bin"
    for folder in (programs, real):
        folder.mkdir(parents=True)
    (programs / "npm").touch(0o755)
    (programs / "node").write_text(f'#!/bin/sh\n[ "$1" = -p ] && echo {real}/node\n')
    (programs / "node").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    assert _at_home(tmp_path, {}, PATH=path)["npm"]["prefix"] == str(tmp_path / "lib/wheel")
    (programs / "node").write_bytes(b"\x7fELF\0")
    assert _at_home(tmp_path, {}, PATH=path)["npm"]["prefix"] == str(tmp_path)


@pytest.mark.root
def test_a_machine_without_a_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices of its own, none but loopback: no download is tried to find that out."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def alone() -> None:
        assert here()["lookup"] == "there is no way out of this machine (no default route)"

    assert apart(alone, network=True) == 0


def test_what_is_in_the_way_of_a_program_that_is_wanted_is_told(tmp_path: Path) -> None:
    """A directory or a dead link with its name, where programs go; a program that is there, and a name of nothing, are not."""
    places = tmp_path / ".local/bin", tmp_path / "bin"
    for place in places:
        place.mkdir(parents=True)
    (places[0] / "quill").mkdir()
    (places[1] / "quill").symlink_to("/mnt/gone/quill")
    (places[0] / "ls").mkdir()
    machine = BashTarget(env={**os.environ, "HOME": str(tmp_path)})
    try:
        told = gather(machine, wanted=("quill", "ls", "wren"))["in_the_way"]
    finally:
        machine.close()
    assert told == {
        f"{places[0]}/quill": "a directory",
        f"{places[1]}/quill": "a link to /mnt/gone/quill, which is not there",
    }


@pytest.mark.root
@pytest.mark.overlay
@pytest.mark.parametrize(
    ("spoil", "fact", "told"),
    [
        (
            "ln -sf /run/gone/stub.conf /etc/resolv.conf",
            "lookup",
            "/etc/resolv.conf is a link to /run/gone/stub.conf, which is not there",
        ),
        ("rm -f /etc/resolv.conf; echo 'search example.org' > /etc/resolv.conf", "lookup", "/etc/resolv.conf names no server"),
        ("rm -f /etc/resolv.conf; echo 'nameserver 192.0.2.1' > /etc/resolv.conf", "lookup", None),
        (": > /etc/ssl/certs/ca-certificates.crt", "bundle", "/etc/ssl/certs/ca-certificates.crt is empty"),
        ("rm -f /etc/ssl/certs/ca-certificates.crt", "bundle", "/etc/ssl/certs/ca-certificates.crt is not there"),
        ("true", "bundle", None),
    ],
)
def test_what_keeps_every_download_away_is_told_before_one_is_tried(
    spoil: str, fact: str, told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server to look up names, a list of authorities that holds none: told where files show it, else nothing."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def inside() -> None:
        subprocess.run(["sh", "-c", spoil], check=True)
        assert here().get(fact) == told

    in_own_root(tmp_path, inside)


def _steers(name: str) -> bool:
    return name.startswith(("PIP_", "npm_", "NPM_", "PYTHONPATH")) or name.lower().endswith("_proxy")


def _account_has_bash() -> bool:
    return pwd.getpwuid(os.getuid()).pw_shell.endswith("/bash")


def _at_home(home: Path, files: dict[str, str], **env: str) -> dict[str, Any]:
    """The facts of an account with this home and these start-up files."""
    for name, text in files.items():
        (home / name).write_text(f"{text}\n")
    kept = {name: value for name, value in os.environ.items() if not _steers(name)}
    machine = BashTarget(env={**kept, "HOME": str(home), **env})
    try:
        return gather(machine)
    finally:
        machine.close()


def test_package_lists_say_how_old_they_are_and_where_from() -> None:
    """Age in whole days, hosts of the sources; a list that is empty has no age."""
    lines = ["lists=present", "lists_age_days=12", "sources=packages.example.org", "sources=download.example.org", "held=jq"]
    facts = understand({"packages": lines, "python": ["externally_managed=yes", "pip=no", "venv=yes"]})
    assert facts["packages"] == {
        "lists": "present",
        "lists_age_days": 12,
        "sources": ["packages.example.org", "download.example.org"],
        "held": ["jq"],
    }
    assert facts["python"] == {"externally_managed": True, "pip": False, "venv": True}


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="no dpkg here")
def test_a_hold_on_what_is_not_there_yet_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`apt-mark hold` of a package that was never installed counts as much as that of any other."""
    rows = [("jq", "install ok installed"), ("ncdu", "hold ok not-installed"), ("fd", "unknown ok not-installed")]
    text = "".join(f"Package: {name}\nStatus: {state}\nVersion: 1\nArchitecture: all\n\n" for name, state in rows)
    (tmp_path / "status").write_text(text)
    (tmp_path / "available").touch()
    monkeypatch.setenv("DPKG_ADMINDIR", str(tmp_path))
    assert here()["packages"]["held"] == ["ncdu"]
