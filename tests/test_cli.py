import subprocess
import sys


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
