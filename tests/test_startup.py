"""What starting costs: which third-party modules each quick verb imports, pinned."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROBE = """
import json, sys
before = set(sys.modules)
from skillrun.cli import main
code = main(sys.argv[1:])
new = {name.split(".")[0] for name in set(sys.modules) - before}
print("\\n@@" + json.dumps([code, sorted(new)]))
"""
STANDARD = set(sys.stdlib_module_names) | {"skillrun"}
ALLOWED = {
    ("--version",): set(),
    ("--help",): {"click"},
    ("list",): set(),
    ("show", "ripgrep", "--raw"): set(),
    ("show", "ripgrep"): {"click", "yaml", "_yaml", "platformdirs", "markdown_it", "mdurl"},
    ("show", "ripgrep", "--json"): {"click", "yaml", "_yaml", "platformdirs", "markdown_it", "mdurl"},
    ("explain", "ls"): {"click", "platformdirs"},
    ("runs",): {"click", "platformdirs"},
}


@pytest.mark.parametrize("arguments", ALLOWED, ids=" ".join)
def test_quick_verbs_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    """Only the third-party modules a verb needs are imported, so that it starts at once."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )  # fmt: skip
    code, new = json.loads(done.stdout.rpartition("@@")[2])
    assert code == 0
    third_party = {name for name in new if name not in STANDARD and not name.startswith(("_sysconfigdata", "_cython"))}
    assert third_party - {"cython_runtime"} <= ALLOWED[arguments]


def wheel(folder: Path) -> Path:
    """The wheel of this tree, built with the build backend that is installed here."""
    code = "import sys, hatchling.build as b; print(b.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )  # fmt: skip
    return folder / done.stdout.split()[-1]


def test_an_installed_wheel_finds_its_bundled_skills(tmp_path: Path) -> None:
    """Built, installed into an empty environment and run elsewhere, `skillrun list` shows every bundled skill, all readable."""
    built = wheel(tmp_path)
    environment = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=120)
    python = environment / "bin" / "python"
    site = environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", "-q", str(built)]
    subprocess.run(pip, check=True, timeout=120, capture_output=True)
    # The dependencies are not downloaded again: they are taken from where they are already installed.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    (tmp_path / "home").mkdir()
    done = subprocess.run(
        [environment / "bin" / "skillrun", "list", "--json"], cwd=tmp_path / "home", capture_output=True, text=True, timeout=60,
        env={"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}, check=True,
    )  # fmt: skip
    skills = json.loads(done.stdout)["skills"]
    assert {skill["name"] for skill in skills} == {path.name for path in (ROOT / "skills").iterdir() if path.is_dir()}
    assert all(str(site) in skill["path"] and skill["description"] and skill["digest"] for skill in skills)
