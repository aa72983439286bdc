"""Putting text on the person's clipboard: the desktop's own program, or OSC 52 through the terminal (also over SSH)."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Mapping

PROGRAMS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("WAYLAND_DISPLAY", ("wl-copy",), "wl-copy"),
    ("DISPLAY", ("xclip", "-selection", "clipboard"), "xclip"),
    ("", ("pbcopy",), "pbcopy"),
)
"""Environment variable that must be set, command, name: the first that applies is used."""

OSC_52_LIMIT = 74_994
"""Bytes that common terminals take in one OSC 52 sequence once they are base64 (xterm, tmux and others stop at 100 kB)."""


class NoClipboard(Exception):
    """There is no way to a clipboard from here; the message says what was tried."""


def copy(text: str, environ: Mapping[str, str] | None = None, terminal: str = "/dev/tty") -> str:
    """Put text on the clipboard; returns by what means. Raises NoClipboard.

    Over SSH the programs of this machine would fill the wrong machine's clipboard, so OSC 52 comes first there.
    """
    env = os.environ if environ is None else environ
    remote = bool(env.get("SSH_TTY") or env.get("SSH_CONNECTION"))
    tried: list[str] = []
    for way in (_osc52, _program) if remote else (_program, _osc52):
        try:
            return way(text, env, terminal)
        except NoClipboard as error:
            tried.append(str(error))
    raise NoClipboard("; ".join(tried))


def _program(text: str, env: Mapping[str, str], _: str) -> str:
    for variable, command, name in PROGRAMS:
        if (variable and not env.get(variable)) or not shutil.which(command[0], path=env.get("PATH")):
            continue
        try:
            subprocess.run(command, input=text.encode(), check=True, timeout=10, stdout=subprocess.DEVNULL, env=dict(env))
        except (OSError, subprocess.SubprocessError) as error:
            raise NoClipboard(f"{name} failed ({error})") from None
        return name
    raise NoClipboard("no wl-copy, xclip or pbcopy with a display")


def osc52(text: str, env: Mapping[str, str]) -> bytes:
    """The escape sequence that makes a terminal copy text; wrapped so that tmux and screen pass it on."""
    data = b"\x1b]52;c;" + base64.b64encode(text.encode()) + b"\x07"
    if env.get("TMUX"):
        return b"\x1bPtmux;" + data.replace(b"\x1b", b"\x1b\x1b") + b"\x1b\\"
    if env.get("STY"):
        return b"\x1bP" + data + b"\x1b\\"
    return data


def _osc52(text: str, env: Mapping[str, str], terminal: str) -> str:
    if env.get("TERM", "dumb") == "dumb":
        raise NoClipboard("the terminal is dumb")
    if len(text.encode()) > OSC_52_LIMIT:
        raise NoClipboard(f"the text is longer than {OSC_52_LIMIT} bytes, which terminals cut")
    try:
        with open(terminal, "wb", buffering=0) as out:
            out.write(osc52(text, env))
    except OSError as error:
        raise NoClipboard(f"no terminal to send it through ({error.strerror})") from None
    return "the terminal (OSC 52)"
