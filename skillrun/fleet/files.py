"""Files of another machine, read and written with nothing there but sh and the tools that are everywhere."""

from __future__ import annotations

import errno
import os
import re
from secrets import token_hex

from skillrun.fleet.wires import Reached
from skillrun.pty.protocol import quote

_WRITE = """f=$1; [ -e "$f" ] || echo new; if [ -L "$f" ]; then f=$(readlink -f "$f"); fi; t="${f%/*}/.skillrun-$2"
cat > "$t" && if [ -n "$3" ]; then chmod "$3" "$t"; elif [ -e "$f" ]; then chmod "$(stat -c %a "$f")" "$t"; fi \
&& { sync "$t" 2> /dev/null || :; } && mv -f "$t" "$f" || { s=$?; rm -f "$t"; exit $s; }"""


def read(host: Reached, path: str, limit: int | None = None) -> bytes:
    """A file's bytes, the first `limit` of them. Raises OSError as `open` would, Unreachable."""
    take = f"head -c {limit}" if limit is not None else "cat"
    done = host.run(f"{take} < {quote(path)}")
    if done.code:
        raise _error(path, done.errors)
    return done.output


def write(host: Reached, path: str, data: bytes, mode: int | None = None, umask: str = "") -> bool:
    """Write a file whole or not at all; an existing one keeps its mode unless one is given. True: it was not there before.

    Raises OSError, Unreachable.
    """
    masked = f"umask {umask}; " if umask else ""
    given = f"{mode:o}" if mode is not None else ""
    done = host.run(f"{masked}set -- {quote(path)} {token_hex(4)} '{given}'\n{_WRITE}", data)
    if done.code:
        raise _error(path, done.errors)
    return done.output.startswith(b"new")


def _error(path: str, said: str) -> OSError:
    """What the tools there complain of, as the error that `open` would raise here."""
    for number in (errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOTDIR, errno.ENOSPC, errno.EROFS, errno.EDQUOT):
        if os.strerror(number).lower() in said.lower():
            return OSError(number, os.strerror(number), path)
    number = errno.ENOENT if re.search("cannot (open|create)", said) else errno.EIO
    return OSError(number, said.strip()[-200:] or "it failed there", path)
