"""The standard streams at both ends of a process: closed, in another encoding, with nobody listening."""

from __future__ import annotations

import errno
import os
import sys

from skillrun.text.ascii import register, shows_unicode


def ready() -> None:
    """Make the streams fit to be written to, whatever the process was given.

    A closed one becomes a null device, so that no journal or terminal gets its number; a character that an encoding
    does not have is written as its code, and never ends the run.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115  they live as long as the process
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
            if stream.isatty() and not shows_unicode():  # a pipe gets UTF-8, which is what its reader will expect
                stream.reconfigure(encoding="ascii", errors=register())


def flushed() -> bool:
    """Write out what is left; False when nobody takes it, and then the interpreter must not try again and change the code."""
    taken = True
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError as error:
            taken = False
            if number == 1 and error.errno != errno.EPIPE:
                complain_of(error)
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            try:
                stream.flush()
            except OSError:
                continue
    return taken


def complain_of(error: OSError) -> None:
    """Say on standard error, if anybody listens there, that standard output cannot be written."""
    try:
        print(f"skillrun: cannot write to standard output: {error.strerror}", file=sys.stderr)
    except OSError:
        return
