"""Secrets by handle: `{{secret:NAME}}` in a command, a value only inside the target, dots everywhere else.

A `Vault` holds the values in memory and takes them out of every text that leaves a target. Masking
works on bytes, so that it can sit in front of decoding, and across the borders of reads. A value is also found in the
disguises of `skillrun.text.disguise`; what was compressed, encrypted or cut in parts that are printed apart is not.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping

from skillrun.text.disguise import exact_forms, places, plain, plain_forms, raw_length
from skillrun.text.patterns import later

HANDLE = later(r"\{\{secret:([A-Za-z_][A-Za-z0-9_]*)\}\}")
"""How a command names a secret."""

SHORTEST = 4
"""Values shorter than this are not masked: hiding every "yes" would hide the output and protect nothing."""

GUESSED = 4 * 1024 * 1024
"""Of one stream, the bytes that are searched for keys by their looks; values that are known are always searched for."""

LEAST_OF_AN_ENVIRONMENT = 8
"""Values of variables that nobody named as secrets are masked from so many characters on."""

_OPEN = later(r"(?:[~./]?/|https?://[^@]*\Z|\d+\Z|true\Z|false\Z)", re.IGNORECASE)

OWN_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
"""Variables that hold the key of skillrun's own model: never shown, whatever it looks like."""

_PLACEHOLDER = later(r"[A-Za-z_-]{1,12}")

KEYRING_SERVICE = "skillrun"
"""Under which service name `in_keyring` looks."""

MASK = b"[secret:%s]"

KEY_PREFIXES = (
    "sk-ant-", "sk-proj-", "sk-or-", "sk_live_", "sk_test_", "rk_live_", "whsec_",
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "npm_", "pypi-AgE",
    "hf_", "xoxb-", "xoxp-", "xoxa-", "xapp-", "AKIA", "ASIA", "AIza", "ya29.", "SG.",
    "dop_v1_", "shpat_", "eyJhbGciOi",
)  # fmt: skip
"""How well-known services begin their keys: text that looks like one is masked though nobody declared it."""

_PREFIXES = tuple(prefix.encode() for prefix in KEY_PREFIXES)
_ANY_PREFIX = b"|".join(map(re.escape, _PREFIXES))
# A key has a long tail of letters and digits, digits among them: `npm_config_yes` and `sk-learn` have not.
_KEYS = re.compile(
    rb"(?<![A-Za-z0-9])(?:" + _ANY_PREFIX + rb")(?=[A-Za-z_.-]*[0-9])[A-Za-z0-9_.-]{0,60}?[A-Za-z0-9]{12,}[A-Za-z0-9_.=-]*"
)
_KEY_AT_END = re.compile(rb"(?:" + _ANY_PREFIX + rb")[A-Za-z0-9_.=-]{0,500}\Z")
_SHORTEST_KEY, _LONGEST_KEY = 15, 520
_IN_KEYS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.=-"
_LETTERS = bytes(ord("a") if byte < 128 and chr(byte).isalnum() else ord(" ") for byte in range(256))
_RUN = b"a" * 12  # what `_KEYS` asks of every key, at most 60 bytes behind its beginning
_BEFORE_RUN = 60 + max(map(len, _PREFIXES))
_RUNS_LOOKED_AT = 8

_CUT = 2
"""Plain forms are searched for without so many letters at their beginning, which are let go before it is clear what follows."""

_WINDOW = 4096
"""Bytes at the end of a piece in which the beginning of a plain form is looked for."""

_BEGINNING = 32
"""Beginnings of values up to so many bytes are looked up by their last byte; what is longer is searched for."""

_SECRET_NAME = later(
    r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|PAT|AUTH)(?:$|_(?!SOCK|FILE|PATH|DIR|URL|ID$))",
    re.IGNORECASE,
)
_KEPT = frozenset({"SSH_AUTH_SOCK", "GPG_KEY", "XAUTHORITY"})


