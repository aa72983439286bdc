"""Attacks on skillrun's own files: rules and settings that somebody else may write, and commands that would change them."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

import skillrun
from skillrun.events import Verdict
from skillrun.host.config import ConfigError, load_config
from skillrun.host.ownership import not_ours
from skillrun.plans.file import read_plan, to_toml
from skillrun.plans.plan import Plan, Step
from skillrun.plans.store import EDITED, examined, keep
from skillrun.policy.judge import Judge
from skillrun.policy.rulebook import load_rules
from skillrun.policy.rules import BadRule
from skillrun.ports import Place
from skillrun.record.own_places import own_places
from skillrun.record.seal import is_sealed, seal
from tests.dev_machine import as_dev, python

RULE = """
[[rule]]
name = "anything goes"
verdict = "allow"
effects = ["delete"]
"""


@pytest.mark.parametrize("mode", [0o666, 0o622, 0o602])
def test_a_file_others_may_write_is_not_obeyed(mode: int, tmp_path: Path) -> None:
    """Rules and settings both say which file, and what to do."""
    for name in ("rules.toml", "config.toml"):
        (tmp_path / name).write_text(RULE if name == "rules.toml" else "")
        (tmp_path / name).chmod(mode)
    with pytest.raises(BadRule, match="every user: chmod o-w"):
        load_rules(tmp_path / "rules.toml", tmp_path)
    with pytest.raises(ConfigError, match="every user: chmod o-w"):
        load_config(tmp_path / "config.toml")


def test_nor_one_in_a_directory_others_may_write(tmp_path: Path) -> None:
    """Whoever may write the directory may put another file there; a sticky one like /tmp keeps them from that."""
    (tmp_path / "rules.toml").write_text(RULE)
    tmp_path.chmod(0o777)
    with pytest.raises(BadRule, match="every user"):
        load_rules(tmp_path / "rules.toml", tmp_path)
    tmp_path.chmod(0o1777)
    load_rules(tmp_path / "rules.toml", tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
def test_nor_one_of_another_user(tmp_path: Path) -> None:
    """Root does not follow the rules of a user, nor one user those of another."""
    rules = tmp_path / "rules.toml"
    rules.write_text(RULE)
    os.chown(rules, 4242, 4242)
    with pytest.raises(BadRule, match="belongs to user 4242, and you are root"):
        load_rules(rules, tmp_path)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or not python(), reason="needs root and a Python for ordinary users")
def test_an_ordinary_user_is_asked_the_same() -> None:
    """The own file in the own group is obeyed, another user's and one for a shared group are not."""
    done = as_dev(
        """
import os, pathlib
from skillrun.host.ownership import not_ours
home = pathlib.Path.home(); file = home / "f"
file.write_text(""); file.chmod(0o664); home.chmod(0o775)
print("own:", not_ours(file))
print("root's:", not_ours(pathlib.Path("/etc/passwd")))
"""
    )
    assert "own: \n" in done.stdout, done.stderr
    assert "root's: \n" in done.stdout


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("XDG_CONFIG_HOME", "skillrun/rules.toml"),
        ("XDG_CONFIG_HOME", "skillrun/config.toml"),
        ("XDG_STATE_HOME", "skillrun/plans/x.toml"),
        ("XDG_DATA_HOME", "skillrun/skills/skillrun.lock"),
    ],
)
def test_the_floor_holds_wherever_the_files_lie(
    variable: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No command may write, remove or replace them where the environment has moved them, in any mode."""
    monkeypatch.delenv("SKILLRUN_SKILLS", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    place = Place(str(tmp_path), "/home/me", "me", protected=own_places())
    target = f"{tmp_path}/elsewhere/{path}"
    for command in (
        f"echo x >{target}",
        f"rm {target}",
        f"cp /tmp/evil {target}",
        f"tee {target} </tmp/evil",
        f"sed -i s/ask/allow/ {target}",
        f"cd {os.path.dirname(target)} && mv /tmp/evil {os.path.basename(target)}",
        f"chmod 666 elsewhere/{path}",
        f"ln -sf /tmp/evil {target}",
        f"strange-tool --out={target}",
        f"cp /tmp/evil $'{os.path.dirname(target)}/a\\nb'",
    ):
        decision = Judge().command(command, place).decision
        assert (decision.verdict, decision.rule) == (Verdict.DENY, "floor:protection"), command
    assert Judge().command(f"cat {tmp_path}/elsewhere/else", place).decision.verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    "command",
    [
        "echo x >> {code}/ports.py",
        "cp /tmp/evil {code}/cli/__init__.py",
        "sed -i s/ask/allow/ ~/.local/lib/python3.13/site-packages/skillrun/policy/modes.py",
        "rm -rf ~/.local/share/pipx/venvs/skillrun/lib/python3.13/site-packages/skillrun",
    ],
)
def test_nor_does_one_change_skillruns_own_code(command: str) -> None:
    """What judges, and what sudo is asked to run as root, is no file a command may write."""
    code = Path(skillrun.__file__).parent
    place = Place("/home/me", "/home/me", "me", protected=own_places())
    decision = Judge().command(command.format(code=shlex.quote(str(code))), place).decision
    assert (decision.verdict, decision.rule) == (Verdict.DENY, "floor:protection"), decision


def test_a_named_settings_file_is_protected_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SKILLRUN_CONFIG protects the file it names and the rules beside it, not the whole directory around them."""
    monkeypatch.setenv("SKILLRUN_CONFIG", str(tmp_path / "my.toml"))
    place = Place(str(tmp_path), "/home/me", "me", protected=own_places())
    for name, verdict in (("my.toml", Verdict.DENY), ("rules.toml", Verdict.DENY), ("other", Verdict.ASK)):
        assert Judge().command(f"echo >{tmp_path}/{name}", place).decision.verdict is verdict


def test_the_check_can_pass(tmp_path: Path) -> None:
    """A usual file is this user's alone."""
    (tmp_path / "f").write_text("")
    assert not_ours(tmp_path / "f") == ""


# --- plans -----------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A plan in the store of a user, and the skill's identity."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    plan = Plan("demo", "sha256:ab", (), (Step(run="mkdir -p ~/x"),), ("test -d ~/x",))
    return keep(plan), plan.digest


def test_a_plan_somebody_wrote_into_the_store_is_not_believed(kept: tuple[Path, str]) -> None:
    """Anybody can make a fingerprint, and nobody else this installation's mark: edited or brought along, it is not used."""
    file, identity = kept
    assert examined(file, identity, {}, {}).reason == ""
    edited = replace(read_plan(file)[0], steps=(Step(run="mkdir -p ~/evil"),))
    file.write_text(to_toml(edited))  # with a fingerprint that fits
    assert examined(file, identity, {}, {}).reason == EDITED
    mark = file.with_suffix(".seal")
    mark.write_text("0" * 64)
    assert examined(file, identity, {}, {}).reason == EDITED
    mark.unlink()
    assert examined(file, identity, {}, {}).reason == EDITED
    keep(edited)
    assert examined(file, identity, {}, {}).reason == ""


def test_the_key_is_the_users_alone_and_made_once(kept: tuple[Path, str], tmp_path: Path) -> None:
    """Closed to others, the same for every mark, and a damaged one is an error that says what to do."""
    key = tmp_path / "state/skillrun/seal.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert is_sealed("text", seal("text"))
    assert not is_sealed("other", seal("text"))
    key.write_bytes(b"short")
    with pytest.raises(OSError, match="damaged"):
        seal("text")
