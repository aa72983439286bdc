import json
import os
import subprocess
import sys
from pathlib import Path


def skillrun(*args: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    return subprocess.run([sys.executable, "-m", "skillrun", *args], capture_output=True, text=True, timeout=60)


def test_version_is_printed() -> None:
    """`--version` answers with the name and the version."""
    done = skillrun("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("skillrun 0.")


def test_unknown_verb_is_usage() -> None:
    """An unknown verb is a usage error: exit code 2, two lines, no traceback."""
    done = skillrun("instal")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "->" in done.stderr


def test_old_runs_give_up_their_way_back(tmp_path: Path) -> None:
    """`runs --prune DAYS` keeps the journals, drops what undo needs, and leaves younger runs alone."""
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    for name in ("20200101-000000-old-aaaa", "29990101-000000-new-bbbb"):
        changes = tmp_path / "skillrun" / "runs" / name / "changes"
        changes.mkdir(parents=True)
        (changes / "before.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "skillrun", "runs", "--prune", "30", "--json"],
        capture_output=True,
        text=True,
        env=env,
        timeout=60,
    )
    assert json.loads(done.stdout)["pruned"] == ["20200101-000000-old-aaaa"]
    left = sorted(path.parts[-3] for path in tmp_path.rglob("before.json"))
    assert left == ["29990101-000000-new-bbbb"]