class UnknownSecret(KeyError):
    """A command names a secret that nobody gave. `name` is its name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"no secret named {self.name} was given"


class Vault:
    """The secrets of a run, by name. It never prints them: its repr holds names only."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._forms: dict[bytes, bytes] = {}
        self._plain: dict[bytes, bytes] = {}
        self._plain_cut: tuple[bytes, ...] = ()
        self._pattern: re.Pattern[bytes] | None = None
        self._note_beginnings()

    def __repr__(self) -> str:
        return f"Vault({', '.join(self._values)})"

    @property
    def names(self) -> tuple[str, ...]:
        """The names that can be used as handles."""
        return tuple(self._values)

    def add(self, name: str, value: str) -> None:
        """Hold a value under a name; one that was held under it before goes on being masked."""
        if value:
            self._values[name] = value
            self.hide(value, name)

    def hide(self, value: str, label: str = "typed") -> None:
        """Mask a value that has no handle, such as a password a person typed at a program."""
        mask = MASK % label.encode()
        for form in exact_forms(value, SHORTEST):
            self._forms.setdefault(form, mask)
        for form in plain_forms(value):
            self._plain.setdefault(form, mask)
        self._plain_cut = tuple(form[_CUT:] for form in self._plain)
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first))) if longest_first else None
        self._note_beginnings()

    def _note_beginnings(self) -> None:
        whole = (*self._forms, *_PREFIXES)
        beginnings = {form[:size] for form in whole for size in range(1, min(len(form), _BEGINNING + 1))}
        self._beginnings: dict[int, list[bytes]] = {}
        for beginning in sorted(beginnings, key=len, reverse=True):
            self._beginnings.setdefault(beginning[-1], []).append(beginning)
        self._long = [form for form in self._forms if len(form) > _BEGINNING]

    def value(self, name: str) -> str:
        """The value, for the target alone. Raises UnknownSecret."""
        if name not in self._values:
            raise UnknownSecret(name)
        return self._values[name]

    def mask(self, text: str) -> str:
        """The text without any value held here and without anything that looks like a service's key."""
        return self.mask_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape") if text else text

    def mask_bytes(self, data: bytes, guess: bool = True) -> bytes:
        """`mask`, on bytes that are whole. Without `guess`, only the values held here are taken out."""
        # `in` is many times faster than a regular expression, and almost all output holds nothing to hide.
        if self._pattern is not None and _holds(data, self._forms):
            data = self._pattern.sub(lambda match: self._forms[match[0]], data)
        if self._plain_cut and _holds(plain(data), self._plain_cut):
            data = self._undisguised(data)
        if guess and len(data) >= _SHORTEST_KEY and _may_hold_key(data):
            data = _KEYS.sub(MASK % b"key", data)
        return data

    def _undisguised(self, data: bytes) -> bytes:
        """The data with the plain forms in it masked, of those that overlap the longest."""
        found: list[tuple[int, int, bytes]] = []
        for form, mask in self._plain.items():
            whole = list(places(data, form))
            found += [(begin, end, mask) for begin, end in whole]
            # Its first letters may have been let go with the piece before.
            ends = {end for _, end in whole}
            found += [(begin, end, mask) for begin, end in places(data, form[_CUT:]) if end not in ends]
        parts, at = [], 0
        for begin, end, mask in sorted(found, key=lambda place: (place[0], -place[1])):
            if begin >= at:
                parts += [data[at:begin], mask]
            at = max(at, end)
        return b"".join([*parts, data[at:]])

    def masker(self) -> Masker:
        """A masker for one stream of output."""
        return Masker(self)

    def unfinished(self, data: bytes, guess: bool = True, before: bytes = b"") -> int:
        """How many bytes at the end may be the beginning of something to mask. `before`: the letters that were let go last."""
        if guess:
            tail = data[-_LONGEST_KEY:]
            word = tail[len(tail.rstrip(_IN_KEYS)) :]
            if _holds(word, _PREFIXES) and (match := _KEY_AT_END.search(word)):
                return len(word) - match.start()
        held = max((_overlap(data, form) for form in self._long), default=0)
        for beginning in self._beginnings.get(data[-1], ()) if data else ():
            if data.endswith(beginning):
                held = max(held, len(beginning))
                break
        held = max(held, self._unfinished_plain(data, before))
        return self._not_inside(data, len(data) - held) if held else 0

    def last_letters(self, before: bytes, data: bytes) -> bytes:
        """The letters of a stream that count for what follows, when `data` has been let go behind `before`."""
        return (before + plain(data[-_WINDOW:]))[-_CUT:] if self._plain else b""

    def _unfinished_plain(self, data: bytes, before: bytes) -> int:
        """How many bytes at the end hold the beginning of a plain form, from its third letter on."""
        if not self._plain:
            return 0
        window = data[-_WINDOW:]
        text = before + plain(window)
        most = 0
        for form in self._plain:
            head = form[: _CUT + 1]
            at = text.find(head, max(0, len(text) - len(form)))
            while at >= 0 and not form.startswith(text[at:]):
                at = text.find(head, at + 1)
            if at >= 0:
                most = max(most, len(text) - at)
        return raw_length(window, min(most, len(text) - len(before)))

    def _not_inside(self, data: bytes, cut: int) -> int:
        """How many bytes to hold, so that the cut does not go through a value that is there as a whole."""
        if self._pattern is not None:
            longest = max(map(len, self._forms))
            for match in self._pattern.finditer(data, max(0, cut - longest)):
                if match.start() < cut < match.end():
                    begins_another = any(form.startswith(match[0]) and form != match[0] for form in self._forms)
                    cut = match.start() if begins_another else match.end()
        if self._plain_cut and _holds(plain(data), self._plain_cut):
            for form in self._plain_cut:
                cut = min((begin for begin, end in places(data, form) if begin < cut < end), default=cut)
        return len(data) - cut


