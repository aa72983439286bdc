"""Documents that are not Markdown, in the marks that Markdown has for what they say: line for line, each keeps its place."""

from __future__ import annotations

from skillrun.skills.parser.markup import asciidoc, org, plain_text, rst

_FORMS = (rst, org, asciidoc, plain_text)


def as_markdown(text: str, name: str = "") -> str:
    """The text with Markdown's marks, whatever form it has; `name` is its file's. Never more lines, nor fewer."""
    return next((form.as_markdown(text) for form in _FORMS if form.is_meant(text, name)), text)
