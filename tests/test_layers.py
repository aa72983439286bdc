"""The house's own rules, as tests: imports point down, heavy libraries stay in their rooms, names mean something."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "skillrun"
FLOORS = [
    {"errors", "events", "text", "secrets", "bash"},
    {"skills"},
    {"ports"},
    {"pty"},
    {"host"},
    {"policy", "llm"},
    {"record", "overlay"},
    {"sandbox", "surfaces", "lint"},
    {"targets"},
    {"plans"},
    {"models"},
    {"rollback"},
    {"run"},
    {"trials"},
    {"pytest_plugin", "cli"},
    {"__main__"},
]
"""Lower floors first; a module imports only from its own floor and those below."""

FENCED = {
    "anthropic": {"models/anthropic"},
    "tree_sitter": {"bash/syntax"},
    "tree_sitter_bash": {"bash/syntax"},
    "yaml": {"skills/frontmatter"},
    "rich": {"surfaces/live", "cli/"},
    "pyte": {"pty/"},
    "jinja2": {"surfaces/html"},
    "markdown_it": {"skills/parser/"},
    "click": {"cli/"},
}
"""Third-party packages and the only places that import them."""

FORBIDDEN = {"util", "utils", "helper", "helpers", "common", "manager", "misc"}

FILES = sorted(ROOT.rglob("*.py"))


def floor_of(part: str) -> int | None:
    """The floor of a top-level part of the package; None when it is not in the table."""
    return next((number for number, parts in enumerate(FLOORS) if part in parts), None)


def imports(path: Path) -> list[tuple[str, int]]:
    """Every module a file imports, wherever in the file, with the line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.module, node.lineno)]
            if node.module == "skillrun":
                found += [(f"skillrun.{alias.name}", node.lineno) for alias in node.names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    """No module imports from a higher floor, and every module has a floor."""
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if part == "__init__":
        return
    mine = floor_of(part)
    assert mine is not None, f"{part} is not in the table of floors: say where it lives"
    for module, line in imports(path):
        words = module.split(".")
        if words[0] == "skillrun" and len(words) > 1:
            other = floor_of(words[1])
            assert other is None or other <= mine, f"{path.name}:{line} imports {module}, which is above it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_fenced_libraries_stay_in_their_rooms(path: Path) -> None:
    """A library that is heavy or outside our purpose is imported in one place only."""
    here = str(path.relative_to(ROOT).with_suffix(""))
    for module, line in imports(path):
        rooms = FENCED.get(module.split(".")[0])
        assert rooms is None or any(here.startswith(room) for room in rooms), f"{here}:{line} imports {module}"


def test_names_mean_something() -> None:
    """No module is called after nothing in particular."""
    assert not [path for path in ROOT.rglob("*") if path.stem in FORBIDDEN]


def test_importing_the_package_does_nothing() -> None:
    """`import skillrun` loads no other module of ours and no third-party one."""
    before = set(sys.modules)
    import skillrun

    assert skillrun.__version__
    assert not [name for name in set(sys.modules) - before if name.split(".")[0] in FENCED]
