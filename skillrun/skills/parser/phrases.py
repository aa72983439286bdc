"""Sentences of a document: what the words around a command say about it.

Patterns over English sentences; a document in another language keeps its commands and loses these niceties.
"""

from __future__ import annotations

import re

from skillrun.skills.parser.labels import plain

CODE = re.compile(r"(?<!`)(`{1,3})(?!`)([^`\n]{1,500}?)(?<!`)\1(?!`)")
"""A code span on one line."""
OR = re.compile(
    r"^\W*(?:or\b|alternatively|another (?:way|option)|otherwise\b|if you(?:'d| would)? (?:prefer|like) )", re.IGNORECASE
)
VERB = re.compile(
    r"(?:^|[\s.:;,(*])(?:run|running|execute|type|enter|issue|use|using|do|install(?: it)?(?: with| using| via)?|with"
    r"|then|by|via|start it with)"
    r"(?: (?:the command|this|the following|once|again|it as|as root|instead|either))?\W*$|^\W*$|:\W*$|[)\]]\W*$",
    re.IGNORECASE,
)
NOT = re.compile(
    r"\b(?:do not|don'?t|never|avoid|instead of|rather than|not|without|like|such as|e\.g\.?)\b[^.;:]*$", re.IGNORECASE
)
TROUBLE = re.compile(
    r"\b(?:if|when|should|in case)\b[^.]*\b(?:fails?|error|problem|trouble|denied|missing|not found|does(?: not|n't) work)\b",
    re.IGNORECASE,
)
OUTPUT = re.compile(
    r"(?:\b(?:output|outputs|prints?|result|returns?|shows?|displays?|see|looks like|respond|response)\b[^.`]{0,60}"
    r"|\bexample)\W*$",
    re.IGNORECASE,
)
FILE = re.compile(
    r"\b(?:create|save|write|add|put|paste|append|edit|contents?|containing"
    r"|file)\b[^.]{0,120}`?[\w~$/.-]+\.\w+`?[^.]{0,80}:\s*$",
    re.IGNORECASE,
)
WRITES = re.compile(r"\b(?:create|write|save|put)\b[^.`]*`(?P<path>(?:~|\$HOME)/[\w.][\w./+-]*)`[^.]*:?\s*$", re.IGNORECASE)
"""The end of a text that has the reader make a file at home, of the block that follows."""
CHECK = re.compile(
    r"^\W*(?:(?:to |now |then |finally,? )?(?:check|verify|confirm|validate|smoke[- ]test)\b|test (?:it|the|that"
    r"|your)\b|(?:you can )?verify\b"
    r"|(?:to )?make sure|ensure that\b)",
    re.IGNORECASE,
)
CHECK_LATE = re.compile(
    r"\bto (?:verify|check|confirm|test)\b|\bshould (?:print|output|show|display|return|report|answer|respond|say)",
    re.IGNORECASE,
)
OTHER = re.compile(r"^\W*(?:to |if you want to )?(?P<verb>uninstall|remove|update|upgrade)\b", re.IGNORECASE)
HUMAN = re.compile(
    r"\b(?:log ?in|sign ?in|sign ?up|create an? (?:\w+ )?account|ask the user|ask (?:your )?human|in (?:a|the"
    r"|your) browser|accept the licen[cs]e"
    r"|scan the qr|open https?://|tell the user|by hand)\b",
    re.IGNORECASE,
)
SKIP = re.compile(
    r"\b(?:skip (?:this|it|to|the|if)|nothing to do|already installed|already (?:there|present)|you can skip|(?:is"
    r"|are) done)\b",
    re.IGNORECASE,
)
_BASE = "(?:print|output|show|return|say|answer|respond|report|display|give|read)"
_SHOULD = rf"(?:(?:should|must|will|has to) (?:now )?{_BASE}(?: with)?)"
PRINT = rf"(?:prints?|outputs?|shows|returns|says|answers(?: with)?|responds(?: with)?|reports|displays|gives|reads|{_SHOULD})"
PRINTS = re.compile(
    rf"^\W*(?:it|which|this|that|you|the command|the (?:file|output|result|page|last (?:one|command|line))"
    rf"|now|then|should|must|will|also|exactly)?"
    rf"(?:\W+(?:should|must|will|now|then|also|see))*\W*(?:{PRINT}|see|→|=>|->)\W*(?:exactly|the (?:line|text|word)"
    rf"|a line)?\W*$",
    re.IGNORECASE,
)
AT_LEAST = re.compile(r"^[`\"”]?\W{0,3}(?:or|and) (?:newer|later|higher|above|greater|up|more)|^[`\"”]?\s*\+", re.IGNORECASE)
"""What is printed is only the least that may be printed."""
PRINTS_AFTER = re.compile(
    rf"^[\s,)]*(?:now |then |in a new (?:terminal|shell),? )?(?:should |must |will )?(?:{PRINT}|→|=>"
    rf"|->)\s+(?:exactly |the (?:line|text|word) )?"
    r"[`\"“](?P<text>[^`\"”\n]{1,200})[`\"”]",
    re.IGNORECASE,
)
PATH = re.compile(r"^(?:~/|/|\$HOME/|\./|(?=[\w.-]+/))[\w/.@+~-]+$")
FILE_AFTER = re.compile(
    r"^\W*(?:file )?(?:(?:must|should|will|has to) (?:now |then |also )?(?:exist|be (?:present|there|created"
    r"|executable|written))|exists\b"
    r"|is (?:created|present|there|written)\b)",
    re.IGNORECASE,
)
FILE_BEFORE = re.compile(
    r"\b(?:writes?|creates?|produces?|leaves?|builds?) (?:an? |the )?(?:executable |new )?(?:file |script "
    r"|program )?(?:at |in |to |called )?\W*$",
    re.IGNORECASE,
)
WORKS = re.compile(
    rf"^\W*(?:now |then |should |must |will |also )*(?:{PRINT}|runs?|works?|starts?|exits?|succeeds?)\b", re.IGNORECASE
)
ON_PATH = re.compile(
    r"^\W*(?:is|are|must be|should be)\s+(?:now\s+)?(?:on|in|installed|available|found|reachable)\b", re.IGNORECASE
)
TASK = re.compile(r"^\[[ xX]?\]\s*")


