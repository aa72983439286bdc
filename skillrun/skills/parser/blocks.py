"""Markdown as a flat list of blocks with line numbers: the only place that knows the Markdown parser.

A CommonMark parser does the blocks; inline text is left as it is written, because what matters in it are code
spans, labels and sentences, and because inline parsing is where adversarial text costs time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from skillrun.skills.parser.containers import Container, unwrap

if TYPE_CHECKING:
    from markdown_it.token import Token


MAX_TEXT = 20_000
"""Characters of one paragraph that are interpreted; no paragraph written for people is longer."""


_CODE = re.compile(r"<code>([^<>`\n]{1,300})</code>")
_TAG = re.compile(r"<[^<>\n]{0,300}>")


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a document. `kind`: heading | text | code | row. Lines are 1-based, `end` is inclusive."""

    kind: str
    text: str
    line: int
    end: int
    level: int = 0
    """Heading level 1-6, else 0."""
    lang: str = ""
    """Language of a code block, lower case; `indented` for one without a fence."""
    info: str = ""
    """What follows the language on the fence."""
    cells: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    """A table row's cells, and those of the table's head."""
    item: int = 0
    """Number of the innermost list item around the block (items are numbered through the document), 0 outside lists."""
    top: int = 0
    """Number of the outermost list item around the block."""
    ordered: bool = False
    quoted: bool = False
    inside: tuple[Container, ...] = ()
    """Containers around the block, outermost first."""
    resumes: int = 0
    """For the beginning of a numbered list that goes on with one that was interrupted: the line where that one begins."""


def blocks_of(text: str, first_line: int = 1) -> list[Block]:
    """The blocks of a Markdown text whose first line is line `first_line` of the document. Never raises; linear time."""
    lines, around = unwrap(text.split("\n"))
    walk = _Walk(around, first_line - 1)
    blocks = list(walk.blocks(_parse("\n".join(lines))))
    _rejoin(blocks, walk.numbers)
    return blocks


def _rejoin(blocks: list[Block], numbers: Mapping[int, int]) -> None:
    """Put what interrupts a numbered list into the item it stands behind.

    Code that is not indented ends a list for CommonMark, and `2. Install` begins another; its author means one list.
    """
    item, behind, began, goes_on = 0, list[int](), 0, False
    for at, block in enumerate(blocks):
        if block.top in numbers:
            follows = _follows(numbers, item, block.top, bool(behind) and blocks[behind[0]].kind == "code")
            if behind and (follows or goes_on):
                _put_into(item, behind, blocks, code_only=not follows)
                goes_on = follows
            if behind and follows:
                blocks[at] = replace(block, resumes=began)
            elif behind or not item:
                began = block.line
            item, behind = block.top, []
        elif block.kind == "heading" or block.top:
            if behind and goes_on:
                _put_into(item, behind, blocks, code_only=True)
            item, behind, goes_on = 0, [], False
        elif item:
            behind.append(at)
    if behind and goes_on:
        _put_into(item, behind, blocks, code_only=True)


def _follows(numbers: Mapping[int, int], item: int, other: int, code_between: bool) -> bool:
    """Does a numbered item go on where another stopped? Some number every item 1."""
    before, number = numbers.get(item, 0), numbers[other]
    return before > 0 and (number == before + 1 or (code_between and number == before == 1))


def _put_into(item: int, places: list[int], blocks: list[Block], code_only: bool) -> None:
    """Make blocks part of an item, up to the first that is not plainly its own: a label, a table, another container."""
    inside = blocks[places[0] - 1].inside
    for at in places:
        block = blocks[at]
        own = block.kind == "code" or (not code_only and block.kind == "text" and not block.text.startswith(("**", "__", "<")))
        if not own or block.inside != inside:
            return
        blocks[at] = replace(block, item=item, top=item, ordered=True)


_DEEP = re.compile(r"(?m)^(?:[ \t]*(?:>|(?:[*+-]|\d{1,9}[.)])(?=[ \t]))){12}[ \t>*+.)\d-]*")
"""Markers nested deeper than a document needs: they cost the parser quadratic time. A line under a heading is none of them."""


