"""Programs that a table cannot describe: the shell's own builtins, interpreters, and those that make text into commands."""

from skillrun.policy.reading import Special
from skillrun.policy.specials import builtins, containers, content, feeders, rewriting, runners

SPECIALS: dict[str, Special] = {
    **builtins.PROGRAMS,
    **runners.PROGRAMS,
    **feeders.PROGRAMS,
    **content.PROGRAMS,
    **rewriting.PROGRAMS,
    **containers.PROGRAMS,
}