def sentence_start(text: str, end: int) -> int:
    """Where the sentence that goes on at `end` begins; a line that begins with a capital begins one."""
    start = text.rfind(". ", 0, end) + 1
    newline = text.rfind("\n", start, end)
    while newline > start and not text[newline + 1 : newline + 2].isupper():
        newline = text.rfind("\n", start, newline)
    return max(start, newline + 1)


def announces_check(text: str) -> bool:
    """Whether the first sentence, which names no command itself, says that a check follows."""
    first = re.split(r"\.(?:\s|$)", text, maxsplit=1)[0]
    return bool(CHECK.match(first)) and "`" not in first and len(first) < len(text.strip())


def says_file(code: str, before: str, after: str) -> bool:
    """Whether a sentence says that the file named in it will be there."""
    leaves = FILE_BEFORE.search(before) and (re.search(r"\bleaves?\b", before, re.IGNORECASE) or not before.strip().istitle())
    return bool(PATH.match(code)) and not NOT.search(before) and bool(FILE_AFTER.match(after) or leaves)


def trouble(text: str) -> bool:
    """Whether the end of a text says that what follows is for when something went wrong."""
    return bool(TROUBLE.search(text[-300:]))


def first_sentence(text: str) -> str:
    """The first sentence of a list item, without its box and markup."""
    text = TASK.sub("", text)
    return re.split(r"(?<=[.:!?])\s|\n", plain(text) or text, maxsplit=1)[0]
