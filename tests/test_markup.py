"""Documents that are not Markdown: read by the marks that they have, each line in its place."""

from __future__ import annotations

import pytest

from skillrun.skills.parser.markup import as_markdown
from skillrun.skills.parser.read import read_files
from skillrun.skills.skill import Skill

ASCIIDOC = """= Godwit: a wader
:version: 2.1
:source-highlighter: rouge

Walks on mud.

Getting it
----------

.Homebrew
====
----
brew install godwit
----
====

[source,sh]
----
pip install godwit=={version}
----

or by hand:

 $ npm install -g godwit

== Usage

[source,console]
....
$ godwit `+--walk+` link:https://godwit.invalid/walks[far]
....

* one
** two, see https://godwit.invalid[its site]
"""
ORG = """#+TITLE: Godwit
#+OPTIONS: toc:nil

* Installation                                                   :setup:
  With =pip=, see [[https://godwit.invalid][its site]]:

  #+begin_src sh
    pip install godwit
  #+end_src

  : npm install -g godwit

* Usage
#+BEGIN_EXAMPLE
godwit walk --far
#+END_EXAMPLE
"""
PLAIN = """                       Godwit, a wader

INSTALLATION

    pip install godwit

* Usage

    godwit walk --far

--- Known problems ---

3. Building

    ./configure
    make

Uninstalling:

    pip uninstall godwit
"""
MANUAL = """GODWIT(1)                  User Commands                 GODWIT(1)

NAME
       godwit - walk about

INSTALLATION

       pip install godwit

EXAMPLES

       godwit foo
"""
DOCUMENTS = {
    "README.adoc": ASCIIDOC,
    "README.org": ORG,
    "README": PLAIN,
    "README.txt": MANUAL,
}


def skill_of(name: str, text: str) -> Skill:
    """A document as it is read from a file of this name."""
    return read_files({name: text.encode()}, name, None)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_its_way_is_seen_and_its_usage_left(name: str) -> None:
    """Headings say what commands are for, listings and indented lines are commands, whatever marks them."""
    understood = skill_of(name, DOCUMENTS[name]).understood
    assert understood is not None
    assert understood.programs[0].name == "godwit"
    assert ("pip", "godwit") in [(way.manager, way.packages[0].partition("=")[0]) for way in understood.ways]
    used = {aside.text for aside in understood.asides if aside.kind == "usage"}
    assert any(text.startswith("godwit ") for text in used)
    assert not any(command.text.startswith("godwit ") for way in understood.ways for command in way.commands)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_line_keeps_its_place(name: str) -> None:
    """A command is told with the line it has in the document as it is."""
    text = DOCUMENTS[name]
    assert len(as_markdown(text, name).split("\n")) == len(text.split("\n"))
    understood = skill_of(name, text).understood
    assert understood is not None
    (line,) = [way.line for way in understood.ways if way.manager == "pip"]
    assert "pip install godwit" in text.split("\n")[line - 1]


def test_attributes_of_a_page_are_filled_in() -> None:
    """What AsciiDoc calls by a name stands there with its value."""
    understood = skill_of("README.adoc", ASCIIDOC).understood
    assert understood is not None
    assert "godwit==2.1" in [package for way in understood.ways for package in way.packages]


def test_all_ways_of_a_page_are_seen() -> None:
    """Those in a framed example, in a listing and in an indented line, each with the title over it."""
    for name in ("README.adoc", "README.org"):
        understood = skill_of(name, DOCUMENTS[name]).understood
        assert understood is not None
        assert "npm" in [way.manager for way in understood.ways]
    understood = skill_of("README.adoc", ASCIIDOC).understood
    assert understood is not None
    assert {way.manager for way in understood.ways} == {"brew", "pip", "npm"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.md", "# Godwit\n\n----\n\nINSTALL\n\n    pip install godwit\n"),
        ("README", "# Godwit\n\nINSTALL IT\n\n```\npip install godwit\n```\n"),
        ("SKILL.md", "* Usage\n\n= no heading\n\n#+ nothing\n"),
        ("", "INSTALL\n\n    pip install godwit\n"),
    ],
)
def test_markdown_stays_as_it_is(name: str, text: str) -> None:
    """What has Markdown's marks, its ending, or no name at all is read as Markdown."""
    assert as_markdown(text, name) == text


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        ("BUILDING", True),
        ("Installation:", True),
        ("2) Usage", True),
        ("=== Options ===", True),
        ("Note:", False),
        ("To have it walk on another beach, do:", False),
        ("PNG", False),
        ("    INSTALLATION", False),
    ],
)
def test_what_sets_a_heading_of_plain_text_apart(line: str, heading: bool) -> None:
    """Capitals and frames do, and a colon or a number only with words that say what follows."""
    out = as_markdown(f"A wader\n\nIt walks.\n\n{line}\n\n    godwit\n", "README").split("\n")
    assert out[4].startswith("## ") == heading
