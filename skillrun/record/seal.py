"""This installation's own mark on what it keeps and believes later: nobody else can make it, and an edit breaks it.

HMAC-SHA256 (RFC 2104) with a key that only this user reads. Whoever can read the key could change anything of the user's
anyway; commands of a run cannot write beside it, since it lies among skillrun's own files.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets

from skillrun.record.place import make_private, state_directory

_SIZE = 32


def seal(text: str) -> str:
    """The mark for a text, in hex. Makes the key when there is none. Raises OSError."""
    return hmac.new(_key(), text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def is_sealed(text: str, mark: str) -> bool:
    """Was this very text marked here? Raises OSError."""
    return hmac.compare_digest(seal(text).encode(), mark.strip().encode("utf-8", "replace"))


def _key() -> bytes:
    path = state_directory() / "seal.key"
    make_private(path.parent)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SIZE))
        try:
            os.link(beside, path)  # never over a key that another process has made meanwhile
        except FileExistsError:
            pass
        finally:
            os.unlink(beside)
    key = path.read_bytes()
    if len(key) != _SIZE:
        raise OSError(22, "is damaged: remove it, and the plans beside it are asked about once more", str(path))
    return key
