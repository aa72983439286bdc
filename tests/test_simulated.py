import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillrun.events import State
from skillrun.policy.judge import Judge
from skillrun.ports import Command, Place, result_of
from skillrun.targets.local import LocalTarget
from skillrun.targets.simulated import SimulatedTarget, clear_dead, rehearsal

CASES = tomllib.loads((Path(__file__).parent / "cases/simulated/commands.toml").read_text())["case"]

APT = "-s -o Dir::Log={scratch} -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache="
DNF = "--setopt=cachedir={scratch} --setopt=logdir={scratch} --setopt=persistdir={scratch}"
"""What keeps a rehearsal from writing caches and logs."""


def manifest(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: its mode and content."""
    return {str(path): (path.stat().st_mode, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with one file, which must stay as it is."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "kept").write_text("as it was\n")
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Iterator[SimulatedTarget]:
    """A simulated dry run in front of this machine."""
    (tmp_path / "outputs").mkdir()
    home = os.path.expanduser("~")
    simulated = SimulatedTarget(LocalTarget(tmp_path / "outputs"), Judge(), Place(os.getcwd(), home, "tester"))
    yield simulated
    simulated.close()


def test_what_a_killed_run_left_is_cleared_and_a_live_one_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rehearsal's directory goes with the next one's start, unless its run lives, or has only just made it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, new, elsewhere = (tmp_path / f"skillrun-rehearsal-{name}" for name in ("dead", "new", "link"))
    for folder in (dead / "cache", new, tmp_path / "precious"):
        folder.mkdir(parents=True)
    elsewhere.symlink_to(tmp_path / "precious")
    os.utime(dead, (0, 0))
    live = SimulatedTarget(LocalTarget(tmp_path), Judge(), Place("/", "/", "tester"))
    scratch = next(path for path in tmp_path.glob("skillrun-rehearsal-*") if path not in (new, elsewhere))
    os.utime(scratch, (0, 0))
    clear_dead(tmp_path)
    assert (dead.exists(), new.exists(), scratch.exists(), (tmp_path / "precious").exists()) == (False, True, True, True)
    live.close()
    assert not scratch.exists()


@pytest.mark.parametrize("case", CASES, ids=[case["command"] for case in CASES])
def test_only_what_is_harmless_runs(case: dict[str, Any], target: SimulatedTarget, here: Path) -> None:
    """Each command is run, rehearsed or listed as the case says, and the directory is byte for byte what it was."""
    if shutil.which(case.get("needs", "sh")) is None:
        pytest.skip(f"{case['needs']} is not on this machine")
    before = manifest(here)
    result = result_of(target.run(Command(case["command"].format(dir=here))))
    assert result.fidelity == case["fidelity"], result
    assert case.get("says", "").format(dir=here) in result.output
    assert case.get("ran", "") in result.note
    if "exit_code" in case:
        assert result.exit_code == case["exit_code"]
    assert manifest(here) == before


def test_a_check_that_did_not_run_has_not_passed(target: SimulatedTarget) -> None:
    """A check is never taken for passed because it was listed; one that only reads is really run."""
    listed = result_of(target.run(Command("my-own-tool --self-test", login=True)))
    assert listed.state is State.ERROR
    assert not listed.ok
    assert "not tried" in listed.output
    assert result_of(target.run(Command("test -d /", login=True))).ok


def test_a_rehearsal_that_really_fails_fails(target: SimulatedTarget, here: Path) -> None:
    """As long as nothing before it was left out, a failure is a failure; afterwards it may be a consequence."""
    result = result_of(target.run(Command(f"cat {here}/absent")))
    assert (result.exit_code, result.note) == (1, "")
    result_of(target.run(Command(f"mkdir {here}/absent")))
    result = result_of(target.run(Command(f"cat {here}/absent")))
    assert result.exit_code == 1
    assert "only listed" in result.note


def test_files_are_remembered_and_not_written(target: SimulatedTarget, here: Path) -> None:
    """What was written can be read again in the same dry run; on disk nothing changed."""
    target.put(str(here / "kept"), b"new", 0o600)
    assert target.get(str(here / "kept")) == b"new"
    assert target.get(str(here / "kept"), 1) == b"n"
    assert (here / "kept").read_text() == "as it was\n"


def test_the_shell_keeps_its_directory(target: SimulatedTarget, here: Path) -> None:
    """Harmless parts really happen in the one shell, so relative paths mean what they would."""
    result_of(target.run(Command(f"cd {here}")))
    assert result_of(target.run(Command("cat kept"))).output.strip() == "as it was"
    assert result_of(target.run(Command("rm kept"))).fidelity == "would-run"
    assert (here / "kept").exists()


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        (
            "dnf install -y jq",
            f"dnf --assumeno {DNF} install jq",
        ),
        ("zypper -n in jq", "zypper --cache-dir={scratch} -n in --dry-run jq"),
        ("pacman -S --noconfirm jq", "pacman -S jq --print"),
        ("pacman -Syu --noconfirm jq", "pacman -Su jq --print"),
        ("opkg install jq", "opkg --noaction install jq"),
        ("apk add jq", "apk add jq --simulate"),
        ("brew install jq", "brew install jq --dry-run"),
        ("pip install httpie", "pip install httpie --dry-run --no-cache-dir --only-binary :all:"),
        ("python3 -m pip install httpie", "python3 -m pip install httpie --dry-run --no-cache-dir --only-binary :all:"),
        ("npm install -g cowsay", "npm install -g cowsay --dry-run --ignore-scripts --cache {scratch}"),
        ("uv pip install httpie", "uv pip install httpie --dry-run --no-build --no-cache"),
        (
            "sudo -E DEBIAN_FRONTEND=x apt-get -y install jq",
            f"apt-get {APT} -y install jq",
        ),
        ("apt-get update", None),
        ("pip uninstall httpie", None),
        ("sudo -u other apt-get install jq", None),
        ("make install", None),
        ("", None),
    ],
)
def test_each_manager_is_asked_in_its_own_way(words: str, changed: str | None) -> None:
    """The command becomes the manager's own rehearsal, or nothing when it has none for it."""
    found = rehearsal(words.split())
    assert (" ".join(found[1]) if found else None) == changed
