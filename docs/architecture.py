"""Draws the rooms of the house and the imports between them, from the code: the picture and the table of architecture.md.

    python docs/architecture.py            writes docs/pictures/rooms.svg and renews the table in docs/architecture.md
    python docs/architecture.py --figures  prints what the house measures: rooms, arrows, circles, modules, lines

The floors are those of the import-linter contract in pyproject.toml; the arrows are read from the imports, those inside
functions and those for types too (grimp). An arrow that follows from others is left out of the picture, not of the table.
"""

from __future__ import annotations

import ast
import html
import statistics
import sys
import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PICTURE = ROOT / "docs" / "pictures" / "rooms.svg"
BEGIN, END = "<!-- rooms: written by docs/architecture.py -->", "<!-- end of rooms -->"
WIDTH, BOX, ROW, HIGH = 1060, 128, 84, 40


def floors() -> list[list[str]]:
    """The rooms from the top floor down, as the contract has them; the overlay's own floors in its place."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {
        contract["id"]: [layer.split(" | ") for layer in contract["layers"]] for contract in contracts if "layers" in contract
    }
    found = []
    for row in layers["rooms"]:
        if "overlay" not in row:
            found.append(row)
            continue
        top, *below = layers["overlay"]
        found.append([*(room for room in row if room != "overlay"), *(f"overlay.{room}" for room in top)])
        found += [[f"overlay.{room}" for room in inner] for inner in below]
    return found


def arrows(rooms: list[str]) -> dict[str, set[str]]:
    """Room -> the rooms it imports from."""
    graph = grimp.build_graph("skillrun", cache_dir=None)

    def room_of(module: str) -> str:
        words = module.split(".")[1:]
        deep = ".".join(words[:2])
        return deep if deep in rooms else words[0] if words else ""

    found: dict[str, set[str]] = {room: set() for room in rooms}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            importer, other = room_of(module), room_of(imported)
            if importer in found and other in found and importer != other:
                found[importer].add(other)
    return found


def reachable(found: dict[str, set[str]], room: str, seen: set[str] | None = None) -> set[str]:
    """Every room that a room comes to by its arrows."""
    seen = set() if seen is None else seen
    for other in found[room] - seen:
        seen.add(other)
        reachable(found, other, seen)
    return seen


def needed(found: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The arrows that do not follow from others."""
    return [
        (room, other)
        for room, others in found.items()
        for other in sorted(others)
        if not any(other in reachable(found, between) for between in others - {other})
    ]


def files_of(room: str) -> list[Path]:
    """The modules of a room, without those of rooms inside it."""
    path = ROOT / "skillrun" / room.replace(".", "/")
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def purpose(room: str) -> str:
    """The first line of what the room says of itself."""
    path = ROOT / "skillrun" / room.replace(".", "/")
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    return (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]


def picture(rows: list[list[str]], found: dict[str, set[str]]) -> str:
    """The rooms on their floors with the arrows between them, as SVG that follows light and dark."""
    at: dict[str, tuple[float, float]] = {}
    for number, row in enumerate(rows):
        for place, room in enumerate(row):
            at[room] = (WIDTH * (place + 1) / (len(row) + 1), 30 + number * ROW)
    style = (
        "svg{font:13px system-ui,sans-serif;color-scheme:light dark}rect{fill:light-dark(#f4f6fa,#23272f);"
        "stroke:light-dark(#7b8794,#8b949e)}text{fill:light-dark(#111,#e6edf3);text-anchor:middle}"
        "path{fill:none;stroke:light-dark(#5b6b7f,#8b98a8);stroke-opacity:.7}marker path{fill:light-dark(#5b6b7f,#8b98a8)}"
    )
    arrow = "viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {len(rows) * ROW + 10}" role="img">',
        "<title>The rooms of skillrun and the imports between them, all downward</title>",
        f"<style>{style}</style>",
        f"<defs><marker id='a' {arrow}><path d='M0 0 8 4 0 8z'/></marker></defs>",
    ]
    for room, other in needed(found):
        (x1, y1), (x2, y2) = at[room], at[other]
        y1, y2 = y1 + HIGH / 2, y2 - HIGH / 2
        aside = 0 if y2 - y1 < ROW else 40 + (x1 - WIDTH / 2) / 6
        middle = (y1 + y2) / 2
        lines.append(
            f'<path marker-end="url(#a)" d="M{x1:.0f} {y1:.0f}C{x1 + aside:.0f} {middle:.0f} {x2 + aside:.0f} {middle:.0f}'
            f' {x2:.0f} {y2:.0f}"><title>{room} imports {other}</title></path>'
        )
    for room, (x, y) in at.items():
        lines.append(
            f'<g><title>{html.escape(purpose(room))}</title><rect x="{x - BOX / 2:.0f}" y="{y - HIGH / 2:.0f}" width="{BOX}"'
            f' height="{HIGH}" rx="6"/><text x="{x:.0f}" y="{y + 4:.0f}">{room.replace(".", "/")}</text></g>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def table(rows: list[list[str]], found: dict[str, set[str]]) -> str:
    """One line for each room, the top floor first."""
    lines = ["| room | what it is | imports from |", "|---|---|---|"]
    for room in (room for row in rows for room in row):
        names = ", ".join(other.replace(".", "/") for other in sorted(found[room])) or "nothing of ours"
        lines.append(f"| `{room.replace('.', '/')}` | {purpose(room)} | {names} |")
    return "\n".join(lines)


def figures(rows: list[list[str]], found: dict[str, set[str]]) -> str:
    """What the house measures."""
    floor = {room: number for number, row in enumerate(rows) for room in row}
    upward = sum(floor[other] <= floor[room] for room, others in found.items() for other in others)
    circles = sum(room in reachable(found, room) for room in found)
    modules = sorted((ROOT / "skillrun").rglob("*.py"))
    sizes = [len(path.read_text().splitlines()) for path in modules]
    long = 0
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 60:
                long += 1
    top = [path for path in (ROOT / "skillrun").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    folders = [folder for folder in (ROOT / "skillrun").rglob("*") if folder.is_dir()]
    fullest = max(len([path for path in folder.glob("*.py") if path.stem != "__init__"]) for folder in folders)
    return "\n".join(
        [
            f"rooms {len(found)}, arrows {sum(map(len, found.values()))}, upward {upward}, rooms in circles {circles}",
            f"modules {len(modules)}, lines {sum(sizes)}, median {statistics.median(sizes):.0f}, largest {max(sizes)}",
            f"functions over 60 lines {long}, entries at the top {len(top)}, most modules in one folder {fullest}",
        ]
    )


def main() -> None:
    """Write the picture and the table, or print the figures."""
    rows = floors()
    found = arrows([room for row in rows for room in row])
    if "--figures" in sys.argv:
        print(figures(rows, found))
        return
    PICTURE.write_text(picture(rows, found))
    text = PAGE.read_text()
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{table(rows, found)}\n{END}{after}")


if __name__ == "__main__":
    main()
