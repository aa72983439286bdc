"""What a new terminal of the user has: the files their shell reads, and the PATH and variables those make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def start_files(shell: str, home: str, present: Iterable[str]) -> dict[str, Any]:
    """Which files of the user's own a login and an interactive shell really read, and where PATH belongs.

    `present` are the start-up files that exist. `path_file` is the file a login shell reads, the one to
    create if there is none. Bash reads only the first of its three; the manual pages of bash, zsh, fish
    and dash are the source.
    """
    have, name = set(present), Path(shell).name
    own = {
        "bash": ([".bash_profile", ".bash_login", ".profile"], [".bashrc"]),
        "zsh": ([".zshenv", ".zprofile", ".zshrc", ".zlogin"], [".zshrc"]),
        "fish": ([".config/fish/config.fish"], [".config/fish/config.fish"]),
    }.get(name, ([".profile"], []))
    login = [path for path in own[0] if path in have]
    if name == "bash":
        login = login[:1]
    fresh = {"bash": ".profile", "zsh": ".zprofile", "fish": ".config/fish/config.fish"}.get(name, ".profile")
    chosen = fresh if name == "zsh" and ".zprofile" in have else (login[0] if login and name != "zsh" else fresh)
    return {
        "login_files": [f"{home}/{path}" for path in login],
        "interactive_files": [f"{home}/{path}" for path in own[1] if path in have],
        "path_file": f"{home}/{chosen}",
    }


def new_terminal(told: Mapping[str, str], home: str) -> dict[str, Any]:
    """What the user's own shell said, asked as a login shell and, where it reads a file for that, as an interactive one.

    `told` has keys such as `login.PATH`, `interactive.PYTHONPATH`, `login.once` (PATH would hold ~/.local/bin if that
    directory were there), `login.dead` (it ended, or was ended, before its first command), `login.shell` (a shell that is
    not there, so that none can begin). `variables` are
    those that change tools and that the run's shell lacks or has otherwise; what
    a login shell has too is not said again of an interactive one.
    """
    value: dict[str, Any] = {}
    login = _of("login", told)
    for kind in ("login", "interactive"):
        mine = _of(kind, told)
        if mine.get("dead"):
            value[kind] = {"comes_up": False, **({"no_shell": mine["shell"]} if "shell" in mine else {})}
            continue
        if not (places := mine.pop("PATH", "").split(":")) or not any(places):
            continue
        once = mine.pop("once", "")
        local = "yes" if f"{home}/.local/bin" in places else "once it exists" if once else "no"
        row: dict[str, Any] = {"local_bin": local, "path": list(dict.fromkeys(places))}
        if kind == "interactive":
            mine = {name: text for name, text in mine.items() if login.get(name) != text}
        value[kind] = {**row, "variables": mine} if mine else row
    return value


def _of(kind: str, told: Mapping[str, str]) -> dict[str, str]:
    return {key.removeprefix(f"{kind}."): text for key, text in told.items() if key.startswith(f"{kind}.")}
