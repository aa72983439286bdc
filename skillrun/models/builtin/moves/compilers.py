"""Compilers: a newer one of the distribution's, beside the one that is there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from skillrun.models.builtin.bench import Bench, Stop, Work
from skillrun.models.builtin.moves import packages, paths
from skillrun.models.builtin.remedy import Failure

VERSIONS = (
    "echo here $(g++ -dumpversion | cut -d. -f1); "
    "apt-cache search --names-only '^g[+][+]-[0-9]+$' | sed -nE 's/^g[+][+]-([0-9]+) .*/there \\1/p'"
)
"""Prints the major version of the C++ compiler that is here, and those that the distribution has."""


def newer_compiler(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """The distribution's newest C++ compiler for this run; what is called `g++` stays as it is. Raises Stop when it is that."""
    listing = (yield from bench.look(VERSIONS, "which C++ compiler is here, and which are there?")) or ""
    here = re.search(r"^here (\d+)$", listing, re.MULTILINE)
    newest = max(map(int, re.findall(r"^there (\d+)$", listing, re.MULTILINE)), default=0)
    if not here or not newest:
        return None
    if newest <= int(here[1]):
        raise Stop("unsupported", f"This needs a newer C++ compiler than {here[1]}, the newest that this distribution has.")
    why = f"the C++ compiler here is version {here[1]}; version {newest} is put beside it"
    if not (yield from packages.install(bench, f"gcc-{newest} g++-{newest}", why)):
        return None
    command = failure.command
    for name, value in (("CC", f"gcc-{newest}"), ("CXX", f"g++-{newest}")):
        yield from bench.export(name, value, why)
        for program in ("cc", "gcc") if name == "CC" else ("c++", "g++"):
            command = paths.replace_program(command, program, value)
        # what a Makefile sets itself, it takes from its command line only
        command = paths.replace_program(command, "make", f"make {name}={value}")
    return command


PROCEDURES: dict[str, Callable[[Bench, Failure, Mapping[str, str]], Work[str | None]]] = {"newer-compiler": newer_compiler}
