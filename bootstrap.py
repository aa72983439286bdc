#!/usr/bin/env python3
"""Set up skillrun in `.venv` beside this file and run it: needs Python 3.11 or newer, and nothing else.

    python3 bootstrap.py install ripgrep     set up, then `skillrun install ripgrep`
    python3 bootstrap.py --test              set up with everything the tests use, then run all checks

Standard library only. Nothing outside this directory is changed, except that `--test` as root on a
Debian machine installs the programs that the tests drive (listed in tests/tools.txt).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
PYTHON = VENV / "bin" / "python"


def stop(message: str, hint: str) -> None:
    """End with what is wrong and what to do next."""
    sys.exit(f"bootstrap: {message}\n  -> {hint}")


def run(*words: object, quiet: bool = False) -> None:
    """Run a command, and stop with its own output when it fails."""
    done = subprocess.run([str(word) for word in words], capture_output=quiet, text=True, cwd=HERE)
    if done.returncode:
        print((done.stdout or "") + (done.stderr or ""), file=sys.stderr)
        stop(f"`{' '.join(map(str, words))}` failed", "mend what it says, then run this again")


def make_environment(extra: str) -> None:
    """A virtual environment with the project in it. Made anew when the dependencies, the place or the Python changed."""
    if sys.version_info < (3, 11):  # noqa: UP036  an older one runs this file before anything can tell it not to
        stop(f"this is Python {sys.version.split()[0]}", "use Python 3.11 or newer")
    stamp = VENV / f"installed{extra}"
    wanted = os.fsencode(f"{HERE} {sys.version}\n") + (HERE / "pyproject.toml").read_bytes()
    if stamp.exists() and stamp.read_bytes() == wanted:
        return
    if not can_make_environments():
        stop("this Python cannot make virtual environments", "on Debian and Ubuntu: sudo apt-get install -y python3-venv")
    print("setting up .venv ...", file=sys.stderr)
    run(sys.executable, "-m", "venv", "--clear", VENV, quiet=True)
    quietly = ("--quiet", "--disable-pip-version-check", "--no-compile")
    run(PYTHON, "-m", "pip", "install", *quietly, "-e", f"{HERE}{extra}", quiet=True)
    # pip would take one file after another, and leave those of an editable install; what is no Python 3 stays as it is
    compiled = [PYTHON, "-m", "compileall", "-qq", "-j", "0", HERE / "skillrun", VENV / "lib"]
    subprocess.run(compiled, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for file in VENV.glob("lib/python*/site-packages/*.pth"):
        start_in_any_locale(file)
    stamp.write_bytes(wanted)


def start_in_any_locale(file: Path) -> None:
    """Name this directory in ASCII: Python reads the file in the locale's encoding, and would not start in `C`."""
    data = file.read_bytes()
    if data.strip() == os.fsencode(HERE) and not data.isascii():
        file.write_text(f"import os, sys; sys.path.append(os.fsdecode({data.strip()!r}))\n")


def can_make_environments() -> bool:
    """Debian's Python comes without what makes virtual environments."""
    return importlib.util.find_spec("ensurepip") is not None


def install_tools() -> None:
    """The programs the tests drive, where this user may install them; elsewhere those tests say why they skip."""
    lines = (HERE / "tests" / "tools.txt").read_text().splitlines()
    pairs = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    missing = [package for package, program in pairs if shutil.which(program) is None]
    missing += [] if can_make_environments() else ["python3-venv"]
    if not missing or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    print(f"installing {' '.join(missing)} ...", file=sys.stderr)
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    run("apt-get", "update", "-q", quiet=True)
    run("apt-get", "install", "-q", "-y", "--no-install-recommends", *missing, quiet=True)


def check(arguments: list[str]) -> int:
    """All checks; the exit code. What takes long and waits for nothing goes on beside the tests."""
    for step in (("ruff", "check", "."), ("ruff", "format", "--check", ".")):
        run(PYTHON, "-m", *step)
    with tempfile.TemporaryFile("w+") as said:
        types = subprocess.Popen([PYTHON, "-m", "mypy"], cwd=HERE, stdout=said, stderr=subprocess.STDOUT)
        workers = str(min(5 * (os.cpu_count() or 1) // 2, 8))  # many tests wait for a program, a clock or a signal
        chosen = [PYTHON, "-m", "pytest", "-m", "not slow", *arguments]
        # every worker reads all tests: from what is compiled in half the time, also where Python is told to keep nothing
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        subprocess.run([*chosen, "--collect-only", "-q"], cwd=HERE, env=kept, stdout=subprocess.DEVNULL)
        failed = subprocess.run([*chosen, "-n", workers, "--dist", "worksteal"], cwd=HERE).returncode
        wrong = types.wait()
        said.seek(0)
        print(f"types: {said.read().rstrip()}", file=sys.stderr)
    return failed or wrong


def main() -> None:
    """Set up, then become skillrun or run the tests."""
    if sys.argv[1:2] == ["--test"]:
        install_tools()
        make_environment("[dev,browser]")
        sys.exit(check(sys.argv[2:]))
    make_environment("")
    os.execv(PYTHON, [str(PYTHON), "-m", "skillrun", *sys.argv[1:]])


if __name__ == "__main__":
    main()
