"""What a command finds in its environment: the person's own, without secrets, prompt-proof."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from skillrun.secrets import clean_environment
from skillrun.skills.checks import NO_TERMINAL, NOT_THERE


@dataclass(frozen=True, slots=True)
class Login:
    """A new terminal of the user: their shell, where it starts and what it starts with."""

    shell: str
    home: str
    env: Mapping[str, str]

    def argv(self, text: str) -> list[str]:
        """What runs shell text in it. Nothing takes the place of a shell that is not there: that is said."""
        return ["sh", "-c", _OPENED, self.shell, "-l", "-c", text]


_OPENED = f"""\
if ! [ -e "$0" ]; then why='is not there'; elif ! [ -x "$0" ]; then why='may not be executed'; else exec "$0" "$@"; fi
echo "{NO_TERMINAL}its login shell, $0, $why"; exit {NOT_THERE}"""


def shell_of(named: str) -> str:
    """The shell that a new terminal of an account gets: the one its entry names, be it there or not.

    For one that names none, or what lets nobody in (nologin, false), it is bash or sh, as `su -s` would have it.
    """
    if named and not named.endswith(("nologin", "false")):
        return named
    return "/bin/bash" if os.access("/bin/bash", os.X_OK) else "/bin/sh"


_NEVER = ("BASH_ENV", "ENV", "PROMPT_COMMAND", "PS4", "SHELLOPTS", "BASHOPTS", "CDPATH", "GLOBIGNORE", "POSIXLY_CORRECT")
"""Variables that change what shell text means, or run something of their own."""

_OF_A_LOGIN = ("HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "XDG_RUNTIME_DIR", "WSL_DISTRO_NAME")
"""What a new terminal starts with; proxies and certificates are added because the machine cannot do without."""

_OF_THE_NETWORK = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "ftp_proxy", "ssl_cert_file", "ssl_cert_dir")


@cache
def prompt_proof() -> Mapping[str, Mapping[str, Any]]:
    """The table of variables that keep programs from asking: name -> value, why, keep, source."""
    return tomllib.loads(Path(__file__).with_name("prompt_proof.toml").read_text("utf-8"))


def command_environment(env: Mapping[str, str], granted: Iterable[str] = ()) -> dict[str, str]:
    """The environment commands start with, from the person's own. An empty value in the table removes a variable."""
    result = clean_environment(env, granted)
    for name in [*_NEVER, *(name for name in result if name.startswith("BASH_FUNC_"))]:
        result.pop(name, None)
    for name, entry in prompt_proof().items():
        if entry.get("keep") and name in env:
            continue
        if entry["value"]:
            result[name] = entry["value"]
        else:
            result.pop(name, None)
    result.setdefault("PATH", os.defpath)
    return without_our_python(result)


def without_our_python(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without the Python skillrun itself runs in: its virtual environment, and its places on PYTHONPATH.

    A `pip install` in a skill is meant for the person, never for skillrun's own environment.
    """
    result = dict(env)
    if "PYTHONPATH" in result:
        ours = {os.path.realpath(place) for place in sys.path if _holds_ours(place)}
        kept = [place for place in result["PYTHONPATH"].split(os.pathsep) if os.path.realpath(place) not in ours]
        result["PYTHONPATH"] = os.pathsep.join(kept)
        if not kept:
            del result["PYTHONPATH"]
    venv = result.get("VIRTUAL_ENV")
    if venv and sys.prefix != sys.base_prefix and os.path.realpath(venv) == os.path.realpath(sys.prefix):
        del result["VIRTUAL_ENV"]
        programs = os.path.join(os.path.realpath(venv), "bin")
        places = result["PATH"].split(os.pathsep)
        result["PATH"] = os.pathsep.join(place for place in places if os.path.realpath(place) != programs)
    return result


def _holds_ours(place: str) -> bool:
    return any(os.path.isdir(os.path.join(place, package)) for package in ("skillrun", "click"))


def login_environment(env: Mapping[str, str], user: str, home: str, shell: str) -> dict[str, str]:
    """What a new terminal of the user starts from, before the shell has read its own files."""
    result = {name: env[name] for name in _OF_A_LOGIN if name in env}
    result.update({name: value for name, value in env.items() if name.lower() in _OF_THE_NETWORK})
    result.update(HOME=home, USER=user, LOGNAME=user, SHELL=shell, TERM="xterm-256color")
    result.setdefault("LANG", "C.UTF-8")
    # login(1) and pam_env give a first PATH; the shell's own files replace or extend it.
    root = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    result["PATH"] = root if user == "root" else "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
    return result
