"""The house's own rules, as tests: imports point down, heavy libraries stay in their rooms, names mean something."""

import ast
import contextlib
import io
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
ROOT = PROJECT / "skillrun"
FORBIDDEN = {"util", "utils", "helper", "helpers", "common", "manager", "misc"}
MOST_MODULES = 16
"""In one folder; more than that nobody has in view."""


def test_the_contracts_of_the_house_are_kept() -> None:
    """Rooms, floors, fences and circles as pyproject.toml draws them; imports inside functions count (import-linter)."""
    lint = pytest.importorskip("importlinter.cli", reason="`python3 bootstrap.py --test` installs import-linter")
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        code = lint.lint_imports(config_filename=str(PROJECT / "pyproject.toml"), no_cache=True)
    assert code == 0, told.getvalue()


def test_names_mean_something() -> None:
    """No module is called after nothing in particular."""
    assert not [path for path in ROOT.rglob("*") if path.stem in FORBIDDEN]


def test_no_folder_is_a_heap() -> None:
    """What lies in one folder can be taken in at a glance."""
    heaps = {}
    for folder in (ROOT, *(path for path in ROOT.rglob("*") if path.is_dir())):
        count = len([path for path in folder.glob("*.py") if path.stem != "__init__"])
        if count > MOST_MODULES:
            heaps[str(folder.relative_to(ROOT))] = count
    assert not heaps


def test_every_room_says_what_it_is() -> None:
    """The first line of a folder's own file is what docs/architecture.md says of it."""
    for path in ROOT.rglob("__init__.py"):
        assert len((ast.get_docstring(ast.parse(path.read_text())) or "").split()) >= 3, path


def test_no_port_is_asked_what_it_happens_to_have() -> None:
    """What is used of a target, model, person, policy or surface is declared; none is told by an attribute or its name."""
    ports = ("target", "model", "person", "policy", "surface", "sink", "screen")
    found = []
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("hasattr", "getattr"):
                words = ast.unparse(node.args[0]).split(".")
                if words[-1].lstrip("_") in ports:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
            if isinstance(node, ast.Compare) and ast.unparse(node.left) in [f"{port}.name" for port in ports]:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not found