def _parse(source: str) -> list[Token]:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"maxNesting": 20}).enable("table")
    parser.disable(["inline", "reference"])
    return parser.parse(_DEEP.sub("", source))


@dataclass(slots=True)
class _Walk:
    """Where the walk over the parser's tokens stands."""

    around: list[tuple[Container, ...]]
    offset: int
    items: list[int] = field(default_factory=list)
    ordered: list[bool] = field(default_factory=list)
    quotes: int = 0
    count: int = 0
    numbers: dict[int, int] = field(default_factory=dict)
    """Of the items of outermost lists that are numbered: the number written before them."""
    level: int = 0
    head: tuple[str, ...] = ()
    cells: list[str] | None = None
    cells_line: int = 1
    in_head: bool = False

    def blocks(self, tokens: list[Token]) -> Iterator[Block]:
        """The blocks of the token stream, in order."""
        for token in tokens:
            if token.type in ("fence", "code_block"):
                yield self._code(token)
            elif token.type == "inline" and self.cells is not None:
                self.cells.append(token.content.strip())
            elif token.type == "inline" and token.map:
                heading = self.level if not self.items else 0
                kind = "heading" if heading else "text"
                text = _CODE.sub(r"`\1`", token.content[:MAX_TEXT])
                yield self._block(kind, text, token.map[0] + 1, token.map[1], level=heading)
            elif token.type == "html_block" and token.map and _CODE.search(token.content[:MAX_TEXT]):
                text = _TAG.sub("", _CODE.sub(r"`\1`", token.content[:MAX_TEXT]))
                yield self._block("text", text.strip(), token.map[0] + 1, token.map[1])
            elif token.type == "tr_close" and self.cells is not None:
                cells, self.cells = tuple(self.cells), None
                if self.in_head:
                    self.head = cells
                    continue
                yield self._block("row", " | ".join(cells), self.cells_line, self.cells_line, cells=cells, head=self.head)
            else:
                self._move(token)

    def _move(self, token: Token) -> None:
        kind = token.type
        if kind == "list_item_open":
            self.count += 1
            self.items.append(self.count)
            if len(self.items) == 1 and self.ordered[-1]:
                self.numbers[self.count] = int(token.info)
        elif kind == "list_item_close":
            self.items.pop()
        elif kind in ("ordered_list_open", "bullet_list_open"):
            self.ordered.append(kind == "ordered_list_open")
        elif kind in ("ordered_list_close", "bullet_list_close"):
            self.ordered.pop()
        elif kind in ("blockquote_open", "blockquote_close"):
            self.quotes += token.nesting
        elif kind == "tr_open":
            self.cells = []
            self.cells_line = token.map[0] + 1 if token.map else self.cells_line + 1
        elif kind in ("thead_open", "thead_close"):
            self.in_head = token.nesting > 0
        elif kind in ("heading_open", "heading_close"):
            self.level = int(token.tag[1]) if token.nesting > 0 else 0

    def _block(
        self, kind: str, text: str, line: int, end: int, *, level: int = 0, lang: str = "", info: str = "",
        cells: tuple[str, ...] = (), head: tuple[str, ...] = (),
    ) -> Block:  # fmt: skip
        inside = self.around[min(line - 1, len(self.around) - 1)]
        if inside and self.offset:
            inside = tuple(Container(c.kind, c.title, c.line + self.offset, c.end + self.offset) for c in inside)
        return Block(
            kind, text, line + self.offset, end + self.offset, level, lang, info, cells, head,
            self.items[-1] if self.items else 0, self.items[0] if self.items else 0,
            self.ordered[-1] if self.ordered else False, self.quotes > 0, inside,
        )  # fmt: skip

    def _code(self, token: Token) -> Block:
        line, end = (token.map[0] + 1, token.map[1]) if token.map else (1, 1)
        lang, _, info = token.info.strip().partition(" ")
        if token.type == "code_block":
            lang = "indented"
        elif lang.startswith(("{", "[")):
            lang, info = "", token.info.strip()
        return self._block("code", token.content, line, end, lang=lang.strip("{}.,").lower(), info=info.strip())
