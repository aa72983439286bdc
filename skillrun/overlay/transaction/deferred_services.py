"""What was put off until the machine itself has changed: starting, enabling, reloading; and its reversal."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from skillrun.overlay.mount.service_request import ServiceRequest

PROGRAMS = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the programs that do it are looked for: not in places of the person's own, or of a package's."""
_INVERSE = {"start": "stop", "stop": "start", "enable": "disable", "disable": "enable", "mask": "unmask", "unmask": "mask"}
_IS = {"start": "is-active", "stop": "is-active", "enable": "is-enabled", "disable": "is-enabled", "mask": "is-enabled"}
_TIMEOUT_S = 120.0
_KINDS = frozenset({"service", "socket", "timer", "path", "target", "mount", "slice", "device", "automount", "swap", "scope"})
_UNIT_FOLDERS = ("/systemd/system/", "/systemd/user/", "/etc/init.d/")


@dataclass(frozen=True, slots=True)
class Carried:
    """An action as it came out, and the command that takes it back (empty: nothing does)."""

    argv: tuple[str, ...]
    exit_code: int
    output: str
    inverse: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Carried:
        """From `to_json`."""
        return cls(tuple(data["argv"]), int(data["exit_code"]), str(data["output"]), tuple(data["inverse"]))


Runner = Callable[[Sequence[str], str], tuple[int, str]]
"""Runs argv in a directory: exit code and output."""


def run_here(argv: Sequence[str], cwd: str, timeout_s: float = _TIMEOUT_S) -> tuple[int, str]:
    """Run a command on this machine; 127 when there is no such program, 124 when it took too long."""
    folder = cwd if Path(cwd).is_dir() else "/"
    program = shutil.which(argv[0], path=PROGRAMS) or argv[0]
    try:
        done = subprocess.run(
            [program, *argv[1:]],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except FileNotFoundError:
        return 127, f"{argv[0]}: not found"
    except subprocess.TimeoutExpired:
        return 124, f"still at work after {timeout_s:.0f} seconds"
    return done.returncode, (done.stdout + done.stderr)[-2000:]


def of_what_stays_out(requests: Iterable[ServiceRequest], left: Iterable[str]) -> tuple[ServiceRequest, ...]:
    """The requests for units whose own files a partial commit leaves out."""
    names = {path.rpartition("/")[2] for path in left if any(folder in path for folder in _UNIT_FOLDERS)}
    return tuple(request for request in requests if any(not names.isdisjoint(_files_of(unit)) for unit in request.units))


def _files_of(unit: str) -> tuple[str, ...]:
    """Names the file of a unit may have: an instance `a@b` has that of its template."""
    stem, dot, kind = unit.rpartition(".")
    name, suffix = (stem, dot + kind) if dot and kind in _KINDS else (unit, ".service")
    template = f"{name.partition('@')[0]}@{suffix}" if "@" in name else name + suffix
    return (name, name + suffix, template)


def inverse_of(argv: Sequence[str], run: Runner = run_here) -> tuple[str, ...]:
    """The command that takes an action back, judged before it is carried out; () when it would change nothing."""
    words = [word for word in argv[1:] if not word.startswith("-")]
    flags = [word for word in argv[1:] if word.startswith("-")]
    program = argv[0].rpartition("/")[2]
    match program, words:
        case "systemctl", ["daemon-reload", *_]:
            return tuple(argv)
        case "systemctl", [verb, _, *_] if verb in _INVERSE:
            changed = [unit for unit in words[1:] if not _stands(argv[0], flags, verb, unit, run)]
            return (argv[0], *flags, _INVERSE[verb], *changed) if changed else ()
        case "deb-systemd-invoke", ["start" | "restart", _, *_]:
            stopped = [unit for unit in words[1:] if not _stands("systemctl", (), "start", unit, run)]
            return (argv[0], "stop", *stopped) if stopped else ()
        case "service" | "rc-service" | "invoke-rc.d", [service, "start" | "restart" | "stop" as verb]:
            running = run((argv[0], service, "status"), "/")[0] == 0
            return () if running == (verb != "stop") else (argv[0], service, "start" if verb == "stop" else "stop")
    return ()


def _stands(program: str, flags: Sequence[str], verb: str, unit: str, run: Runner) -> bool:
    """Is the unit already as the verb would make it?"""
    question = _IS.get(verb)
    if question is None:
        return False
    scope = [flag for flag in flags if flag in ("--user", "--global")]
    positive = run((program, *scope, question, unit), "/")[0] == 0
    return positive == (verb in ("start", "enable"))


def carry_out(requests: Sequence[ServiceRequest], run: Runner = run_here) -> tuple[Carried, ...]:
    """Do all of them in order; one that fails does not keep the next from being tried."""
    return tuple(_carried(request, run) for request in requests)


def _carried(request: ServiceRequest, run: Runner) -> Carried:
    ours = _as_owner(request)
    inverse = inverse_of(request.argv(), lambda argv, cwd: run((*ours, *argv), cwd))
    code, output = run((*ours, *request.argv()), "/")
    return Carried((*ours, *request.argv()), code, output, (*ours, *inverse) if inverse and code == 0 else ())


def _as_owner(request: ServiceRequest) -> tuple[str, ...]:
    """How root reaches the service manager of the user who asked; () where no step down is needed."""
    if not request.of_user or os.geteuid() != 0 or request.by == 0:
        return ()
    name = pwd.getpwuid(request.by).pw_name
    return ("runuser", "-u", name, "--", "env", f"XDG_RUNTIME_DIR=/run/user/{request.by}")


def take_back(carried: Sequence[Carried], run: Runner = run_here) -> tuple[Carried, ...]:
    """Reverse what was carried out, last first; reloads are for `settle`."""
    return tuple(
        Carried(item.inverse, *run(item.inverse, "/"))
        for item in reversed(carried)
        if item.inverse and "daemon-reload" not in item.inverse
    )


def settle(carried: Sequence[Carried], run: Runner = run_here) -> None:
    """After the files are back: let the service manager read them again."""
    for argv in dict.fromkeys(item.inverse for item in carried if "daemon-reload" in item.inverse):
        run(argv, "/")
