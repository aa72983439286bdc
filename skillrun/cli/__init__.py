"""The command line: what is asked is read, handed to the rooms below, and shown.

A verb is a module of this package named in `verbs.VERBS`; it is imported when it is asked for, so that
`--version`, `--help` and `list` never wait for a library they do not use.
"""

from __future__ import annotations

import gc
import sys


def program() -> None:
    """The whole process of the command. Raises SystemExit.

    Most of what a run makes lives until its end, so looking for garbage is put off while modules are loaded. It is not put off
    for good (`gc.freeze`): what is suspended in the middle must end while the modules it needs are still there.
    """
    gc.set_threshold(50_000, 20, 20)
    sys.exit(main())


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code (see docs/design.md). Never raises for a user's mistake."""
    args = sys.argv[1:] if argv is None else argv
    if args in (["--version"], ["-V"]):
        from skillrun import __version__

        print(f"skillrun {__version__}")
        return 0
    from skillrun.cli.streams import flushed, ready

    ready()
    if args == ["list"] or (args[:1] == ["show"] and "--raw" in args and len(args) == 3):
        from skillrun.cli.listing import answer

        if answer(args):
            return 0 if flushed() else 1
    from skillrun.cli.group import run

    return run(args)
