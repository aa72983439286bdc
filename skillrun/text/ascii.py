"""Text for terminals that show ASCII alone: each of our own signs has one that looks like it."""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping

NAME = "skillrun-ascii"
"""The error handler (codecs.register_error) that writes what is not ASCII as something that is."""

_LIKE = dict(zip("✓✗·…⊘○•→─│╭╮╰╯┌┐└┘├┤“”‘’–—", "+x-.!o*>-|++++++++++\"\"''--", strict=True)) | dict.fromkeys("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "*")


def shows_unicode(environment: Mapping[str, str] = os.environ) -> bool:
    """Does the locale of this terminal say that it takes UTF-8 (locale(7): LC_ALL, else LC_CTYPE, else LANG)?

    Nothing set at all says nothing, as in containers and services: then it is taken to.
    """
    value = next((environment[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environment.get(name)), "")
    return not value or value.lower().replace("-", "").endswith("utf8") or ".utf8@" in value.lower().replace("-", "")


def register() -> str:
    """Make the handler known; its name."""
    codecs.register_error(NAME, _instead)
    return NAME


def _instead(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(_LIKE.get(sign, "?") for sign in error.object[error.start : error.end]), error.end
