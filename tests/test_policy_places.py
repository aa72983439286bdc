"""Paths of a kind: compiled by where they begin, they match what one expression of all of them matches."""

from __future__ import annotations

import random
import re
import tomllib
from pathlib import Path

import pytest

from skillrun.policy import paths
from skillrun.policy.paths import Places, pattern
from skillrun.policy.unknown import QUESTION, STAR

TABLE = tomllib.loads((Path(paths.__file__).parent / "places.toml").read_text())
HOMES = r"(?:~|/home/[^/]+|/root|/Users/[^/]+|/var/root)"
ENDS = ("", "/x", "/.ssh/id_rsa", "/a/b/c", "\nx", f"/{STAR}", "/..")


def whole(texts: list[str]) -> re.Pattern[str]:
    """All patterns as one expression."""
    each = [HOMES + pattern(text[1:]) if text == "~" or text.startswith("~/") else pattern(text) for text in texts]
    return re.compile("(?s:" + "|".join(each) + r")\Z")


def candidates(texts: list[str], dice: random.Random) -> list[str]:
    """Paths that are or nearly are of these, below every home, with unknown parts, and cut anywhere."""
    found = ["", "/", "~", "/root", "/home", "/home/x", "relative", f"/{STAR}", f"/{STAR}/x", f"{QUESTION}etc/x", "/é/x"]
    for text in texts:
        made = text.replace("**", dice.choice(("a", "a/b", ""))).replace("*", dice.choice(("", "n", "n.d"))).replace("?", "q")
        made = re.sub(r"\{([^}]*)\}", lambda match: dice.choice(match[1].split(",")), made)
        for home in ("~", "/home/dev", "/root", "/Users/x", "/var/root", "/home", "/srv/home"):
            named = home + made[1:] if made.startswith("~") else made
            place = dice.randrange(len(named) + 1)
            near = (named, named + dice.choice(ENDS), named[:place], named[:place] + STAR + named[place + 1 :], f"/x{named}")
            found += near
    return found


@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind in TABLE for key in ("paths", "except") if key in TABLE[kind]])
def test_a_kind_matches_what_all_its_patterns_match(kind: str, key: str) -> None:
    """Which patterns are tried depends on how a path begins; no path is told otherwise for that."""
    texts = TABLE[kind][key]
    one, apart, dice = whole(texts), Places(texts), random.Random(kind)
    tried = [path for _ in range(5) for path in candidates(texts, dice)]
    differing = [path for path in tried if apart.match(path) is not (one.match(path) is not None)]
    assert not differing, differing[:5]
    assert any(one.match(path) for path in tried)
    assert not all(one.match(path) for path in tried)