def _holds(data: bytes, pieces: Iterable[bytes]) -> bool:
    for piece in pieces:  # noqa: SIM110  twice as fast as any() with a generator, for every line of output
        if piece in data:
            return True
    return False


def _may_hold_key(data: bytes) -> bool:
    """Is there a long run of letters and digits with the beginning of a key before it? Looking for runs first is cheap."""
    runs = data.translate(_LETTERS)
    at = runs.find(_RUN)
    for _ in range(_RUNS_LOOKED_AT):
        if at < 0:
            return False
        end = runs.find(b" ", at)
        end = end if end >= 0 else len(runs)
        if _holds(data[max(0, at - _BEFORE_RUN) : end], _PREFIXES):
            return True
        at = runs.find(_RUN, end)
    return at >= 0 and _holds(data, _PREFIXES)


def _overlap(data: bytes, form: bytes) -> int:
    """How many bytes at the end of the data are the beginning of a long form, when they are more than `_BEGINNING`."""
    begin = data.find(form[:_BEGINNING], max(0, len(data) - len(form) + 1))
    while begin >= 0 and not form.startswith(data[begin:]):
        begin = data.find(form[:_BEGINNING], begin + 1)
    return len(data) - begin if begin >= 0 else 0


class Masker:
    """Masks one stream whose pieces may end anywhere, also in the middle of a secret."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._held = b""
        self._seen = 0
        self._before = b""

    def feed(self, data: bytes) -> bytes:
        """The masked bytes that can be let go; what may be the beginning of a secret stays."""
        data = self._held + data if self._held else data
        self._seen += len(data)
        guess = self._seen < GUESSED
        held = self._vault.unfinished(data, guess, self._before)
        self._held = data[len(data) - held :]
        let_go = data[: len(data) - held] if held else data
        self._before = self._vault.last_letters(self._before, let_go)
        return self._vault.mask_bytes(let_go, guess)

    def flush(self) -> bytes:
        """What was kept back, when nothing more is expected for now."""
        data, self._held = self._held, b""
        self._before = self._vault.last_letters(self._before, data)
        return self._vault.mask_bytes(data) if data else data


def stored(name: str, env: Mapping[str, str]) -> str | None:
    """A secret's value from the environment, else from the system's keyring (service `skillrun`), by name."""
    if value := env.get(name):
        return value
    return in_keyring(name)


def in_keyring(name: str) -> str | None:
    """What the system's keyring holds for us under this name; a machine without one, or a locked one, holds nothing."""
    if sys.platform == "linux" and not _may_have_keyring(os.environ):
        return None
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return None
    try:
        return keyring.get_password(KEYRING_SERVICE, name)
    except (KeyringError, OSError, RuntimeError):
        return None


def _may_have_keyring(env: Mapping[str, str]) -> bool:
    """On Linux all of keyring's own backends speak over the session's bus; any other is one that somebody named.

    Asked without need it loads every system's backend, and macOS's has a compiler look for its libraries.
    """
    runtime, settings = env.get("XDG_RUNTIME_DIR"), env.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return (
        "DBUS_SESSION_BUS_ADDRESS" in env
        or "PYTHON_KEYRING_BACKEND" in env
        or bool(runtime and os.path.exists(f"{runtime}/bus"))
        or os.path.exists(f"{settings}/python_keyring/keyringrc.cfg")
    )


def looks_secret(name: str) -> bool:
    """Does a variable of this name commonly hold a key, a token or a password?"""
    return name not in _KEPT and (name.startswith("ANTHROPIC_") or bool(_SECRET_NAME.search(name)))


def is_placeholder(key: str) -> bool:
    """Is this the word that a server on this machine is given where it wants no key (`ollama`, `none`, `lm-studio`)?"""
    return _PLACEHOLDER.fullmatch(key) is not None


def secret_values(env: Mapping[str, str]) -> dict[str, str]:
    """What an environment holds of keys, tokens and passwords, to be masked though no command is given it.

    What is too short or plainly something else (a path, an address, a number) would only spoil the output; of the keys of
    skillrun's own model only a placeholder would.
    """
    named = ((name, value) for name, value in env.items() if looks_secret(name))
    return {
        name: value
        for name, value in named
        if (len(value) >= LEAST_OF_AN_ENVIRONMENT and not _OPEN.match(value) and name not in OWN_KEYS)
        or (name in OWN_KEYS and not is_placeholder(value))
    }


def clean_environment(env: Mapping[str, str], granted: Iterable[str] = ()) -> dict[str, str]:
    """The environment without anything that looks like a secret, except what was granted by name."""
    allowed = frozenset(granted)
    return {name: value for name, value in env.items() if name in allowed or not looks_secret(name)}
